"""Curves of scores (ROC, precision-recall, PRO) on common grids, and recall by defect size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prn.metrics import (
    Curve,
    PixelRanking,
    image_roc_curve,
    metrics_by_area,
    precision_recall_curve,
    pro_curve,
    rank_pixels,
    roc_curve,
)
from prn.reporting.evidence import Evidence

PRO_LIMIT = 0.3
SIZE_FPR = "0.01"


class RankedPredictions:
    """A run's predictions with the ranking of its pixels, made once for all figures."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    @cached_property
    def ranking(self) -> PixelRanking | None:
        """The ranking of all pixels, None where a defective image has no mask."""
        shown = self.evidence
        if not shown.has_mask.all():
            return None
        return rank_pixels(shown.score_maps.astype(np.float32), shown.masks)


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes: which curve, its ranges and labels."""

    title: str
    curve: Callable[[RankedPredictions], Curve | None]
    x_label: str
    y_label: str
    x_limit: float = 1.0
    stepped: bool = False


def _pixel(draw: Callable[[PixelRanking], Curve | None]) -> Callable[[RankedPredictions], Curve | None]:
    return lambda ranked: None if ranked.ranking is None else draw(ranked.ranking)


PANELS = (
    Panel(
        "ROC, images",
        lambda ranked: image_roc_curve(ranked.evidence.image_scores, ranked.evidence.defective),
        "false positive rate",
        "true positive rate",
    ),
    Panel("ROC, pixels", _pixel(roc_curve), "false positive rate", "true positive rate"),
    Panel("Precision and recall, pixels", _pixel(precision_recall_curve), "recall", "precision", stepped=True),
    Panel(
        "Per-region overlap",
        _pixel(lambda ranking: pro_curve(ranking, PRO_LIMIT)),
        "false positive rate",
        "mean overlap of regions",
        x_limit=PRO_LIMIT,
    ),
)


GRID = 301


def grid_of(panel: Panel) -> np.ndarray:
    """The places along the x axis at which a panel's curves are drawn."""
    return np.linspace(0, panel.x_limit, GRID)


def heights(panel: Panel, ranked: RankedPredictions) -> np.ndarray | None:
    """A run's curve on the panel's grid, None where it cannot be given."""
    curve = panel.curve(ranked)
    return None if curve is None else _at(curve, grid_of(panel), panel.stepped)


def _at(curve: Curve, grid: np.ndarray, stepped: bool) -> np.ndarray:
    """The curve's height on a common grid; a step ends at each of its points."""
    if stepped:
        return curve.y[np.minimum(np.searchsorted(curve.x, grid), len(curve.y) - 1)]
    # Where the curve rises on the spot, the grid's point takes the top of the rise.
    right = np.searchsorted(curve.x, grid, side="right").clip(1, len(curve.x) - 1)
    run = curve.x[right] - curve.x[right - 1]
    part = np.divide(grid - curve.x[right - 1], run, out=np.ones_like(grid), where=run > 0)
    return curve.y[right - 1] + (curve.y[right] - curve.y[right - 1]) * part.clip(0, 1)


@dataclass(frozen=True, slots=True)
class SizeRecall:
    """Recall of the defect regions of one size class, over categories and seeds."""

    name: str
    regions: int
    recall: float | None


def recall_by_size(ranked: list[RankedPredictions]) -> list[SizeRecall]:
    """The share of regions found (half of their pixels above the threshold that lets 1 % of all normal pixels pass).

    One entry a size class (share of the image), small to large; every run's regions count alike.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for one in ranked:
        for group in metrics_by_area(one.ranking) if one.ranking is not None else []:
            recall = group.region_recall[SIZE_FPR]
            found.setdefault(group.name, []).extend([(group.regions, recall)] if recall is not None else [])
    result = []
    for name, parts in found.items():
        regions = sum(count for count, _ in parts)
        recall = sum(count * part for count, part in parts) / regions if regions else None
        result.append(SizeRecall(name, regions, recall))
    return result


def merge_sizes(parts: list[list[SizeRecall]]) -> list[SizeRecall]:
    """The recall by size of several categories or seeds together; those without masks have none and do not count."""
    merged = []
    for same in zip(*filter(None, parts), strict=True):
        regions = sum(one.regions for one in same)
        found = sum(one.regions * one.recall for one in same if one.recall is not None)
        merged.append(SizeRecall(same[0].name, regions, found / regions if regions else None))
    return merged
