"""Data of one's own as people have them: names that mean good, folders in folders, other words for masks, tables.

The right values are worked out from how each small set is built here.
"""

import io
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from prn.datasets.folder import from_csv
from prn.datasets.index import build_index, index_category
from prn.datasets.own_sources import images_digest
from prn.datasets.verify import verify
from prn.errors import DataCorrupt, DataMissing
from prn.provenance.hashes import FileHashes
from prn.settings.sections import IndexSettings
from tests.unit.archive_builders import encoded, write_tree


def digest_of(dataset: str, source: str | None, category: str) -> str | None:
    return images_digest(dataset, source, category, FileHashes(Path("no store")))


def picture(number: int, shape=(40, 48)) -> bytes:
    return encoded(np.random.default_rng(number).integers(90, 130, (*shape, 3)).astype(np.uint8))


def square(top=4, left=4, value=255, shape=(40, 48)) -> bytes:
    pixels = np.zeros(shape, np.uint8)
    pixels[top : top + 10, left : left + 10] = value
    return encoded(pixels)


EMPTY = encoded(np.zeros((40, 48), np.uint8))


def files(defects=3, good=2, train=2, kind="crack", mask="{:03}_mask.png"):
    """<root>/part with so many images and a mask of 100 pixels a defect."""
    found = {f"part/train/good/{i:03}.png": picture(i) for i in range(train)}
    found |= {f"part/test/good/{i:03}.png": picture(100 + i) for i in range(good)}
    found |= {f"part/test/{kind}/{i:03}.png": picture(200 + i) for i in range(defects)}
    if mask:
        found |= {f"part/ground_truth/{kind}/{mask.format(i)}": square(left=4 + i) for i in range(defects)}
    return found


def indexed(root, **settings):
    return index_category("mine", root, "part", settings=IndexSettings(**settings))


def renamed(tree, old, new):
    return {name.replace(old, new): data for name, data in tree.items()}


def said(index, words):
    return [line for line in index.remarks if words in line]


# --- what is good ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Good", "GOOD", "ok", "OK", "Okay", "normal", "Normal ", "defect-free", "no_defect"])
def test_names_that_mean_good_are_good(tmp_path, name):
    index = indexed(write_tree(renamed(files(), "test/good", f"test/{name}"), tmp_path))
    good = [row for row in index.rows if row.split == "test" and not row.label]
    assert [(row.path, row.type) for row in good] == [(f"part/test/{name}/{i:03}.png", "good") for i in range(2)]
    assert sum(row.label for row in index.rows) == 3
    assert said(index, f"taken for good by the name of their type: {name.strip()!r} (2 images)")


@pytest.mark.parametrize("name", ["pass", "Passed", "clean", "gut", "i.O.", "0", "良品"])
def test_names_that_may_mean_good_are_asked_about(tmp_path, name):
    tree = write_tree(renamed(files(), "test/good", f"test/{name}"), tmp_path)
    with pytest.raises(DataCorrupt, match=r"mean good images or a defect\? Set index\.types"):
        build_index("mine", tree, "part")
    labels = {row.label for row in indexed(tree, types={name: "good"}).rows if f"/test/{name}/" in row.path}
    assert labels == {0}
    rows = [row for row in indexed(tree, types={name: "defect"}).rows if f"/test/{name}/" in row.path]
    assert {(row.label, row.type) for row in rows} == {(1, unicodedata.normalize("NFC", name))}


def test_training_images_may_be_called_otherwise_too(tmp_path):
    rows = build_index("mine", write_tree(renamed(files(), "train/good", "train/OK"), tmp_path), "part")
    assert sum(row.split == "train" for row in rows) == 2


def test_good_images_of_two_shifts_are_all_good(tmp_path):
    tree = files() | {f"part/test/OK/{i}.png": picture(300 + i) for i in range(4)}
    tree |= {f"part/ground_truth/OK/{i}_mask.png": EMPTY for i in range(4)}
    index = indexed(write_tree(tree, tmp_path))
    assert sum(row.label == 0 for row in index.rows if row.split == "test") == 6
    assert not said(index, "empty")


