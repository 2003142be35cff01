"""What the figures need of a run's predictions, so that not all runs of a category have to be held at once."""

from dataclasses import dataclass

import numpy as np

from prn.reporting.curves import PANELS, Scored, SizeRecall, heights, recall_by_size
from prn.reporting.grids import colour_range
from prn.reporting.results import Run


@dataclass(frozen=True, slots=True)
class Digest:
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


def digest(scored: Scored, keep: list[str]) -> Digest:
    """The digest of a run; `keep` names the images whose score maps it holds."""
    shown = scored.evidence
    places = {path: place for place, path in enumerate(shown.paths)}
    return Digest(
        run=shown.run,
        image_scores=shown.image_scores,
        defective=shown.defective,
        curves=[heights(panel, scored) for panel in PANELS],
        sizes=recall_by_size([scored]),
        scale=colour_range(shown),
        maps={path: shown.score_maps[places[path]].copy() for path in keep if path in places},
    )
