"""Decoding, binarising, resizing and the tensor cache, against values worked out by hand."""

import io
import json
import struct
from collections import Counter
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from skimage.measure import label as skimage_label

from prn.datasets import capacity
from prn.datasets.images import (
    CategoryTensors,
    TextureTensors,
    build_tensors,
    load_textures,
    read_image,
    resize_image,
    resize_mask,
    texture_tensors,
)
from prn.datasets.rows import IndexRow
from prn.errors import DataCorrupt, DataMissing, PrnError
from tests.unit.archive_builders import encoded, mask, picture


def pillow_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def file(tmp_path, data: bytes, name: str = "image.png"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_colours_are_rgb(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = (255, 128, 7)
    assert read_image(file(tmp_path, pillow_bytes(Image.fromarray(pixels))))[0, 0].tolist() == [255, 128, 7]


def test_grey_is_replicated(tmp_path):
    pixels = np.array([[0, 100], [200, 255]], np.uint8)
    image = read_image(file(tmp_path, pillow_bytes(Image.fromarray(pixels))))
    assert image.shape == (2, 2, 3)
    assert image[..., 0].tolist() == image[..., 1].tolist() == image[..., 2].tolist() == [[0, 100], [200, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(tmp_path, mode):
    image = Image.new("RGBA", (2, 1), (90, 90, 90, 0)).convert(mode)
    assert read_image(file(tmp_path, pillow_bytes(image))).tolist() == [[[90] * 3, [90] * 3]]


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    pixels = np.array([[0, 257, 128 * 256, 65535]], np.uint16)
    assert read_image(file(tmp_path, encoded(pixels)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2), (0, 0, 0))
    image.putpixel((0, 0), (255, 255, 255))  # top left; orientation 6 turns it to the top right
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = read_image(file(tmp_path, pillow_bytes(image, exif=exif)))
    assert decoded.shape == (4, 2, 3)
    assert np.argwhere(decoded[..., 0] > 128).tolist() == [[0, 1]]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_cut_off_image_is_an_error_that_names_it(tmp_path, suffix, kept):
    data = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), suffix)
    path = file(tmp_path, data[: int(len(data) * kept)], f"cut{suffix}")
    with pytest.raises(DataCorrupt, match=rf"cut\{suffix}"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"<html></html>"])
def test_what_is_no_image_is_an_error_that_names_it(tmp_path, data):
    with pytest.raises(DataCorrupt, match=r"image\.png"):
        read_image(file(tmp_path, data))
    with pytest.raises(DataMissing, match=r"absent\.png"):
        read_image(tmp_path / "absent.png")


def test_an_image_shrinks_by_area():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = 200
    image[0, 3] = 100
    assert resize_image(image, 2)[..., 0].tolist() == [[200, 25], [0, 0]]


def test_an_elongated_image_is_squashed_without_crop():
    image = np.zeros((8, 2, 3), np.uint8)
    image[6:] = 80  # the lowest quarter must be there
    resized = resize_image(image, 4)
    assert resized.shape == (4, 4, 3)
    assert resized[:, 0, 0].tolist() == [0, 0, 0, 80]


def test_a_small_image_grows():
    resized = resize_image(np.full((3, 5, 3), 9, np.uint8), 32)
    assert resized.shape == (32, 32, 3)
    assert (resized == 9).all()


def test_half_a_cell_counts_as_defect():
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = True  # half of the upper left cell
    mask[2, 2] = True  # joined to nothing: a quarter of the lower right cell, so it would vanish
    small, lost = resize_mask(mask, 2)
    assert small.astype(int).tolist() == [[1, 0], [0, 1]]
    assert lost == 1


def test_a_vanishing_region_keeps_its_largest_cell():
    mask = np.zeros((64, 64), bool)
    mask[7, 6:11] = True  # two columns in cell (0, 0), three in cell (0, 1); five of 64 pixels: vanishes
    mask[32:48, 32:48] = True  # survives
    small, lost = resize_mask(mask, 8)
    assert lost == 1
    assert small[0].astype(int).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert small[4:6, 4:6].all()
    assert small.sum() == 5


def test_eight_connected_pixels_are_one_region():
    mask = np.eye(32, dtype=bool)
    mask[6:] = False  # a diagonal of six pixels
    small, lost = resize_mask(mask, 4)
    assert (small.sum(), lost) == (1, 1)


def test_half_a_cell_at_a_ratio_that_is_no_integer():
    mask = np.zeros((5, 5), bool)
    mask[:, :1] = True
    mask[:, 1] = True  # columns 0-1 of 5 cover 2/2.5 of the first cell of two
    assert resize_mask(mask, 2)[0].astype(int).tolist() == [[1, 0], [1, 0]]
    stripe = np.zeros((10, 10), bool)
    stripe[:, 5:] = True
    assert resize_mask(stripe, 4)[0][0].astype(int).tolist() == [0, 0, 1, 1]


def test_a_mask_can_grow():
    mask = np.array([[True, False], [False, False]])
    small, lost = resize_mask(mask, 4)
    assert small.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert lost == 0


def by_fractions(mask, size):
    """`resize_mask` in exact fractions, a region and a cell at a time, as its docstring says it."""
    height, width = mask.shape
    labels = skimage_label(mask, connectivity=2)
    own = {}
    for y, x in np.argwhere(mask):
        cells = own.setdefault(labels[y, x], {})
        for i in range(y * size // height, -(-(y + 1) * size // height)):
            high = min(Fraction((i + 1) * height, size), y + 1) - max(Fraction(i * height, size), y)
            for j in range(x * size // width, -(-(x + 1) * size // width)):
                wide = min(Fraction((j + 1) * width, size), x + 1) - max(Fraction(j * width, size), x)
                cells[i, j] = cells.get((i, j), 0) + high * wide
    covered = Counter()
    for cells in own.values():
        covered.update(cells)
    half = Fraction(height * width, 2 * size * size)
    small = {cell for cell, area in covered.items() if area >= half}
    lost = [cells for cells in own.values() if not small & cells.keys()]
    kept = small | {min(cell for cell, area in cells.items() if area == max(cells.values())) for cells in lost}
    expected = np.zeros((size, size), bool)
    for cell in kept:
        expected[cell] = True
    return expected, len(lost)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(2, 24), st.integers(2, 24), st.integers(2, 24)),
    st.sampled_from([0.01, 0.05, 0.2, 0.5, 0.9]),
    st.integers(0, 2**32 - 1),
)
def test_a_mask_shrinks_as_exact_fractions_say(sizes, share, seed):
    height, width, size = sizes
    mask = np.random.default_rng(seed).random((height, width)) < share
    expected, lost = by_fractions(mask, size)
    small, found = resize_mask(mask, size)
    assert (small == expected).all()
    assert found == lost


def test_sixty_thousand_specks_keep_a_cell_each():
    mask = np.zeros((1024, 1024), bool)
    mask[1::4, 2::4] = True  # one of sixteen pixels of each cell: 57 s where each speck is resized by itself
    small, lost = resize_mask(mask, 256)
    assert lost == 65536
    assert small.all()


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(bool, st.tuples(st.integers(4, 40), st.integers(4, 40)), elements=st.booleans()),
    st.integers(2, 24),
)
def test_no_region_is_left_without_a_cell(mask, size):
    small, lost = resize_mask(mask, size)
    height, width = mask.shape
    labels, count = skimage_label(mask, connectivity=2, return_num=True)
    assert 0 <= lost <= count
    assert small.any() == mask.any()
    touched = np.zeros((height, width), bool)
    for i, j in np.argwhere(small):
        rows = slice(i * height // size, -(-(i + 1) * height // size))
        columns = slice(j * width // size, -(-(j + 1) * width // size))
        touched[rows, columns] = True
    assert set(np.unique(labels[mask])) == set(np.unique(labels[mask & touched]))


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(8, 30), st.integers(8, 30))), st.integers(2, 8))
def test_where_nothing_vanishes_the_mask_is_the_area_average_cut_at_half(mask, size):
    small, lost = resize_mask(mask, size)
    height, width = mask.shape
    fine = np.kron(mask, np.ones((size, size)))  # every cell is now a whole number of fine pixels
    coverage = fine.reshape(size, height, size, width).mean((1, 3))
    plain = coverage >= 0.5 - 1e-9
    assert (small | plain == small).all()
    assert (small & ~plain).sum() <= lost


