"""Data of one's own from files to metrics, by the command line: the numbers that a right reading gives.

The method is `mean-image`, which knows no training. The values are those of the same sets with masks of 0 and 255, and
images of 8 bits, written by hand.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from prn.cli import main
from tests.unit.archive_builders import encoded, write_tree

HIGH, WIDE = 40, 48
STAGES = ("download", "index", "split", "train", "predict", "evaluate")


def grain(number: int, spot: tuple[int, int] | None = None) -> bytes:
    pixels = np.random.default_rng(number).integers(90, 130, (HIGH, WIDE, 3)).astype(np.uint8)
    if spot:
        pixels[spot[0] : spot[0] + 10, spot[1] : spot[1] + 10] = 235
    return encoded(pixels)


def marked(top: int, left: int, value: int = 255) -> np.ndarray:
    pixels = np.zeros((HIGH, WIDE), np.uint8)
    pixels[top : top + 10, left : left + 10] = value
    return pixels


def places():
    return [(4 + 2 * i, 5 + 3 * i) for i in range(6)]


def bright_spots() -> dict[str, bytes]:
    """Six defects with a bright square each and its mask, four good test images, six to train on."""
    files = {f"part/train/good/{i:03}.png": grain(i) for i in range(6)}
    files |= {f"part/test/good/{i:03}.png": grain(100 + i) for i in range(4)}
    files |= {f"part/test/crack/{i:03}.png": grain(200 + i, place) for i, place in enumerate(places())}
    return files | {f"part/ground_truth/crack/{i:03}_mask.png": encoded(marked(*p)) for i, p in enumerate(places())}


@pytest.fixture
def metrics(tmp_path, project):
    """A function: from a tree of images and the settings of `index` to image AUROC, pixel AUROC, PRO and AP."""

    def run(files: dict[str, bytes], **index) -> list[float]:
        params = str(project / "params.yaml")
        variants = yaml.safe_load(Path(params).read_text(encoding="utf-8"))["variants"]
        few = {"train": {"shots": 2}}
        preset = {
            "benchmark": {"seeds": [42], "datasets": {"mine": {"categories": ["part"], "variants": ["mean-image"]}}},
            "download": {"sources": {"mine": str(write_tree(files, tmp_path / "images"))}},
            "index": index,
            "split": {"seen_anomalies": 2},
            "tensors": {"size": 32},
            "train": {"shots": 2, "threads": 1},
            "predict": {"timing_repeats": 1, "batch_size": 4},
            "evaluate": {"bootstrap": 0},
            "variants": {name: few for name, own in variants.items() if "shots" in (own or {}).get("train", {})},
        }
        (tmp_path / "preset.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
        (tmp_path / "work").mkdir()
        home = Path.cwd()
        for stage in STAGES:
            cell = ["--dataset", "mine"] if stage == "download" else ["--category", "part"]
            cell += ["--variant", "mean-image"] if stage in ("train", "predict", "evaluate") else []
            where = ["--params", params, "--preset", str(tmp_path / "preset.yaml"), "--root", str(tmp_path / "work")]
            try:
                assert main([stage, *where, *cell]) == 0
            finally:
                os.chdir(home)
        found = json.loads((tmp_path / "work/data/metrics/mine/part/mean-image/seed42.json").read_text())
        return [round(100 * found[name], 1) for name in ("image_auroc", "pixel_auroc", "pro", "ap")]

    return run


def test_every_class_of_a_label_map_counts(metrics):
    files = bright_spots()
    for i, place in enumerate(places()):
        labels = marked(*place, 1)
        labels[30:36, 2:8] = 3  # marked, though nothing shows there
        files[f"part/ground_truth/crack/{i:03}_mask.png"] = encoded(labels)
    assert metrics(files) == [100.0, 86.5, 57.3, 76.2]


def test_twelve_bits_are_seen_with_their_setting(metrics):
    random = np.random.default_rng(3)
    files = {name: data for name, data in bright_spots().items() if "ground_truth" in name}
    for folder, count in (("train/good", 6), ("test/good", 4), ("test/crack", 6)):
        for i in range(count):
            pixels = random.integers(1500, 1600, (HIGH, WIDE)).astype(np.uint16)
            if folder == "test/crack":
                top, left = places()[i]
                pixels[top : top + 10, left : left + 10] += 100
            files[f"part/{folder}/{i:03}.tif"] = encoded(pixels, ".tiff")
    assert metrics(files, image_bits=12) == [100.0, 99.4, 98.3, 96.0]


def test_good_images_of_another_shift_count_as_good(metrics):
    files = bright_spots()
    for i in range(4):
        files[f"part/test/OK/{i:03}.png"] = grain(104 + i)
        files[f"part/ground_truth/OK/{i:03}_mask.png"] = encoded(np.zeros((HIGH, WIDE), np.uint8))
    assert metrics(files) == [100.0, 100.0, 100.0, 100.0]


def test_a_drawing_on_a_transparent_layer_is_a_mask(metrics):
    files = bright_spots()
    for i, place in enumerate(places()):
        layer = np.zeros((HIGH, WIDE, 4), np.uint8)
        layer[..., 3] = marked(*place)
        files[f"part/ground_truth/crack/{i:03}_mask.png"] = encoded(layer)
    assert metrics(files) == [100.0, 100.0, 100.0, 100.0]
