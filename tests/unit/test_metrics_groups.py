"""PRO and recall of types and sizes against brute force over the regions of the group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from prn.metrics import localization_metrics, metrics_by_area, metrics_by_type, rank_pixels
from tests.unit.metrics_reference import EIGHT_CONNECTED, brute_force_pro, realistic_images, scored_images


def brute_force_recalls(maps, masks, keep, fpr: float) -> tuple[float, float]:
    """Pixel recall and share of half-covered regions at the threshold with the highest recall within the rate."""
    negatives = np.concatenate([one[~mask] for one, mask in zip(maps, masks, strict=True)])
    positives = np.concatenate([one[mask] for one, mask in zip(maps, masks, strict=True)])
    allowed = [cut for cut in np.unique(positives) if (negatives >= cut).mean() <= fpr]
    cut = min(allowed, default=np.inf)
    covered, areas = [], []
    for image, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        labels, count = ndimage.label(mask, EIGHT_CONNECTED)
        for region in range(1, count + 1):
            inside = labels == region
            if keep(image, int(inside.sum())):
                covered.append((one[inside] >= cut).sum())
                areas.append(inside.sum())
    covered, areas = np.array(covered), np.array(areas)
    return covered.sum() / areas.sum(), (covered / areas >= 0.5).mean()


@settings(max_examples=60, deadline=None)
@given(scored_images(), st.sampled_from([0.05, 0.3]), st.sampled_from([0.1, 0.5]))
def test_by_type_equals_brute_force(images, fpr_limit, fpr):
    maps, masks = images
    types = ["crack", "dent", "crack", "scratch"][: len(maps)]
    found = metrics_by_type(rank_pixels(maps, masks), types, fpr_limit, [fpr])
    assert [group.name for group in found] == sorted({types[i] for i, mask in enumerate(masks) if mask.any()})
    for group in found:

        def keep(image, area, name=group.name):
            return types[image] == name

        assert group.pro == pytest.approx(brute_force_pro(maps, masks, fpr_limit, keep), abs=1e-9)
        pixels, regions = brute_force_recalls(maps, masks, keep, fpr)
        assert group.pixel_recall == {f"{fpr:g}": pytest.approx(pixels, abs=1e-12)}
        assert group.region_recall == {f"{fpr:g}": pytest.approx(regions, abs=1e-12)}
        assert group.images == sum(mask.any() for i, mask in enumerate(masks) if types[i] == group.name)
        assert group.pixels == sum(mask.sum() for i, mask in enumerate(masks) if types[i] == group.name)


@settings(max_examples=60, deadline=None)
@given(scored_images())
def test_by_area_equals_brute_force(images):
    maps, masks = images
    edges = (0.05, 0.2)
    found = metrics_by_area(rank_pixels(maps, masks), edges)
    assert [group.name for group in found] == ["0 % to 5 %", "5 % to 20 %", "20 % to 100 %"]
    for group, low, high in zip(found, (0, *edges), (*edges, 1.1), strict=True):

        def keep(image, area, low=low, high=high):
            return low <= area / masks[image].size < high

        assert sum(group.regions for group in found) == rank_pixels(maps, masks).region_area.size
        if group.regions:
            assert group.pro == pytest.approx(brute_force_pro(maps, masks, 0.3, keep), abs=1e-9)
            assert group.pixel_recall["0.05"] == pytest.approx(brute_force_recalls(maps, masks, keep, 0.05)[0])
        else:
            assert (group.pro, group.pixel_recall) == (None, {"0.01": None, "0.05": None})


def test_groups_add_up_to_the_whole():
    maps, masks = realistic_images(12, 64)
    whole = localization_metrics(maps, masks)["pro"]
    groups = metrics_by_area(rank_pixels(maps, masks))
    weighted = sum(group.pro * group.regions for group in groups if group.regions)
    assert weighted / sum(group.regions for group in groups) == pytest.approx(whole, abs=1e-12)
    (single,) = metrics_by_type(rank_pixels(maps, masks), ["defect"] * 12)
    assert single.pro == pytest.approx(whole, abs=1e-12)


def test_size_bins_do_not_depend_on_the_resolution():
    mask = np.zeros((1, 32, 32), bool)
    mask[0, :4, :8] = True  # 3.1 % of the image
    large = mask.repeat(4, axis=1).repeat(4, axis=2)
    counts = [[group.regions for group in metrics_by_area(rank_pixels(m * 1.0, m))] for m in (mask, large)]
    assert counts[0] == counts[1] == [0, 0, 0, 1, 0]


def test_without_defects_there_are_no_types():
    ranking = rank_pixels(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool))
    assert metrics_by_type(ranking, ["good", "dent"]) == []
    assert all(group.pro is None and group.regions == 0 for group in metrics_by_area(ranking))


def test_wrong_arguments_are_refused():
    ranking = rank_pixels(*realistic_images(2, 16))
    with pytest.raises(ValueError, match="1 types but 2 images"):
        metrics_by_type(ranking, ["good"])
    for edges in [(0.2, 0.1), (0.0, 0.1), (0.5, 1.0), (0.1, 0.1)]:
        with pytest.raises(ValueError, match="edges must rise"):
            metrics_by_area(ranking, edges)
    with pytest.raises(ValueError, match="fpr_limit"):
        metrics_by_area(ranking, fpr_limit=0)
