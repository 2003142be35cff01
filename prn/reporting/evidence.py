"""What the figures show besides numbers: a run's score maps beside the images and masks that they belong to.

Predictions and tensors are caches and may be absent; then the figure is left out and the page says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from prn import layout
from prn.datasets.images import CategoryTensors
from prn.errors import DataCorrupt, PrnError
from prn.predictions import load_predictions
from prn.reporting.results import Run


class NoEvidence(Exception):
    """A cache that a figure needs is absent; the message is the line that stands in the figure's place."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run's predictions with their images, all at the working size S.

    images: N x S x S x 3 uint8 RGB; masks: N x S x S bool; has_mask: N bool (good images have an empty mask);
    types: N names, `good` or the defect's; defective: N bool; score_maps: N x S x S float16;
    image_scores: N float64; paths: N paths below the data set's root.
    """

    run: Run
    paths: list[str]
    images: np.ndarray
    masks: np.ndarray
    has_mask: np.ndarray
    types: list[str]
    defective: np.ndarray
    score_maps: np.ndarray
    image_scores: np.ndarray


def read_evidence(root: Path, run: Run, types: Mapping[str, str]) -> Evidence:
    """The predictions of a run and the images they were made for.

    `types` has the type of each defective image by its path; all others are good. Raises `NoEvidence` where a cache is
    absent or does not fit.
    """
    file = run.file(root, layout.PREDICTIONS)
    if not file.is_file():
        raise NoEvidence(f"the predictions of {run.variant} with seed {run.seed} are not kept here")
    try:
        found = load_predictions(file)
    except DataCorrupt as error:
        raise NoEvidence(f"the predictions of {run.variant} with seed {run.seed} cannot be read ({error})") from error
    size = found.score_maps.shape[-1]
    images, masks, has_mask = _pictures(root, run.dataset, run.category, size, tuple(found.paths))
    named = [types.get(path, "good") for path in found.paths]
    defective = np.array([path in types for path in found.paths], dtype=bool)
    return Evidence(run, found.paths, images, masks, has_mask, named, defective, found.score_maps, found.image_scores)


def forget_pictures() -> None:
    """Drop the images that are held for the next run of the same category."""
    _pictures.cache_clear()


@lru_cache(maxsize=1)
def _pictures(
    root: Path, dataset: str, category: str, size: int, paths: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, masks and whether they have one; held once for all variants of a category with the same test images."""
    file = root / layout.path(layout.TENSORS, dataset=dataset, category=category, size=size)
    if not file.is_file():
        raise NoEvidence(f"the working tensors of {category} at {size}x{size} are not kept here")
    try:
        tensors = CategoryTensors.load(file)
        chosen = tensors.index_of(paths)
    except PrnError as error:
        raise NoEvidence(f"the working tensors of {category} at {size}x{size} cannot be used") from error
    return tensors.images[chosen], tensors.masks[chosen].astype(bool), tensors.has_mask[chosen]
