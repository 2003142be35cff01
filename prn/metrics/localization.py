"""Pixel metrics, exact: pixel AUROC, AP and PRO of many score maps from one sort of bare values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from prn.metrics.inputs import score_maps_and_masks, score_type
from prn.metrics.ranking import Steps, count_above, distinct_descending

CHUNK_PIXELS = 1 << 22
# A chunk is searched once for each distinct positive score: this many times as many pixels keep sorting the larger part.
PIXELS_PER_THRESHOLD = 16


@dataclass(frozen=True, slots=True)
class PixelRanking:
    """Everything that the pixel metrics need of a set of score maps: counts at each distinct score of a defect's pixel."""

    thresholds: np.ndarray  # distinct scores of positive pixels, from high to low
    positives_at: np.ndarray  # positive pixels with this score
    overlap_at: np.ndarray  # sum over those pixels of 1 / (area of the pixel's region)
    steps: Steps
    positives: int
    regions: int

    def pixel_auroc(self) -> float | None:
        """Area under the ROC curve over all pixels of all images; None without both classes."""
        return self.steps.area(self.positives_at) if self._defined else None

    def ap(self) -> float | None:
        """Average precision over all pixels of all images; None without both classes."""
        return self.steps.average_precision(self.positives_at) if self._defined else None

    def pro(self, fpr_limit: float = 0.3) -> float | None:
        """Normalised area under the per-region overlap curve up to the limit; None without both classes."""
        if not 0 < fpr_limit <= 1:
            raise ValueError(f"fpr_limit must be above 0 and at most 1, found {fpr_limit}")
        return self.steps.area(self.overlap_at, fpr_limit) if self._defined else None

    @property
    def _defined(self) -> bool:
        return self.positives > 0 and self.steps.negatives > 0


def localization_metrics(score_maps: Any, masks: Any, fpr_limit: float = 0.3) -> dict[str, float | None]:
    """Pixel AUROC, average precision and PRO of score maps, exact, ties included.

    score_maps: N x H x W (or N x 1 x H x W) numpy array or torch tensor, or a list of H x W arrays of differing sizes; finite
    scores of any scale, higher = more anomalous. masks: the same shapes, boolean or 0/1, 1 = defect.

    Returns `pixel_auroc` and `ap` (equal to scikit-learn's `roc_auc_score` and `average_precision_score` over all pixels) and
    `pro`: the mean overlap of the 8-connected regions of the masks against the false positive rate over all pixels of all
    images, at every distinct score, integrated up to `fpr_limit` (interpolated there) and divided by it (Bergmann et al.,
    "Uninformed Students", CVPR 2020). Values are in [0, 1]; None where the masks do not hold both classes.
    Raises ValueError for NaN, infinity, masks that are not binary and shapes that do not match.
    """
    ranking = rank_pixels(score_maps, masks)
    return {"pixel_auroc": ranking.pixel_auroc(), "ap": ranking.ap(), "pro": ranking.pro(fpr_limit)}


def rank_pixels(score_maps: Any, masks: Any) -> PixelRanking:
    """Rank the pixels of score maps once, for any number of metrics; arguments and errors as in `localization_metrics`."""
    maps, truths = score_maps_and_masks(score_maps, masks)
    dtype = score_type([one.dtype for one in maps])
    scores, overlap, regions = _positives(maps, truths, dtype)
    pixels = sum(one.size for one in maps)
    thresholds, order, starts = distinct_descending(scores)
    counts = np.diff(starts, append=len(order))
    above = np.zeros(len(thresholds), np.int64)
    at_least = np.zeros(len(thresholds), np.int64)
    chunk = max(CHUNK_PIXELS, PIXELS_PER_THRESHOLD * len(thresholds))
    for values in _sorted_chunks(maps, dtype, chunk):
        more, same_or_more = count_above(values, thresholds)
        above += more
        at_least += same_or_more
    found = np.cumsum(counts)
    return PixelRanking(
        thresholds=thresholds,
        positives_at=counts.astype(np.float64),
        overlap_at=np.add.reduceat(overlap[order], starts) if len(starts) else overlap,
        steps=Steps(above - (found - counts), at_least - found, pixels - len(scores)),
        positives=len(scores),
        regions=regions,
    )


def _positives(maps: list[np.ndarray], masks: list[np.ndarray], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of all defect pixels, 1 / (area of its region) for each, and the number of 8-connected regions."""
    scores: list[np.ndarray] = []
    overlap: list[np.ndarray] = []
    regions = 0
    for one, mask in zip(maps, masks, strict=True):
        if not mask.any():
            continue
        count, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
        inside = labels[mask]
        scores.append(one[mask].astype(dtype))
        overlap.append((1.0 / np.bincount(inside, minlength=count).clip(1))[inside])
        regions += count - 1
    if not scores:
        return np.empty(0, dtype), np.empty(0), 0
    return np.concatenate(scores), np.concatenate(overlap), regions


def _sorted_chunks(maps: list[np.ndarray], dtype: np.dtype, chunk: int) -> Iterator[np.ndarray]:
    """The scores of all pixels, chunk by chunk, each sorted; ValueError names the first map that is not finite."""
    start = 0
    while start < len(maps):
        stop, pixels = start, 0
        while stop < len(maps) and (stop == start or pixels + maps[stop].size <= chunk):
            pixels += maps[stop].size
            stop += 1
        values = np.empty(pixels, dtype)
        np.concatenate([one.ravel() for one in maps[start:stop]], out=values, casting="same_kind")
        values.sort()
        # NaN sorts to the end and infinity to either end: two looks check all pixels.
        if pixels and not (np.isfinite(values[0]) and np.isfinite(values[-1])):
            index = next(i for i in range(start, stop) if not np.isfinite(maps[i]).all())
            raise ValueError(f"score maps must be finite, found NaN or infinity in score_maps[{index}]")
        yield values
        start = stop
