"""Figures of scores: ROC, precision-recall and PRO curves with seed bands, score histograms, recall by defect size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from prn.metrics import (
    Curve,
    PixelRanking,
    image_auroc,
    image_roc_curve,
    metrics_by_area,
    precision_recall_curve,
    pro_curve,
    rank_pixels,
    roc_curve,
)
from prn.reporting import style
from prn.reporting.evidence import Evidence
from prn.reporting.wording import number, variant_name

PRO_LIMIT = 0.3
SIZE_FPR = "0.01"
BINS = 24


class Scored:
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
    curve: Callable[[Scored], Curve | None]
    x_label: str
    y_label: str
    x_limit: float = 1.0
    stepped: bool = False


def _pixel(draw: Callable[[PixelRanking], Curve | None]) -> Callable[[Scored], Curve | None]:
    return lambda scored: None if scored.ranking is None else draw(scored.ranking)


PANELS = (
    Panel(
        "ROC, images",
        lambda scored: image_roc_curve(scored.evidence.image_scores, scored.evidence.defective),
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


def curves_figure(runs: dict[str, list[Scored]], path: Path) -> None:
    """Write the four curves; `runs` holds the seeds of each variant: the line is their mean, the band their range."""
    names = list(runs)
    with style.figure(11.2, 3.1) as made:
        axes = made.subplots(1, len(PANELS))
        for axis, panel in zip(axes, PANELS, strict=True):
            drawn = [_band(axis, panel, name, names, runs[name]) for name in reversed(names)]
            axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
            axis.set(xlim=(0, panel.x_limit), ylim=(0, 1.02))
            if not any(drawn):
                axis.text(0.5, 0.5, "n/a", transform=axis.transAxes, ha="center", va="center")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].legend(handles[::-1], labels[::-1], loc="lower right")
        style.save(made, path)


def _band(axis: Axes, panel: Panel, name: str, names: list[str], runs: list[Scored]) -> bool:
    """Draw one variant's mean and range; whether there was anything to draw."""
    colour, dashes = style.variant_colour(name, names), style.variant_dashes(name, names)
    curves = [curve for curve in map(panel.curve, runs) if curve is not None]
    if not curves:
        return False
    grid = np.linspace(0, panel.x_limit, 301)
    lines = np.stack([_at(curve, grid, panel.stepped) for curve in curves])
    axis.plot(grid, lines.mean(axis=0), color=colour, linestyle=dashes, label=variant_name(name))
    if len(lines) > 1:
        axis.fill_between(grid, lines.min(axis=0), lines.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    return True


def _at(curve: Curve, grid: np.ndarray, stepped: bool) -> np.ndarray:
    """The curve's height on a common grid; a step ends at each of its points."""
    if stepped:
        return curve.y[np.minimum(np.searchsorted(curve.x, grid), len(curve.y) - 1)]
    # Where the curve rises on the spot, the grid's point takes the top of the rise.
    right = np.searchsorted(curve.x, grid, side="right").clip(1, len(curve.x) - 1)
    run = curve.x[right] - curve.x[right - 1]
    part = np.divide(grid - curve.x[right - 1], run, out=np.ones_like(grid), where=run > 0)
    return curve.y[right - 1] + (curve.y[right] - curve.y[right - 1]) * part.clip(0, 1)


def histogram_figure(runs: dict[str, Scored], path: Path) -> None:
    """Write image-score histograms, good against defective, one panel a variant (first seed); each on its own scale."""
    with style.figure(2.9 * len(runs) + 0.4, 2.7) as made:
        axes = made.subplots(1, len(runs), squeeze=False)[0]
        for axis, (name, scored) in zip(axes, runs.items(), strict=True):
            scores, defective = scored.evidence.image_scores, scored.evidence.defective
            edges = np.histogram_bin_edges(scores, BINS)
            axis.hist(scores[~defective], edges, color=style.BLUE, alpha=0.75, label=f"good ({(~defective).sum()})")
            axis.hist(
                scores[defective],
                edges,
                histtype="step",
                hatch="////",
                color=style.VERMILION,
                linewidth=1.4,
                label=f"defective ({defective.sum()})",
            )
            area = image_auroc(scores, defective)
            axis.set_title(f"{variant_name(name)}, image AUROC {'n/a' if area is None else number(100 * area)}")
            axis.set(xlabel="image score", ylabel="images")
            axis.yaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend()
        style.save(made, path)


@dataclass(frozen=True, slots=True)
class SizeRecall:
    """Recall of the defect regions of one size class, over categories and seeds."""

    name: str
    regions: int
    recall: float | None


def recall_by_size(scored: list[Scored]) -> list[SizeRecall]:
    """The share of regions found (half of their pixels above the threshold that lets 1 % of all normal pixels pass).

    One entry a size class (share of the image), small to large; every run's regions count alike.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for one in scored:
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
    """The recall by size of several categories together."""
    merged = []
    for same in zip(*parts, strict=True):
        regions = sum(one.regions for one in same)
        found = sum(one.regions * one.recall for one in same if one.recall is not None)
        merged.append(SizeRecall(same[0].name, regions, found / regions if regions else None))
    return merged


def size_figure(recalls: dict[str, list[SizeRecall]], path: Path) -> None:
    """Write recall by defect size, a bar a variant in each size class."""
    names = list(recalls)
    classes = [one.name for one in recalls[names[0]]]
    width = 0.8 / len(names)
    with style.figure(7.2, 3.0) as made:
        axis = made.subplots()
        for place, name in enumerate(names):
            heights = [100 * (one.recall or 0) for one in recalls[name]]
            positions = np.arange(len(classes)) + (place - (len(names) - 1) / 2) * width
            colour = style.variant_colour(name, names)
            axis.bar(positions, heights, width * 0.92, color=colour, label=variant_name(name))
            for x, height, one in zip(positions, heights, recalls[name], strict=True):
                text = "n/a" if one.recall is None else f"{height:.0f}"
                axis.annotate(text, (x, height), ha="center", va="bottom", fontsize=7.5)
        counts = [one.regions for one in recalls[names[0]]]
        labels = [f"{name}\n{count:,} regions" for name, count in zip(classes, counts, strict=True)]
        axis.set_xticks(np.arange(len(classes)), labels)
        axis.set(xlabel="area of the defect region, share of the image", ylabel="regions found, %", ylim=(0, 112))
        axis.grid(False, axis="x")
        made.legend(loc="outside upper center", ncols=len(names))
        style.save(made, path)
