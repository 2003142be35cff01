"""Which mask belongs to which image, against pairs written by hand."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prn.datasets.layout import Unmatched
from prn.datasets.matching import in_words, lookalikes, match
from prn.errors import DataCorrupt

COMPOSED, TAKEN_APART = (unicodedata.normalize(form, "schräg_01") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("000.png", "000.png"),
        ("000.JPG", "000.png"),
        ("000.png", "000_mask.png"),
        ("000.png", "mask_000.png"),
        ("000.png", "000-mask.png"),
        ("000.png", "000_MASK.png"),
        ("000.png", "000 mask.png"),
        ("000.png", "000mask.bmp"),
        ("000.png", "000_masks.png"),
        ("000.png", "000_label.png"),
        ("000.png", "000_labels.tif"),
        ("000.png", "000_GT.png"),
        ("000.png", "gt_000.png"),
        ("000.png", "000_segmentation.png"),
        ("000.png", "000.seg.png"),
        ("000.png", "000_ground_truth.png"),
        ("000.png", "000_mask_gt.png"),
        ("000.png", "000.png.png"),  # Supervisely
        ("000.jpg", "000.jpg.png"),
        ("000.png", "000.png_mask.png"),
        ("000.png", "000_mask.png.png"),
        ("IMG_000.JPG", "img_000.png"),
        ("img_000.png", "mask_000.png"),
        ("000_rgb.png", "000_seg.png"),
        ("000_label.png", "000_label.png"),  # a photograph of a label
        ("000_label.png", "000_label_mask.png"),
        ("mask_01.png", "mask_01_mask.png"),  # a photograph of a face mask
        (f"{COMPOSED}.png", f"{TAKEN_APART}.png"),
        (f"{TAKEN_APART}.png", f"{COMPOSED}_mask.png"),
        ("000 .png", "000_mask.png"),
        ("000.png", "000/000.png"),  # MVTec LOCO: a folder an image
        ("000.png", "000/mask.png"),
        ("line 1/000.png", "line 1/000_mask.png"),
        ("line1/000.png", "Line1/000_mask.png"),
        ("line1/000.png", "000_mask.png"),
        ("000.png", "line1/000_mask.png"),
        ("a.b/000.png", "a.b/000.png"),
    ],
)
def test_a_mask_finds_its_image(image, mask):
    others = ["999.png", "01.png", "label.png"]
    matched = match([image, *others], [mask], "masks")
    assert matched.mask_of == {image: mask}
    assert (matched.images, matched.masks) == (others, [])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("003.png", "0003_mask.png"),
        ("000.png", "000_1.png"),
        ("000.png", "000 (copy)_mask.png"),
        ("000.png", "mask.png"),
        ("000.png", "1000.png"),
        ("ground.png", "groundtruth.png"),
    ],
)
def test_another_name_is_not_guessed(image, mask):
    matched = match([image], [mask], "masks")
    assert (matched.mask_of, matched.images, matched.masks) == ({}, [image], [mask])


def test_the_masks_of_a_folder_an_image_are_one():
    matched = match(["000.png", "001.png"], ["000/000.png", "000/001.png", "001/000.png"], "masks")
    assert matched.mask_of == {"000.png": "000", "001.png": "001/000.png"}


def test_a_photograph_and_one_of_its_label_have_a_mask_each():
    matched = match(["000.png", "000_label.png"], ["000_mask.png", "000_label_mask.png"], "masks")
    assert matched.mask_of == {"000.png": "000_mask.png", "000_label.png": "000_label_mask.png"}


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["000.png"], ["000.png", "000_mask.png"], "two masks for one image, 000.png and 000_mask.png"),
        (["000.png"], ["000_mask.png", "000/000.png"], "two masks for one image"),
        (["000.png"], ["000/000.png", "mask_000/000.png"], "two masks for one image"),
        (["A.png", "a.png"], ["a_mask.png"], "a_mask.png fits two images, A.png and a.png"),
        (["x/000.png", "y/000.png"], ["000.png"], "000.png fits two images, x/000.png and y/000.png"),
    ],
)
def test_what_is_not_clear_is_refused(images, masks, message):
    with pytest.raises(DataCorrupt, match=message):
        match(images, masks, "masks")


@given(
    st.lists(st.integers(0, 9999), unique=True, max_size=30), st.sampled_from(["{}_mask.png", "gt-{}.png", "{}/0.png"])
)
def test_every_mask_of_one_form_finds_its_own_image(numbers, form):
    images = [f"{number:04}.png" for number in numbers]
    matched = match(images, [form.format(f"{number:04}") for number in numbers], "masks")
    assert matched.mask_of == {f"{number:04}.png": form.format(f"{number:04}") for number in numbers}


def test_both_sides_are_named_with_what_is_nearest():
    text = in_words(Unmatched("test/crack", "ground_truth/crack", ["003.png", "x.png"], ["0003_mask.png"]))
    assert text == (
        "ground_truth/crack: 1 mask without an image: 0003_mask.png (nearest: 003.png);"
        " test/crack: 2 images without a mask: 003.png (nearest: 0003_mask.png), x.png"
    )
    many = in_words(Unmatched("a", "b", [f"{i}.png" for i in range(12)], []))
    assert many.endswith("8.png, 9.png and 2 more")


def test_an_image_named_like_the_mask_of_another():
    names = ["000.png", "000_mask.png", "1_label.png", "mask_000.jpg", "masks/000.png", "a/001.png", "a/GT/001.png"]
    assert lookalikes(names) == {
        "000_mask.png": "000.png",
        "mask_000.jpg": "000.png",
        "masks/000.png": "000.png",
        "a/GT/001.png": "a/001.png",
    }
