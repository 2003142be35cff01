"""Aug_1 against Pillow, and the shortcuts (tables, pushed histograms) against the plain way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from prn.synthesis import augment
from prn.synthesis.augment import AugmentRanges, Sharpness, Table, apply_steps, draw_steps, histogram

RANGES = AugmentRanges(gamma=[0.5, 2.0], solarize=[32, 128], posterize_bits=[2, 6], sharpness=[0.5, 2.0])


def picture(seed: int, height: int = 31, width: int = 45) -> np.ndarray:
    """A smooth coloured picture that uses part of the value range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(3, 9) + rng.uniform(0, 6)) + np.cos(y / rng.uniform(3, 9)) for _ in range(3)]
    return np.clip(np.stack(waves, axis=-1) * 40 + 110 + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def by_table(image: np.ndarray, table) -> np.ndarray:
    return np.stack([table(histogram(image)[:, c])[image[..., c]] for c in range(3)], axis=-1)


def test_tables_equal_pillow():
    image = picture(1)
    pillow = Image.fromarray(image)
    assert np.array_equal(by_table(image, augment.equalize_table), np.asarray(ImageOps.equalize(pillow)))
    assert np.array_equal(augment.solarize_table(77)[image], np.asarray(ImageOps.solarize(pillow, 77)))
    for bits in range(1, 9):
        assert np.array_equal(augment.posterize_table(bits)[image], np.asarray(ImageOps.posterize(pillow, bits)))


def test_autocontrast_equals_pillow_up_to_its_truncation():
    image = picture(2)
    expected = np.asarray(ImageOps.autocontrast(Image.fromarray(image))).astype(int)
    assert np.abs(by_table(image, augment.autocontrast_table).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_sharpness_equals_pillow_inside(factor):
    image = picture(3)
    expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)).astype(int)
    found = augment.sharpen(image, round(256 * factor)).astype(int)
    # Pillow leaves the outermost pixels as they are and rounds in between.
    assert np.abs(found - expected)[1:-1, 1:-1].max() <= 1
    if factor == 1:
        assert np.array_equal(found, image)


def test_gamma_is_the_power_law():
    table = augment.gamma_table(2.0)
    assert table[0] == 0 and table[255] == 255 and table[128] == round(128 * 128 / 255)


def test_histogram_counts_each_channel():
    image = picture(4)
    counts = histogram(image)
    for channel in range(3):
        assert np.array_equal(counts[:, channel], np.bincount(image[..., channel].ravel(), minlength=256))


@pytest.mark.parametrize("table", [augment.equalize_table, augment.autocontrast_table])
def test_a_constant_image_is_left_alone(table):
    counts = np.zeros(256, np.int64)
    counts[90] = 1000
    assert np.array_equal(table(counts), np.arange(256))


def plain(image: np.ndarray, names: tuple[str, ...], uniforms: np.ndarray) -> np.ndarray:
    """The same operations one after the other on pixels, with Pillow where it is exact."""
    for name in names:
        share = uniforms[7 + augment.OPERATIONS.index(name)]
        if name == "equalize":
            image = np.asarray(ImageOps.equalize(Image.fromarray(image)))
        elif name == "solarize":
            image = np.asarray(ImageOps.solarize(Image.fromarray(image), 32 + int(share * 97)))
        elif name == "posterize":
            image = np.asarray(ImageOps.posterize(Image.fromarray(image), 2 + int(share * 5)))
        elif name == "sharpness":
            image = augment.sharpen(image, round(256 * (0.5 + share * 1.5)))
        elif name == "autocontrast":
            image = by_table(image, augment.autocontrast_table)
        elif name == "invert":
            image = 255 - image
        else:
            image = np.rint(255 * (image / 255) ** (0.5 + share * 1.5)).astype(np.uint8)
    return image


@given(st.integers(0, 10**6), st.integers(1, 7))
def test_drawn_steps_equal_the_operations_one_by_one(seed, count):
    uniforms = np.random.default_rng(seed).random(14)
    image = picture(seed)
    names, steps = draw_steps(uniforms, count, RANGES, image=lambda: image, counts=lambda: histogram(image))
    assert len(set(names)) == count
    assert sum(isinstance(step, Sharpness) for step in steps) == names.count("sharpness")
    assert len(steps) <= 3 and all(isinstance(step, Table | Sharpness) for step in steps)
    assert np.array_equal(apply_steps(image, steps), plain(image, names, uniforms))


@given(st.integers(0, 10**6))
def test_grey_stays_grey(seed):
    image = np.repeat(picture(seed)[..., :1], 3, axis=2)
    _, steps = draw_steps(np.random.default_rng(seed).random(14), 3, RANGES, lambda: image, lambda: histogram(image))
    result = apply_steps(image, steps)
    assert np.array_equal(result[..., 0], result[..., 1]) and np.array_equal(result[..., 0], result[..., 2])


def test_every_operation_is_drawn_equally_often():
    image = picture(0)
    rng = np.random.default_rng(0)
    drawn = [draw_steps(rng.random(14), 2, RANGES, lambda: image, lambda: histogram(image))[0] for _ in range(2100)]
    counts = [sum(name in names for names in drawn) for name in augment.OPERATIONS]
    assert all(abs(count - 600) < 100 for count in counts)  # 600 expected, standard deviation 21
