"""What the figures need of a run's predictions, so that not all runs of a category have to be held at once."""

from dataclasses import dataclass

import numpy as np

from prn.reporting.curves import PANELS, RankedPredictions, SizeRecall, heights, recall_by_size
from prn.reporting.grids import colour_range
from prn.reporting.results import Run


@dataclass(frozen=True, slots=True)
class FigureData:
    """A run in a few kilobytes, and some of its score maps.

    image_scores, defective: N; curves: the height of each of `PANELS` on its grid, None where there is none;
    sizes: recall by defect size, empty without masks; scale: the colours' range; maps: path -> S x S float16.
    """

    run: Run
    image_scores: np.ndarray
    defective: np.ndarray
    curves: list[np.ndarray | None]
    sizes: list[SizeRecall]
    scale: tuple[float, float]
    maps: dict[str, np.ndarray]


def figure_data(ranked: RankedPredictions, keep: list[str]) -> FigureData:
    """The digest of a run; `keep` names the images whose score maps it holds."""
    shown = ranked.evidence
    places = {path: place for place, path in enumerate(shown.paths)}
    return FigureData(
        run=shown.run,
        image_scores=shown.image_scores,
        defective=shown.defective,
        curves=[heights(panel, ranked) for panel in PANELS],
        sizes=recall_by_size([ranked]),
        scale=colour_range(shown),
        maps={path: shown.score_maps[places[path]].copy() for path in keep if path in places},
    )
