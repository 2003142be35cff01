"""Perlin noise, which gives simulated anomalies their shape, as small matrix products.

On a lattice of gradients (g_y, g_x) the classic noise at a pixel is the fade-weighted sum over its cell's four corners
of gradient . offset. Weights and offsets separate into rows and columns, so the whole image is
sqrt(2) * ((O_y g_y) A_x' + (A_y g_x) O_x'), where A holds the fade weights and O = A times the offsets.
Double precision keeps the threshold's verdict the same whatever the order in which a machine sums.
"""

import math
from functools import lru_cache

import numpy as np

# DRAEM, from which the paper takes its noise, turns the noise image by up to this angle (reference: DRAEM's loader).
ROTATION_DEGREES = 90.0


@lru_cache(maxsize=256)
def _weights(size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Fade weights A and A times the offsets, both [size, scale + 1], of `size` pixels over `scale` lattice cells."""
    position = np.arange(size) * (scale / size)
    cell = np.minimum(position.astype(np.intp), scale - 1)
    offset = position - cell
    fade = offset**3 * (offset * (offset * 6 - 15) + 10)
    weights = np.zeros((size, scale + 1))
    rows = np.arange(size)
    weights[rows, cell] = 1 - fade
    weights[rows, cell + 1] = fade
    moments = np.zeros_like(weights)
    moments[rows, cell] = (1 - fade) * offset
    moments[rows, cell + 1] = fade * (offset - 1)
    weights.flags.writeable = moments.flags.writeable = False
    return weights, moments


def perlin_noise(
    angles: np.ndarray, height: int, width: int, rows: slice = slice(None), columns: slice = slice(None)
) -> np.ndarray:
    """Perlin noise from the angles of its lattice gradients (Perlin 1985 with the fade 6t^5 - 15t^4 + 10t^3 of 2002).

    angles: radians, [scale_y + 1, scale_x + 1]; the gradient at a lattice point is (y, x) = (sin, cos).
    height, width: pixels of the whole image; rows, columns: the window that is computed (default all of it).
    Returns float64 [rows, columns], times sqrt(2) as in DRAEM's generator, within about [-1, 1].
    """
    weights_y, moments_y = _weights(height, angles.shape[0] - 1)
    weights_x, moments_x = _weights(width, angles.shape[1] - 1)
    left = np.concatenate((moments_y[rows] @ np.sin(angles), weights_y[rows] @ np.cos(angles)), axis=1)
    right = np.concatenate((weights_x[columns], moments_x[columns]), axis=1)
    return math.sqrt(2) * (left @ right.T)
