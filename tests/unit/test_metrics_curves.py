"""Thinned curves: the areas are the metrics, the points lie on or beside the full curves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from prn.metrics import (
    image_auroc,
    image_roc_curve,
    localization_metrics,
    precision_recall_curve,
    pro_curve,
    rank_pixels,
    roc_curve,
)
from tests.unit.metrics_reference import flat, pro_points, realistic_images, scored_images


def step_area(curve) -> float:
    return float(np.sum(np.diff(curve.x, prepend=0) * curve.y))


@settings(max_examples=100, deadline=None)
@given(scored_images(), st.sampled_from([4, 6, 20, 400]), st.sampled_from([0.05, 0.3, 1.0]))
def test_areas_are_the_metrics(images, points, fpr_limit):
    maps, masks = images
    ranking = rank_pixels(maps, masks)
    roc, pro, pr = roc_curve(ranking, points), pro_curve(ranking, fpr_limit, points), precision_recall_curve(ranking)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(sk.roc_auc_score(flat(masks), flat(maps)), abs=1e-12)
    expected = localization_metrics(maps, masks, fpr_limit)["pro"]
    assert np.trapezoid(pro.y, pro.x) / fpr_limit == pytest.approx(expected, abs=1e-12)
    assert pro.x[-1] == pytest.approx(fpr_limit)
    assert step_area(pr) == pytest.approx(sk.average_precision_score(flat(masks), flat(maps)), abs=1e-12)
    for curve in (roc, pro):
        assert (np.diff(curve.x) >= 0).all()
        assert (np.diff(curve.y) >= 0).all()
        assert curve.x[0] == 0
        assert curve.y[0] == 0
    for curve in (roc, pro, pr):
        assert curve.x.min() >= 0
        assert curve.y.min() >= 0
        assert max(curve.x.max(), curve.y.max()) <= 1


@pytest.mark.parametrize("sigmoid", [0.0, 30.0], ids=["smooth", "saturated"])
def test_thinned_curves_follow_the_full_ones(sigmoid):
    maps, masks = realistic_images(6, 96, sigmoid=sigmoid)
    ranking = rank_pixels(maps, masks)
    roc, pr = roc_curve(ranking, 200), precision_recall_curve(ranking, 200)
    assert len(roc.x) <= 200
    assert len(pr.x) <= 201
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(sk.roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert step_area(pr) == pytest.approx(sk.average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    fpr, tpr, _ = sk.roc_curve(masks.ravel(), maps.ravel(), drop_intermediate=False)
    near = 2 * 2 / 100  # two of the hundred steps along x + y
    assert (roc.y <= np.interp(roc.x + near, fpr, tpr) + near).all()
    assert (roc.y >= np.interp(roc.x - near, fpr, tpr) - near).all()


def test_every_second_point_of_a_thinned_pro_curve_is_on_the_full_one():
    maps, masks = realistic_images(4, 40, seed=3)
    maps = np.round(maps, 2)
    fprs, pros = pro_points(maps, masks)
    curve = pro_curve(rank_pixels(maps, masks), 1.0, 50)
    assert len(curve.x) <= 50 < len(fprs)
    for x, y in zip(curve.x[::2], curve.y[::2], strict=True):
        vertical = np.isclose(fprs, x, atol=1e-12)
        on_corner = (vertical & np.isclose(pros, y, atol=1e-9)).any()
        between = pros[fprs <= x + 1e-12].max() >= y - 1e-9 and pros[fprs >= x - 1e-12].min() <= y + 1e-9
        assert on_corner or between


def test_few_scores_are_not_thinned():
    scores = np.array([[[3, 2, 1, 0]]])
    masks = np.array([[[1, 0, 1, 0]]])
    curve = roc_curve(rank_pixels(scores, masks))
    np.testing.assert_allclose(np.interp([0.25, 0.5, 0.75], curve.x, curve.y), [0.5, 1.0, 1.0])
    pr = precision_recall_curve(rank_pixels(scores, masks))
    np.testing.assert_allclose([pr.x, pr.y], [[0.5, 1.0], [1.0, 2 / 3]])


def test_image_roc_curve():
    random = np.random.default_rng(0)
    labels = random.random(500) < 0.3
    scores = random.normal(size=500) + labels
    for points in (20, 400, 5000):
        curve = image_roc_curve(scores, labels, points)
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(image_auroc(scores, labels), abs=1e-12)
        assert len(curve.x) <= points
    assert image_roc_curve(scores, labels & False) is None


def test_without_both_classes_there_are_no_curves():
    ranking = rank_pixels(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool))
    assert roc_curve(ranking) is pro_curve(ranking) is precision_recall_curve(ranking) is None
