"""Perlin noise against the textbook's per-pixel definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prn.synthesis.perlin import perlin_noise


def textbook(angles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel: gradients dotted with offsets at the four corners, blended by the fade curve."""
    scale_y, scale_x = angles.shape[0] - 1, angles.shape[1] - 1

    def fade(t: float) -> float:
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    def corner(row: int, column: int, y: float, x: float) -> float:
        angle = angles[row, column]
        return math.sin(angle) * (y - row) + math.cos(angle) * (x - column)

    noise = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = i * scale_y / height, j * scale_x / width
            row, column = int(y), int(x)
            across = fade(x - column)
            top = corner(row, column, y, x) * (1 - across) + corner(row, column + 1, y, x) * across
            bottom = corner(row + 1, column, y, x) * (1 - across) + corner(row + 1, column + 1, y, x) * across
            down = fade(y - row)
            noise[i, j] = math.sqrt(2) * (top * (1 - down) + bottom * down)
    return noise


@pytest.mark.parametrize("scales", [(1, 1), (1, 32), (2, 8), (5, 7), (32, 32), (40, 48)])
def test_equals_the_textbook_form(scales):
    angles = np.random.default_rng(3).random((scales[0] + 1, scales[1] + 1)) * 2 * math.pi
    np.testing.assert_allclose(perlin_noise(angles, 40, 48), textbook(angles, 40, 48), atol=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_window_equals_that_part_of_the_whole(seed, scale_y, scale_x, data):
    height, width = 33, 47
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows = slice(top, data.draw(st.integers(top + 1, height)))
    columns = slice(left, data.draw(st.integers(left + 1, width)))
    angles = np.random.default_rng(seed).random((scale_y + 1, scale_x + 1)) * 2 * math.pi
    whole = perlin_noise(angles, height, width)
    np.testing.assert_allclose(perlin_noise(angles, height, width, rows, columns), whole[rows, columns], atol=1e-14)
    assert np.abs(whole).max() <= 1 + 1e-12


def test_is_zero_on_the_lattice():
    angles = np.random.default_rng(0).random((5, 9)) * 2 * math.pi
    np.testing.assert_allclose(perlin_noise(angles, 64, 64)[::16, ::8], 0, atol=1e-15)
