"""Target areas: shape, size, place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prn.synthesis.target_area import SHAPES, UNIFORMS, draw_target_area


@given(st.integers(0, 10**6), st.integers(5, 90), st.integers(5, 90), st.data())
def test_lies_in_the_image_around_its_centre(seed, height, width, data):
    centre = (data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1)))
    area = draw_target_area(np.random.default_rng(seed).random(UNIFORMS), [0.15, 0.6], centre, height, width)
    box = area.box
    assert 0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width
    assert area.mask.shape == (box.bottom - box.top, box.right - box.left)
    assert set(np.unique(area.mask)) <= {0, 1}
    assert area.mask[centre[0] - box.top, centre[1] - box.left] == 1
    assert box.bottom - box.top <= 0.6 * height + 1 and box.right - box.left <= 0.6 * width + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_fills_what_its_shape_fills(shape):
    uniforms = np.full(UNIFORMS, 0.5)
    uniforms[0] = (SHAPES.index(shape) + 0.5) / 3
    area = draw_target_area(uniforms, [0.4, 0.4], (100, 100), 200, 200)
    filled = area.mask.mean()
    assert area.shape == shape
    assert (area.box.bottom - area.box.top, area.box.right - area.box.left) == (81, 81)
    expected = {"circle": (0.74, 0.80), "rectangle": (1, 1), "polygon": (0.2, 0.79)}[shape]
    assert expected[0] <= filled <= expected[1]


def test_shapes_and_sizes_vary():
    rng = np.random.default_rng(0)
    areas = [draw_target_area(rng.random(UNIFORMS), [0.15, 0.6], (128, 128), 256, 256) for _ in range(600)]
    names = [area.shape for area in areas]
    assert all(150 < names.count(name) < 250 for name in SHAPES)
    heights = [area.box.bottom - area.box.top for area in areas]
    assert min(heights) < 45 and max(heights) > 145
