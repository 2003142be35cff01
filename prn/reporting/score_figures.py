"""Figures of scores: ROC, precision-recall and PRO curves with seed bands, score histograms, recall by defect size."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from prn.metrics import image_auroc
from prn.reporting import style
from prn.reporting.curves import PANELS, SizeRecall, grid_of
from prn.reporting.figure_data import FigureData
from prn.reporting.wording import number, variant_name

BINS = 24
HISTOGRAMS_IN_A_ROW = 4


def curves_figure(runs: dict[str, list[FigureData]], path: Path) -> None:
    """Write the four curves; `runs` holds the seeds of each variant: the line is their mean, the band their range."""
    names = list(runs)
    with style.figure(11.2, 3.3) as made:
        axes = made.subplots(1, len(PANELS))
        for place, (axis, panel) in enumerate(zip(axes, PANELS, strict=True)):
            drawn = [_band(axis, place, name, names, runs[name]) for name in reversed(names)]
            axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
            axis.set(xlim=(0, panel.x_limit), ylim=(0, 1.02))
            if not any(drawn):
                axis.text(0.5, 0.5, "n/a", transform=axis.transAxes, ha="center", va="center")
        handles, labels = axes[0].get_legend_handles_labels()
        made.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(names), handlelength=3.2)
        style.save(made, path)


def _band(axis: Axes, place: int, name: str, names: list[str], runs: list[FigureData]) -> bool:
    """Draw one variant's mean and range; whether there was anything to draw."""
    colour, dashes = style.variant_colour(name, names), style.variant_dashes(name, names)
    curves = [run.curves[place] for run in runs]
    known = [curve for curve in curves if curve is not None]
    if not known:
        return False
    grid, lines = grid_of(PANELS[place]), np.stack(known)
    axis.plot(grid, lines.mean(axis=0), color=colour, linestyle=dashes, label=variant_name(name))
    if len(lines) > 1:
        axis.fill_between(grid, lines.min(axis=0), lines.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    return True


def histogram_figure(runs: dict[str, FigureData], path: Path) -> None:
    """Write image-score histograms, good against defective, one panel a variant (first seed); each on its own scale."""
    down = -(-len(runs) // HISTOGRAMS_IN_A_ROW)
    across = min(len(runs), HISTOGRAMS_IN_A_ROW)
    with style.figure(2.9 * across + 0.4, 2.6 * down + 0.1) as made:
        axes = made.subplots(down, across, squeeze=False).ravel()
        for axis in axes[len(runs) :]:
            axis.set_axis_off()
        for axis, (name, run) in zip(axes, runs.items(), strict=False):
            _histogram(axis, name, run)
        style.save(made, path)


def _histogram(axis: Axes, name: str, run: FigureData) -> None:
    scores, defective = run.image_scores, run.defective
    edges = np.histogram_bin_edges(scores, BINS).tolist()
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


def size_figure(recalls: dict[str, list[SizeRecall]], path: Path) -> None:
    """Write recall by defect size, a bar a variant in each size class that has regions."""
    names = list(recalls)
    known = [place for place, one in enumerate(recalls[names[0]]) if one.regions]
    width = 0.8 / len(names)
    with style.figure(7.2, 3.0) as made:
        axis = made.subplots()
        for order, name in enumerate(names):
            shown = [recalls[name][place] for place in known]
            heights = [100 * (one.recall or 0) for one in shown]
            positions = np.arange(len(known)) + (order - (len(names) - 1) / 2) * width
            colour = style.variant_colour(name, names)
            axis.bar(positions, heights, width * 0.92, color=colour, label=variant_name(name))
            for x, height, one in zip(positions, heights, shown, strict=True):
                text = "n/a" if one.recall is None else f"{height:.0f}"
                axis.annotate(text, (x, height), ha="center", va="bottom", fontsize=7.5)
        first = [recalls[names[0]][place] for place in known]
        axis.set_xticks(np.arange(len(known)), [f"{one.name}\n{one.regions:,} regions" for one in first])
        axis.set(xlabel="area of the defect region, share of the image", ylabel="regions found, %", ylim=(0, 112))
        axis.set_xlim(-0.5, max(len(known), 2) - 0.5)
        axis.grid(False, axis="x")
        made.legend(loc="outside upper center", ncols=len(names))
        style.save(made, path)
