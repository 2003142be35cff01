"""What does an index cost beyond decoding every image once with OpenCV on all cores?

    python benchmarks/indexing.py     # 4000 generated images of 1024x1024, 6 GB in a temporary folder
    python benchmarks/indexing.py --images 400 --folder /scratch/images     # fewer; the images are kept
    python benchmarks/indexing.py --tree data/datasets/mvtec --category bottle

The peer reads and decodes the same files (images and masks) once with `cv2.imread` in as many threads. The index also
hashes every file, matches and binarises masks and compares sizes. Both take turns on files that were read before, so
the disk plays no part. The bar is 1.3 times the peer's CPU time (of the whole process, all threads; the median of the
rounds): wall times of a machine that does other work as well say nothing, so they are shown but not judged.
"""

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from prn.datasets.images import cores
from prn.datasets.index import build_index
from prn.datasets.layout import IMAGE_SUFFIXES
from prn.provenance.environment import device_name

BAR = 1.3
PATTERNS = 24  # different pictures; the rest are copies with another comment, so that no two files are the same


def generate(folder: Path, images: int, size: int) -> None:
    """An MVTec-like category `generated`: nine in ten images normal, the others with a mask; PNG, as published."""
    random = np.random.default_rng(0)
    pictures = [_picture(random, size) for _ in range(PATTERNS)]
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 3), size // 10, 255, -1)
    mask_bytes = cv2.imencode(".png", mask)[1].tobytes()
    for name in ("train/good", "test/good", "test/bent", "ground_truth/bent"):
        (folder / "generated" / name).mkdir(parents=True, exist_ok=True)
    for i in range(images):
        part = "test/bent" if i % 10 == 0 else "test/good" if i % 10 == 1 else "train/good"
        data = _with_comment(pictures[i % PATTERNS], i)
        (folder / "generated" / part / f"{i:05}.png").write_bytes(data)
        if part == "test/bent":
            (folder / "generated" / "ground_truth/bent" / f"{i:05}_mask.png").write_bytes(_with_comment(mask_bytes, i))


def _picture(random: np.random.Generator, size: int) -> bytes:
    """Smooth colours with sensor noise; compresses about as photographs of MVTec AD do (1 to 2 MB at 1024x1024)."""
    coarse = random.integers(0, 200, (size // 32, size // 32, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    noise = random.normal(0, 1.5, smooth.shape)
    pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _with_comment(png: bytes, number: int) -> bytes:
    """The same picture as another file: a tEXt chunk behind the header."""
    body = b"tEXtComment\0" + str(number).encode()
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]


def decode_all(paths: list[Path], workers: int) -> None:
    """The peer: every file decoded once."""

    def decode(path: Path) -> tuple[int, ...]:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None
        return image.shape

    with ThreadPoolExecutor(workers) as pool:
        assert len(list(pool.map(decode, paths))) == len(paths)


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def run_card(arguments: argparse.Namespace, paths: list[Path]) -> str:
    """What was measured, where and with what."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    size = sum(path.stat().st_size for path in paths) / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "opencv-python"))
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    if arguments.tree:
        images = f"category {arguments.category} of a tree in MVTec AD's layout"
    else:
        images = f"--images {arguments.images} --size {arguments.size}; a tenth of the images with a mask"
    return "\n".join(
        [
            "## Run card\n",
            f"- `python benchmarks/indexing.py`, commit {commit.stdout.strip() or 'unknown'}, "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"- {images}: {len(paths)} PNG files, {size:.2f} GiB, read before the first round",
            f"- {arguments.workers} threads on both sides, {arguments.rounds} rounds in turn",
            f"- processor: {device_name()}, {cores()} cores; load averages at the end {loads} (CPU time is judged)",
            f"- {platform.system()}, Python {platform.python_version()}, {packages}",
        ]
    )


def compare(root: Path, category: str, arguments: argparse.Namespace) -> None:
    """Take turns and print the table."""
    top = root / category
    paths = sorted(path for path in top.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    candidates: dict[str, Callable[[], object]] = {
        "decode once (cv2.imread)": lambda: decode_all(paths, arguments.workers),
        "build_index": lambda: build_index("mvtec", root, category, workers=arguments.workers),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for path in paths:
        path.read_bytes()
    for _ in range(arguments.rounds):
        for name, work in candidates.items():
            times[name].append(measure(work))
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in times.items()}
    peer = medians["decode once (cv2.imread)"]
    print("# Speed of the index\n\n| all images | CPU s | ratio | each round | wall s |\n|---|---:|---:|---|---:|")
    for name, (wall, cpu) in medians.items():
        rounds = ", ".join(f"{seconds:.1f}" for _, seconds in times[name])
        print(f"| {name} | {cpu:.1f} | {cpu / peer[1]:.2f} | {rounds} | {wall:.1f} |")
    ratio = medians["build_index"][1] / peer[1]
    verdict = "holds" if ratio <= BAR else "missed"
    print("\n| ratio | promised | found | |\n|---|---:|---:|---|")
    print(f"| index to decoding, CPU time | {BAR} | {ratio:.2f} | {verdict} |\n\n{run_card(arguments, paths)}")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="how many images to generate")
    parser.add_argument("--size", type=int, default=1024, help="their width and height")
    parser.add_argument("--folder", type=Path, help="where to keep the generated images (default: a temporary folder)")
    parser.add_argument("--tree", type=Path, help="an MVTec AD tree to use instead")
    parser.add_argument("--category", default="generated", help="its category")
    parser.add_argument("--workers", type=int, default=cores(), help="threads of both sides (default: one a core)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.tree:
        compare(arguments.tree, arguments.category, arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "generated").exists():
            generate(folder, arguments.images, arguments.size)
        compare(folder, "generated", arguments)


if __name__ == "__main__":
    main()
