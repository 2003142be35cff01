"""How fast are prototypes and the search for the nearest one, and how much memory do they take, beside their peers?

    python benchmarks/prototypes.py                               # features of generated images, random ResNet-18
    python benchmarks/prototypes.py --weights resnet18.safetensors --page benchmarks/prototypes.md

250 images of 256 x 256 give maps of layer1 with 64 x 64 x 64 = 262,144 values; K = 25, batches of 8. The peers are
scikit-learn's KMeans (Lloyd, tolerance 0) from the same starting samples, one start and ten, and the distance by
broadcasting to B x K x C x H x W. Every measurement runs in a process of its own on one thread, after a warm-up on
small arrays; CPU time, so that a busy machine distorts little; the candidates take turns and the median over the rounds
counts. Memory is the growth of the process's resident peak during the call (Linux only). The results of a candidate and
its peer must be the same. About five minutes.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import cv2
import numpy as np
import torch
from sklearn.cluster import KMeans

from prn.backbone import Backbone, load_weights, normalise, random_weights
from prn.prototypes import (
    SCALES,
    Prototypes,
    centred_gram,
    cluster_means,
    cluster_prototypes,
    distance_maps,
    half_squared_norms,
    kmeans,
    lloyd,
    nearest_row,
)

IMAGES, CLUSTERS, BATCH, SIZE, STARTS = 250, 25, 8, 256, 10
BARS = {  # candidate: (peer, how many times faster it must be)
    "nearest prototype, one matrix product": ("nearest prototype, broadcasted", 8.0),
    "k-means, one start, inner products": ("k-means, one start, scikit-learn", 2.5),
    "k-means, ten starts, inner products": ("k-means, ten starts, scikit-learn", 15.0),
}
STAGE = "the whole stage"
OTHER_PART = re.compile("<!-- real images: begin -->.*<!-- real images: end -->\n", re.DOTALL)
PACKAGES = ("numpy", "scikit-learn", "torch")


def generated_images(count: int) -> np.ndarray:
    """Photographs of one product, so to speak: a scene that is turned, moved, lit differently and noisy."""
    random = np.random.default_rng(0)
    scene = cv2.resize(
        random.integers(0, 256, (24, 24, 3), dtype=np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for image in images:
        turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), random.normal(0, 8), 1 + random.normal(0, 0.02))
        turn[:, 2] += np.asarray(random.normal(0, 3, 2))
        moved = cv2.warpAffine(scene, turn, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
        lit = random.normal(1, 0.08) * moved + random.normal(0, 4, moved.shape)
        image[:] = np.clip(lit, 0, 255).astype(np.uint8)
    return images


def features(images: np.ndarray, backbone: Backbone, scale: int) -> torch.Tensor:
    """Feature maps of one scale, batch by batch."""
    batches = torch.from_numpy(images).split(25)
    return torch.cat([backbone.frozen(normalise(batch), scales=scale)[-1] for batch in batches])


def starts() -> list[np.ndarray]:
    """The same ten draws of starting samples for both sides."""
    random = np.random.RandomState(0)
    return [random.permutation(IMAGES)[:CLUSTERS] for _ in range(STARTS)]


def our_kmeans(rows: np.ndarray, draws: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and centroids of the best start; the inner products are computed once."""
    tensor = torch.from_numpy(rows)
    gram = centred_gram(tensor)
    members, labels, _, _ = min((lloyd(gram, draw, 300) for draw in draws), key=lambda result: result[3])
    return labels, cluster_means(tensor, members, CLUSTERS).numpy()


