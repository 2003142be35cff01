"""Pictures of score maps: input, ground truth, score map, overlay; methods side by side (paper's Figures 1 and 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize

from prn.reporting.evidence import Evidence
from prn.reporting.mosaic import ColourBar, Tile, coloured, overlay, truth_picture, write_mosaic

RULE = (
    "Rows are chosen by the image score alone: among the defective test images the lowest (worst miss), the median and,"
    " as rows allow, some spread evenly over the rest; among the good ones the highest (worst false alarm) and the"
    " median."
)


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


def colour_range(evidence: Evidence) -> tuple[float, float]:
    """One colour scale for a category: from the median pixel's score to the median of the defective images' highest."""
    low = float(np.median(evidence.score_maps[:, ::4, ::4].astype(np.float32)))
    peaks = evidence.score_maps.reshape(len(evidence.score_maps), -1).max(axis=1).astype(np.float32)
    high = float(np.median(peaks[evidence.defective] if evidence.defective.any() else peaks))
    return low, high if high > low else low + 1.0


def score_grid(evidence: Evidence, rows: int, path: Path) -> list[Chosen]:
    """Write the grid of input, ground truth, score map and overlay of one run; returns the rows it shows."""
    chosen = choose(evidence.image_scores, evidence.defective, rows)
    scale = Normalize(*colour_range(evidence), clip=True)
    tiles = []
    for item in chosen:
        image, mask, score_map = (part[item.index] for part in (evidence.images, evidence.masks, evidence.score_maps))
        truth = truth_picture(mask, bool(evidence.has_mask[item.index]))
        tiles.append(
            [Tile(image), Tile(truth), Tile(coloured(score_map, scale)), Tile(overlay(image, score_map, scale), mask)]
        )
    labels = [row_label(item, evidence) for item in chosen]
    titles = ["input", "ground truth", "score map", "overlay"]
    write_mosaic(tiles, labels, titles, path, ColourBar(scale, "anomaly score"))
    return chosen


@dataclass(frozen=True, slots=True)
class MethodMaps:
    """One method's score maps by image path, and the range of its colours."""

    name: str
    maps: Mapping[str, np.ndarray]
    scale: tuple[float, float]


def methods_grid(first: Evidence, methods: Sequence[MethodMaps], rows: int, path: Path) -> list[Chosen]:
    """Write input, ground truth and each method's overlay, a column an image; the first method's scores choose them.

    Scores of different methods have no common unit: each method's are stretched to 0..1 over the category's images.
    """
    chosen = choose(first.image_scores, first.defective, rows)
    places = [item.index for item in chosen]
    truths = [truth_picture(first.masks[place], bool(first.has_mask[place])) for place in places]
    tiles = [[Tile(first.images[place]) for place in places], [Tile(truth) for truth in truths]]
    for method in methods:
        scale = Normalize(*method.scale, clip=True)
        shown = [method.maps[first.paths[place]] for place in places]
        tiles.append(
            [
                Tile(overlay(first.images[place], score_map, scale), first.masks[place])
                for place, score_map in zip(places, shown, strict=True)
            ]
        )
    labels = ["input", "ground truth", *(method.name for method in methods)]
    titles = [row_label(item, first) for item in chosen]
    write_mosaic(tiles, labels, titles, path, ColourBar(Normalize(0, 1), "score, stretched for each method"))
    return chosen


def row_label(item: Chosen, evidence: Evidence) -> str:
    """What stands beside an image: why it is shown, its name and its score."""
    path = Path(evidence.paths[item.index])
    name = f"{evidence.types[item.index]}/{path.stem}"[-20:]
    return f"{item.label}\n{name}\nscore {evidence.image_scores[item.index]:.3g}"
