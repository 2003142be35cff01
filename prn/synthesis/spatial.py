"""Aug_2 of the paper (Fig. 5): rotate, shear or shift, in fixed-point arithmetic; and the 8x8 grid of the supplement.

A transform is kept as its inverse (destination pixel -> source position) in units of 2^-16 pixel, so that every machine
and both back ends read the same source pixels. Colours are interpolated in 1/32 pixel, masks take the nearest pixel.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

FRACTION_BITS = 16
TRANSFORMS = ("rotate", "shear", "shift")


@dataclass(frozen=True, slots=True)
class Box:
    """Rows top..bottom and columns left..right of an image, the ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def empty(self) -> bool:
        """True without any pixel."""
        return self.top >= self.bottom or self.left >= self.right

    def within(self, other: "Box") -> "Box":
        """The common part."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )


def bounding_box(mask: np.ndarray) -> Box:
    """The smallest box around the non-zero pixels of [H, W]; empty (0, 0, 0, 0) without any."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return Box(top, left, top + height, left + width)


@dataclass(frozen=True, slots=True)
class Affine:
    """A spatial transform: `name`, its forward matrix (2x3, float) and the inverse in 2^-16 pixel (six whole numbers).

    inverse = (xx, xy, x0, yx, yy, y0): source x = xx * x + xy * y + x0, source y = yx * x + yy * y + y0.
    """

    name: str
    forward: np.ndarray
    inverse: tuple[int, int, int, int, int, int]


def _affine(name: str, linear: np.ndarray, shift: np.ndarray, height: int, width: int) -> Affine:
    """The transform p -> linear (p - centre) + centre + shift, about the image's centre."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    back = np.linalg.inv(linear)
    forward = np.column_stack((linear, centre + shift - linear @ centre))
    inverse = np.column_stack((back, centre - back @ (centre + shift)))
    fixed = np.rint(inverse * (1 << FRACTION_BITS)).astype(np.int64).ravel()
    return Affine(name, forward, tuple(int(value) for value in fixed))  # type: ignore[arg-type]


def rotation(degrees: float, height: int, width: int) -> Affine:
    """Rotation about the image's centre."""
    angle = math.radians(degrees)
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return _affine("rotate", linear, np.zeros(2), height, width)


def anchored(affine: Affine, source: tuple[int, int], target: tuple[int, int]) -> Affine:
    """The same turn or shear, shifted so that the source pixel (y, x) lands exactly on the target pixel (y, x)."""
    xx, xy, _, yx, yy, _ = affine.inverse
    x0 = (source[1] << FRACTION_BITS) - xx * target[1] - xy * target[0]
    y0 = (source[0] << FRACTION_BITS) - yx * target[1] - yy * target[0]
    linear = affine.forward[:, :2]
    move = np.array([target[1], target[0]]) - linear @ np.array([source[1], source[0]])
    return Affine(affine.name, np.column_stack((linear, move)), (xx, xy, x0, yx, yy, y0))


def draw_transform(
    uniforms: np.ndarray,
    spatial: str,
    rotate_degrees: float,
    shear_degrees: float,
    shift: float,
    height: int,
    width: int,
) -> Affine:
    """One of the three transforms (`spatial` = 'one') or all of them in the order of the paper ('all').

    uniforms: five numbers in [0, 1): choice, angle, shear, shift to the right, shift down.
    Rotation within +-rotate_degrees, shear from 0 to shear_degrees, shift within +-shift of the side.
    """
    choice = len(TRANSFORMS) if spatial == "all" else int(uniforms[0] * 3)
    linear, move = np.eye(2), np.zeros(2)
    if choice in (0, 3):
        angle = math.radians((2 * uniforms[1] - 1) * rotate_degrees)
        linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if choice in (1, 3):
        linear = np.array([[1.0, math.tan(math.radians(uniforms[2] * shear_degrees))], [0.0, 1.0]]) @ linear
    if choice in (2, 3):
        move = np.rint((2 * uniforms[3:5] - 1) * shift * np.array([width, height]))
    return _affine("all" if choice == 3 else TRANSFORMS[choice], linear, move, height, width)