def rows_of(tmp_path, count=5):
    rows = []
    for i in range(count):
        (tmp_path / f"{i}.png").write_bytes(picture(i, 32, 32))
        name = ""
        if i == 1:
            name = "1_mask.png"
            (tmp_path / name).write_bytes(mask(2, 32, 32))
        rows.append(IndexRow(f"{i}.png", "test", "bent" if i in (1, 2) else "good", int(i in (1, 2)), name, 32, 32, ""))
    return rows


def test_the_cache_is_what_was_decoded(tmp_path):
    rows = rows_of(tmp_path)
    tensors = build_tensors(rows, tmp_path, 8, workers=2)
    assert tensors.images.shape == (5, 8, 8, 3)
    assert tensors.masks.shape == (5, 8, 8)
    assert tensors.size == 8
    assert tensors.paths == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert tensors.has_mask.tolist() == [True, True, False, True, True]  # only image 2 is a defect without a mask
    assert tensors.lost_regions.tolist() == [0, 1, 0, 0, 0]
    assert tensors.masks.sum((1, 2)).tolist() == [0, 1, 0, 0, 0]
    assert tensors.index_of(["3.png", "0.png"]).tolist() == [3, 0]
    with pytest.raises(DataMissing, match=r"9\.png"):
        tensors.index_of(["9.png"])
    for i in range(5):
        expected = cv2.resize(cv2.imread(str(tmp_path / f"{i}.png"))[..., ::-1], (8, 8), interpolation=cv2.INTER_AREA)
        assert (tensors.images[i] == expected).all()


