"""Masks as people bring them: label maps, palettes, alpha, soft borders; what can mean two things is refused."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from prn.datasets.images import read_mask
from prn.datasets.masks import FEW, PUBLISHED, MaskRules, mask_from_bytes, read_masks
from prn.errors import DataCorrupt
from tests.unit.archive_builders import encoded

OWN = MaskRules("auto", None, ask=True)


def saved(image, kind="PNG", **options) -> bytes:
    data = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, kind, **options)
    return data.getvalue()


def drawn(height=40, width=48, dtype=np.uint8, **squares) -> np.ndarray:
    """A mask with squares of 8 pixels: value -> (top, left), as v3=(2, 5)."""
    pixels = np.zeros((height, width), dtype)
    for name, (top, left) in squares.items():
        pixels[top : top + 8, left : left + 8] = int(name[1:])
    return pixels


def read(data: bytes, rules: MaskRules = OWN):
    return mask_from_bytes(data, "m.png", rules)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([[0, 1], [1, 0]], [[0, 1], [1, 0]]),
        ([[0, 255], [127, 128]], [[0, 1], [1, 1]]),
        ([[0, 3], [1, 2]], [[0, 1], [1, 1]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[0, 236], [255, 0]], [[0, 1], [1, 0]]),  # MVTec LOCO: a value a kind of defect
    ],
)
def test_of_few_values_all_but_zero_is_defect(tmp_path, pixels, expected):
    for dtype, scale in ((np.uint8, 1), (np.uint16, 1), (np.uint16, 257)):
        path = tmp_path / f"{scale}.png"
        path.write_bytes(encoded(np.array(pixels, dtype) * dtype(scale)))
        found = read_mask(path)
        assert found.dtype == bool
        assert found.astype(int).tolist() == expected


def test_a_scratch_of_class_1_stays_beside_a_hole_of_class_3():
    pixels = drawn(v1=(4, 5), v3=(28, 30))
    mask = read(saved(pixels))
    assert mask.defect.sum() == 128
    assert (mask.defect == (pixels > 0)).all()
    assert (mask.levels, mask.rule, mask.background) == (3, "label_map", 0)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(3, 20), st.integers(3, 20)), elements=st.integers(0, 12)),
    st.sampled_from(["PNG", "TIFF", "BMP"]),
    st.sampled_from([1, 7, 20]),
)
def test_any_label_map_in_any_format_without_loss(labels, kind, scale):
    pixels = labels * np.uint8(scale)
    assert (read(saved(pixels, kind), MaskRules()).defect == (labels != 0)).all()


def test_palettes_count_by_what_they_show():
    labels = drawn(v1=(4, 5), v2=(20, 20), v3=(28, 36))
    for colours in (
        [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0],  # as PASCAL VOC and LabelMe
        [0, 0, 0, 0, 0, 1, 0, 2, 0, 9, 9, 9],  # dark colours that hardly show
        [0] * 12,  # a palette that nobody filled: the numbers are all there is
    ):
        image = Image.fromarray(labels, "P")
        image.putpalette(colours + [0] * (768 - len(colours)))
        mask = read(saved(image))
        assert (mask.defect == (labels > 0)).all()
        assert mask.levels == 4


def test_other_kinds_of_pixels():
    labels = drawn(v1=(4, 5), v3=(28, 30))
    truth = labels > 0
    for data in (
        saved(Image.fromarray(truth)),  # one bit
        saved(Image.fromarray(truth), "TIFF"),
        saved(truth.astype(np.float32), "TIFF"),
        saved(labels.astype(np.int32), "TIFF"),
        saved(truth.astype(np.uint16) * 65535),
        saved(np.stack([labels * 50, labels * 0, labels * 0], 2)),
        saved(truth.astype(np.uint8) * 255, "WEBP", lossless=True),
    ):
        assert (read(data).defect == truth).all()
    broken = truth.astype(np.float32)
    broken[0, 0] = np.nan
    with pytest.raises(DataCorrupt, match=r"m\.png: .* not finite"):
        read(saved(broken, "TIFF"))


def soft(radius=9, size=96, blur=4.0) -> np.ndarray:
    """A disc with a soft border of many levels, as an annotation tool's brush leaves it."""
    disc = np.zeros((size, size), np.float32)
    cv2.circle(disc, (size // 2, size // 2), radius, 255.0, -1)
    return np.rint(cv2.GaussianBlur(disc, (0, 0), blur)).astype(np.uint8)


@pytest.mark.parametrize(("top", "blur"), [(255, 4.0), (90, 4.0), (255, 1.5), (255, 9.0)])
def test_soft_borders_are_cut_at_half_of_the_maximum(top, blur):
    pixels = (soft(blur=blur).astype(np.float64) * top / soft(blur=blur).max()).astype(np.uint8)
    assert len(np.unique(pixels)) > FEW
    mask = read(saved(pixels))
    assert mask.rule == "half"
    assert (mask.defect == (2 * pixels.astype(int) > pixels.max())).all()
    colour = np.stack([pixels, pixels // 3, pixels * 0], 2)  # in a colour
    assert (read(saved(colour)).defect == mask.defect).all()
    deep = pixels.astype(np.uint16) * 200
    assert (read(saved(deep)).defect == mask.defect).all()


def test_a_jpeg_of_two_values_keeps_its_squares():
    pixels = drawn(64, 64, v255=(8, 8))
    pixels[40:43, 40:43] = 255
    mask = read(saved(pixels, "JPEG", quality=90))
    assert mask.rule == "half"
    assert (mask.defect == (pixels > 0)).all()


def test_class_numbers_in_a_jpeg_are_refused():
    with pytest.raises(DataCorrupt, match="compressed with loss, which blurs class numbers"):
        read(saved(drawn(v1=(4, 5), v3=(28, 30)), "JPEG"))


def test_a_label_map_with_soft_borders_is_asked_about():
    """A class of grey 85 far from one of 255, both with soft borders: half of the maximum would lose the first."""
    labels = np.zeros((120, 160), np.float32)
    labels[20:50, 20:50], labels[70:100, 100:140] = 85, 255
    pixels = cv2.GaussianBlur(labels, (0, 0), 2.5).astype(np.uint8)
    with pytest.raises(DataCorrupt, match=r"index\.mask_rule: label_map if all but background is defect, half if not"):
        read(saved(pixels))
    assert (read(saved(pixels), MaskRules("label_map", None, True)).defect == (pixels > 0)).all()
    assert (read(saved(pixels), MaskRules("half", None, True)).defect == (pixels > pixels.max() / 2)).all()


def test_a_class_beside_a_brighter_one_is_asked_about():
    labels = np.zeros((120, 160), np.float32)
    labels[20:80, 20:70], labels[20:80, 70:140] = 85, 255  # they touch
    pixels = cv2.GaussianBlur(labels, (0, 0), 2.5).astype(np.uint8)
    with pytest.raises(DataCorrupt, match="below half of its maximum and are no border, but flat"):
        read(saved(pixels))


def test_forty_specks_with_a_number_each_are_asked_about():
    pixels = np.zeros((80, 100), np.uint8)
    for number in range(40):
        top, left = divmod(number, 8)
        pixels[4 + 14 * top : 9 + 14 * top, 4 + 12 * left : 9 + 12 * left] = number + 1
    with pytest.raises(DataCorrupt, match=r"mask_rule: label_map"):
        read(saved(pixels))
    assert read(saved(pixels), MaskRules("label_map", None, True)).defect.sum() == 40 * 25


def test_traces_of_compression_are_asked_about():
    pixels = drawn(v255=(8, 8))
    pixels[7, 8:12], pixels[8, 9], pixels[9, 9] = 3, 252, 253  # a JPEG that was saved again as PNG
    with pytest.raises(DataCorrupt, match="as a compression with loss leaves them"):
        read(saved(pixels))
    assert (read(saved(pixels), MaskRules("half", None, True)).defect == (pixels > 127)).all()


def test_few_levels_along_borders_are_told():
    fine = np.zeros((120, 144), np.uint8)
    cv2.circle(fine, (70, 60), 31, 255, -1)
    small = cv2.resize(fine, (72, 60), interpolation=cv2.INTER_AREA)  # halved: 0, 64, 128, 191, 255
    assert 2 < len(np.unique(small)) <= FEW
    assert read(saved(small)).soft
    assert not read(saved(fine)).soft
    assert not read(saved(drawn(v85=(4, 5), v170=(20, 20), v255=(28, 36)))).soft


@pytest.mark.parametrize("white", [255, 65535])
def test_black_on_white_is_asked_about_and_read_by_the_setting(white):
    dtype = np.uint8 if white == 255 else np.uint16
    pixels = np.where(drawn(v1=(10, 10)) > 0, 0, white).astype(dtype)
    with pytest.raises(DataCorrupt, match=r"marks 97 % of the image and 100 % of its edge: is it inverted\?"):
        read(saved(pixels))
    mask = read(saved(pixels), MaskRules("auto", white, True))
    assert (mask.defect == (pixels == 0)).all()
    assert mask.background == white
    assert read(saved(pixels), MaskRules("auto", 0, True)).defect.mean() > 0.9  # the user says that black is background
    with pytest.raises(DataCorrupt, match="is it inverted"):  # one of black background among inverted ones
        read(saved(white - pixels), MaskRules("auto", white, True))


def test_a_mask_without_black_is_asked_about():
    pixels = drawn(v1=(10, 10)) + np.uint8(1)
    with pytest.raises(DataCorrupt, match=r"holds no black \(levels 1, 2\)"):
        read(saved(pixels))
    assert (read(saved(pixels), MaskRules("auto", 1, True)).defect == (pixels == 2)).all()
    with pytest.raises(DataCorrupt, match="holds nothing of level 7"):
        read(saved(pixels), MaskRules("auto", 7, True))
    with pytest.raises(DataCorrupt, match="holds no black"):  # all white: all defect, or an empty mask inverted?
        read(saved(np.full((9, 9), 255, np.uint8)))
    assert read(saved(np.full((9, 9), 255, np.uint8)), MaskRules()).defect.all()  # a published one


def test_a_photograph_is_no_mask():
    photo = np.random.default_rng(0).integers(60, 200, (40, 48, 3)).astype(np.uint8)
    with pytest.raises(DataCorrupt, match=r"m\.png: no mask, .* as a photograph does"):
        read(saved(photo))


def rgba(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([colour, colour, colour, alpha]).astype(np.uint8)


def test_alpha_decides_where_it_varies():
    square = drawn(v255=(10, 10))
    truth = square > 0
    for data in (
        saved(rgba(square * 0, square)),  # black on a transparent layer
        saved(rgba(square, square)),  # white on a transparent layer
        saved(rgba(square * 0, square // 2)),  # half opaque
        saved(rgba(square * 0 + 255, square)),  # white, also where nothing shows
        saved(rgba(square * 0, square), "WEBP", lossless=True),
        saved(rgba(square * 0, square), "TIFF"),
        saved(np.dstack([square * 0, square])),  # grey and alpha
    ):
        mask = read(data)
        assert (mask.defect == truth).all()
        assert mask.levels == 2


def test_alpha_that_does_not_vary_does_not_decide():
    square = drawn(v255=(10, 10))
    for opacity in (255, 128, 0):
        assert (read(saved(rgba(square, square * 0 + opacity))).defect == (square > 0)).all()


def test_alpha_that_contradicts_the_colours_is_refused():
    square, cut = drawn(v255=(10, 10)), np.full((40, 48), 255, np.uint8)
    cut[:3, :3] = 0  # a rounded corner
    with pytest.raises(DataCorrupt, match=r"m\.png: .* partly transparent"):
        read(saved(rgba(square, cut)))
    with pytest.raises(DataCorrupt, match="is it inverted"):  # the defect was erased from an opaque layer
        read(saved(rgba(square * 0 + 90, 255 - square)))


def test_a_palette_with_a_transparent_colour():
    image = Image.fromarray(drawn(v1=(10, 10)), "P")
    image.putpalette([255, 255, 255, 255, 0, 0])
    assert (read(saved(image, transparency=0)).defect == (drawn(v1=(10, 10)) > 0)).all()


def test_several_pages_are_refused():
    first = Image.fromarray(drawn(v255=(2, 2)))
    with pytest.raises(DataCorrupt, match="holds 2 pages"):
        read(saved(first, "TIFF", save_all=True, append_images=[Image.fromarray(drawn(v255=(20, 20)))]))


def test_the_masks_of_a_folder_are_one(tmp_path):
    for name, square in (("000.png", drawn(v255=(2, 2))), ("001.png", drawn(v250=(20, 20)))):
        (tmp_path / name).write_bytes(saved(square))
    mask, digest = read_masks([tmp_path / "000.png", tmp_path / "001.png"], OWN)
    assert mask.defect.sum() == 128
    assert (read_mask(tmp_path) == mask.defect).all()
    (tmp_path / "001.png").write_bytes(saved(drawn(v249=(20, 20))))
    assert read_masks([tmp_path / "000.png", tmp_path / "001.png"], OWN)[1] != digest
    (tmp_path / "001.png").write_bytes(saved(drawn(20, 20, v255=(2, 2))))
    with pytest.raises(DataCorrupt, match="differ in size or kind: 20x20 read by label_map, 48x40"):
        read_mask(tmp_path)


def test_a_published_mask_keeps_its_soft_border_out_however_few_its_levels():
    """BTAD's rims lie outside the defect: 0, a rim of 90 and a core of 250."""
    pixels = np.zeros((20, 20), np.uint8)
    pixels[4:14, 5:15] = 90
    pixels[5:13, 6:14] = 250
    found = read(saved(pixels), PUBLISHED)
    assert (found.defect == (pixels == 250)).all()
    assert found.rule == "half"
