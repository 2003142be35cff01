"""The file of predictions: score maps in half precision, compressed, beside exact image scores.

Half precision serves ranking and pictures of the maps; an image's score was taken from its map before rounding.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prn.errors import DataCorrupt
from prn.provenance.files import atomic_write


@dataclass(frozen=True)
class Predictions:
    """score_maps: N x S x S float16; image_scores: N float64; paths: the images, N paths as in the index."""

    score_maps: np.ndarray
    image_scores: np.ndarray
    paths: list[str]


def save_predictions(path: Path, score_maps: np.ndarray, image_scores: np.ndarray, paths: Sequence[str]) -> None:
    """Write a compressed `.npz` with the arrays `score_maps`, `image_scores` and `paths`; the same bytes each time."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            score_maps=score_maps.astype(np.float16),
            image_scores=image_scores.astype(np.float64),
            paths=np.array(paths, dtype=np.str_),
        )


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote; raises `DataCorrupt` where the file is not that."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Predictions(stored["score_maps"], stored["image_scores"], stored["paths"].tolist())
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise DataCorrupt(f"{path}: not a file of predictions ({error}); delete it and run `predict` again") from error