def test_the_cache_does_not_depend_on_the_number_of_workers(tmp_path):
    rows = rows_of(tmp_path, 20)
    one, many = build_tensors(rows, tmp_path, 8, workers=1), build_tensors(rows, tmp_path, 8, workers=5)
    one.save(tmp_path / "one.safetensors")
    many.save(tmp_path / "many.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "many.safetensors").read_bytes()


def test_the_cache_survives_a_round_trip_and_refuses_half_a_file(tmp_path):
    tensors = build_tensors(rows_of(tmp_path), tmp_path, 8)
    path = tmp_path / "cache" / "8.safetensors"
    tensors.save(path)
    loaded = CategoryTensors.load(path)
    assert (loaded.images == tensors.images).all()
    assert (loaded.masks == tensors.masks).all()
    assert loaded.paths == tensors.paths
    assert loaded.source == tensors.source
    assert loaded.has_mask.dtype == bool
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataCorrupt, match=r"8\.safetensors"):
        CategoryTensors.load(path)
    with pytest.raises(DataMissing, match="absent"):
        CategoryTensors.load(tmp_path / "absent.safetensors")


def test_the_cache_is_read_by_any_reader_of_safetensors(tmp_path):
    build_tensors(rows_of(tmp_path), tmp_path, 8).save(tmp_path / "c.safetensors")
    data = (tmp_path / "c.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["images"]["dtype"] == "U8"
    assert header["images"]["shape"] == [5, 8, 8, 3]
    assert json.loads(header["__metadata__"]["prn"])["paths"][0] == "0.png"


def test_the_cache_knows_what_it_was_made_from(tmp_path):
    rows = rows_of(tmp_path)
    first = build_tensors(rows, tmp_path, 8).source
    assert build_tensors(rows, tmp_path, 8).source == first
    assert build_tensors(rows, tmp_path, 16).source != first
    assert build_tensors(rows[:-1], tmp_path, 8).source != first


def test_a_file_that_changed_since_it_was_indexed_is_an_error(tmp_path):
    (tmp_path / "0.png").write_bytes(picture(1))
    row = IndexRow("0.png", "train", "good", 0, "", 16, 12, "0" * 64)
    with pytest.raises(DataCorrupt, match=r"0\.png: changed since it was indexed"):
        build_tensors([row], tmp_path, 8)


def test_a_file_of_another_kind_is_no_cache(tmp_path):
    TextureTensors(np.zeros((1, 8, 8, 3), np.uint8), ["a.png"], "").save(tmp_path / "t.safetensors")
    with pytest.raises(DataCorrupt, match=r"t\.safetensors"):
        CategoryTensors.load(tmp_path / "t.safetensors")


def test_textures_of_dtd_and_of_any_folder(tmp_path):
    for name, number in (("dtd/images/b/b_1.jpg", 1), ("dtd/images/a/a_1.jpg", 2), ("dtd/other.jpg", 3)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(np.full((9, 9, 3), number * 50, np.uint8), ".jpg"))
    made = texture_tensors(tmp_path, 8)
    textures = made.textures
    assert textures[:, 0, 0, 0].tolist() == [100, 50]  # a before b; only what lies below dtd/images
    assert made.paths == ["dtd/images/a/a_1.jpg", "dtd/images/b/b_1.jpg"]
    assert texture_tensors(tmp_path, 8).source == made.source
    assert texture_tensors(tmp_path, 16).source != made.source
    assert len(texture_tensors(tmp_path / "dtd" / "images" / "a", 8).paths) == 1
    made.save(tmp_path / "textures.safetensors")
    assert (load_textures(tmp_path / "textures.safetensors") == textures).all()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataMissing, match="no textures"):
        texture_tensors(tmp_path / "empty", 8)


def test_too_little_memory_is_known_before_the_first_image(tmp_path, monkeypatch):
    rows = [IndexRow(f"{i}.png", "train", "good", 0, "", 8, 8, "") for i in range(10)]  # no such files
    monkeypatch.setattr(capacity, "free_memory", lambda: 10 * 256 * 256 * 4 - 1)
    with pytest.raises(PrnError, match=r"10 images of 256x256 need .* GiB of memory"):
        build_tensors(rows, tmp_path, 256)


def test_the_estimate_of_memory_is_near_the_measured_peak(tmp_path):
    import tracemalloc

    rows = rows_of(tmp_path, 40)
    build_tensors(rows[:1], tmp_path, 128)
    tracemalloc.start()
    build_tensors(rows, tmp_path, 128, workers=1).save(tmp_path / "c.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimate = 40 * 128 * 128 * 4
    assert estimate <= peak <= 1.2 * estimate
