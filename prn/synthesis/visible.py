"""Whether an anomaly can be seen: how far its colours are from the normal image that it lies on.

A defect that changes nothing teaches the network that good pixels are defects (paper, Fig. 5: anomalies are seen).
The estimate looks at a few pixels of the mask and leaves sharpening out, so that it costs next to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prn.synthesis.augment import Step, Table
from prn.synthesis.materials import Materials, Strategy
from prn.synthesis.spatial import FRACTION_BITS, Affine, Box, cell_edges

PIXELS = 64  # how many of the mask's pixels are looked at


@dataclass(frozen=True, slots=True)
class Site:
    """Where an anomaly lies and what it is made of: indices, box and mask, and how the source was moved.

    moved: the transform of an extended anomaly, the grid's cells of a homologous one.
    """

    strategy: Strategy
    source: int
    background: int
    box: Box
    mask: np.ndarray
    moved: Affine | np.ndarray | None = None


class Contrast:
    """The colours of an anomaly's source and of its background, uint8 [n, 3], at n <= 2 PIXELS pixels of its mask."""

    def __init__(self, materials: Materials, site: Site) -> None:
        rows, columns = np.nonzero(site.mask)
        every = max(1, len(rows) // PIXELS)
        rows, columns = rows[::every] + site.box.top, columns[::every] + site.box.left
        self.normal = materials.normals[site.background][rows, columns].astype(np.int32)
        if isinstance(site.moved, Affine):
            rows, columns = _before_affine(site.moved, rows, columns, materials.size)
        elif site.moved is not None:
            rows, columns = _before_grid(site.moved, rows, columns, materials.size)
        self.anomaly = materials.source(site.strategy, site.source)[rows, columns]

    def change(self, steps: Sequence[Step], opacity: int) -> float:
        """Mean difference to the normal over pixels and channels in grey levels, after Aug_1 and blending.

        opacity: beta in 1/256. Whole numbers up to the last division: the same on every machine.
        """
        colours = self.anomaly
        for step in steps:
            if isinstance(step, Table):
                colours = np.take_along_axis(step.values, colours.astype(np.intp), axis=0)
        difference = int(np.abs(colours - self.normal).sum())
        return difference * (256 - opacity) / (256 * self.normal.size)


def _before_affine(
    affine: Affine, rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest source pixels, those beyond the image's border moved onto it."""
    xx, xy, x0, yx, yy, y0 = affine.inverse
    half = 1 << (FRACTION_BITS - 1)
    source_columns = (xx * columns + xy * rows + x0 + half) >> FRACTION_BITS
    source_rows = (yx * columns + yy * rows + y0 + half) >> FRACTION_BITS
    return source_rows.clip(0, size[0] - 1), source_columns.clip(0, size[1] - 1)


def _before_grid(
    cells: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels lay before the grid's cells were exchanged."""
    grid = len(cells)
    tops, lefts = cell_edges(size[0], grid), cell_edges(size[1], grid)
    row_cell = np.searchsorted(tops, rows, side="right") - 1
    column_cell = np.searchsorted(lefts, columns, side="right") - 1
    from_row, from_column = np.divmod(cells[row_cell, column_cell], grid)
    moved_rows = np.minimum(tops[from_row] + rows - tops[row_cell], tops[from_row + 1] - 1)
    moved_columns = np.minimum(lefts[from_column] + columns - lefts[column_cell], lefts[from_column + 1] - 1)
    return moved_rows, moved_columns
