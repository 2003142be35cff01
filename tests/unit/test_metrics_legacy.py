"""The legacy PRO columns against loops over thresholds, regions and pixels as their protocols describe them."""

import numpy as np
import pytest
from scipy import ndimage

from prn.metrics import LEGACY_EXPLANATION, legacy_pro, legacy_pro_in_chunks, localization_metrics
from tests.unit.metrics_reference import EIGHT_CONNECTED, realistic_images


def loop_rd4ad(maps, masks) -> float:
    of_images = []
    for one, mask in zip(maps.astype(float), masks, strict=True):
        if not mask.any():
            continue
        labels, count = ndimage.label(mask, EIGHT_CONNECTED)
        points = []
        for k in range(200):
            predicted = one > one.min() + k * (one.max() - one.min()) / 200
            overlap = np.mean([predicted[labels == region].mean() for region in range(1, count + 1)])
            points.append((predicted[~mask].mean(), overlap))
        x, y = np.array(sorted(point for point in points if point[0] < 0.3)).T
        of_images.append(np.trapezoid(y, x / x.max()))
    return float(np.mean(of_images))


def loop_cflow(maps, masks) -> float:
    low, high = float(maps.min()), float(maps.max())
    points = []
    for k in range(1000):
        predicted = maps.astype(float) > high - k * (high - low) / 1000
        overlaps = []
        for image, mask in zip(predicted, masks, strict=True):
            labels, count = ndimage.label(mask, EIGHT_CONNECTED)
            for region in range(1, count + 1):
                filled = ndimage.binary_fill_holes(labels == region)
                overlaps.append((image & filled).sum() / (labels == region).sum())
        points.append((predicted[~masks].mean(), np.mean(overlaps)))
    x, y = np.array([point for point in points if point[0] <= 0.3]).T
    return float(np.trapezoid(y, (x - x.min()) / (x.max() - x.min())))


@pytest.mark.parametrize("sigmoid", [0.0, 5.0], ids=["smooth", "saturated"])
def test_equals_the_loops(sigmoid):
    maps, masks = realistic_images(5, 40, seed=1, sigmoid=sigmoid)
    masks[1] = False
    masks[1, 5:15, 5:15] = True
    masks[1, 8:12, 8:12] = False  # a hole
    found = legacy_pro(maps, masks)
    assert found["legacy_pro_rd4ad_200"] == pytest.approx(loop_rd4ad(maps, masks), abs=1e-9)
    assert found["legacy_pro_cflow_1000"] == pytest.approx(loop_cflow(maps, masks), abs=1e-9)
    assert found["legacy_pro_rd4ad_undefined_images"] == 0
    pieces = legacy_pro_in_chunks(lambda: ((maps[i : i + 1], masks[i : i + 1]) for i in range(5)))
    assert pieces == pytest.approx(found, abs=1e-12)


def test_saturation_moves_the_legacy_columns_but_not_the_exact_metric():
    maps, masks = realistic_images(9, 64)
    saturated = 1 / (1 + np.exp(-8 * (maps.astype(float) - 2)))
    before, after = legacy_pro(maps, masks), legacy_pro(saturated, masks)
    exact = [localization_metrics(scores, masks)["pro"] for scores in (maps, saturated)]
    assert exact[0] == pytest.approx(exact[1], abs=1e-3)
    for name in ("legacy_pro_rd4ad_200", "legacy_pro_cflow_1000"):
        assert abs(before[name] - after[name]) > 0.02
    assert LEGACY_EXPLANATION.count(". ") == 2


def test_images_without_any_false_positive_are_left_out_and_counted():
    masks = np.zeros((2, 8, 8), bool)
    masks[:, 2:4, 2:4] = True
    maps = masks.astype(float)
    maps[1, 6, :5] = 0.5
    found = legacy_pro(maps, masks)
    assert found["legacy_pro_rd4ad_undefined_images"] == 1
    assert found["legacy_pro_rd4ad_200"] == pytest.approx(1.0)


def test_without_a_defect_or_a_range_nothing_is_defined():
    nothing = {"legacy_pro_rd4ad_200": None, "legacy_pro_rd4ad_undefined_images": 0, "legacy_pro_cflow_1000": None}
    maps, masks = realistic_images(3, 16)
    assert legacy_pro(maps, masks & False) == nothing
    assert legacy_pro(maps * 0, masks)["legacy_pro_cflow_1000"] is None
    assert legacy_pro(maps, masks | True)["legacy_pro_cflow_1000"] is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    maps, masks = realistic_images(3, 16)
    maps[1, 0, 0] = bad
    with pytest.raises(ValueError, match=r"finite.*score_maps\[1\]"):
        legacy_pro(maps, masks)
