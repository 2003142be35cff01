"""The defect pixels of a set of images: their scores and the 8-connected regions that they belong to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from prn.metrics.inputs import score_maps_and_masks, score_type


@dataclass(frozen=True, slots=True)
class DefectPixels:
    """All positive pixels of a set of images, region by region identifiable, and what the whole set holds."""

    scores: np.ndarray  # P, float32 or float64: the type that holds the scores of ALL pixels
    region: np.ndarray  # P, int32: the region of each
    region_area: np.ndarray  # R, pixels
    region_image: np.ndarray  # R, index of the image
    image_pixels: np.ndarray  # N, pixels of each image


def gather_defect_pixels(chunks: Iterable[tuple[Any, Any]]) -> DefectPixels:
    """Read every chunk (score maps, masks) once and keep only its positive pixels."""
    scores: list[np.ndarray] = []
    regions: list[np.ndarray] = []
    areas: list[np.ndarray] = []
    images: list[int] = []
    sizes: list[int] = []
    types: set[np.dtype] = set()
    for score_maps, masks in chunks:
        for one, mask in zip(*score_maps_and_masks(score_maps, masks), strict=True):
            types.add(one.dtype)
            window = _window(mask)
            if window:
                inside = mask[window]
                labels = label_regions(inside)[inside]
                counts = np.bincount(labels)[1:]
                scores.append(one[window][inside])
                regions.append(labels + np.int32(len(images) - 1))
                areas.append(counts)
                images += [len(sizes)] * len(counts)
            sizes.append(one.size)
    return DefectPixels(
        scores=_joined(scores, score_type(types)),
        region=_joined(regions, np.dtype(np.int32)),
        region_area=_joined(areas, np.dtype(np.int64)),
        region_image=np.array(images, np.int64),
        image_pixels=np.array(sizes, np.int64),
    )


def label_regions(mask: np.ndarray) -> np.ndarray:
    """The 8-connected regions of a boolean mask numbered from 1; 0 elsewhere; int32, H x W."""
    return cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)[1]


def _window(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The rectangle that holds all positive pixels; None without any."""
    if not mask.any():
        return None
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts], dtype=dtype, casting="unsafe")
