"""Aug_2 and the grid against brute force."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prn.synthesis import spatial
from prn.synthesis.spatial import Affine, Box, SpatialRanges, bounding_box, draw_transform, warp_image, warp_mask

HEIGHT, WIDTH = 37, 53
WHOLE = Box(0, 0, HEIGHT, WIDTH)


def transform(seed: int, kind: str = "all") -> Affine:
    uniforms = np.random.default_rng(seed).random(5)
    return draw_transform(uniforms, SpatialRanges(kind, 90.0, 40.0, 0.3), HEIGHT, WIDTH)


def blob(seed: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        centre = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        cv2.circle(mask, centre, int(rng.integers(1, 7)), 1, -1)
    return mask


def noise_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def source_position(affine: Affine, x: int, y: int) -> tuple[float, float]:
    xx, xy, x0, yx, yy, y0 = (value / 65536 for value in affine.inverse)
    return xx * x + xy * y + x0, yx * x + yy * y + y0


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_warped_mask_takes_the_nearest_pixel(seed):
    affine, mask = transform(seed), blob(seed)
    expected = np.zeros_like(mask)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            sx, sy = source_position(affine, x, y)
            column, row = math.floor(sx + 0.5), math.floor(sy + 0.5)
            if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                expected[y, x] = mask[row, column]
    assert np.array_equal(warp_mask(mask, affine, WHOLE), expected)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_warped_image_is_bilinear_in_whole_numbers(seed):
    affine, image = transform(seed), noise_image(seed)
    expected = np.zeros_like(image)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            column, across = divmod(math.floor(source_position(affine, x, y)[0] * 32 + 0.5), 32)
            row, down = divmod(math.floor(source_position(affine, x, y)[1] * 32 + 0.5), 32)
            total = np.full(3, 512)
            for dy, dx, weight in (
                (0, 0, (32 - down) * (32 - across)),
                (0, 1, (32 - down) * across),
                (1, 0, down * (32 - across)),
                (1, 1, down * across),
            ):
                total += weight * image[min(max(row + dy, 0), HEIGHT - 1), min(max(column + dx, 0), WIDTH - 1)].astype(
                    int
                )
            expected[y, x] = total >> 10
    assert np.array_equal(warp_image(image, affine, WHOLE), expected)


@given(st.integers(0, 10**6), st.data())
def test_a_box_equals_that_part_of_the_whole(seed, data):
    top, left = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    box = Box(top, left, data.draw(st.integers(top + 1, HEIGHT)), data.draw(st.integers(left + 1, WIDTH)))
    affine, image, mask = transform(seed), noise_image(seed), blob(seed)
    assert np.array_equal(warp_mask(mask, affine, box), warp_mask(mask, affine, WHOLE)[box.slices])
    assert np.array_equal(warp_image(image, affine, box), warp_image(image, affine, WHOLE)[box.slices])
    crop = affine.source_box(box).within(WHOLE)
    if not crop.empty:
        cut = image[crop.slices]
        assert np.array_equal(warp_image(cut, affine.from_crop(crop), box), warp_image(image, affine, box))


@given(st.integers(0, 10**6))
def test_the_landing_box_holds_the_transformed_region(seed):
    affine, mask = transform(seed), blob(seed)
    moved = bounding_box(warp_mask(mask, affine, WHOLE))
    if not moved.empty:
        assert moved.within(affine.landing_box(bounding_box(mask))) == moved


@given(st.integers(0, 10**6), st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1))
def test_anchored_puts_a_source_pixel_on_a_target_pixel(seed, row, column):
    rng = np.random.default_rng(seed)
    source = (int(rng.integers(HEIGHT)), int(rng.integers(WIDTH)))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[source] = 1
    assert warp_mask(mask, transform(seed).anchored(source, (row, column)), WHOLE)[row, column] == 1


def test_rotation_by_a_right_angle_equals_numpy():
    image = np.random.default_rng(0).integers(0, 256, (31, 31, 3), np.uint8)
    turned = warp_image(image, spatial.rotation(90, 31, 31), Box(0, 0, 31, 31))
    assert np.array_equal(turned, np.rot90(image, -1))


def test_shift_moves_by_whole_pixels():
    mask = blob(5)
    affine = spatial.affine_about_centre("shift", (1, 0, 0, 1), (4, -3), HEIGHT, WIDTH)
    assert np.array_equal(warp_mask(mask, affine, WHOLE)[: HEIGHT - 3, 4:], mask[3:, : WIDTH - 4])


def test_shear_keeps_the_middle_row():
    affine = spatial.affine_about_centre("shear", (1, math.tan(math.radians(40)), 0, 1), (0, 0), HEIGHT, WIDTH)
    image = noise_image(1)
    assert np.array_equal(warp_image(image, affine, WHOLE)[HEIGHT // 2], image[HEIGHT // 2])


@pytest.mark.parametrize("kind", ["one", "all"])
def test_the_drawn_transform_stays_in_its_ranges(kind):
    names = []
    for seed in range(300):
        affine = transform(seed, kind)
        names.append(affine.name)
        xx, xy, _, yx, yy, _ = (value / 65536 for value in affine.inverse)
        assert abs(xx * yy - xy * yx - 1) < 1e-3  # areas are kept by all three
    if kind == "all":
        assert set(names) == {"all"}
    else:
        assert all(70 < names.count(name) < 130 for name in spatial.TRANSFORMS)


@pytest.mark.parametrize("shuffle", ["permutation", "strips"])
@pytest.mark.parametrize("grid", [1, 4, 8])
def test_rearranged_cells_are_a_permutation(shuffle, grid):
    cells = spatial.draw_cells(np.random.default_rng(1).random(grid * (grid + 1)), grid, shuffle)
    assert sorted(cells.ravel()) == list(range(grid * grid))
    image = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    side = 64 // grid
    result = spatial.rearrange(image, cells, Box(0, 0, 64, 64))
    for row in range(grid):
        for column in range(grid):
            from_row, from_column = divmod(int(cells[row, column]), grid)
            expected = image[from_row * side : (from_row + 1) * side, from_column * side : (from_column + 1) * side]
            assert np.array_equal(result[row * side : (row + 1) * side, column * side : (column + 1) * side], expected)
    if shuffle == "strips":
        assert all(len({int(cell) % grid for cell in cells[:, column]}) == 1 for column in range(grid))


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.data())
def test_sides_that_are_no_multiple_of_the_grid(seed, height, width, data):
    grid = data.draw(st.integers(1, min(height, width, 8)))
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    cells = spatial.draw_cells(rng.random(grid * (grid + 1)), grid, "permutation")
    whole = spatial.rearrange(image, cells, Box(0, 0, height, width))
    tops, lefts = spatial.cell_edges(height, grid), spatial.cell_edges(width, grid)
    for row in range(grid):
        for column in range(grid):
            from_row, from_column = divmod(int(cells[row, column]), grid)
            assert np.array_equal(whole[tops[row], lefts[column]], image[tops[from_row], lefts[from_column]])
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    assert np.array_equal(spatial.rearrange(image, cells, box), whole[box.slices])
