"""Figures of numbers: per-category bars with the paper's value as a tick, and loss curves."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prn.reporting import style
from prn.reporting.published import published_value
from prn.reporting.results import METRICS, Results
from prn.reporting.wording import METRIC_NAMES, variant_name

SMOOTH_STEPS = 50
CHANCE = 50.0


def category_bars(dataset: str, variants: list[str], results: Results, with_paper: bool, path: Path) -> None:
    """Write a panel a metric: a bar a variant in each category with its spread, and PRN's published value as a tick."""
    categories = results.categories(dataset)
    width = 0.8 / len(variants)
    places = np.arange(len(categories))
    inches = max(5.0, 1.6 + len(categories) * (0.25 + 0.14 * len(variants)))
    with style.figure(inches, 1.75 * len(METRICS)) as made:
        axes = made.subplots(len(METRICS), 1, sharex=True)
        for axis, metric in zip(axes, METRICS, strict=True):
            for number, variant in enumerate(variants):
                cells = [results.value(dataset, category, variant, metric) for category in categories]
                positions = places + (number - (len(variants) - 1) / 2) * width
                axis.bar(
                    positions,
                    [cell.mean or 0 for cell in cells],
                    width * 0.92,
                    yerr=[np.nan if cell.spread is None else cell.spread for cell in cells],
                    color=style.variant_colour(variant, variants),
                    error_kw={"elinewidth": 0.8, "capsize": 1.5},
                    label=variant_name(variant),
                )
                for x, cell in zip(positions, cells, strict=True):
                    if cell.mean is None:
                        axis.annotate(
                            cell.state,
                            (x, 0.04),
                            xycoords=("data", "axes fraction"),
                            ha="center",
                            va="bottom",
                            fontsize=7,
                            rotation=90,
                        )
            if with_paper:
                paper = [published_value(dataset, category, "prn", metric) for category in categories]
                known = [(x, value) for x, value in zip(places, paper, strict=True) if value is not None]
                for order, (x, value) in enumerate(known):
                    label = "PRN, published" if order == 0 else None
                    axis.plot([x - 0.45, x + 0.45], [value, value], color=style.BLACK, linewidth=1.8, label=label)
            axis.set(ylabel=METRIC_NAMES[metric], ylim=(_floor(metric, axis), 102))
            axis.grid(False, axis="x")
        axes[-1].set_xticks(places, categories, rotation=30 if len(categories) > 4 else 0)
        made.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(variants) + 1)
        style.save(made, path)


def _floor(metric: str, axis: Axes) -> float:
    """Where a panel's axis starts: an AUROC at chance, unless a value is below it; the others at 0."""
    if metric not in ("image_auroc", "pixel_auroc"):
        return 0.0
    heights = [bar.get_height() for bar in axis.patches if isinstance(bar, Rectangle) and bar.get_height()]
    return CHANCE if min(heights, default=CHANCE) >= CHANCE else 0.0


def loss_figure(logs: dict[int, pd.DataFrame], path: Path) -> None:
    """Write loss and share of positive pixels by step, one line a seed; `logs` maps a seed to its training log."""
    colours = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE)
    with style.figure(7.6, 2.7) as made:
        left, right = made.subplots(1, 2)
        for (seed, log), colour in zip(logs.items(), colours * len(logs), strict=False):
            window = max(1, min(SMOOTH_STEPS, len(log) // 10))
            smooth = log["loss"].rolling(window, min_periods=1).mean()
            left.plot(log["step"], log["loss"], color=colour, alpha=0.25, linewidth=0.7)
            left.plot(log["step"], smooth, color=colour, label=f"seed {seed}")
            if "positive_share" in log:
                share = 100 * log["positive_share"].rolling(window, min_periods=1).mean()
                right.plot(log["step"], share, color=colour)
        left.set(xlabel="step", ylabel="loss", yscale="log")
        right.set(xlabel="step", ylabel="defect pixels in a batch, %")
        right.set_ylim(bottom=0)
        left.legend()
        style.save(made, path)


def read_log(file: Path) -> pd.DataFrame | None:
    """A training log, None for a method that takes no steps."""
    if not file.is_file() or not file.read_text(encoding="utf-8").strip('"\n '):
        return None
    log = pd.read_csv(file)
    return log if len(log) and "loss" in log else None
