"""The five published layouts with their oddities, and a user's own folder or CSV, against hand-written expectations."""

import csv
import os
import random

import numpy as np
import pytest

from prn.datasets.index import build_index
from prn.errors import DataCorrupt, DataMissing
from prn.splits import make_split
from tests.unit.archive_builders import (
    btad_tree,
    dagm_tree,
    dtd_tree,
    ksdd2_tree,
    mask,
    mvtec_tree,
    picture,
    write_tree,
)


def facts(rows):
    return [(row.path, row.split, row.type, row.label, row.mask, row.mask_area) for row in rows]


def test_mvtec(tmp_path):
    rows = build_index("mvtec", write_tree(mvtec_tree("grid"), tmp_path), "grid")
    assert facts(rows) == [
        ("grid/test/bent/000.png", "test", "bent", 1, "grid/ground_truth/bent/000_mask.png", 5),
        ("grid/test/bent/001.png", "test", "bent", 1, "grid/ground_truth/bent/001_mask.png", 6),
        ("grid/test/broken/000.png", "test", "broken", 1, "grid/ground_truth/broken/000_mask.png", 5),
        ("grid/test/broken/001.png", "test", "broken", 1, "grid/ground_truth/broken/001_mask.png", 6),
        ("grid/test/broken/002.png", "test", "broken", 1, "grid/ground_truth/broken/002_mask.png", 7),
        ("grid/test/good/000.png", "test", "good", 0, "", 0),
        ("grid/test/good/001.png", "test", "good", 0, "", 0),
        ("grid/train/good/000.png", "train", "good", 0, "", 0),
        ("grid/train/good/001.png", "train", "good", 0, "", 0),
        ("grid/train/good/002.png", "train", "good", 0, "", 0),
    ]
    assert {(row.width, row.height) for row in rows} == {(16, 12)}


def test_mvtec_says_what_it_expected(tmp_path):
    write_tree(mvtec_tree("grid"), tmp_path)
    with pytest.raises(DataMissing, match=r"expected screw/train/good, .* found grid"):
        build_index("mvtec", tmp_path, "screw")
    for path in (tmp_path / "grid/train/good").iterdir():
        path.unlink()
    with pytest.raises(DataMissing, match=r"grid/train/good: holds no image"):
        build_index("mvtec", tmp_path, "grid")
    with pytest.raises(DataMissing, match="no such folder"):
        build_index("mvtec", tmp_path / "absent", "grid")


def test_a_users_folder_needs_only_the_categories_asked_for_and_no_masks(tmp_path):
    files = {name: data for name, data in mvtec_tree("grid").items() if "broken/001_mask" not in name}
    rows = build_index("mvtec", write_tree(files, tmp_path), "grid")
    assert [row.path for row in rows if row.label and not row.mask] == ["grid/test/broken/001.png"]


def test_an_archives_tree_must_have_every_mask_and_every_image(tmp_path):
    write_tree(mvtec_tree("grid"), tmp_path)
    (tmp_path / "grid/ground_truth/broken/001_mask.png").unlink()
    with pytest.raises(DataCorrupt, match=r"no mask in grid/ground_truth/broken for 001\.png"):
        build_index("mvtec", tmp_path, "grid", complete=True)
    (tmp_path / "grid/test/broken/001.png").unlink()
    (tmp_path / "grid/test/bent/001.png").unlink()
    with pytest.raises(DataCorrupt, match=r"no image in grid/test/bent for 001_mask\.png"):
        build_index("mvtec", tmp_path, "grid", complete=True)


@pytest.mark.parametrize("doubled", [False, True])
def test_dagm(tmp_path, doubled):
    rows = build_index("dagm", write_tree(dagm_tree(doubled=doubled), tmp_path), "Class1")
    base = "Class1/Class1" if doubled else "Class1"
    assert facts(rows) == [
        (f"{base}/Test/0001.PNG", "test", "defect", 1, f"{base}/Test/Label/0001_label.PNG", 2),
        (f"{base}/Test/0002.PNG", "test", "good", 0, "", 0),
        (f"{base}/Test/0003.PNG", "test", "good", 0, "", 0),
        (f"{base}/Train/0001.PNG", "train", "good", 0, "", 0),
        (f"{base}/Train/0002.PNG", "train", "defect", 1, f"{base}/Train/Label/0002_label.PNG", 2),
        (f"{base}/Train/0003.PNG", "train", "good", 0, "", 0),
        (f"{base}/Train/0004.PNG", "train", "defect", 1, f"{base}/Train/Label/0004_label.PNG", 2),
    ]


