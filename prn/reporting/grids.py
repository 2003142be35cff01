"""Pictures of score maps: input, ground truth, score map, overlay; methods side by side (paper's Figures 1 and 6)."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from prn.reporting import style
from prn.reporting.evidence import Evidence
from prn.reporting.wording import variant_name

RULE = (
    "Rows are chosen by the image score alone: among the defective test images the lowest (worst miss), the median and,"
    " as rows allow, some spread evenly over the rest; among the good ones the highest (worst false alarm) and the"
    " median."
)
CELL_INCHES = 1.35


@dataclass(frozen=True, slots=True)
class Chosen:
    """A test image of a figure and why it is in it."""

    index: int
    label: str


def choose(image_scores: np.ndarray, defective: np.ndarray, rows: int) -> list[Chosen]:
    """The test images of a figure, by `RULE`; fewer than `rows` where the test set is small."""
    bad = _ordered(image_scores, defective)
    good = _ordered(image_scores, ~defective)
    wanted: list[tuple[np.ndarray, float, str]] = [
        (bad, 0.5, "median defect"),
        (bad, 0.0, "worst miss"),
        (good, 1.0, "worst false alarm"),
        (good, 0.5, "median good"),
    ]
    spare = max(0, rows - len(wanted))
    wanted += [(bad, (position + 1) / (spare + 1), "defect") for position in range(spare)]
    found: dict[int, str] = {}
    for order, quantile, label in wanted[: max(rows, 1)]:
        if len(order):
            found.setdefault(int(order[round(quantile * (len(order) - 1))]), label)
    place = {"defect": 0, "median defect": 0, "worst miss": 1, "worst false alarm": 2, "median good": 3}
    ranked = sorted(found.items(), key=lambda item: (place[item[1]], -image_scores[item[0]], item[0]))
    return [Chosen(index, label) for index, label in ranked]


def _ordered(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Positions of the chosen images from the lowest score to the highest."""
    positions = np.flatnonzero(chosen)
    return positions[np.argsort(scores[positions], kind="stable")]


def colour_range(score_maps: np.ndarray) -> tuple[float, float]:
    """One colour scale for a category: from the median score to the 99.9th percentile of all test pixels."""
    sample = score_maps[:, ::2, ::2]
    low, high = np.quantile(sample, [0.5, 0.999])
    return float(low), float(high) if high > low else float(low) + 1.0


def score_grid(evidence: Evidence, rows: int, path: Path) -> list[Chosen]:
    """Write the grid of input, ground truth, score map and overlay of one run; returns the rows it shows."""
    chosen = choose(evidence.image_scores, evidence.defective, rows)
    scale = Normalize(*colour_range(evidence.score_maps), clip=True)
    titles = ("input", "ground truth", "score map", "overlay")
    with style.figure(CELL_INCHES * len(titles) + 1.9, CELL_INCHES * len(chosen) + 0.35) as made:
        axes = made.subplots(len(chosen), len(titles), squeeze=False)
        for line, item in zip(axes, chosen, strict=True):
            image, mask = evidence.images[item.index], evidence.masks[item.index]
            score_map = evidence.score_maps[item.index]
            truth = truth_picture(mask, bool(evidence.has_mask[item.index]), bool(evidence.defective[item.index]))
            pictures = (image, truth, coloured(score_map, scale), overlay(image, score_map, scale))
            for axis, picture in zip(line, pictures, strict=True):
                _picture(axis, picture)
            _outline(line[3], mask)
            _row_label(line[0], item, evidence)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        made.colorbar(
            ScalarMappable(scale, style.SCORE_MAP), ax=axes, label="anomaly score", fraction=0.04, extend="max"
        )
        style.save(made, path, photographs=True)
    return chosen


def methods_grid(runs: list[Evidence], rows: int, path: Path) -> list[Chosen]:
    """Write the grid of input, ground truth and each method's overlay; the first method's scores choose the rows.

    Scores of different methods have no common unit: each method's are stretched to 0..1 over the category's images.
    """
    first = runs[0]
    chosen = choose(first.image_scores, first.defective, rows)
    position = [{name: index for index, name in enumerate(run.paths)} for run in runs]
    scales = [Normalize(*colour_range(run.score_maps), clip=True) for run in runs]
    titles = ["input", "ground truth", *(variant_name(run.run.variant) for run in runs)]
    with style.figure(CELL_INCHES * len(titles) + 1.9, CELL_INCHES * len(chosen) + 0.35) as made:
        axes = made.subplots(len(chosen), len(titles), squeeze=False)
        for line, item in zip(axes, chosen, strict=True):
            image, mask = first.images[item.index], first.masks[item.index]
            _picture(line[0], image)
            _picture(line[1], truth_picture(mask, bool(first.has_mask[item.index]), bool(first.defective[item.index])))
            for axis, run, places, scale in zip(line[2:], runs, position, scales, strict=True):
                score_map = run.score_maps[places[first.paths[item.index]]]
                _picture(axis, overlay(image, score_map, scale))
                _outline(axis, mask)
            _row_label(line[0], item, first)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        label = "score, stretched for each method"
        made.colorbar(
            ScalarMappable(Normalize(0, 1), style.SCORE_MAP), ax=axes, label=label, fraction=0.04, extend="max"
        )
        style.save(made, path, photographs=True)
    return chosen


def coloured(score_map: np.ndarray, scale: Normalize) -> np.ndarray:
    """A score map as an RGB picture, uint8 H x W x 3."""
    return (mpl.colormaps[style.SCORE_MAP](scale(score_map))[..., :3] * 255).round().astype(np.uint8)


def overlay(image: np.ndarray, score_map: np.ndarray, scale: Normalize) -> np.ndarray:
    """The image under the score map's colours, which cover the more the higher the score, uint8 H x W x 3."""
    cover = 0.75 * np.asarray(scale(score_map))[..., None]
    return ((1 - cover) * image + cover * coloured(score_map, scale)).round().astype(np.uint8)


def truth_picture(mask: np.ndarray, has_mask: bool, defective: bool) -> np.ndarray:
    """The ground truth as an RGB picture: white is defect; mid-grey stands for a defect without a mask."""
    if defective and not has_mask:
        return np.full((*mask.shape, 3), 128, np.uint8)
    return np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)


def _picture(axis, picture: np.ndarray) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _outline(axis, mask: np.ndarray) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask.astype(float), levels=[0.5], colors=style.OUTLINE, linewidths=1.0)


def _row_label(axis, item: Chosen, evidence: Evidence) -> None:
    kind = Path(evidence.paths[item.index]).parent.name
    name = f"{kind}/{Path(evidence.paths[item.index]).stem}"
    text = f"{item.label}\n{name[-24:]}\nscore {evidence.image_scores[item.index]:.3g}"
    axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7.5, labelpad=6)
