"""Bootstrap intervals against a plain bootstrap that scores resampled images anew, and against exact replicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from prn.metrics import (
    Interval,
    bootstrap,
    image_auroc_interval,
    localization_intervals,
    localization_intervals_in_chunks,
    localization_metrics,
    rank_pixels,
)
from tests.unit.metrics_reference import realistic_images, scored_images


def resampled(defective: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Indices of images drawn with replacement, defective and good ones apart."""
    parts = [np.flatnonzero(defective), np.flatnonzero(~defective)]
    return np.concatenate([random.choice(part, len(part)) for part in parts])


def test_pixel_intervals_equal_a_plain_bootstrap():
    maps, masks = realistic_images(12, 24, seed=5)
    random = np.random.default_rng(1)
    plain = []
    for _ in range(1500):
        drawn = resampled(masks.any(axis=(1, 2)), random)
        plain.append(list(localization_metrics(maps[drawn], masks[drawn]).values()))
    low, high = np.quantile(plain, [0.05, 0.95], axis=0)
    found = localization_intervals(maps, masks, replicates=4000, confidence=0.9)
    exact = localization_metrics(maps, masks)
    for index, (name, interval) in enumerate(found.items()):
        assert interval.value == exact[name]
        width = high[index] - low[index]
        assert interval.low == pytest.approx(low[index], abs=0.12 * width), name
        assert interval.high == pytest.approx(high[index], abs=0.12 * width), name


@pytest.mark.parametrize("sigmoid", [0.0, 30.0], ids=["smooth", "saturated"])
def test_replicates_are_close_to_exact_ones(sigmoid):
    maps, masks = realistic_images(9, 128, sigmoid=sigmoid, seed=2)
    ranking = rank_pixels(maps, masks)
    assert len(ranking.thresholds) > 2 * bootstrap.KNOTS
    counts = bootstrap._ImageCounts.of(ranking, lambda: [(maps, masks)])
    random = np.random.default_rng(0)
    for _ in range(5):
        drawn = resampled(masks.any(axis=(1, 2)), random)
        found = counts.metrics(np.bincount(drawn, minlength=9)[None].astype(float), 0.3)[:, 0]
        np.testing.assert_allclose(found, list(localization_metrics(maps[drawn], masks[drawn]).values()), atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(scored_images(), st.integers(0, 5), st.sampled_from([0.1, 0.3, 1.0]))
def test_replicates_of_maps_with_few_scores_are_exact(images, seed, fpr_limit):
    maps, masks = images
    defective = np.array([mask.any() for mask in masks])
    drawn = resampled(defective, np.random.default_rng(seed))
    expected = localization_metrics([maps[i] for i in drawn], [masks[i] for i in drawn], fpr_limit)
    if expected["pro"] is None:
        return
    counts = bootstrap._ImageCounts.of(rank_pixels(maps, masks), lambda: [(maps, masks)])
    found = counts.metrics(np.bincount(drawn, minlength=len(maps))[None].astype(float), fpr_limit)[:, 0]
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-9)


def test_image_interval_equals_a_plain_bootstrap():
    random = np.random.default_rng(0)
    labels = np.arange(60) < 25
    scores = np.round(random.normal(size=60) + labels, 1)
    bad, good = scores[labels], scores[~labels]
    won = (bad[:, None] > good) + 0.5 * (bad[:, None] == good)
    draws = (np.ix_(random.integers(25, size=25), random.integers(35, size=35)) for _ in range(6000))
    low, high = np.quantile([won[pairs].mean() for pairs in draws], [0.025, 0.975])
    found = image_auroc_interval(scores, labels, replicates=6000)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_every_replicate_has_both_classes_in_the_sample_s_proportion():
    # Drawn from all images alike, some replicates would lack a class, and the share of defect pixels would vary.
    assert image_auroc_interval([3, 4, 1, 2], [1, 1, 0, 0]) == Interval(1.0, 1.0, 1.0)
    masks = np.zeros((6, 4, 5), bool)
    masks[:3, 1:3, 1:3] = True
    interval = localization_intervals(np.ones(masks.shape), masks)["ap"]
    assert [interval.value, interval.low, interval.high] == pytest.approx([0.1] * 3, abs=1e-12)


def test_the_same_seed_gives_the_same_interval_however_it_is_read():
    maps, masks = realistic_images(9, 32)
    first = localization_intervals(maps, masks, replicates=200, seed=3)
    pieces = localization_intervals_in_chunks(
        lambda: ((maps[i : i + 1], masks[i : i + 1]) for i in range(9)),
        replicates=200,
        seed=3,
        ranking=rank_pixels(maps, masks),
    )
    assert first == pieces
    assert first != localization_intervals(maps, masks, replicates=200, seed=4)
    labels = np.arange(20) < 9
    scores = np.random.default_rng(0).random(20)
    assert image_auroc_interval(scores, labels) == image_auroc_interval(scores, labels)


def test_mixed_types_and_sizes():
    maps, masks = realistic_images(6, 32)
    mixed = [one[:, : 20 + i].astype(np.float64 if i % 2 else np.float16) for i, one in enumerate(maps)]
    cut = [mask[:, : 20 + i] for i, mask in enumerate(masks)]
    found = localization_intervals(mixed, cut, replicates=100)
    for name, value in localization_metrics(mixed, cut).items():
        assert found[name].low <= value <= found[name].high


def test_too_few_images_have_no_interval():
    maps, masks = realistic_images(3, 16)
    masks[2] = False
    assert localization_intervals(maps, masks) == {"pixel_auroc": None, "ap": None, "pro": None}
    assert localization_intervals(maps, masks & False) == {"pixel_auroc": None, "ap": None, "pro": None}
    assert image_auroc_interval([1, 2, 3], [1, 0, 0]) is None
    assert image_auroc_interval([1, 2, 3], [1, 1, 0]) is None


def test_replicates_without_a_negative_pixel_are_left_out():
    masks = np.zeros((4, 2, 2), bool)
    masks[:3] = True
    masks[0, 0, 0] = False
    masks[3, 0] = True
    maps = np.random.default_rng(0).random(masks.shape)
    found = localization_intervals(maps, masks, replicates=300)
    assert all(0 <= interval.low <= interval.high <= 1 for interval in found.values())


def test_a_ranking_of_other_images_is_refused():
    maps, masks = realistic_images(6, 16)
    ranking = rank_pixels(maps, masks)
    with pytest.raises(ValueError, match="not of these images"):
        localization_intervals(maps[:5], masks[:5], ranking=ranking)
    with pytest.raises(ValueError, match="not of these images"):
        localization_intervals(maps[:, :9], masks[:, :9], ranking=ranking)


@pytest.mark.parametrize("wrong", [{"replicates": 0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        image_auroc_interval([1, 2], [1, 0], **wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        localization_intervals(*realistic_images(3, 8), **wrong)
