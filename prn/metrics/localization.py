"""Pixel metrics, exact: pixel AUROC, AP and PRO of many score maps without ranking their pixels."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from prn.metrics.counting import ThresholdCounter
from prn.metrics.inputs import score_maps_and_masks
from prn.metrics.ranking import Steps, distinct_descending
from prn.metrics.regions import DefectPixels, gather_defect_pixels

Chunks = Callable[[], Iterable[tuple[Any, Any]]]


@dataclass(frozen=True, slots=True)
class PixelRanking:
    """What all pixel metrics of a set of images need: counts at each distinct score of a defect pixel, high to low."""

    thresholds: np.ndarray  # T distinct scores of positive pixels
    starts: np.ndarray  # T, where the run of pixels with this score starts in `region_of`
    region_of: np.ndarray  # P, the region of each positive pixel, from the highest score to the lowest
    region_area: np.ndarray  # R, pixels
    region_image: np.ndarray  # R, index of the image
    image_pixels: np.ndarray  # N, pixels of each image
    steps: Steps

    @property
    def positives_at(self) -> np.ndarray:
        """Positive pixels with each score."""
        return np.diff(self.starts, append=len(self.region_of))

    @property
    def defined(self) -> bool:
        """Whether the masks hold both classes, so that the metrics exist."""
        return len(self.region_of) > 0 and bool(self.steps.negatives)

    def overlap_at(self, regions: np.ndarray | None = None) -> np.ndarray:
        """By how much the summed overlap of the regions (all, or a boolean choice of them) rises at each score."""
        share = 1.0 / self.region_area
        if regions is not None:
            share = share * regions
        return np.add.reduceat(share[self.region_of], self.starts) if len(self.starts) else np.empty(0)

    def pixel_auroc(self) -> float | None:
        """Area under the ROC curve over all pixels of all images; None without both classes."""
        return float(self.steps.area(self.positives_at)) if self.defined else None

    def ap(self) -> float | None:
        """Average precision over all pixels of all images; None without both classes."""
        return self.steps.average_precision(self.positives_at) if self.defined else None

    def pro(self, fpr_limit: float = 0.3) -> float | None:
        """Area under the per-region overlap curve up to the limit, divided by it; None without both classes."""
        check_fpr_limit(fpr_limit)
        return float(self.steps.area(self.overlap_at(), fpr_limit)) if self.defined else None

    def metrics(self, fpr_limit: float = 0.3) -> dict[str, float | None]:
        """The mapping that `localization_metrics` returns."""
        return {"pixel_auroc": self.pixel_auroc(), "ap": self.ap(), "pro": self.pro(fpr_limit)}


def localization_metrics(score_maps: Any, masks: Any, fpr_limit: float = 0.3) -> dict[str, float | None]:
    """Pixel AUROC, average precision and PRO of score maps, exact, ties included.

    score_maps: N x H x W (or N x 1 x H x W) numpy array or torch tensor, or a list of H x W arrays of differing sizes;
    finite scores of any scale, higher = more anomalous. masks: the same shapes, boolean or 0/1, 1 = defect.

    Returns `pixel_auroc` and `ap` (equal to scikit-learn's `roc_auc_score` and `average_precision_score` over all
    pixels) and `pro`: the mean overlap of the masks' 8-connected regions against the false positive rate over all
    pixels of all images, at every distinct score, integrated up to `fpr_limit` (interpolated there) and divided
    by it (Bergmann et al., "Uninformed Students", CVPR 2020). Values are in [0, 1]; all None where the masks do
    not hold both classes.
    Raises ValueError for NaN, infinity, masks that are not binary and shapes that do not match.

    Memory beyond the arguments: 160 bytes a defect pixel, at most 40 MB of tables, and 4 bytes (8 for float64 scores)
    for each pixel that is set aside at a time, which are at most 8 million or 16 for each distinct score on a defect,
    and never more than 67 million.
    """
    check_fpr_limit(fpr_limit)
    return rank_pixels(score_maps, masks).metrics(fpr_limit)


def rank_pixels(score_maps: Any, masks: Any) -> PixelRanking:
    """Rank the pixels once for any number of metrics, curves and groups; arguments as in `localization_metrics`."""
    pair = score_maps_and_masks(score_maps, masks)
    return rank_pixels_in_chunks(lambda: [pair])


def rank_pixels_in_chunks(chunks: Chunks) -> PixelRanking:
    """Rank the pixels of images that need not fit in memory; the same result as `rank_pixels` over all of them.

    chunks: a function without arguments that starts a new pass over the same pairs (score maps, masks), each as
    in `localization_metrics` and of any size, one image included. It is called twice. Memory beyond one chunk: as in
    `localization_metrics`, whatever the number of images.
    """
    pixels = gather_defect_pixels(start_pass(chunks))
    thresholds, order, starts = distinct_descending(pixels.scores)
    above, at_least = _count_pixels(chunks, pixels, thresholds)
    found = np.append(starts, len(order))  # positives above each score, and at last all
    return PixelRanking(
        thresholds=thresholds,
        starts=starts,
        region_of=pixels.region[order],
        region_area=pixels.region_area,
        region_image=pixels.region_image,
        image_pixels=pixels.image_pixels,
        steps=Steps(above - found[:-1], at_least - found[1:], int(pixels.image_pixels.sum()) - len(order)),
    )


def score_maps_of(chunks: Chunks) -> Iterator[np.ndarray]:
    """All score maps of one pass over the chunks, in order, H x W."""
    for score_maps, masks in start_pass(chunks):
        yield from score_maps_and_masks(score_maps, masks)[0]


def check_fpr_limit(fpr_limit: float) -> None:
    """ValueError unless the limit of the false positive rate is above 0 and at most 1."""
    if not 0 < fpr_limit <= 1:
        raise ValueError(f"fpr_limit must be above 0 and at most 1, found {fpr_limit}")


def start_pass(chunks: Chunks) -> Iterable[tuple[Any, Any]]:
    """A new pass over the pairs of score maps and masks; TypeError for what could be passed over only once."""
    if not callable(chunks):
        raise TypeError(f"chunks must be a function that starts a new pass at each call, found {type(chunks).__name__}")
    return chunks()


def _count_pixels(chunks: Chunks, pixels: DefectPixels, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each threshold (high to low) the number of pixels of all images above it, and at least as high."""
    total = int(pixels.image_pixels.sum())
    counter = ThresholdCounter(np.ascontiguousarray(thresholds[::-1]), total)
    for index, one in enumerate(score_maps_of(chunks)):
        if not counter.add(one):
            raise ValueError(f"score maps must be finite, found NaN or infinity in score_maps[{index}]")
    if counter.seen != total:
        raise ValueError(
            f"the chunks must be the same in every pass, found {total} pixels at first and then {counter.seen}"
        )
    below, ties = counter.take_counts()
    at_least = total - below[::-1]
    return at_least - ties[::-1], at_least
