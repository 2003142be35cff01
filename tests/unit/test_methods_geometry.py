"""A method's own size and crop, and the way back to the common grid."""

import numpy as np
import torch

from prn.methods.geometry import on_common_grid, resized_crop


def test_the_crop_is_the_centre_and_pixels_keep_their_value():
    images = torch.arange(2 * 8 * 8 * 3, dtype=torch.int32).reshape(2, 8, 8, 3).remainder(256).to(torch.uint8)
    assert torch.equal(resized_crop(images, 8, 4), images[:, 2:6, 2:6].float())
    assert torch.equal(resized_crop(images, 8, 8), images.float())


def test_another_size_is_resized_before_the_crop():
    """Halves of 0 and 200 stay halves; the shrunk side is an average, not a sample."""
    images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    images[:, :, 8:] = 200
    small = resized_crop(images, 8, 6)
    assert small.shape == (1, 6, 6, 3)
    assert small[0, :, 0].max() == 0
    assert small[0, :, 5].min() == 200


def test_the_border_takes_the_nearest_pixel_of_the_crop():
    """By hand: numpy's edge padding is another implementation of the same rule."""
    maps = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0))
    placed = on_common_grid(maps, resize=8, size=8)
    assert np.array_equal(placed.numpy(), np.pad(maps.numpy(), ((0, 0), (1, 2), (1, 2)), mode="edge"))


def test_crop_and_placing_agree_where_the_crop_is_odd():
    """A score map that is the image itself comes back at the pixels it was cut from."""
    images = torch.randint(0, 256, (1, 9, 9, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    for crop in (4, 5, 9):
        placed = on_common_grid(resized_crop(images, 9, crop)[..., 0], resize=9, size=9)
        start = (9 - crop) // 2
        inner = slice(start, start + crop)
        assert torch.equal(placed[:, inner, inner], images[:, inner, inner, 0].float())


def test_a_grid_of_another_size_is_filled_whole():
    maps = torch.full((1, 6, 6), 3.0)
    for size in (4, 8, 16):
        placed = on_common_grid(maps, resize=8, size=size)
        assert placed.shape == (1, size, size)
        assert torch.allclose(placed, torch.full((1, size, size), 3.0))
