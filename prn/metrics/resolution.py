"""Scoring at another resolution than the working size."""

import cv2
import numpy as np


def resize_score_map(score_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """A score map at another size, bilinear with half-pixel centres (torch's align_corners=False); float32 or float64.

    score_map: H x W, any float type. To score at the original size, hand `rank_pixels_in_chunks` a pass that
    resizes each map to its mask: memory stays that of one image.
    """
    values = score_map if score_map.dtype == np.float64 else np.asarray(score_map, np.float32)
    if values.shape == (height, width):
        return values
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
