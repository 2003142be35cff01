"""Perlin noise, which gives simulated anomalies their shape, as small matrix products.

On a lattice of gradients (g_y, g_x) the classic noise at a pixel is the fade-weighted sum over its cell's four corners
of gradient . offset. Weights and offsets separate into rows and columns, so the whole image is
sqrt(2) * ((O_y g_y) A_x' + (A_y g_x) O_x'), where A holds the fade weights and O = A times the offsets. Of each row of
A and O only two entries are not zero: the columns are interpolated once per lattice row, and the rows of a cell follow
from four of these by one product. Double precision keeps the threshold's verdict the same in whatever order a machine
sums, and products this small stay on one thread.
"""

import math
from functools import lru_cache

import numpy as np

# DRAEM, from which the paper takes its noise, turns the noise image by up to this angle (reference: DRAEM's loader).
ROTATION_DEGREES = 90.0


@lru_cache(maxsize=256)
def _axis(size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Of `size` pixels over `scale` cells: the cell, int [size], its two weights and moments, float64 [size, 4]."""
    position = np.arange(size) * (scale / size)
    cell = np.minimum(position.astype(np.intp), scale - 1)
    offset = position - cell
    fade = offset**3 * (offset * (offset * 6 - 15) + 10)
    factors = np.stack((1 - fade, fade, (1 - fade) * offset, fade * (offset - 1)), axis=1)
    cell.flags.writeable = factors.flags.writeable = False
    return cell, factors


def perlin_noise(
    angles: np.ndarray, height: int, width: int, rows: slice | None = None, columns: slice | None = None
) -> np.ndarray:
    """Perlin noise from the angles of its lattice gradients (Perlin 1985 with the fade 6t^5 - 15t^4 + 10t^3 of 2002).

    angles: radians, [scale_y + 1, scale_x + 1]; the gradient at a lattice point is (y, x) = (sin, cos).
    height, width: pixels of the whole image; rows, columns: the window that is computed (default all of it).
    Returns float64 [rows, columns], times sqrt(2) as in DRAEM's generator, within [-1, 1] up to rounding.
    """
    rows, columns = rows or slice(0, height), columns or slice(0, width)
    cell_y, factors_y = _axis(height, angles.shape[0] - 1)
    cell_x, factors_x = _axis(width, angles.shape[1] - 1)
    first, last = int(cell_y[rows.start]), int(cell_y[rows.stop - 1])
    used = angles[first : last + 2]
    left, (near, far, near_moment, far_moment) = cell_x[columns], factors_x[columns].T
    # Per lattice row: the part that the rows' weights multiply (x gradients), then that of their moments (y gradients).
    for_weights = _interpolated(math.sqrt(2) * np.cos(used), left, near_moment, far_moment)
    for_moments = _interpolated(math.sqrt(2) * np.sin(used), left, near, far)
    corners = np.stack((for_weights[:-1], for_weights[1:], for_moments[:-1], for_moments[1:]), axis=1)
    side, rest = divmod(height, angles.shape[0] - 1)
    if rest == 0:
        whole_cells = factors_y[first * side : (last + 1) * side].reshape(-1, side, 4) @ corners
        return whole_cells.reshape(-1, len(left))[rows.start - first * side : rows.stop - first * side]
    cells, factors = cell_y[rows], factors_y[rows]
    starts = np.searchsorted(cells, np.arange(first, last + 2))
    return np.concatenate([factors[starts[i] : starts[i + 1]] @ corners[i] for i in range(last - first + 1)])


def _interpolated(values: np.ndarray, left: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Per lattice row and pixel column: near times the value at the column's cell plus far times the next one."""
    result = values.take(left, axis=1)
    result *= near
    following = values.take(left + 1, axis=1)
    following *= far
    result += following
    return result
