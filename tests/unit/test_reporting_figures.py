"""Figures: the stated rules of choice, curves and recalls against brute force, pictures that carry no date."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize
from PIL import Image
from safetensors.torch import save_file
from skimage.measure import label
from sklearn.metrics import average_precision_score, roc_auc_score

from prn import layout
from prn.backbone import Backbone, random_weights
from prn.prototypes import cluster_prototypes
from prn.reporting import style
from prn.reporting.curves import PANELS, RankedPredictions, _at, merge_sizes, recall_by_size
from prn.reporting.distances import _distances, distance_grid
from prn.reporting.evidence import Evidence, NoEvidence
from prn.reporting.failures import find_failures
from prn.reporting.grids import choose, score_grid
from prn.reporting.mosaic import overlay, truth_picture
from prn.reporting.results import Run


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """Twelve images, eight of them defective, scored by a noisy guess of their masks."""
    generator = np.random.default_rng(5)
    masks = np.zeros((12, 24, 24), bool)
    for index in range(8):
        for size in (2, 3 + index % 4):
            top, left = generator.integers(0, 24 - size, 2)
            masks[index, top : top + size, left : left + size] = True
    maps = (masks * 0.8 + generator.random(masks.shape)).astype(np.float32)
    return Evidence(
        run=Run("mvtec", "bottle", "prn", 42),
        paths=[f"bottle/test/{'dent' if index < 8 else 'good'}/{index:03d}.png" for index in range(12)],
        images=generator.integers(0, 256, (12, 24, 24, 3)).astype(np.uint8),
        masks=masks,
        has_mask=np.ones(12, bool),
        types=["dent"] * 8 + ["good"] * 4,
        defective=np.arange(12) < 8,
        score_maps=maps,
        image_scores=maps.reshape(12, -1).astype(np.float64).mean(axis=1),
    )


def test_rows_follow_the_stated_rule() -> None:
    scores = np.array([5.0, 1.0, 9.0, 7.0, 3.0, 2.0, 4.0, 6.0])
    defective = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    chosen = {item.label: item.index for item in choose(scores, defective, 4)}
    assert chosen == {"median defect": 0, "worst miss": 1, "worst false alarm": 7, "median good": 6}
    six = choose(scores, defective, 6)
    assert [item.index for item in six if item.label == "defect"] == [3, 4]
    assert len({item.index for item in six}) == len(six)
    assert [item.index for item in choose(scores[:1], defective[:1], 6)] == [0]


def test_curves_have_the_areas_of_scikit_learn(evidence: Evidence) -> None:
    scored = RankedPredictions(evidence)
    grid = np.linspace(0, 1, 5001)
    truth, scores = evidence.masks.ravel(), evidence.score_maps.ravel()
    areas = [np.trapezoid(_at(panel.curve(scored), grid, panel.stepped), grid) for panel in PANELS[:3]]
    assert areas[0] == pytest.approx(roc_auc_score(evidence.defective, evidence.image_scores), abs=2e-3)
    assert areas[1] == pytest.approx(roc_auc_score(truth, scores), abs=2e-3)
    assert areas[2] == pytest.approx(average_precision_score(truth, scores), abs=2e-2)


def test_without_a_mask_there_are_no_pixel_curves(evidence: Evidence) -> None:
    values = {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
    unknown = RankedPredictions(Evidence(**{**values, "has_mask": np.arange(12) != 3}))
    assert [panel.curve(unknown) is None for panel in PANELS] == [False, True, True, True]
    assert recall_by_size([unknown]) == []


def test_recall_by_size_counts_regions(evidence: Evidence) -> None:
    threshold = np.sort(evidence.score_maps[~evidence.masks])[::-1]
    allowed = int(0.01 * len(threshold))
    found: dict[bool, list[bool]] = {False: [], True: []}
    for mask, score_map in zip(evidence.masks, evidence.score_maps, strict=True):
        regions = label(mask, connectivity=2)
        for number in range(1, regions.max() + 1):
            inside = regions == number
            share = (score_map[inside] > threshold[allowed]).mean()
            found[inside.sum() / mask.size >= 0.016].append(bool(share >= 0.5))
    sizes = {one.name: one for one in recall_by_size([RankedPredictions(evidence)])}
    for large, names in ((False, ["0.4 % to 1.6 %"]), (True, ["1.6 % to 6.4 %", "6.4 % to 100 %"])):
        ours = merge_sizes([[sizes[name]] for name in names])[0]
        assert ours.regions == len(found[large])
        assert ours.recall == pytest.approx(np.mean(found[large]))


def test_failures_are_the_images_on_the_wrong_side(evidence: Evidence) -> None:
    found = find_failures(RankedPredictions(evidence))
    good, bad = evidence.image_scores[8:], evidence.image_scores[:8]
    assert found.misses[0].path == evidence.paths[int(bad.argmin())]
    assert found.misses[0].share == pytest.approx(np.mean(good >= bad.min()))
    assert found.alarms[0].path == evidence.paths[8 + int(good.argmax())]
    assert found.alarms[0].share == pytest.approx(np.mean(bad <= good.max()))
    assert [one.kind for one in found.types] == ["dent"]
    assert found.types[0].images == 8


def test_an_overlay_leaves_low_scores_as_they_are() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    score_map = np.zeros((4, 4))
    score_map[0, 0] = 1.0
    shown = overlay(image, score_map, Normalize(0, 1))
    assert (shown[1:] == 100).all()
    assert (shown[0, 0] != 100).any()


def test_a_defect_without_a_mask_is_grey_not_black() -> None:
    mask = np.zeros((3, 3), bool)
    assert (truth_picture(mask, True) == 0).all()
    assert (truth_picture(mask, False) == 128).all()


def test_pictures_carry_no_date_and_no_software(evidence: Evidence, tmp_path: Path) -> None:
    score_grid(evidence, 4, tmp_path / "grid.png")
    with style.figure(2, 2) as made:
        made.subplots().plot([0, 1])
        style.save(made, tmp_path / "line.png")
    for name in ("grid.png", "line.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert not {"Software", "Creation Time", "date"} & set(picture.info)


def test_the_palette_differs_in_lightness() -> None:
    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    fixed = sorted(lightness(colour) for colour in style.VARIANT_COLOURS.values())
    assert np.diff(fixed).min() > 0.015


def test_distances_to_the_prototypes_are_drawn_or_their_absence_is_named(tmp_path: Path) -> None:
    weights = random_weights("resnet18", seed=0)
    images = np.random.default_rng(2).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    defective = np.array([True, True, False, False])
    evidence = Evidence(
        run=Run("mvtec", "bottle", "prn", 42),
        paths=[f"bottle/test/{kind}/{number}.png" for number, kind in enumerate(("dent", "dent", "good", "good"))],
        images=images,
        masks=np.zeros((4, 32, 32), bool),
        has_mask=defective,
        types=["dent", "dent", "good", "good"],
        defective=defective,
        score_maps=np.random.default_rng(3).random((4, 32, 32)),
        image_scores=np.arange(4.0),
    )
    with pytest.raises(NoEvidence, match="checkpoint is not kept"):
        distance_grid(tmp_path, evidence, tmp_path / "grid.png")
    save_file(weights, tmp_path / "backbone.safetensors")
    card = {
        "view": {"model": {"backbone": "resnet18"}},
        "inputs": {"backbone": "backbone.safetensors", "prototypes": "prototypes.safetensors"},
    }
    checkpoint = evidence.run.file(tmp_path, layout.CHECKPOINT)
    checkpoint.parent.mkdir(parents=True)
    save_file({"nothing": torch.zeros(1)}, checkpoint, {"prn": json.dumps(card)})
    with pytest.raises(NoEvidence, match="the prototypes of prn with seed 42 are not kept"):
        distance_grid(tmp_path, evidence, tmp_path / "grid.png")
    prototypes = cluster_prototypes(Backbone("resnet18", weights), images[2:], ratio=1.0, seed=3)
    prototypes.save(tmp_path / "prototypes.safetensors")
    distances = _distances(tmp_path, evidence, images)
    assert [maps.shape for maps in distances] == [(4, 8, 8), (4, 4, 4), (4, 2, 2)]
    for maps in distances:  # the good images are their own prototypes
        assert maps[2:].max() < 1e-3 * maps[:2].min()
    assert len(distance_grid(tmp_path, evidence, tmp_path / "grid.png")) == 3  # of two defects, the worst is the median
    assert Image.open(tmp_path / "grid.png").width > 900
