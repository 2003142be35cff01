"""The index: every image decoded once, every fault named, the same bytes written everywhere."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from prn.datasets.index import build_index
from prn.datasets.rows import COLUMNS, IndexRow, duplicates, read_index, write_index
from prn.errors import DataCorrupt, DataMissing
from tests.unit.archive_builders import encoded, mask, mvtec_tree, picture, write_tree


@pytest.fixture
def tree(tmp_path):
    return write_tree(mvtec_tree("grid"), tmp_path / "tree")


def test_the_csv_is_readable_and_comes_back_the_same(tree, tmp_path):
    rows = build_index("mvtec", tree, "grid")
    path = tmp_path / "index" / "grid.csv"
    write_index(rows, path)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == (
        b"path,split,type,label,mask,width,height,sha256,mask_sha256,mask_area,bits,mask_levels,mask_rule,mask_background"
    )
    image = hashlib.sha256(picture(200, grey=True)).hexdigest().encode()
    truth = hashlib.sha256(mask(5)).hexdigest().encode()
    assert lines[1] == (
        b"grid/test/bent/000.png,test,bent,1,grid/ground_truth/bent/000_mask.png,16,12,"
        + image
        + b","
        + truth
        + b",5,8,2,half,0"
    )
    assert read_index(path) == rows


def test_names_with_commas_quotes_and_umlauts_come_back(tmp_path):
    row = IndexRow('ä/x, "y".png', "train", "good", 0, "", 1, 2, "0" * 64, "", 0)
    write_index([row], tmp_path / "i.csv")
    assert read_index(tmp_path / "i.csv") == [row]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("path,split\n", "the columns are path, split"),
        (",".join(COLUMNS) + "\na,train,good,0\n", "line 2"),
        (",".join(COLUMNS) + "\na,train,good,zero,,1,1,h,,0,8,0,,0\n", "line 2"),
        (",".join(COLUMNS) + "\na,validation,good,0,,1,1,h,,0,8,0,,0\n", "line 2: split 'validation'"),
    ],
)
def test_a_damaged_csv_is_an_error_that_names_the_line(tmp_path, text, message):
    path = tmp_path / "i.csv"
    path.write_text(text)
    with pytest.raises(DataCorrupt, match=message):
        read_index(path)
    with pytest.raises(DataMissing, match=r"absent\.csv"):
        read_index(tmp_path / "absent.csv")


def test_adding_a_category_changes_no_other(tree, tmp_path):
    before = build_index("mvtec", tree, "grid")
    write_tree(mvtec_tree("screw", train=5), tree)
    assert build_index("mvtec", tree, "grid") == before
    assert len(build_index("mvtec", tree, "screw")) == 12


def rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    image.save(data, "PNG", exif=exif)
    return data.getvalue()


def test_sizes_are_those_of_the_decoded_image(tree):
    (tree / "grid/train/good/000.png").write_bytes(rotated(Image.new("RGB", (30, 20))))
    (tree / "grid/train/good/001.png").write_bytes(encoded(np.zeros((7, 9), np.uint16)))
    (tree / "grid/train/good/002.png").write_bytes(encoded(np.zeros((5, 6, 4), np.uint8)))
    rows = {
        row.path[-7:]: (row.width, row.height) for row in build_index("mvtec", tree, "grid") if row.split == "train"
    }
    assert rows == {"000.png": (20, 30), "001.png": (9, 7), "002.png": (6, 5)}


def test_every_fault_is_named(tree):
    (tree / "grid/train/good/001.png").write_bytes(picture(1)[:60])
    (tree / "grid/test/good/000.png").write_bytes(b"")
    (tree / "grid/ground_truth/bent/001_mask.png").write_bytes(mask(5, 13, 16))
    (tree / "grid/ground_truth/broken/002_mask.png").write_bytes(b"no image")
    with pytest.raises(DataCorrupt) as caught:
        build_index("mvtec", tree, "grid")
    text = str(caught.value)
    for name in ("train/good/001.png", "test/good/000.png", "bent/001_mask.png", "broken/002_mask.png"):
        assert name in text
    assert "the mask is 16x13 pixels, its image grid/test/bent/001.png 16x12" in text


def test_a_wall_of_faults_is_cut(tmp_path):
    tree = write_tree(mvtec_tree("grid", train=25), tmp_path)
    for path in (tree / "grid/train/good").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataCorrupt) as caught:
        build_index("mvtec", tree, "grid")
    assert len(str(caught.value).splitlines()) == 11
    assert str(caught.value).endswith("... and 15 more")


def test_an_empty_mask_of_a_defect_is_kept_and_reported_by_its_area(tree):
    (tree / "grid/ground_truth/bent/000_mask.png").write_bytes(mask(0))
    rows = {row.path: row for row in build_index("mvtec", tree, "grid", complete=True)}
    row = rows["grid/test/bent/000.png"]
    assert (row.label, row.mask_area) == (1, 0)


def test_duplicates_between_train_and_test_are_found_by_content(tree):
    (tree / "grid/train/good/renamed.png").write_bytes((tree / "grid/test/bent/000.png").read_bytes())
    (tree / "grid/train/good/copy.png").write_bytes((tree / "grid/train/good/000.png").read_bytes())
    rows = build_index("mvtec", tree, "grid")
    assert duplicates(rows) == [("grid/train/good/renamed.png", "grid/test/bent/000.png")]


def test_the_number_of_workers_does_not_matter(tree):
    assert build_index("mvtec", tree, "grid", workers=1) == build_index("mvtec", tree, "grid", workers=7)


def test_a_read_only_tree_will_do(tree):
    for path in sorted(tree.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert len(build_index("mvtec", tree, "grid")) == 10
    for path in tree.rglob("*"):
        path.chmod(0o755)