def test_dagms_list_and_its_files_must_agree(tmp_path):
    write_tree(dagm_tree(), tmp_path)
    labels = tmp_path / "Class1/Train/Label/Labels.txt"
    text = labels.read_bytes()
    stray = tmp_path / "Class1/Train/Label/0001_label.PNG"
    stray.write_bytes(mask(4, 32, 32))
    with pytest.raises(DataCorrupt, match=r"0001_label\.PNG marks an image that .* calls free"):
        build_index("dagm", tmp_path, "Class1")
    stray.unlink()
    (tmp_path / "Class1/Train/0009.PNG").write_bytes(picture(9, 32, 32))
    with pytest.raises(DataCorrupt, match=r"does not know 0009\.PNG"):
        build_index("dagm", tmp_path, "Class1")
    (tmp_path / "Class1/Train/0009.PNG").rename(tmp_path / "0009.PNG")
    labels.write_bytes(text.replace(b"1\t0\t0001.PNG\t0\t0", b"1\t0\t0001.PNG"))
    with pytest.raises(DataCorrupt, match=r"Labels\.txt: line 2"):
        build_index("dagm", tmp_path, "Class1")
    labels.write_bytes(text)
    (tmp_path / "Class1/Train/Label/0002_label.PNG").unlink()
    with pytest.raises(DataCorrupt, match=r"no label image 0002_label\.PNG"):
        build_index("dagm", tmp_path, "Class1")
    (tmp_path / "Class1/Train/0002.PNG").unlink()
    with pytest.raises(DataCorrupt, match=r"not there: 0002\.PNG"):
        build_index("dagm", tmp_path, "Class1")
    labels.unlink()
    with pytest.raises(DataMissing, match=r"Labels\.txt: cannot be read"):
        build_index("dagm", tmp_path, "Class1")


@pytest.mark.parametrize("top", ["", "BTech_Dataset_transformed/"])
@pytest.mark.parametrize(("category", "suffix"), [("01", "png"), ("03", "bmp")])
def test_btad(tmp_path, top, category, suffix):
    rows = build_index("btad", write_tree(btad_tree(top), tmp_path), category, complete=True)
    base = f"{top}{category}"
    assert facts(rows) == [
        (f"{base}/test/ko/0000.bmp", "test", "ko", 1, f"{base}/ground_truth/ko/0000.{suffix}", 6),
        (f"{base}/test/ko/0001.bmp", "test", "ko", 1, f"{base}/ground_truth/ko/0001.{suffix}", 7),
        (f"{base}/test/ko/0002.bmp", "test", "ko", 1, f"{base}/ground_truth/ko/0002.{suffix}", 0),
        (f"{base}/test/ok/0000.bmp", "test", "good", 0, "", 0),
        (f"{base}/test/ok/0001.bmp", "test", "good", 0, "", 0),
        (f"{base}/train/ok/0000.bmp", "train", "good", 0, "", 0),
        (f"{base}/train/ok/0001.bmp", "train", "good", 0, "", 0),
        (f"{base}/train/ok/0002.bmp", "train", "good", 0, "", 0),
    ]


def test_two_masks_for_one_image_are_an_error(tmp_path):
    write_tree(btad_tree(""), tmp_path)
    (tmp_path / "01/ground_truth/ko/0000.bmp").write_bytes(mask(3, suffix=".bmp"))
    with pytest.raises(DataCorrupt, match=r"two masks for one image, 0000\.bmp and 0000\.png"):
        build_index("btad", tmp_path, "01")


@pytest.mark.parametrize("top", ["", "KolektorSDD2/"])
def test_ksdd2(tmp_path, top):
    write_tree({f"{top}{name}": data for name, data in ksdd2_tree().items()}, tmp_path)
    rows = build_index("ksdd2", tmp_path, "ksdd2", complete=True)
    assert facts(rows) == [
        (f"{top}test/20000.png", "test", "good", 0, f"{top}test/20000_GT.png", 0),
        (f"{top}test/20001.png", "test", "defect", 1, f"{top}test/20001_GT.png", 9),
        (f"{top}test/20002.png", "test", "good", 0, f"{top}test/20002_GT.png", 0),
        (f"{top}test/20003.png", "test", "defect", 1, f"{top}test/20003_GT.png", 3),
        (f"{top}train/10000.png", "train", "good", 0, f"{top}train/10000_GT.png", 0),
        (f"{top}train/10001.png", "train", "defect", 1, f"{top}train/10001_GT.png", 4),
        (f"{top}train/10002.png", "train", "good", 0, f"{top}train/10002_GT.png", 0),
    ]
    assert {(row.width, row.height) for row in rows} == {(10, 30)}