def their_kmeans(rows: np.ndarray, draws: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The same by scikit-learn, which asks for the start of each run in turn."""
    order = iter(draws)
    model = KMeans(CLUSTERS, init=lambda data, *_, **__: data[next(order)], n_init=len(draws), max_iter=300, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows)
    return model.labels_, model.cluster_centers_


def by_product(batch: torch.Tensor, prototypes: torch.Tensor, norms: torch.Tensor) -> np.ndarray:
    """As the network does it: the norms of the prototypes are known beforehand."""
    return nearest_row(batch.flatten(1), prototypes.flatten(1), norms).numpy()


def by_broadcasting(batch: torch.Tensor, prototypes: torch.Tensor, _norms: torch.Tensor) -> np.ndarray:
    """||f - p|| from all differences at once, B x K x C x H x W."""
    return torch.linalg.vector_norm(batch[:, None] - prototypes[None], dim=(2, 3, 4)).argmin(dim=1).numpy()


def candidates(rows: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Every candidate on the given rows."""
    draws = starts()
    maps = torch.from_numpy(rows).view(IMAGES, 64, 64, 64)
    batch, prototypes = maps[:BATCH], maps[BATCH : BATCH + CLUSTERS]
    norms = half_squared_norms(prototypes.flatten(1))
    return {
        "nearest prototype, one matrix product": lambda: by_product(batch, prototypes, norms),
        "nearest prototype, broadcasted": lambda: by_broadcasting(batch, prototypes, norms),
        "k-means, one start, inner products": lambda: our_kmeans(rows, draws[:1]),
        "k-means, one start, scikit-learn": lambda: their_kmeans(rows, draws[:1]),
        "k-means, ten starts, inner products": lambda: our_kmeans(rows, draws),
        "k-means, ten starts, scikit-learn": lambda: their_kmeans(rows, draws),
    }


def measure(name: str, folder: Path) -> None:
    """In a process of its own: CPU seconds, growth of the resident peak in MiB, and the result beside the rows."""
    torch.set_num_threads(1)
    small = np.random.default_rng(0).normal(size=(4 * CLUSTERS, 500)).astype(np.float32)
    kmeans(torch.from_numpy(small), np.arange(CLUSTERS))
    KMeans(CLUSTERS, init=small[:CLUSTERS], n_init=1).fit(small)
    rows = np.load(folder / "rows.npy")
    call = candidates(rows)[name]
    repeats = 20 if name.startswith("nearest") else 1
    if repeats > 1:
        call()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = _status("VmRSS")
    start = time.process_time()
    for _ in range(repeats):
        result = call()
    seconds = (time.process_time() - start) / repeats
    grown = _status("VmHWM") - before
    parts = result if isinstance(result, tuple) else (result,)
    np.savez(folder / f"{name}.npz", *parts)
    print(json.dumps({"seconds": seconds, "MiB": grown / 1024}))


def measure_stage(folder: Path) -> None:
    """In a process of its own: the growth of the resident peak while prototypes of all three scales are made."""
    torch.set_num_threads(1)
    images, backbone = np.load(folder / "images.npy"), Backbone("resnet18", random_weights("resnet18", 0))
    features(images[:2], backbone, 3)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    cluster_prototypes(backbone, images, 0.1)
    print(json.dumps({"MiB": (_status("VmHWM") - before) / 1024}))


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def in_process(name: str, folder: Path) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run_rounds(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU seconds and median memory of each candidate."""
    names = [name for candidate, (peer, _) in BARS.items() for name in (candidate, peer)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            results[name].append(in_process(name, folder))
    return {
        name: {key: statistics.median(each[key] for each in runs) for key in ("seconds", "MiB")}
        for name, runs in results.items()
    }


def same_results(folder: Path, candidate: str, peer: str) -> str:
    """What the comparison of both results says; stops the benchmark where labels differ."""
    ours, theirs = (list(np.load(folder / f"{name}.npz").values()) for name in (candidate, peer))
    if not np.array_equal(ours[0], theirs[0]):
        raise SystemExit(f"{candidate} and {peer} disagree: {(ours[0] != theirs[0]).sum()} of {len(ours[0])} differ")
    if len(ours) == 1:
        return "same indices"
    error = np.linalg.norm(ours[1] - theirs[1], axis=1) / np.linalg.norm(theirs[1], axis=1)
    return f"same labels, centroids to {error.max():.0e}"


def half_precision(images: np.ndarray, backbone: Backbone, folder: Path) -> list[str]:
    """What half precision costs: prototypes of 200 images, distances of 50 others."""
    found = cluster_prototypes(backbone, images[:200], 0.1)
    found.save(folder / "float32.safetensors")
    found.save(folder / "float16.safetensors", dtype="float16")
    halved = Prototypes.load(folder / "float16.safetensors")
    held_out = [features(images[200:], backbone, scale) for scale in SCALES]
    lines = ["", "| scale | largest error of a prototype's value | of a distance map, relative |", "|---|---|---|"]
    pairs = zip(distance_maps(held_out, found.maps), distance_maps(held_out, halved.maps), strict=True)
    for scale, (whole, half) in zip(SCALES, pairs, strict=True):
        value = (found.maps[scale - 1] - halved.maps[scale - 1]).abs().max().item()
        lines.append(f"| layer{scale} | {value:.1e} | {((whole - half).abs() / whole).max().item():.1e} |")
    sizes = [(folder / f"{name}.safetensors").stat().st_size / 2**20 for name in ("float32", "float16")]
    return [f"Half precision: {sizes[0]:.0f} MiB become {sizes[1]:.0f} MiB (200 images, ratio 0.1).", *lines]


def run_card(arguments: argparse.Namespace) -> list[str]:
    """Where and how the numbers were made."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    weights = f" with the weights of {arguments.weights.name}" if arguments.weights else ", random weights, seed 0"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        f"- finished: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.stdout.strip()}",
        f"- {arguments.rounds} rounds, the median counts; load averages at the end: {load}",
        f"- processor: {cpu[0]}, {len(cpu)} cores, one thread used; {platform.system()}",
        f"- versions: Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        f"- features: ResNet-18, layer1{weights}, of {IMAGES} generated images {SIZE} x {SIZE}",
    ]


