"""Everything that is said about one cell's score maps: the metrics, their intervals, groups, and operating points."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prn.metrics import (
    Interval,
    image_auroc,
    image_auroc_interval,
    legacy_pro_in_chunks,
    localization_intervals_in_chunks,
    metrics_by_area,
    metrics_by_type,
    operating_points,
    rank_pixels_in_chunks,
)
from prn.settings.sections import EvaluateSettings

PIXEL_METRICS = ("pixel_auroc", "pro", "ap")
Chunks = Callable[[], Iterable[tuple[Any, Any]]]


@dataclass(frozen=True)
class ScoredTestSet:
    """The scored test images: image scores, labels (1 defective), types, how many defects have no mask, and the pixels.

    chunks: a function that starts a pass over pairs (score maps, masks), as `prn.metrics.rank_pixels_in_chunks` wants.
    """

    scores: np.ndarray
    labels: np.ndarray
    types: Sequence[str]
    unmasked: int
    chunks: Chunks


def evaluate(scored: ScoredTestSet, settings: EvaluateSettings) -> dict[str, Any]:
    """Metrics in [0, 1], None with an entry in `reasons` where one cannot be given.

    Besides the four metrics: `confidence` (95 % bootstrap intervals over images), `operating_points`, `by_type` and
    `by_area` (recall and PRO of groups of defects), and `legacy` (other projects' PRO) where the settings ask for it.
    """
    result = _image_level(scored, settings)
    pixels = _pixel_level(scored, settings)
    return {
        **result,
        **pixels,
        "reasons": {**result["reasons"], **pixels["reasons"]},
        "confidence": {**result["confidence"], **pixels["confidence"]},
    }


def _image_level(scored: ScoredTestSet, settings: EvaluateSettings) -> dict[str, Any]:
    value = image_auroc(scored.scores, scored.labels)
    reason = "the test set has only good or only defective images"
    interval = None
    if settings.bootstrap:
        interval = image_auroc_interval(scored.scores, scored.labels, replicates=settings.bootstrap)
    points = operating_points(scored.scores, scored.labels, types=scored.types)
    return {
        "image_auroc": value,
        "reasons": {} if value is not None else {"image_auroc": reason},
        "confidence": _bounds({"image_auroc": interval}),
        "operating_points": [asdict(point) for point in points],
    }


def _pixel_level(scored: ScoredTestSet, settings: EvaluateSettings) -> dict[str, Any]:
    if scored.unmasked:
        reason = f"{scored.unmasked} defective test images have no mask"
        return {**dict.fromkeys(PIXEL_METRICS), "reasons": dict.fromkeys(PIXEL_METRICS, reason), "confidence": {}}
    ranking = rank_pixels_in_chunks(scored.chunks)
    values = ranking.metrics(settings.fpr_limit)
    reason = "the test masks have only defective or only normal pixels"
    result: dict[str, Any] = {
        **values,
        "reasons": {name: reason for name, value in values.items() if value is None},
        "confidence": {},
    }
    if not ranking.defined:
        return result
    if settings.bootstrap:
        intervals = localization_intervals_in_chunks(
            scored.chunks, fpr_limit=settings.fpr_limit, replicates=settings.bootstrap, ranking=ranking
        )
        result["confidence"] = _bounds(intervals)
    result["by_type"] = [asdict(group) for group in metrics_by_type(ranking, scored.types, settings.fpr_limit)]
    result["by_area"] = [asdict(group) for group in metrics_by_area(ranking, fpr_limit=settings.fpr_limit)]
    if settings.legacy:
        result["legacy"] = legacy_pro_in_chunks(scored.chunks)
    return result


def _bounds(intervals: dict[str, Interval | None]) -> dict[str, list[float]]:
    return {name: [interval.low, interval.high] for name, interval in intervals.items() if interval is not None}