def test_ksdd2_without_a_mask_is_an_error_because_the_mask_is_the_label(tmp_path):
    write_tree(ksdd2_tree(), tmp_path)
    (tmp_path / "test/20003_GT.png").unlink()
    with pytest.raises(DataCorrupt, match="missing for 20003"):
        build_index("ksdd2", tmp_path, "ksdd2")
    with pytest.raises(DataMissing, match="one category 'ksdd2'"):
        build_index("ksdd2", tmp_path, "01")


def test_dtd_has_47_classes(tmp_path):
    rows = build_index("dtd", write_tree(dtd_tree(), tmp_path), "textures")
    assert len(rows) == 47
    assert {row.type for row in rows} == {f"class{c:02}" for c in range(47)}
    assert rows[0].path == "dtd/images/class00/class00_0000.jpg"
    assert {row.label for row in rows} == {0}
    assert len(build_index("dtd", tmp_path, "class07")) == 1


def custom(tmp_path):
    files = {f"cup/train/good/{i}.jpg": picture(i, suffix=".jpg") for i in range(2)}
    files |= {f"cup/test/crack/{i}.png": picture(10 + i) for i in range(3)}
    return write_tree(files | {"cup/test/good/a.png": picture(20), "cup/ground_truth/crack/1.bmp": mask(4)}, tmp_path)


def test_a_custom_folder(tmp_path):
    rows = build_index("mine", custom(tmp_path / "images"), "cup")
    assert facts(rows) == [
        ("cup/test/crack/0.png", "test", "crack", 1, "", 0),
        ("cup/test/crack/1.png", "test", "crack", 1, "cup/ground_truth/crack/1.bmp", 4),
        ("cup/test/crack/2.png", "test", "crack", 1, "", 0),
        ("cup/test/good/a.png", "test", "good", 0, "", 0),
        ("cup/train/good/0.jpg", "train", "good", 0, "", 0),
        ("cup/train/good/1.jpg", "train", "good", 0, "", 0),
    ]