def report(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The page's lines: one table with a row a candidate and its peer, what half precision costs, the run card."""
    weights = load_weights(arguments.weights) if arguments.weights else random_weights("resnet18", 0)
    backbone, images = Backbone("resnet18", weights).eval(), generated_images(IMAGES)
    np.save(folder / "images.npy", images)
    np.save(folder / "rows.npy", features(images, backbone, 1).flatten(1).numpy())
    results = run_rounds(folder, arguments.rounds)
    lines = [
        "# Prototypes beside their peers",
        "",
        f"`python benchmarks/prototypes.py`: {IMAGES} maps of 262,144 values, K = {CLUSTERS}, batches of {BATCH}.",
        "",
        "| candidate | CPU seconds | peak MiB | peer | CPU seconds | peak MiB | times faster | bar | results |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for candidate, (peer, bar) in BARS.items():
        ours, theirs = results[candidate], results[peer]
        ratio = theirs["seconds"] / ours["seconds"]
        cells = [
            candidate,
            f"{ours['seconds']:.4f}",
            f"{ours['MiB']:.0f}",
            peer,
            f"{theirs['seconds']:.4f}",
            f"{theirs['MiB']:.0f}",
            f"{ratio:.1f}",
            f"{bar:g} {'held' if ratio >= bar else 'MISSED'}",
            same_results(folder, candidate, peer),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    size, gram = IMAGES * 64**3 * 4 / 2**20, IMAGES**2 * 8 / 2**20
    peak = in_process(STAGE, folder)["MiB"]
    lines += [
        "",
        f"Each candidate holds the features of layer1, {size:.0f} MiB, beside its peak. Making the prototypes of all",
        f"three scales from images takes {peak:.0f} MiB in all, features included; the bound is twice the features and",
        f"the Gram matrix, {2 * size + gram:.0f} MiB: {'held' if peak <= 2 * size + gram else 'MISSED'}.",
        "",
    ]
    return [*lines, *half_precision(images, backbone, folder), "", *run_card(arguments)]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="ResNet-18 weights (default: random ones)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="write the result into this file as well")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure == STAGE:
        measure_stage(arguments.folder)
        return
    if arguments.measure:
        measure(arguments.measure, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = report(Path(folder), arguments)
    print("\n".join(lines))
    if arguments.page:
        old = arguments.page.read_text(encoding="utf-8") if arguments.page.exists() else ""
        kept = OTHER_PART.search(old)  # what benchmarks/prototypes_real.py writes
        text = (
            "\n".join(lines)
            + "\n\n"
            + (kept.group() if kept else "<!-- real images: begin -->\n<!-- real images: end -->\n")
        )
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
