"""A cell of the benchmark through every stage called by hand: other backbones, and scores at the images' own size."""

import json

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from prn.predictions import load_predictions
from tests.unit.cell_case import CELL, Bench
from tests.unit.metrics_reference import brute_force_pro


@pytest.fixture
def bench(project, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    return Bench(project, tmp_path, monkeypatch)


# The attention of the wide networks has 10^8 weights: without it here; tests/unit/test_model_network.py builds it, and
# resnet50, whose maps have the same channels.
@pytest.mark.parametrize("backbone", ["resnet34", pytest.param("wide_resnet50_2", marks=pytest.mark.slow)])
def test_other_backbones_run_from_images_to_metrics(bench, backbone):
    bench.settings["model"] = {"backbone": backbone, "attention": backbone == "resnet34", "attention_layers": 1}
    bench.settings["train"]["steps"] = 1
    bench.all_stages()
    found = bench.metrics()
    assert found["counts"] == {
        "train_normal": 8,
        "seen": 10,
        "test_good": 4,
        "test_defective": 3,
        "test_without_mask": 0,
    }
    assert all(0 <= found[name] <= 1 for name in ("image_auroc", "pixel_auroc", "pro", "ap"))


def test_the_original_size_is_scored_on_the_images_own_masks(bench):
    bench.settings["model"] = {"attention": False, "fusion": False}
    bench.settings["evaluate"] = {"bootstrap": 20}
    bench.all_stages()
    working = bench.metrics()
    bench.settings["evaluate"] = {"bootstrap": 20, "resolution": "original", "legacy": True}
    bench.call("evaluate", *CELL)
    original = bench.metrics()
    assert (working["resolution"], original["resolution"]) == ("working", "original")
    assert original["image_auroc"] == working["image_auroc"]
    assert original["pixel_auroc"] != working["pixel_auroc"]
    maps, masks = resized_by_hand(bench.folder)
    truth, scores = (np.concatenate([one.ravel() for one in every]) for every in (masks, maps))
    assert original["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=2e-3)
    assert original["ap"] == pytest.approx(average_precision_score(truth, scores), abs=2e-3)
    assert original["pro"] == pytest.approx(brute_force_pro(maps, masks, 0.3), abs=2e-3)
    assert set(original["legacy"]) >= {"legacy_pro_rd4ad_200", "legacy_pro_cflow_1000"}
    assert set(original["confidence"]) == {"image_auroc", "pixel_auroc", "pro", "ap"}
    assert [group["name"] for group in original["by_type"]] == ["spot"]
    assert original["operating_points"] and original["seconds_per_image"] > 0
    sidecar = bench.folder / "data/metrics/mine/part/prn/seed42.json.prov.json"
    provenance = json.loads(sidecar.read_text(encoding="utf-8"))
    assert provenance["stage"] == "evaluate" and provenance["record"]["seconds"] > 0


def resized_by_hand(folder) -> tuple[list, list]:
    """Score maps at 40 x 48 by torch's interpolation, and the masks as the files have them."""
    stored = load_predictions(folder / "data/predictions/mine/part/prn/seed42.npz")
    maps = torch.from_numpy(stored.score_maps.astype(np.float32))[:, None]
    resized = torch.nn.functional.interpolate(maps, (40, 48), mode="bilinear")[:, 0]
    masks = []
    for path in stored.paths:
        mask = None
        if "/spot/" in path:
            name = path.rsplit("/", 1)[1].replace(".png", "_mask.png")
            mask = cv2.imread(str(folder / "images/part/ground_truth/spot" / name), cv2.IMREAD_GRAYSCALE)
        masks.append(np.zeros((40, 48), bool) if mask is None else mask > 0)
    return list(resized.numpy()), masks


def test_sizes_that_are_no_multiple_of_32_are_refused_with_the_key(bench, capsys):
    bench.settings["tensors"] = {"size": 100}
    bench.call("tensors", *CELL, code=2)
    assert "tensors.size" in capsys.readouterr().err