def landing_box(affine: Affine, region: Box) -> Box:
    """A box that surely holds the transformed region (one pixel to spare)."""
    xs, ys = (region.left, region.right - 1), (region.top, region.bottom - 1)
    corners = np.array([[x, y, 1.0] for x in xs for y in ys])
    low = np.floor((corners @ affine.forward.T).min(axis=0)).astype(int) - 1
    high = np.ceil((corners @ affine.forward.T).max(axis=0)).astype(int) + 2
    return Box(int(low[1]), int(low[0]), int(high[1]), int(high[0]))


def _positions(affine: Affine, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Source x and y of the box's pixels in 2^-16 pixel, int64 [h, w]."""
    xx, xy, x0, yx, yy, y0 = affine.inverse
    columns = np.arange(box.left, box.right, dtype=np.int64)
    rows = np.arange(box.top, box.bottom, dtype=np.int64)[:, None]
    return xx * columns + (xy * rows + x0), yx * columns + (yy * rows + y0)


def warp_mask(mask: np.ndarray, affine: Affine, box: Box, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """The transformed mask (uint8 [H, W]) inside the box by nearest neighbour; outside the source 0 by default."""
    xs, ys = _positions(affine, box)
    half = 1 << (FRACTION_BITS - 1)
    where = np.stack(((xs + half) >> FRACTION_BITS, (ys + half) >> FRACTION_BITS), axis=-1).astype(np.int16)
    unused = np.empty(0, np.uint16)
    return cv2.remap(mask, where, unused, cv2.INTER_NEAREST, borderMode=border)


def warp_image(image: np.ndarray, affine: Affine, box: Box) -> np.ndarray:
    """The transformed image (uint8 [H, W, 3]) inside the box, bilinear in 1/32 pixel, borders replicated."""
    xs, ys = _positions(affine, box)
    half, drop = 1 << (FRACTION_BITS - 6), FRACTION_BITS - 5
    xs, ys = (xs + half) >> drop, (ys + half) >> drop
    where = np.stack((xs >> 5, ys >> 5), axis=-1).astype(np.int16)
    fraction = ((ys & 31) * 32 + (xs & 31)).astype(np.uint16)
    return cv2.remap(image, where, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def draw_cells(uniforms: np.ndarray, grid: int, shuffle: str) -> np.ndarray:
    """Source cell of every destination cell of a grid x grid split, int64 [grid, grid], cells counted row by row.

    uniforms: grid * grid numbers. `shuffle` = 'permutation': all cells (supplement A); 'strips': rows and columns.
    """
    if shuffle == "permutation":
        return np.argsort(uniforms, kind="stable").reshape(grid, grid)
    rows, columns = np.argsort(uniforms[:grid], kind="stable"), np.argsort(uniforms[grid : 2 * grid], kind="stable")
    return rows[:, None] * grid + columns


def cell_edges(size: int, grid: int) -> np.ndarray:
    """Where the cells of an even split of `size` pixels begin, with the end appended, int64 [grid + 1]."""
    return np.arange(grid + 1) * size // grid


def rearrange(image: np.ndarray, cells: np.ndarray, box: Box) -> np.ndarray:
    """The part inside the box of an image [H, W, 3] whose cells are re-arranged.

    Where the side is no multiple of the grid, cells differ by one pixel and the last row or column is repeated.
    """
    grid = len(cells)
    tops, lefts = cell_edges(image.shape[0], grid), cell_edges(image.shape[1], grid)
    result = np.empty((box.bottom - box.top, box.right - box.left, 3), np.uint8)
    for row in range(grid):
        for column in range(grid):
            cell = Box(int(tops[row]), int(lefts[column]), int(tops[row + 1]), int(lefts[column + 1])).within(box)
            if cell.empty:
                continue
            from_row, from_column = divmod(int(cells[row, column]), grid)
            ys = np.minimum(np.arange(cell.top, cell.bottom) - tops[row] + tops[from_row], tops[from_row + 1] - 1)
            xs = np.minimum(
                np.arange(cell.left, cell.right) - lefts[column] + lefts[from_column], lefts[from_column + 1] - 1
            )
            target_rows = slice(cell.top - box.top, cell.bottom - box.top)
            target_columns = slice(cell.left - box.left, cell.right - box.left)
            result[target_rows, target_columns] = image[np.ix_(ys, xs)]
    return result