def test_a_type_of_which_nothing_is_marked_while_others_are_is_asked_about(tmp_path):
    tree = files() | {f"part/test/lot7/{i}.png": picture(300 + i) for i in range(4)}
    tree |= {f"part/ground_truth/lot7/{i}.png": EMPTY for i in range(2)}  # of two empty, of two absent
    write_tree(tree, tmp_path)
    with pytest.raises(DataCorrupt, match=r"type lot7 \(4 images\) has a mask that marks anything, while crack have"):
        build_index("mine", tmp_path, "part")
    assert sum(row.label for row in indexed(tmp_path, types={"lot7": "good"}).rows) == 3
    assert sum(row.label for row in indexed(tmp_path, types={"lot7": "defect"}).rows) == 7
    assert len(build_index("mine", write_tree(files(mask=""), tmp_path / "no masks at all"), "part")) == 7


def test_a_good_image_whose_mask_marks_something_contradicts_itself(tmp_path):
    tree = files() | {"part/ground_truth/good/001.png": square()}
    with pytest.raises(DataCorrupt, match=r"test/good/001\.png: is good, but its mask .* marks 100 pixels"):
        build_index("mine", write_tree(tree, tmp_path), "part")


def test_types_that_differ_by_case_are_told(tmp_path):
    tree = files() | files(kind="Crack")
    index = indexed(write_tree(tree, tmp_path))
    assert {row.type for row in index.rows} == {"good", "crack", "Crack"}
    assert said(index, "the types Crack and crack differ by case only")


# --- masks and images that do not find each other --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ground_truth/crack", "ground_truth/Crack"),
        ("ground_truth/crack", "Ground_Truth/crack"),
        ("ground_truth/crack", "masks/crack"),
        ("ground_truth/crack", "ground truth/CRACK "),
        ("part/", "Part/"),
    ],
)
def test_folders_of_another_case_or_word(tmp_path, old, new):
    rows = build_index("mine", write_tree(renamed(files(), old, new), tmp_path), "part")
    assert [row.mask_area for row in rows if row.label] == [100, 100, 100]


