"""Pixel metrics against scikit-learn, a brute-force PRO and hand-computed cases; their invariances as properties."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from prn.metrics import (
    counting,
    legacy_pro_in_chunks,
    localization_intervals_in_chunks,
    localization_metrics,
    rank_pixels,
    rank_pixels_in_chunks,
    ranking,
    resize_score_map,
)
from tests.unit.metrics_reference import brute_force_pro, flat, realistic_images, scored_images

NOTHING = {"pixel_auroc": None, "ap": None, "pro": None}


def assert_same(found: dict, expected: dict, tolerance: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


@settings(max_examples=100, deadline=None)
@given(scored_images(), st.sampled_from([0.05, 0.3, 1.0]))
def test_equals_independent_values(images, fpr_limit):
    maps, masks = images
    found = localization_metrics(maps, masks, fpr_limit)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(flat(masks), flat(maps)), abs=1e-12)
    assert found["ap"] == pytest.approx(average_precision_score(flat(masks), flat(maps)), abs=1e-12)
    assert found["pro"] == pytest.approx(brute_force_pro(maps, masks, fpr_limit), abs=1e-9)
    assert all(type(value) is float and 0 <= value <= 1 for value in found.values())


@pytest.mark.parametrize("sigmoid", [0.0, 30.0], ids=["smooth", "saturated"])
def test_equals_scikit_learn_on_realistic_maps(sigmoid):
    maps, masks = realistic_images(8, 96, sigmoid=sigmoid)
    found = localization_metrics(maps, masks)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert found["ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)


def test_pro_equals_brute_force_on_realistic_maps():
    maps, masks = realistic_images(4, 48, seed=1)
    maps = np.round(maps, 1)
    assert localization_metrics(maps, masks)["pro"] == pytest.approx(brute_force_pro(maps, masks, 0.3), abs=1e-9)


def test_hand_computed_case():
    # 5 negatives, regions of 1 and 2 pixels. From high to low: region A (PRO 1/2), a negative (FPR 0.2),
    # half of region B tied with a negative (PRO 3/4, FPR 0.4), three negatives, the other half of B.
    scores = np.array([[[9, 8, 7, 7], [3, 3, 3, 1]]], np.float32)
    masks = np.array([[[1, 0, 0, 1], [0, 0, 0, 1]]], np.uint8)
    found = localization_metrics(scores, masks, fpr_limit=0.3)
    assert found["pro"] == pytest.approx((0.2 * 0.5 + 0.1 * (0.5 + 0.625) / 2) / 0.3, abs=1e-12)
    # Pairs won by the three positives: 5, then 3 and a half of a tie, then 0, of 15.
    assert found["pixel_auroc"] == pytest.approx((5 + 3.5 + 0) / 15, abs=1e-12)
    assert found["ap"] == pytest.approx((1 / 1 + 2 / 4 + 3 / 8) / 3, abs=1e-12)


def test_diagonal_neighbours_are_one_region():
    # A region of two pixels that touch at a corner, half of it found, and one of one pixel, found: mean overlap 3/4.
    # Counted as three regions of one pixel it would be 2/3.
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 3, 3] = True
    scores = np.zeros((1, 4, 4))
    scores[0, 0, 0] = scores[0, 3, 3] = 1
    # All other pixels tie: the curve goes straight from (0, 3/4) to (1, 1).
    assert localization_metrics(scores, mask, fpr_limit=0.2)["pro"] == pytest.approx(0.75 + 0.25 * 0.1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(scored_images(), st.sampled_from(["rank", "cube", "scale", "exp"]))
def test_unchanged_under_increasing_transforms(images, transform):
    maps, masks = images
    values, ranks = np.unique(flat(maps), return_inverse=True)
    changed = {
        "rank": (np.arange(len(values)) - 7) * 1e-30,
        "cube": (values - 0.3) ** 3,
        "scale": values * 1e200,
        "exp": np.exp(20 * values),
    }[transform]
    assert (np.diff(changed) > 0).all()
    ends = np.cumsum([one.size for one in maps])[:-1]
    new = [part.reshape(one.shape) for part, one in zip(np.split(changed[ranks], ends), maps, strict=True)]
    assert_same(localization_metrics(new, masks), localization_metrics(maps, masks))


@settings(max_examples=40, deadline=None)
@given(scored_images(), st.integers(1, 200), st.sampled_from([1, 3, 1000]), st.integers(1, 6))
def test_chunks_give_the_same(images, sorted_pixels, chunk, search_group):
    maps, masks = images
    passes = []

    def chunks():
        passes.append(1)
        for start in range(0, len(maps), chunk):
            yield maps[start : start + chunk], masks[start : start + chunk]

    expected = localization_metrics(maps, masks)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FEWEST_BINS": 2, "MOST_BINS": 4, "PIECE": min(sorted_pixels, 16)}.items():
            patch.setattr(counting, name, value)
        patch.setattr(counting, "SORTED_VALUES", sorted_pixels)
        patch.setattr(counting, "SORTED_VALUES_PER_THRESHOLD", 0)
        patch.setattr(ranking, "SEARCH_GROUP", search_group)
        found = rank_pixels_in_chunks(chunks).metrics()
    assert_same(found, expected)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("dtype", "mask_dtype"),
    [
        (np.float16, bool),
        (np.float32, np.uint8),
        (np.float64, np.int64),
        (np.uint8, np.float32),
        (np.int32, bool),
        (np.longdouble, np.int8),
    ],
)
def test_types(dtype, mask_dtype):
    maps, masks = realistic_images(3, 32)
    maps = ((maps - maps.min()) / np.ptp(maps) * 100).astype(dtype)
    expected = localization_metrics(maps.astype(np.float64), masks)
    assert_same(localization_metrics(maps, masks.astype(mask_dtype)), expected)
    assert expected["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel().astype(float)), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_tensors(dtype):
    maps, masks = realistic_images(3, 32)
    tensor = torch.tensor(maps).to(dtype)
    expected = localization_metrics(tensor.double().numpy(), masks)
    assert_same(localization_metrics(tensor, torch.tensor(masks)), expected)
    assert_same(
        localization_metrics(tensor[:, None].requires_grad_(), torch.tensor(masks)[:, None].to(dtype)), expected
    )
    assert_same(localization_metrics(list(tensor), [torch.tensor(mask) for mask in masks]), expected)


def test_arguments_stay_unchanged_and_views_work():
    maps, masks = realistic_images(4, 32)
    before = maps.copy()
    expected = localization_metrics(maps, masks)
    np.testing.assert_array_equal(maps, before)
    swapped = localization_metrics(maps.transpose(0, 2, 1), masks.transpose(0, 2, 1))
    assert_same(swapped, expected)
    assert_same(localization_metrics(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1].astype(np.uint8)), expected)
    maps.flags.writeable = masks.flags.writeable = False
    assert_same(localization_metrics(maps, masks), expected)


def test_mixed_score_types_compare_exactly():
    # 0.1 as float32 lies above 0.1 as float64: as one type the positive wins, rounded to float32 it would tie.
    maps = [np.array([[np.float32(0.1)]]), np.array([[0.1]])]
    assert localization_metrics(maps, [np.array([[True]]), np.array([[False]])])["pixel_auroc"] == 1.0


def test_negative_zero_ties_with_zero():
    assert localization_metrics(np.array([[[0.0, -0.0]]]), np.array([[[False, True]]]))["pixel_auroc"] == 0.5


def test_constant_scores():
    masks = np.zeros((2, 4, 5), bool)
    masks[1, 1:3, 1:3] = True
    found = localization_metrics(np.full((2, 4, 5), 0.5, np.float32), masks)
    assert_same(found, {"pixel_auroc": 0.5, "ap": 0.1, "pro": 0.15})


def test_perfect_and_inverted_scores():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:5, 2:5] = True
    assert_same(localization_metrics(masks.astype(float), masks), {"pixel_auroc": 1.0, "ap": 1.0, "pro": 1.0})
    found = localization_metrics(-masks.astype(float), masks)
    assert (found["pixel_auroc"], found["pro"]) == (0.0, 0.0)


def test_an_empty_mask_on_a_defect_counts_as_negatives():
    maps, masks = realistic_images(4, 32)
    masks[1] = False
    assert localization_metrics(maps, masks)["pixel_auroc"] == pytest.approx(
        roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12
    )


@pytest.mark.parametrize("masks", [np.zeros((2, 3, 3), bool), np.ones((2, 3, 3), bool), np.zeros((0, 3, 3), bool)])
def test_without_both_classes_nothing_is_defined(masks):
    assert localization_metrics(np.zeros(masks.shape, np.float32), masks) == NOTHING
    assert localization_metrics([], []) == NOTHING


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("on_defect", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_that_are_not_finite_are_refused(bad, on_defect, dtype):
    maps, masks = realistic_images(4, 16)
    maps, masks = maps.astype(dtype), masks.copy()
    masks[2, 3, 3] = on_defect
    maps[2, 3, 3] = bad
    with pytest.raises(ValueError, match=r"finite.*score_maps\[2\]"):
        localization_metrics(maps, masks)
    with pytest.raises(ValueError, match=r"finite.*score_maps\[2\]"):
        rank_pixels_in_chunks(lambda: zip(maps[:, None], masks[:, None], strict=True))
    with pytest.raises(ValueError, match="finite"):
        localization_metrics(maps, np.zeros_like(masks))


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.zeros((2, 4, 4)), np.full((2, 4, 4), 255, np.uint8), "only 0 and 1"),
        (np.zeros((2, 4, 4)), np.full((2, 4, 4), -1, np.int8), "only 0 and 1"),
        (np.zeros((2, 4, 4)), np.full((2, 4, 4), 0.5), "only 0 and 1"),
        (np.zeros((2, 4, 4)), np.full((2, 4, 4), np.nan), "only 0 and 1"),
        (np.zeros((2, 4, 4)), np.zeros((3, 4, 4), bool), "2 score maps but 3 masks"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 5), bool), r"score_maps\[0\] has the shape \(4, 4\)"),
        (np.zeros((4, 4)), np.zeros((4, 4), bool), "N x H x W"),
        ([np.zeros((1, 4, 4))], [np.zeros((1, 4, 4), bool)], r"score_maps\[0\] must be H x W"),
        (np.zeros((2, 4, 4), complex), np.zeros((2, 4, 4), bool), "real numbers"),
        (np.full((2, 4, 4), "high"), np.zeros((2, 4, 4), bool), "real numbers"),
    ],
)
def test_wrong_arguments_are_refused(maps, masks, message):
    with pytest.raises(ValueError, match=message):
        localization_metrics(maps, masks)


@pytest.mark.parametrize("fpr_limit", [0, -0.1, 1.1, np.nan])
def test_a_wrong_limit_is_refused(fpr_limit):
    with pytest.raises(ValueError, match="fpr_limit"):
        localization_metrics(*realistic_images(2, 8), fpr_limit=fpr_limit)


def test_chunks_must_be_a_function_and_stay_the_same():
    maps, masks = realistic_images(2, 16)
    for function in (rank_pixels_in_chunks, localization_intervals_in_chunks, legacy_pro_in_chunks):
        with pytest.raises(TypeError, match="function"):
            function([(maps, masks)])
    once = iter([(maps, masks)])
    with pytest.raises(ValueError, match="same in every pass"):
        rank_pixels_in_chunks(lambda: once)


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_chunks_does_not_grow_with_the_images(monkeypatch):
    monkeypatch.setattr(counting, "SORTED_VALUES", 1 << 15)
    size = 128
    mask = np.zeros((1, size, size), bool)
    mask[0, :4, :4] = True

    def ranking_of(count):
        def chunks():
            for image in range(count):
                yield np.random.default_rng(image).random((1, size, size), np.float32), mask

        return lambda: rank_pixels_in_chunks(chunks)

    few, many = peak_bytes(ranking_of(20)), peak_bytes(ranking_of(80))
    added = 60 * size * size
    per_defect_pixel, bins, room = 160, 8 * 16, 4 * 16  # bytes, as documented
    assert many - few < (per_defect_pixel + bins + room) * 16 * 60 + 200_000 < 4 * added / 4


def test_memory_beyond_the_arguments_is_as_documented():
    maps, masks = realistic_images(24, 256)
    localization_metrics(maps[:2], masks[:2])
    peak = peak_bytes(lambda: localization_metrics(maps, masks))
    bins = 16 * masks.sum()
    assert peak < 4 * maps.size + 160 * masks.sum() + 8 * bins + 6_000_000


def test_one_ranking_serves_several_limits():
    maps, masks = realistic_images(3, 32)
    ranked = rank_pixels(maps, masks)
    for limit in (0.05, 0.3, 1.0):
        assert ranked.pro(limit) == localization_metrics(maps, masks, limit)["pro"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_resized_maps_equal_torch(dtype):
    score_map = np.random.default_rng(0).normal(size=(16, 16)).astype(dtype)
    found = resize_score_map(score_map, 40, 25)
    tensor = torch.tensor(score_map.astype(np.float64))[None, None]
    expected = torch.nn.functional.interpolate(tensor, (40, 25), mode="bilinear", align_corners=False)[0, 0].numpy()
    assert found.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(resize_score_map(score_map, 16, 16), score_map)
