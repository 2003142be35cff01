"""What two choices about prototypes cost on real images: storing them in half precision, and their number.

    snakemake --directory runs/real-cpu --configfile workflow/presets/real-cpu.yaml --cores 2 -- phase_prototypes
    python benchmarks/prototypes_real.py --root runs/real-cpu --weights <ResNet-18> --page benchmarks/prototypes.md

Reads the split and the cached images of a work folder. Half precision: prototypes of the training normals are stored in
both precisions and read back; compared are the residuals of the test images, and the metrics of the untrained control,
whose score is nothing but these residuals. Seconds: a forward pass of the whole network at 256 x 256 with as many
prototypes as each share of Table 6 gives for the category; one image at a time, one thread, CPU time (values do not
matter to it, so weights and prototypes are random). The page's part between the markers is written anew.
"""

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import torch

from prn import layout
from prn.backbone import BACKBONE_CHANNELS, Backbone, load_weights, normalise, random_weights
from prn.datasets.images import CategoryTensors
from prn.methods.base import top_mean
from prn.metrics import image_auroc, localization_metrics
from prn.model.network import PRN
from prn.prototypes import (
    SCALES,
    Prototypes,
    cluster_count,
    cluster_prototypes,
    distance_maps,
    nearest_index,
    residual,
    untrained_score_map,
)
from prn.settings.sections import ModelSettings
from prn.splits import Split, load_split

MARKERS = ("<!-- real images: begin -->", "<!-- real images: end -->")
RATIOS = (0.05, 0.1, 0.2, 1.0)  # Table 6
METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "pro": "PRO", "ap": "AP"}
SEED, TOP_PIXELS, TIMED, TIMED_SIZE = 42, 100, 7, 256


def category_data(root: Path, category: str, size: int) -> tuple[Split, CategoryTensors]:
    """Split and cached images of one MVTec category."""
    cell = {"dataset": "mvtec", "category": category, "seed": SEED, "size": size}
    split = load_split(root / layout.path(layout.SPLIT, **cell))
    return split, CategoryTensors.load(root / layout.path(layout.TENSORS, **cell))


def both_precisions(prototypes: Prototypes) -> tuple[list[Prototypes], list[float]]:
    """The prototypes read back from both kinds of file, and the files' MiB."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{precision}.safetensors" for precision in ("float32", "float16")]
        for file in files:
            prototypes.save(file, file.stem)
        return [Prototypes.load(file) for file in files], [file.stat().st_size / 2**20 for file in files]


def half_precision(root: Path, category: str, backbone: Backbone, size: int) -> list[str]:
    """Table rows: what half precision changes in residuals and in the untrained control's metrics."""
    split, tensors = category_data(root, category, size)
    normals, test = tensors.index_of(split.train_normal), tensors.index_of(split.test)
    found = cluster_prototypes(backbone, tensors.images[normals], 0.1, seed=SEED)
    (whole, half), sizes = both_precisions(found)
    batches = torch.from_numpy(tensors.images[test]).split(16)
    features = [torch.cat(each) for each in zip(*(backbone.frozen(normalise(b)) for b in batches), strict=True)]
    lines = [f"**{category}**: {len(found.maps[0])} prototypes, {sizes[0]:.1f} MiB become {sizes[1]:.1f} MiB.", ""]
    lines += ["| scale | other nearest prototype | residuals change by | a distance map changes at most by |"]
    lines += ["|---|---:|---:|---:|"]
    distances = zip(distance_maps(features, whole.maps), distance_maps(features, half.maps), strict=True)
    for scale, (one, other) in zip(SCALES, distances, strict=True):
        feature, maps, rounded = features[scale - 1], whole.maps[scale - 1], half.maps[scale - 1]
        moved = int((nearest_index(feature, maps) != nearest_index(feature, rounded)).sum())
        exact = residual(feature, maps)
        change = (exact - residual(feature, rounded)).abs().mean() / exact.mean()
        furthest = (one - other).abs().max() / one.mean()
        lines.append(f"| layer{scale} | {moved} of {len(test)} images | {change:.1e} | {furthest:.1e} |")
    lines += ["", "| untrained control | float32 | float16 | change |", "|---|---:|---:|---:|"]
    labels = np.array([bool(mask.any()) for mask in tensors.masks[test]])
    values = [control_metrics(features, each, tensors.masks[test], labels, size) for each in (whole, half)]
    for name, title in METRICS.items():
        before, after = (100 * value[name] for value in values)
        lines.append(f"| {title} | {before:.4f} | {after:.4f} | {after - before:+.1e} |")
    return [*lines, ""]