def test_two_forms_of_one_accented_name(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Riß ä") for form in ("NFC", "NFD"))
    tree = renamed(renamed(files(), "test/crack", f"test/{composed}"), "ground_truth/crack", f"ground_truth/{apart}")
    rows = build_index("mine", write_tree(tree, tmp_path), "part")
    assert [row.mask_area for row in rows if row.label] == [100, 100, 100]


def test_a_folder_an_image_as_mvtec_loco_has_it(tmp_path):
    tree = files(mask="{:03}/000.png") | {"part/ground_truth/crack/001/001.png": square(20, 30, 236)}
    write_tree(tree, tmp_path)
    rows = [row for row in build_index("mine", tmp_path, "part") if row.label]
    assert [(row.mask, row.mask_area) for row in rows] == [
        ("part/ground_truth/crack/000/000.png", 100),
        ("part/ground_truth/crack/001", 200),
        ("part/ground_truth/crack/002/000.png", 100),
    ]
    index = indexed(tmp_path)
    assert said(index, "1 masks are what any of the files in a folder marks: part/ground_truth/crack/001")
    rows = index.rows
    assert verify(tmp_path, rows, "mine", "part").ok
    before = digest_of("mine", str(tmp_path), "part")
    (tmp_path / "part/ground_truth/crack/001/001.png").write_bytes(square(20, 20, 236))
    assert verify(tmp_path, rows, "mine", "part").lines() == ["changed: part/ground_truth/crack/001"]
    (tmp_path / "part/ground_truth/crack/001/002.png").write_bytes(square(20, 10, 236))
    assert digest_of("mine", str(tmp_path), "part") != before


def test_a_misnamed_mask_is_an_error_that_names_both_sides(tmp_path):
    tree = write_tree(renamed(files(), "truth/crack/001", "truth/crack/0001"), tmp_path)
    with pytest.raises(DataCorrupt) as caught:
        build_index("mine", tree, "part")
    assert "part/ground_truth/crack: 1 mask without an image: 0001_mask.png (nearest: 001.png)" in str(caught.value)
    assert "part/test/crack: 1 image without a mask: 001.png (nearest: 0001_mask.png)" in str(caught.value)
    index = indexed(tree, orphan_masks="ignore")
    assert [bool(row.mask) for row in index.rows if row.label] == [True, False, True]
    assert said(index, "0001_mask.png (nearest: 001.png)")
    report = verify(tree, index.rows, "mine", "part", settings=IndexSettings(orphan_masks="ignore"))
    assert report.ok


@pytest.mark.parametrize(
    "place", ["ground_truth/krack/000.png", "ground_truth/000_mask.png", "ground_truth/good/7.png"]
)
def test_a_mask_in_no_types_folder_is_an_error(tmp_path, place):
    with pytest.raises(DataCorrupt, match="1 mask without an image"):
        build_index("mine", write_tree(files() | {f"part/{place}": square()}, tmp_path), "part")


def test_defects_without_masks_are_told_and_allowed(tmp_path):
    tree = files()
    del tree["part/ground_truth/crack/001_mask.png"]
    index = indexed(write_tree(tree, tmp_path))
    assert said(index, "part/test/crack: 1 image without a mask: 001.png")


def test_masks_that_lie_among_the_images_are_refused_and_photographs_are_not(tmp_path):
    write_tree(files(mask="") | {"part/test/crack/000_mask.png": square()}, tmp_path / "a")
    with pytest.raises(DataCorrupt, match=r"crack/000_mask\.png: is named like the mask of .*000\.png, has 2 levels"):
        build_index("mine", tmp_path / "a", "part")
    write_tree(files(mask="") | {"part/test/crack/masks/000.png": square()}, tmp_path / "c")
    with pytest.raises(DataCorrupt, match=r"crack/masks/000\.png: is named like the mask of .*crack/000\.png"):
        build_index("mine", tmp_path / "c", "part")
    write_tree(files() | {"part/train/good/000_label.png": picture(50)}, tmp_path / "b")
    assert len(build_index("mine", tmp_path / "b", "part")) == 8


@pytest.mark.parametrize("ending", ["json", "gif", "npy", "xcf"])
def test_masks_that_cannot_be_read_are_an_error_and_not_absent(tmp_path, ending):
    tree = files(mask="") | {f"part/ground_truth/crack/{i:03}_mask.{ending}": b"x" for i in range(3)}
    write_tree(tree, tmp_path)
    with pytest.raises(DataCorrupt, match=f"cannot be read, for their ending is no image's: 000_mask.{ending}"):
        build_index("mine", tmp_path, "part")
    assert len(indexed(tmp_path, orphan_masks="ignore").rows) == 7


def test_a_polygon_file_beside_a_mask_is_no_second_mask(tmp_path):
    index = indexed(write_tree(files() | {"part/ground_truth/crack/000.json": b"{}"}, tmp_path))
    assert said(index, "passed over: 1 .json in part/ground_truth/crack")


# --- masks that mean two things --------------------------------------------------------------------------------------


def test_masks_are_read_by_the_settings(tmp_path):
    inverted = encoded(255 - cv2.imdecode(np.frombuffer(square(), np.uint8), 0))
    tree = write_tree(files() | {f"part/ground_truth/crack/{i:03}_mask.png": inverted for i in range(3)}, tmp_path)
    with pytest.raises(DataCorrupt, match="is it inverted"):
        build_index("mine", tree, "part")
    index = indexed(tree, mask_background=255)
    facts = [(row.mask_area, row.mask_rule, row.mask_levels, row.mask_background) for row in index.rows if row.label]
    assert facts == [(100, "label_map", 2, 255)] * 3
    assert said(index, "masks: 3 with 2 levels by the rule label_map")


def test_a_published_set_is_read_by_its_own_conventions(tmp_path):
    tree = files() | {"part/ground_truth/crack/000_mask.png": encoded(np.full((40, 48), 255, np.uint8))}
    index = index_category("mvtec", write_tree(tree, tmp_path), "part", settings=IndexSettings(mask_background=255))
    assert [row.mask_area for row in index.rows if row.label] == [40 * 48, 100, 100]


@pytest.mark.parametrize(
    ("empty_masks", "masks", "words"),
    [
        ("keep", ["part/ground_truth/crack/001_mask.png"], "never drawn as seen"),
        ("unmasked", [""], "takes them for defects without a mask"),
        ("leave_out", [], "leaves them out"),
    ],
)
def test_empty_masks_of_defects_are_named_and_a_setting_decides(tmp_path, empty_masks, masks, words):
    tree = write_tree(files() | {"part/ground_truth/crack/001_mask.png": EMPTY}, tmp_path)
    index = indexed(tree, empty_masks=empty_masks)
    assert [row.mask for row in index.rows if row.path.endswith("crack/001.png")] == masks
    (line,) = said(index, "1 defects have an empty mask: part/test/crack/001.png")
    assert words in line
    assert verify(tree, index.rows, "mine", "part", settings=IndexSettings(empty_masks=empty_masks)).ok


def turned(orientation: int, shape) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    Image.fromarray(np.full((*shape, 3), 99, np.uint8)).save(data, "JPEG", exif=exif)
    return data.getvalue()


def test_an_image_that_exif_turns_and_a_mask_that_it_does_not(tmp_path):
    tree = files() | {"part/test/crack/000.jpg": turned(3, (40, 48))}
    del tree["part/test/crack/000.png"]
    index = indexed(write_tree(tree, tmp_path / "upside down"))
    assert said(index, "1 images are turned by their EXIF tag and their masks are not")
    tree["part/test/crack/000.jpg"] = turned(6, (48, 40))  # 40 x 48 once it is turned, and the mask fits
    assert not said(indexed(write_tree(tree, tmp_path / "fits")), "EXIF")
    tree["part/test/crack/000.jpg"] = turned(6, (40, 48))
    with pytest.raises(DataCorrupt, match=r"the mask is 48x40 pixels, its image .* 40x48; .*EXIF turns the image"):
        build_index("mine", write_tree(tree, tmp_path / "raw"), "part")


# --- images ----------------------------------------------------------------------------------------------------------


def test_twelve_bits_in_sixteen_are_told_and_a_setting_reads_them(tmp_path):
    def deep(number):
        return encoded(np.random.default_rng(number).integers(1500, 1600, (40, 48)).astype(np.uint16), ".tiff")

    tree = {name.replace(".png", ".tif") if "ground" not in name else name: data for name, data in files().items()}
    tree |= {name: deep(i) for i, name in enumerate(tree) if "ground" not in name}
    write_tree(tree, tmp_path)
    index = indexed(tmp_path)
    (line,) = said(index, "7 of 7 images of 16 bits use less than a quarter of their range")
    assert "become 7 grey levels or fewer" in line
    assert "set index.image_bits: 12" in line
    assert {row.bits for row in index.rows} == {16}
    index = indexed(tmp_path, image_bits=12)
    assert not said(index, "quarter")
    assert {row.bits for row in index.rows} == {12}
    with pytest.raises(DataCorrupt, match=r"holds the value 15\d\d, but index\.image_bits: 10 ends at 1023"):
        indexed(tmp_path, image_bits=10)


def test_images_in_folders_of_a_type_are_read(tmp_path):
    tree = files()
    tree |= {f"part/train/good/2026-11-01/{i}.png": picture(300 + i) for i in range(3)}
    tree |= {f"part/test/scratch/line {i}/000.png": picture(400 + i) for i in range(2)}
    tree |= {f"part/ground_truth/scratch/line {i}/000_mask.png": square(left=4 + i) for i in range(2)}
    rows = build_index("mine", write_tree(tree, tmp_path), "part")
    assert sum(row.split == "train" for row in rows) == 5
    assert [(row.path, row.mask) for row in rows if row.type == "scratch"] == [
        (f"part/test/scratch/line {i}/000.png", f"part/ground_truth/scratch/line {i}/000_mask.png") for i in range(2)
    ]


def test_what_is_passed_over_is_counted(tmp_path):
    tree = files() | {"part/license.txt": b"CC0", "part/train/good/Thumbs.db": b"x", "part/train/good/._000.png": b"x"}
    tree |= {f"part/train/good/{i}.heic": b"x" for i in range(12)} | {"part/test/crack/000.json": b"{}"}
    tree |= {f"part/validation/good/{i}.png": picture(i) for i in range(5)} | {"part/train/crack/0.png": picture(7)}
    tree |= {"part/test/good/@eaDir/000.png/SYNOPHOTO_THUMB_M.jpg": b"x", "part/__MACOSX/test/a.png": b"x"}
    index = indexed(write_tree(tree, tmp_path))
    assert said(index, "passed over") == [
        "passed over: 1 .json in part/test/crack, 1 image in part/train/crack, 12 .heic in part/train/good,"
        " 5 images in part/validation/good"
    ]
    assert len(index.rows) == 7


def test_a_folder_without_a_readable_image_says_what_it_holds(tmp_path):
    tree = {name: data for name, data in files().items() if "train" not in name}
    write_tree(tree | {f"part/train/good/{i}.heic": b"x" for i in range(3)}, tmp_path)
    with pytest.raises(DataMissing, match=r"holds no image \(but 3 \.heic in part/train/good\); expected"):
        build_index("mine", tmp_path, "part")


def test_training_images_without_a_folder_good_are_told(tmp_path):
    tree = renamed(files(), "train/good/", "train/")
    with pytest.raises(DataMissing, match=r"train/good: no such folder \(but 2 images in part/train\); expected"):
        build_index("mine", write_tree(tree, tmp_path), "part")


def test_a_name_that_is_not_utf8_is_refused_by_name(tmp_path):
    write_tree(files(), tmp_path)
    (tmp_path / "part/train/good/000.png").rename(tmp_path / os.fsdecode(b"part/train/good/Pr\xfcf.png"))
    with pytest.raises(DataCorrupt, match=r"train/good: the name 'Pr\\\\xfcf\.png' is not UTF-8; rename it"):
        build_index("mine", tmp_path, "part")


def test_pages_transparency_and_colour_profiles(tmp_path):
    def saved(image, kind="PNG", **options):
        data = io.BytesIO()
        image.save(data, kind, **options)
        return data.getvalue()

    grain = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3)).astype(np.uint8))
    cut_out = grain.copy()
    cut_out.putalpha(Image.linear_gradient("L").resize((48, 40)))
    opaque = grain.convert("RGBA")
    tree = files() | {"part/train/good/a.png": saved(cut_out), "part/train/good/b.png": saved(opaque)}
    assert said(indexed(write_tree(tree, tmp_path / "a")), "partly transparent") == [
        "1 images are partly transparent, and are read with the colours that lie underneath: part/train/good/a.png"
    ]
    tree["part/train/good/c.tif"] = saved(grain, "TIFF", save_all=True, append_images=[grain])
    with pytest.raises(DataCorrupt, match=r"c\.tif: holds 2 pages of one size"):
        build_index("mine", write_tree(tree, tmp_path / "b"), "part")
    tree["part/train/good/c.tif"] = saved(grain, "TIFF", save_all=True, append_images=[grain.resize((24, 20))])
    assert len(build_index("mine", write_tree(tree, tmp_path / "c"), "part")) == 10  # a preview is no second image


