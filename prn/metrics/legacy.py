"""Two PRO protocols of published code, for placing published numbers beside ours; never a headline.

Both step through linearly spaced thresholds between the lowest and the highest score, where `localization_metrics` uses
every score. They are re-created from the description of their protocols, with their peculiarities.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from prn.metrics.inputs import score_maps_and_masks
from prn.metrics.localization import Chunks, start_pass
from prn.metrics.regions import label_regions

FPR_LIMIT = 0.3
RD4AD_THRESHOLDS = 200
CFLOW_THRESHOLDS = 1000

EXPLANATION = (
    "The legacy columns integrate PRO over 200 (RD4AD) or 1000 (CFLOW) thresholds that are spread evenly over the "
    "range of the scores, while the headline PRO takes every score that occurs as a threshold. "
    "On a saturated map, as a sigmoid gives, almost all scores crowd near 0 and 1, and hardly any of those thresholds "
    "falls where the false positive rate rises from 0 to 0.3: the curve is a few points of a small part of that range. "
    "Both protocols then stretch this part to the full range, and RD4AD's also averages over single defective images, "
    "so the numbers lie many points below or above the exact PRO and compare only with numbers made in the same way."
)


def legacy_pro(score_maps: Any, masks: Any) -> dict[str, float | int | None]:
    """PRO as RD4AD's and CFLOW's evaluation compute it; score maps and masks as in `localization_metrics`.

    `legacy_pro_rd4ad_200`: for each image with a defect, 200 thresholds over its own scores, the mean overlap of
    its regions against its own false positive rate, the part below 0.3 divided by the largest rate in it; then
    the mean over images. An image whose part has no width is undefined there: it is left out and counted in
    `legacy_pro_rd4ad_undefined_images`.
    `legacy_pro_cflow_1000`: 1000 thresholds over the scores of all images, overlaps counted in each region with
    its holes filled but divided by its area without them (so a value can exceed 1), the false positive rate over
    all images, its part up to 0.3 stretched to [0, 1]. Scores count as positive above a threshold, not at it.
    None where undefined or without both classes. Raises ValueError as `localization_metrics` does.
    """
    pair = score_maps_and_masks(score_maps, masks)
    return legacy_pro_in_chunks(lambda: [pair])


def legacy_pro_in_chunks(chunks: Chunks) -> dict[str, float | int | None]:
    """The same for images that need not fit in memory; chunks as in `rank_pixels_in_chunks`, passed over twice."""
    low, high = np.inf, -np.inf
    of_images: list[float | None] = []
    for index, (one, mask) in enumerate(_images(chunks)):
        if not np.isfinite(one).all():
            raise ValueError(f"score maps must be finite, found NaN or infinity in score_maps[{index}]")
        if one.size:
            low, high = min(low, float(one.min())), max(high, float(one.max()))
        if mask.any():
            of_images.append(_rd4ad_of_image(one, mask))
    values = [value for value in of_images if value is not None]
    return {
        "legacy_pro_rd4ad_200": float(np.mean(values)) if values else None,
        "legacy_pro_rd4ad_undefined_images": len(of_images) - len(values),
        "legacy_pro_cflow_1000": _cflow(chunks, low, high) if of_images and low < high else None,
    }


def _rd4ad_of_image(one: np.ndarray, mask: np.ndarray) -> float | None:
    low, high = float(one.min()), float(one.max())
    thresholds = low + (high - low) / RD4AD_THRESHOLDS * np.arange(RD4AD_THRESHOLDS)
    good = one[~mask]
    if not good.size:
        return None
    labels = label_regions(mask)
    overlaps = [_share_above(one[labels == region], thresholds) for region in range(1, labels.max() + 1)]
    fpr = _share_above(good, thresholds)
    kept = fpr < FPR_LIMIT
    widest = fpr[kept].max(initial=0.0)
    return _area(fpr[kept] / widest, np.mean(overlaps, axis=0)[kept]) if widest > 0 else None


def _cflow(chunks: Chunks, low: float, high: float) -> float | None:
    from skimage.measure import regionprops

    thresholds = high - (high - low) / CFLOW_THRESHOLDS * np.arange(CFLOW_THRESHOLDS)
    false_positives, overlap = np.zeros(CFLOW_THRESHOLDS), np.zeros(CFLOW_THRESHOLDS)
    negatives = regions = 0
    for one, mask in _images(chunks):
        good = one[~mask]
        negatives += good.size
        false_positives += _count_above(good, thresholds)
        for region in regionprops(label_regions(mask)):
            overlap += _count_above(one[region.slice][region.image_filled], thresholds) / region.area
            regions += 1
    if not negatives:
        return None
    fpr, pro = false_positives / negatives, overlap / regions
    kept = fpr <= FPR_LIMIT
    width = np.ptp(fpr[kept]) if kept.any() else 0.0
    return _area(fpr[kept] / width, pro[kept]) if width > 0 else None


def _images(chunks: Chunks) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for score_maps, masks in start_pass(chunks):
        yield from zip(*score_maps_and_masks(score_maps, masks), strict=True)


def _count_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return values.size - np.searchsorted(np.sort(values.astype(np.float64)), thresholds, side="right")


def _share_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return _count_above(values, thresholds) / values.size


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """Trapezoid rule over points whose x only rises or only falls."""
    return float(abs(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))
