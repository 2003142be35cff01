"""Bootstrap confidence intervals over images, for every metric.

Images are drawn with replacement, defective and good ones apart, so that every replicate holds both kinds in the
sample's proportion. A replicate is then a weighting of the images, and its curve a weighted sum of the images' own
counts: one matrix product gives all replicates, without sorting again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from prn.metrics.counting import ThresholdCounter
from prn.metrics.inputs import score_maps_and_masks, scores_and_labels
from prn.metrics.localization import Chunks, PixelRanking, check_fpr_limit, rank_pixels_in_chunks, score_maps_of
from prn.metrics.ranking import Steps, distinct_descending

REPLICATES = 1000
CONFIDENCE = 0.95
# Pixel curves are held at this many of the defect pixels' scores, exact there and straight in between.
KNOTS = 512
# Replicates computed at a time, so that memory does not grow with their number.
BLOCK = 128


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric of the whole sample and the percentile interval of its bootstrap replicates, in [0, 1]."""

    value: float
    low: float
    high: float


def image_auroc_interval(
    scores: Any, labels: Any, *, replicates: int = REPLICATES, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval | None:
    """Bootstrap confidence interval of the image AUROC; each replicate is exact.

    scores, labels: as in `image_auroc`. Returns None with fewer than two images of either class. The same seed
    gives the same interval.
    """
    _check(replicates, confidence)
    values, anomalous = scores_and_labels(scores, labels)
    if min(anomalous.sum(), (~anomalous).sum()) < 2:
        return None
    _, order, starts = distinct_descending(values)
    ranked_anomalous = anomalous[order]

    def auroc(weights: np.ndarray) -> np.ndarray:
        ranked = weights[:, order]
        positive = np.add.reduceat(ranked * ranked_anomalous, starts, axis=1)
        negative = np.cumsum(np.add.reduceat(ranked * ~ranked_anomalous, starts, axis=1), axis=1)
        before = np.concatenate((np.zeros((len(ranked), 1)), negative[:, :-1]), axis=1)
        return Steps(before, negative, negative[:, -1]).area(positive)

    drawn = _draws(np.flatnonzero(anomalous), len(values), replicates, seed)
    found = np.concatenate([auroc(weights) for weights in drawn])
    return _interval(float(auroc(np.ones((1, len(values))))[0]), found, confidence)


def localization_intervals(
    score_maps: Any,
    masks: Any,
    *,
    fpr_limit: float = 0.3,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    ranking: PixelRanking | None = None,
) -> dict[str, Interval | None]:
    """Bootstrap confidence intervals of `pixel_auroc`, `ap` and `pro`; arguments as in `localization_metrics`.

    ranking: the result of `rank_pixels` for the same images, where it is at hand. The intervals' `value` is
    exact; the replicates follow curves held at 512 scores: exact for maps with fewer distinct scores on defects,
    else within 0.001. Values are None with fewer than two images with a defect, or without both classes. The same
    seed gives the same intervals.
    """
    pair = score_maps_and_masks(score_maps, masks)
    return localization_intervals_in_chunks(
        lambda: [pair],
        fpr_limit=fpr_limit,
        replicates=replicates,
        confidence=confidence,
        seed=seed,
        ranking=ranking,
    )


def localization_intervals_in_chunks(
    chunks: Chunks,
    *,
    fpr_limit: float = 0.3,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    ranking: PixelRanking | None = None,
) -> dict[str, Interval | None]:
    """The same for images that need not fit in memory; chunks as in `rank_pixels_in_chunks`, passed over once more.

    Memory: one chunk, and for each image up to 1024 counts of 8 bytes (and as many again twice for each defective one).
    """
    _check(replicates, confidence)
    check_fpr_limit(fpr_limit)
    if ranking is None:
        ranking = rank_pixels_in_chunks(chunks)
    defective = np.unique(ranking.region_image)
    if not ranking.defined or len(defective) < 2:
        return dict.fromkeys(ranking.metrics(fpr_limit))
    counts = _ImageCounts.of(ranking, chunks)
    drawn = _draws(defective, len(ranking.image_pixels), replicates, seed)
    found = np.concatenate([counts.metrics(weights, fpr_limit) for weights in drawn], axis=1)
    found = found[:, np.isfinite(found).all(axis=0)]  # images without a negative pixel alone: not defined
    return {
        name: _interval(value, row, confidence)
        for (name, value), row in zip(ranking.metrics(fpr_limit).items(), found, strict=True)
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class _ImageCounts:
    """Each image's own share of the curves: counts above and at each of K knots (columns above, at, above, at, ...)."""

    defective: np.ndarray  # D, indices of the images with a defect
    false_positives: np.ndarray  # N x 2K, cumulative
    true_positives: np.ndarray  # D x 2K, cumulative
    overlap: np.ndarray  # D x 2K, cumulative
    negatives: np.ndarray  # N

    @classmethod
    def of(cls, ranking: PixelRanking, chunks: Chunks) -> "_ImageCounts":
        defective = np.unique(ranking.region_image)
        knots = _knots(ranking)
        found, overlap = _true_positives(ranking, knots, defective)
        false = _pixels_from(ranking, knots, chunks)
        false[defective] -= found
        positives = np.bincount(ranking.region_image, ranking.region_area, len(ranking.image_pixels))
        return cls(defective, false, found, overlap, ranking.image_pixels - positives)

    def metrics(self, weights: np.ndarray, fpr_limit: float) -> np.ndarray:
        """Pixel AUROC, AP and PRO (rows) of replicates given as weights B x N; NaN without a negative."""
        after = weights @ self.false_positives
        found = weights[:, self.defective] @ self.true_positives
        overlap = weights[:, self.defective] @ self.overlap
        steps = Steps(_shifted(after), after, weights @ self.negatives)
        with np.errstate(invalid="ignore"):  # no negatives drawn: NaN
            auroc = steps.area(found - _shifted(found))
            pro = steps.area(overlap - _shifted(overlap), fpr_limit)
        return np.stack([auroc, _average_precision(found, after), pro])


def _average_precision(found: np.ndarray, false: np.ndarray) -> np.ndarray:
    """AP of curves B x 2K of true and false positives; straight between knots (Davis and Goadrich 2006)."""
    rise = found - _shifted(found)
    run = false - _shifted(false)
    start = _shifted(found) + _shifted(false)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_end = found / (found + false)
        step = rise + run
        slope = rise / step
        between = slope + (_shifted(found) - start * slope) * np.log1p(step / start) / step
    between = np.where(start > 0, between, at_end)
    tie = np.arange(found.shape[1]) % 2 == 1
    precision = np.where(tie, at_end, between)
    return np.where(rise > 0, rise * precision, 0.0).sum(axis=1) / found[:, -1]


def _true_positives(ranking: PixelRanking, knots: np.ndarray, defective: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each defective image the positives and the summed overlap above and at each knot, cumulative, D x 2K."""
    row = np.searchsorted(defective, ranking.region_image)[ranking.region_of]
    rank = np.repeat(np.arange(len(ranking.thresholds)), ranking.positives_at)
    knot = np.searchsorted(knots, rank)
    shape = (len(defective), 2 * len(knots))
    cell = row * shape[1] + 2 * knot + (knots[knot] == rank)
    share = 1.0 / ranking.region_area[ranking.region_of]
    found, overlap = (np.bincount(cell, weights, shape[0] * shape[1]).reshape(shape) for weights in (None, share))
    return found.cumsum(axis=1, dtype=np.float64), overlap.cumsum(axis=1)


def _pixels_from(ranking: PixelRanking, knots: np.ndarray, chunks: Chunks) -> np.ndarray:
    """Of each image the pixels above and at least at each knot, N x 2K."""
    ascending = np.ascontiguousarray(ranking.thresholds[knots][::-1])
    counts = np.empty((len(ranking.image_pixels), 2 * len(knots)))
    counter = ThresholdCounter(ascending, int(ranking.image_pixels.max()))
    images = 0
    for images, one in enumerate(score_maps_of(chunks), start=1):
        if images > len(counts) or one.size != ranking.image_pixels[images - 1]:
            raise ValueError(f"the ranking is not of these images: image {images - 1} differs in size")
        counter.add(one)
        below, ties = counter.take_counts()
        at_least = one.size - below[::-1]
        counts[images - 1, ::2], counts[images - 1, 1::2] = at_least - ties[::-1], at_least
    if images != len(counts):
        raise ValueError(f"the ranking is not of these images: it has {len(counts)}, found {images}")
    return counts


def _knots(ranking: PixelRanking) -> np.ndarray:
    """Indices of about `KNOTS` scores, dense where the curves move; the highest and the lowest included."""
    if len(ranking.thresholds) <= KNOTS:
        return np.arange(len(ranking.thresholds))
    found = np.cumsum(ranking.positives_at)
    overlap = np.cumsum(ranking.overlap_at())
    false = ranking.steps.after / ranking.steps.negatives
    progress = found / found[-1] + overlap / overlap[-1] + false + np.minimum(false / 0.3, 1.0)
    wanted = np.linspace(progress[0], progress[-1], KNOTS)
    last = len(progress) - 1
    return np.unique(np.concatenate(([0, last], np.minimum(np.searchsorted(progress, wanted), last))))


def _draws(defective: np.ndarray, images: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Weights (how often each image is drawn), B x N, a block of replicates at a time."""
    good = np.setdiff1d(np.arange(images), defective)
    random = np.random.default_rng(seed)
    for start in range(0, replicates, BLOCK):
        count = min(BLOCK, replicates - start)
        weights = np.zeros((count, images))
        for part in (defective, good):
            if len(part):
                weights[:, part] = random.multinomial(len(part), np.full(len(part), 1 / len(part)), size=count)
        yield weights


def _shifted(curve: np.ndarray) -> np.ndarray:
    """The curve's values one step earlier, 0 before the first."""
    return np.concatenate((np.zeros((len(curve), 1)), curve[:, :-1]), axis=1)


def _interval(value: float, found: np.ndarray, confidence: float) -> Interval | None:
    if not len(found):
        return None
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _check(replicates: int, confidence: float) -> None:
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, found {replicates}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, found {confidence}")