def control_metrics(
    features: list[torch.Tensor], prototypes: Prototypes, masks: np.ndarray, labels: np.ndarray, size: int
) -> dict[str, float]:
    """The four metrics of the untrained control."""
    maps = untrained_score_map(features, prototypes, (size, size)).numpy()
    return {"image_auroc": image_auroc(top_mean(maps, TOP_PIXELS), labels), **localization_metrics(maps, masks)}


def seconds_by_ratio(root: Path, category: str, size: int) -> list[str]:
    """Table rows: CPU seconds of one image for each share of Table 6, and the search's part of them."""
    normals = len(category_data(root, category, size)[0].train_normal)
    torch.manual_seed(0)
    backbone = Backbone("resnet18", random_weights("resnet18", 0))
    image = torch.randn(1, 3, TIMED_SIZE, TIMED_SIZE).to(memory_format=torch.channels_last)
    networks = {ratio: network_with(cluster_count(ratio, normals), backbone) for ratio in RATIOS}
    seconds: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    search: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    with torch.inference_mode():
        features = backbone.frozen(image)
        for turn in range(TIMED + 1):
            for ratio, network in networks.items():
                start = time.process_time()
                network(image)
                middle = time.process_time()
                network.skips.residual(features)
                if turn:  # the first turn warms up
                    seconds[ratio].append(middle - start)
                    search[ratio].append(time.process_time() - middle)
    lines = [f"{category}, {normals} normal training images, {TIMED_SIZE} x {TIMED_SIZE}:", ""]
    lines += ["| ratio | prototypes | seconds an image | of these nearest prototypes and residuals |"]
    lines += ["|---:|---:|---:|---:|"]
    for ratio in RATIOS:
        whole, part = statistics.median(seconds[ratio]), statistics.median(search[ratio])
        lines.append(f"| {100 * ratio:g} % | {cluster_count(ratio, normals)} | {whole:.3f} | {part:.4f} |")
    return [*lines, ""]


def network_with(count: int, backbone: Backbone) -> PRN:
    """PRN of the default settings with random prototypes."""
    maps = [
        torch.rand(count, channels, TIMED_SIZE // stride, TIMED_SIZE // stride)
        for channels, stride in zip(BACKBONE_CHANNELS["resnet18"], (4, 8, 16), strict=False)
    ]
    network = PRN(backbone, Prototypes((maps[0], maps[1], maps[2])), ModelSettings())
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def run_card(arguments: argparse.Namespace) -> list[str]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    return [
        f"- `python benchmarks/prototypes_real.py`, commit {commit.stdout.strip()},"
        f" {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- MVTec {' and '.join(arguments.categories)}, {arguments.size} x {arguments.size}, seed {SEED}, test set of"
        f" the split; weights {arguments.weights.name}",
        f"- processor: {cpu[0]}, {len(cpu)} cores, one thread used; {platform.system()}, Python"
        f" {platform.python_version()}, {versions}; load averages at the end {load} (CPU time)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="work folder with splits and tensors")
    parser.add_argument("--weights", type=Path, required=True, help="ResNet-18 weights")
    parser.add_argument("--categories", nargs="+", default=["bottle", "pill"])
    parser.add_argument("--size", type=int, default=128, help="of the cached images")
    parser.add_argument("--page", type=Path, help="page that receives the tables between its markers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone = Backbone("resnet18", load_weights(arguments.weights), train_layer4=False).eval()
    lines = ["## What half precision costs", "", "Changes are shares of the mean residual or distance.", ""]
    for category in arguments.categories:
        lines += half_precision(arguments.root, category, backbone, arguments.size)
    lines += ["## Seconds an image by the share of prototypes (Table 6)", ""]
    lines += seconds_by_ratio(arguments.root, arguments.categories[0], arguments.size)
    lines += ["### Run card of the real images", "", *run_card(arguments)]
    print("\n".join(lines))
    if arguments.page:
        head, _, rest = arguments.page.read_text(encoding="utf-8").partition(MARKERS[0])
        tail = rest.partition(MARKERS[1])[2]
        text = "\n".join((head + MARKERS[0], "", *lines, "", MARKERS[1] + (tail or "\n")))
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
