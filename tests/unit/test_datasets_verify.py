"""R11: what is missing, changed or extra in a tree is listed, whatever its dates and modes say."""

import os

import pytest

from prn.datasets.index import build_index
from prn.datasets.verify import verify
from tests.unit.archive_builders import ksdd2_tree, mask, mvtec_tree, picture, write_tree


@pytest.fixture
def tree(tmp_path):
    write_tree(mvtec_tree("screw"), tmp_path)
    return write_tree(mvtec_tree("grid"), tmp_path)


def test_an_untouched_tree_is_right(tree):
    report = verify(tree, build_index("mvtec", tree, "grid"), "mvtec")
    assert (report.ok, report.lines(), report.checked) == (True, [], 15)  # ten images, five masks


def flip_a_bit(path):
    """Change one bit and put the old dates and mode back."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_every_change_is_listed(tree):
    rows = build_index("mvtec", tree, "grid")
    (tree / "grid/train/good/000.png").unlink()
    (tree / "grid/ground_truth/broken/000_mask.png").unlink()
    (tree / "grid/test/good/001.png").write_bytes(picture(999))
    flip_a_bit(tree / "grid/test/bent/001.png")
    flip_a_bit(tree / "grid/ground_truth/bent/000_mask.png")
    (tree / "grid/train/good/new.PNG").write_bytes(picture(5))
    (tree / "grid/test/novel").mkdir()
    (tree / "grid/test/novel/000.png").write_bytes(picture(6))
    (tree / "screw/train/good/999.png").write_bytes(picture(7))  # another category's business
    (tree / "grid/readme.txt").write_text("a remark is no image")
    assert verify(tree, rows, "mvtec").lines() == [
        "missing: grid/ground_truth/broken/000_mask.png",
        "missing: grid/train/good/000.png",
        "changed: grid/ground_truth/bent/000_mask.png",
        "changed: grid/test/bent/001.png",
        "changed: grid/test/good/001.png",
        "extra: grid/test/novel/000.png",
        "extra: grid/train/good/new.PNG",
    ]
    assert not verify(tree, rows).ok


def test_a_tree_that_is_gone_is_missing_in_full(tree, tmp_path):
    rows = build_index("mvtec", tree, "grid")
    report = verify(tmp_path / "elsewhere", rows, "mvtec")
    assert len(report.missing) == report.checked == 15


def test_the_published_strays_of_ksdd2_do_not_count_but_a_new_image_does(tmp_path):
    rows = build_index("ksdd2", write_tree(ksdd2_tree(), tmp_path), "ksdd2")
    assert verify(tmp_path, rows, "ksdd2").ok
    (tmp_path / "test/20009.png").write_bytes(picture(1))
    (tmp_path / "test/20000_GT.png").write_bytes(mask(1, 30, 10))
    assert verify(tmp_path, rows, "ksdd2").lines() == ["changed: test/20000_GT.png", "extra: test/20009.png"]


def test_a_csv_is_checked_where_its_images_lie(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(2):
        (tmp_path / f"images/{i}.png").write_bytes(picture(i))
    table = tmp_path / "lists.csv"
    table.write_text("image,category,split,type,mask\nimages/0.png,cup,train,good,\n")
    rows = build_index("mine", table, "cup")
    assert verify(table, rows, "mine").ok
    flip_a_bit(tmp_path / "images/0.png")
    assert verify(table, rows, "mine").lines() == ["changed: images/0.png"]