def test_links_to_folders_are_followed_but_not_in_a_circle(tmp_path):
    write_tree(files(), tmp_path)
    write_tree({f"shift/{i}.png": picture(500 + i) for i in range(2)}, tmp_path / "elsewhere")
    (tmp_path / "part/train/good/more").symlink_to(tmp_path / "elsewhere/shift")
    (tmp_path / "part/train/good/again").symlink_to(tmp_path / "part/train")
    rows = build_index("mine", tmp_path, "part")
    assert [row.path for row in rows if row.split == "train"] == [
        "part/train/good/000.png",
        "part/train/good/001.png",
        "part/train/good/more/0.png",
        "part/train/good/more/1.png",
    ]


# --- tables ----------------------------------------------------------------------------------------------------------


def table(tmp_path, lines, header="image,category,split,type,mask"):
    write_tree(files(), tmp_path)
    path = tmp_path / "list.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


GOOD_ROW = "part/train/good/000.png,part,train,good,"


def test_fields_are_stripped_and_words_may_be_written_large(tmp_path):
    lines = [
        " part/train/good/000.png , part , Train , Good ,",
        "part/test/good/000.png,part,TEST,OK ,",
        "part/test/crack/000.png,part, test, crack , part/ground_truth/crack/000_mask.png ",
    ]
    rows = build_index("mine", table(tmp_path, lines, "Image, Category,SPLIT,Type,Mask"), "part")
    assert [(row.path, row.split, row.type, row.mask_area) for row in rows] == [
        ("part/test/crack/000.png", "test", "crack", 100),
        ("part/test/good/000.png", "test", "good", 0),
        ("part/train/good/000.png", "train", "good", 0),
    ]


