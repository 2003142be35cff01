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
    """A spatial transform: `name` and its inverse in 2^-16 pixel.

    inverse = (xx, xy, x0, yx, yy, y0): source x = xx * x + xy * y + x0, source y = yx * x + yy * y + y0.
    """

    name: str
    inverse: tuple[int, int, int, int, int, int]

    def source_box(self, box: Box) -> Box:
        """A box of the source that holds every position which the pixels of `box` read, one pixel to spare."""
        xx, xy, x0, yx, yy, y0 = self.inverse
        corners = [(x, y) for x in (box.left, box.right - 1) for y in (box.top, box.bottom - 1)]
        xs = [(xx * x + xy * y + x0) >> FRACTION_BITS for x, y in corners]
        ys = [(yx * x + yy * y + y0) >> FRACTION_BITS for x, y in corners]
        return Box(min(ys) - 1, min(xs) - 1, max(ys) + 3, max(xs) + 3)

    def landing_box(self, region: Box) -> Box:
        """A box that holds the transformed region, one pixel to spare."""
        xx, xy, x0, yx, yy, y0 = self.inverse
        determinant = xx * yy - xy * yx
        corners = [
            ((x << FRACTION_BITS) - x0, (y << FRACTION_BITS) - y0)
            for x in (region.left - 1, region.right)
            for y in (region.top - 1, region.bottom)
        ]
        xs = [(yy * x - xy * y) // determinant for x, y in corners]
        ys = [(xx * y - yx * x) // determinant for x, y in corners]
        return Box(min(ys), min(xs), max(ys) + 2, max(xs) + 2)

    def anchored(self, source: tuple[int, int], target: tuple[int, int]) -> "Affine":
        """The same turn or shear, shifted so that the source pixel (y, x) lands exactly on the target pixel (y, x)."""
        xx, xy, _, yx, yy, _ = self.inverse
        x0 = (source[1] << FRACTION_BITS) - xx * target[1] - xy * target[0]
        y0 = (source[0] << FRACTION_BITS) - yx * target[1] - yy * target[0]
        return Affine(self.name, (xx, xy, x0, yx, yy, y0))

    def from_crop(self, crop: Box) -> "Affine":
        """The same transform for a source that is cut to `crop`."""
        xx, xy, x0, yx, yy, y0 = self.inverse
        return Affine(self.name, (xx, xy, x0 - (crop.left << FRACTION_BITS), yx, yy, y0 - (crop.top << FRACTION_BITS)))


def affine_about_centre(
    name: str, linear: tuple[float, float, float, float], move: tuple[int, int], height: int, width: int
) -> Affine:
    """The transform p -> linear (p - centre) + centre + move of points p = (x, y) about the image's centre.

    linear: the matrix row by row, [[a, b], [c, d]]; move: pixels to the right and down.
    """
    a, b, c, d = linear
    determinant = a * d - b * c
    xx, xy, yx, yy = d / determinant, -b / determinant, -c / determinant, a / determinant
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x0 = centre_x - xx * (centre_x + move[0]) - xy * (centre_y + move[1])
    y0 = centre_y - yx * (centre_x + move[0]) - yy * (centre_y + move[1])
    unit = 1 << FRACTION_BITS
    return Affine(name, tuple(round(value * unit) for value in (xx, xy, x0, yx, yy, y0)))  # type: ignore[arg-type]


def rotation(degrees: float, height: int, width: int) -> Affine:
    """Rotation about the image's centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return affine_about_centre("rotate", (cosine, -sine, sine, cosine), (0, 0), height, width)


@dataclass(frozen=True, slots=True)
class SpatialRanges:
    """Aug_2: 'one' of rotate, shear, shift or 'all' in this order; degrees, and the shift as a share of the side."""

    spatial: str
    rotate_degrees: float
    shear_degrees: float
    shift: float


def draw_transform(uniforms: np.ndarray, ranges: SpatialRanges, height: int, width: int) -> Affine:
    """Rotation within +-rotate_degrees, shear along x from 0 to shear_degrees, shift within +-shift of the side.

    uniforms: five numbers in [0, 1): choice, angle, shear, shift to the right, shift down.
    """
    choice, turn, slant, right, down = uniforms.tolist()
    name = "all" if ranges.spatial == "all" else TRANSFORMS[int(choice * 3)]
    cosine, sine, shear, move = 1.0, 0.0, 0.0, (0, 0)
    if name in ("rotate", "all"):
        angle = math.radians((2 * turn - 1) * ranges.rotate_degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
    if name in ("shear", "all"):
        shear = math.tan(math.radians(slant * ranges.shear_degrees))
    if name in ("shift", "all"):
        move = (round((2 * right - 1) * ranges.shift * width), round((2 * down - 1) * ranges.shift * height))
    linear = (cosine + shear * sine, shear * cosine - sine, sine, cosine)
    return affine_about_centre(name, linear, move, height, width)


def _positions(affine: Affine, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Source x and y of the box's pixels in 2^-16 pixel, int64 [h, w]."""
    xx, xy, x0, yx, yy, y0 = affine.inverse
    columns = np.arange(box.left, box.right, dtype=np.int64)
    rows = np.arange(box.top, box.bottom, dtype=np.int64)[:, None]
    return xx * columns + (xy * rows + x0), yx * columns + (yy * rows + y0)


def _paired(xs: np.ndarray, ys: np.ndarray, drop: int) -> np.ndarray:
    """The positions without their last `drop` bits as OpenCV's int16 map [h, w, 2]."""
    pairs = np.empty((*xs.shape, 2), np.int16)
    np.right_shift(xs, drop, out=pairs[..., 0], casting="unsafe")
    np.right_shift(ys, drop, out=pairs[..., 1], casting="unsafe")
    return pairs


def warp_mask(mask: np.ndarray, affine: Affine, box: Box, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """The transformed mask (uint8 [H, W]) inside the box by nearest neighbour; outside the source 0 by default."""
    xs, ys = _positions(affine, box)
    half = 1 << (FRACTION_BITS - 1)
    unused = np.empty(0, np.uint16)
    where = _paired(xs + half, ys + half, FRACTION_BITS)
    return cv2.remap(mask, where, unused, cv2.INTER_NEAREST, borderMode=border)


def warp_image(image: np.ndarray, affine: Affine, box: Box) -> np.ndarray:
    """The transformed image (uint8 [H, W, 3]) inside the box, bilinear in 1/32 pixel, borders replicated."""
    xs, ys = _positions(affine, box)
    half, drop = 1 << (FRACTION_BITS - 6), FRACTION_BITS - 5
    xs, ys = (xs + half) >> drop, (ys + half) >> drop
    fraction = ((ys & 31) * 32 + (xs & 31)).astype(np.uint16)
    return cv2.remap(image, _paired(xs, ys, 5), fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def draw_cells(uniforms: np.ndarray, grid: int, shuffle: str) -> np.ndarray:
    """Source cell of every cell of a grid x grid split, int64 [grid, grid], cells counted row by row.

    uniforms: grid * (grid + 1) numbers; shuffle: 'permutation' of all cells (supplement A) or of whole 'strips'.
    """
    if shuffle == "permutation":
        return np.argsort(uniforms[: grid * grid], kind="stable").reshape(grid, grid)
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
    tops, lefts = cell_edges(image.shape[0], grid).tolist(), cell_edges(image.shape[1], grid).tolist()
    result = np.empty((box.bottom - box.top, box.right - box.left, 3), np.uint8)
    for row in range(grid):
        for column in range(grid):
            cell = Box(tops[row], lefts[column], tops[row + 1], lefts[column + 1]).within(box)
            if cell.empty:
                continue
            from_row, from_column = divmod(int(cells[row, column]), grid)
            ys = _cell_rows(cell.top, cell.bottom, tops, row, from_row)
            xs = _cell_rows(cell.left, cell.right, lefts, column, from_column)
            target_rows = slice(cell.top - box.top, cell.bottom - box.top)
            target_columns = slice(cell.left - box.left, cell.right - box.left)
            result[target_rows, target_columns] = image[ys][:, xs]
    return result


def _cell_rows(start: int, stop: int, edges: list[int], cell: int, source: int) -> slice | np.ndarray:
    """Which rows (or columns) of the source cell fill start..stop of a cell; the last one repeats in a larger cell."""
    moved = edges[source] - edges[cell]
    if stop + moved <= edges[source + 1]:
        return slice(start + moved, stop + moved)
    return np.minimum(np.arange(start, stop) + moved, edges[source + 1] - 1)