def write_csv(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("image,category,split,type,mask\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_custom_csv(tmp_path):
    custom(tmp_path / "Bilder mit Umlaut ä")
    top = "../Bilder mit Umlaut ä/cup"
    table = write_csv(
        tmp_path / "lists" / "mine.csv",
        [
            f"{top}/train/good/0.jpg,cup,train,good,",
            f"{top}/test/crack/1.png,cup,test,crack,{top}/ground_truth/crack/1.bmp",
            f"{top}/test/good/a.png,plate,test,good,",
        ],
    )
    assert facts(build_index("mine", table, "cup")) == [
        (f"{top}/test/crack/1.png", "test", "crack", 1, f"{top}/ground_truth/crack/1.bmp", 4),
        (f"{top}/train/good/0.jpg", "train", "good", 0, "", 0),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png,cup,validation,good,", "line 2 has .* split 'validation'"),
        ("a.png,cup,train,,", "line 2 has .* type ''"),
        (",cup,train,good,", "line 2 has image ''"),
        ("/etc/a.png,cup,train,good,", "absolute path"),
        ("a.png,bowl,train,good,", "no row of category 'cup'; it has bowl"),
        ("a.png,cup,train,good,\na.png,cup,test,good,", r"a\.png stands in category 'cup' twice"),
        ("a.png,cup,train,good,\nb.png,cup,test,crack,", r"b\.png: cannot be read"),
    ],
)
def test_a_wrong_csv_says_where(tmp_path, line, message):
    (tmp_path / "a.png").write_bytes(picture(1))
    with pytest.raises((DataCorrupt, DataMissing), match=message):
        build_index("mine", write_csv(tmp_path / "mine.csv", [line]), "cup")


def test_a_csv_without_the_columns_names_them(tmp_path):
    (tmp_path / "mine.csv").write_text("image,label\na.png,0\n")
    with pytest.raises(DataCorrupt, match="no column category, split, type, mask"):
        build_index("mine", tmp_path / "mine.csv", "cup")


def test_the_order_of_a_listing_does_not_matter(tmp_path, monkeypatch):
    trees = {"mvtec": mvtec_tree("grid"), "dagm": dagm_tree(), "btad": btad_tree(), "ksdd2": ksdd2_tree()}
    cells = {"mvtec": "grid", "dagm": "Class1", "btad": "03", "ksdd2": "ksdd2"}
    for dataset, files in trees.items():
        write_tree(files, tmp_path / dataset)
    plain = {dataset: build_index(dataset, tmp_path / dataset, cells[dataset]) for dataset in trees}
    scandir, listdir = os.scandir, os.listdir

    def shuffled(entries):
        entries = list(entries)
        random.Random(7).shuffle(entries)
        return entries

    class Listing:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = iter(shuffled(entries))

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return self.entries

    monkeypatch.setattr(os, "scandir", Listing)
    monkeypatch.setattr(os, "listdir", lambda path=".": shuffled(listdir(path)))
    for dataset in trees:
        assert build_index(dataset, tmp_path / dataset, cells[dataset]) == plain[dataset]


@pytest.mark.real
def test_real_categories_of_mvtec(shared_dir):
    root = shared_dir / "real" / "mvtec"
    expected = {"bottle": (209, 20, 63, 63), "toothbrush": (48, 12, 30, 30), "transistor": (213, 60, 40, 0)}
    expected["leather_sample"] = (4, 4, 20, 11)
    for category, numbers in expected.items():
        rows = build_index("mvtec", root, category)
        train = [row for row in rows if row.split == "train"]
        good = [row for row in rows if row.split == "test" and not row.label]
        bad = [row for row in rows if row.label]
        assert (len(train), len(good), len(bad), sum(bool(row.mask) for row in bad)) == numbers
        assert {(row.width, row.height) for row in rows} == {(256, 256)}
    split = make_split(build_index("mvtec", root, "leather_sample"), "mvtec", "leather_sample", 42)
    assert all(
        (root / path.replace("/test/", "/ground_truth/").replace(".png", "_mask.png")).exists() for path in split.seen
    )


@pytest.mark.real
def test_real_kolektorsdd_through_a_csv(shared_dir, tmp_path):
    folder = shared_dir / "real" / "kolektorsdd"
    table = tmp_path / "kolektorsdd.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "category", "split", "type", "mask"])
        for image in sorted(folder.glob("kos*/Part*.jpg")):
            label = image.with_name(f"{image.stem}_label.png")
            defect = bool(np.frombuffer(label.read_bytes(), np.uint8).size) and _any(label)
            train = not defect and int(image.parent.name[3:]) <= 35
            names = [os.path.relpath(path, tmp_path).replace(os.sep, "/") for path in (image, label)]
            kind = "defect" if defect else "good"
            writer.writerow([names[0], "kos", "train" if train else "test", kind, names[1] if defect else ""])
    rows = build_index("kolektorsdd", table, "kos")
    assert len(rows) == 400
    assert sum(row.label for row in rows) == 52
    assert all(row.mask_area > 0 for row in rows if row.label)
    assert {(row.width, row.height) for row in rows} == {(256, 640)}
    split = make_split(rows, "kolektorsdd", "kos", 42)
    assert len(split.seen) == 10
    assert len(split.train_normal) + len(split.seen) + len(split.test) + len(split.dropped) == 400


def _any(path):
    from PIL import Image

    with Image.open(path) as image:
        return image.getextrema()[1] > 0


def test_images_of_any_known_suffix_are_found_and_others_left_alone(tmp_path):
    files = mvtec_tree("grid")
    files["grid/train/good/extra.JPG"] = picture(90, suffix=".jpg")
    files["grid/train/good/.DS_Store"] = b"x"
    files["grid/train/good/.hidden.png"] = b"x"
    files["grid/train/good/Thumbs.db"] = b"x"
    rows = build_index("mvtec", write_tree(files, tmp_path), "grid")
    assert [row.path for row in rows if row.split == "train"] == [
        "grid/train/good/000.png",
        "grid/train/good/001.png",
        "grid/train/good/002.png",
        "grid/train/good/extra.JPG",
    ]