def test_line_numbers_are_those_of_the_file(tmp_path):
    lines = ["", "", GOOD_ROW, "", 'part/test/good/000.png,part,test,"good\n\n",', "part/a.png,part,practice,good,"]
    with pytest.raises(DataCorrupt, match=r"line 9 has image 'part/a\.png', split 'practice'"):
        build_index("mine", table(tmp_path, lines), "part")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "part/test/crack/000.png,part,test,good,part/ground_truth/crack/000_mask.png",
            "is good, but its mask .* marks",
        ),
        ("part/test/crack/000.png,part,test,crack,part/test/crack/000.png", "line 3 names .* as its own mask"),
        ("part/test/crack/000.png,part,test,crack,part/ground_truth/crack", "is a folder and not named like its image"),
        ("part/test/crack/000.png,part,test,pass,", "does the type 'pass' mean good images or a defect"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(tmp_path, line, message):
    with pytest.raises(DataCorrupt, match=message):
        build_index("mine", table(tmp_path, [GOOD_ROW, line]), "part")


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_table_with_other_separators_is_told(tmp_path, sign, word):
    path = table(tmp_path, [GOOD_ROW.replace(",", sign)], sign.join(("image", "category", "split", "type", "mask")))
    with pytest.raises(DataCorrupt, match=f"separated by {word}, not by commas"):
        build_index("mine", path, "part")


def test_one_mask_of_two_images_is_told(tmp_path):
    lines = [f"part/test/crack/{i:03}.png,part,test,crack,part/ground_truth/crack/000_mask.png" for i in range(2)]
    index = index_category("mine", table(tmp_path, [GOOD_ROW, *lines]), "part")
    assert said(index, "1 masks belong to more than one image: part/ground_truth/crack/000_mask.png")


def test_a_path_in_another_unicode_form_is_found(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Prüfung.png") for form in ("NFC", "NFD"))
    (tmp_path / apart).write_bytes(picture(1))
    (row,) = build_index("mine", table(tmp_path, [f"{composed},part,train,good,"]), "part")
    assert row.path == apart


def test_a_table_of_many_categories_is_read_once(tmp_path, monkeypatch):
    path = table(tmp_path, [f"part/train/good/000.png,c{i},train,good," for i in range(50)])
    opened = []
    plain = type(path).open
    monkeypatch.setattr(type(path), "open", lambda self, *a, **k: opened.append(self) or plain(self, *a, **k))
    digests = {digest_of("mine", str(path), f"c{i}") for i in range(50)}
    assert "" not in digests
    assert opened.count(path) == 1
    os.utime(path, ns=(1, 1))
    assert len(from_csv(path, "c7").entries) == 1
    assert opened.count(path) == 2
