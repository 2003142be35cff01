"""The miniature archives: published layouts, exact masks, fixed pixels, and defects that are not trivial."""

import hashlib
import re
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from prn.errors import DataCorrupt, DataMissing
from prn.tools.miniature import build_miniatures
from prn.tools.miniature.archives import write_folder
from prn.tools.miniature.categories import (
    CATEGORIES,
    DEFECTIVE,
    DISC,
    GRAVEL,
    TEST_NORMAL,
    TRAIN_NORMAL,
    Category,
)
from prn.tools.miniature.photographs import PHOTOGRAPHS, photograph
from prn.tools.miniature.trees import TEXTURES

# First 16 hex digits of the sha256 over names and pixels of an archive's images. A change changes the demo's numbers.
PIXELS = {
    "Class1.zip": "945ce96f15b2b3d0",
    "KolektorSDD2.zip": "8d3ae821b86dd773",
    "btad.zip": "4c991317eacf23da",
    "mvtec_anomaly_detection.tar.xz": "38d2f4b596154d65",
}
EVERY = [category for categories in CATEGORIES.values() for category in categories]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("miniatures")
    build_miniatures(target)
    return target


@pytest.fixture(scope="module")
def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    """Archive name -> path in the archive -> bytes, read by the standard library."""
    found: dict[str, dict[str, bytes]] = {}
    for path in folder.iterdir():
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found[path.name] = {name: archive.read(name) for name in archive.namelist()}
        elif ".tar" in path.name:
            with tarfile.open(path) as archive:
                found[path.name] = {entry.name: archive.extractfile(entry).read() for entry in archive}
    return found


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def matching(files: dict[str, bytes], pattern: str) -> list[str]:
    return [name for name in files if re.fullmatch(pattern, name)]


def test_every_data_set_has_its_published_archive_and_a_true_checksum(tmp_path: Path, folder: Path) -> None:
    written = build_miniatures(tmp_path / "second with a space")
    assert len(written.pop("garden")) == 64 + 24 + 44 + 44 + 1
    assert {dataset: [path.name for path in paths] for dataset, paths in written.items()} == {
        "mvtec": ["mvtec_anomaly_detection.tar.xz"],
        "dagm": ["Class1.zip"],
        "btad": ["btad.zip"],
        "ksdd2": ["KolektorSDD2.zip"],
        "dtd": ["dtd-r1.0.1.tar.gz"],
    }
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    own = {name for name in listed if name.startswith("garden/")}
    assert own == {path.relative_to(folder).as_posix() for path in (folder / "garden").rglob("*") if path.is_file()}
    assert sorted(listed.keys() - own) == sorted(path.name for paths in written.values() for path in paths)
    for paths in written.values():
        for path in paths:  # the second build's bytes against the first build's sums
            assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[path.name]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 24e6


def test_archive_entries_are_sorted_and_carry_one_fixed_date(folder: Path) -> None:
    with tarfile.open(folder / "mvtec_anomaly_detection.tar.xz") as archive:
        entries = archive.getmembers()
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
    assert {(entry.mtime, entry.uid, entry.uname, entry.mode) for entry in entries} == {(1687046400, 0, "", 0o444)}
    with zipfile.ZipFile(folder / "btad.zip") as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {entry.date_time for entry in archive.infolist()} == {(2023, 6, 18, 0, 0, 0)}


def test_mvtec_layout(contents: dict[str, dict[str, bytes]]) -> None:
    files = contents["mvtec_anomaly_detection.tar.xz"]
    assert {PurePosixPath(name).parts[0] for name in files} == {"cup", "brick"}
    for category in ("cup", "brick"):
        assert len(matching(files, rf"{category}/train/good/\d{{3}}\.png")) == 64
        assert len(matching(files, rf"{category}/test/good/\d{{3}}\.png")) == 24
        defective = matching(files, rf"{category}/test/(?!good)[a-z]+/\d{{3}}\.png")
        assert len(defective) == 44
        assert len({name.split("/")[2] for name in defective}) >= 3
        masks = {name.replace("/test/", "/ground_truth/").replace(".png", "_mask.png") for name in defective}
        assert masks == set(matching(files, rf"{category}/ground_truth/.*"))
        assert decode(files[defective[0]]).shape == (128, 128, 3)
        assert set(np.unique(decode(files[min(masks)]))) == {0, 255}
    assert "cup/test/dye/000.png" in files
    assert len(files) == 2 * (64 + 24 + 44 + 44)


def test_dagm_layout_and_weak_labels(contents: dict[str, dict[str, bytes]]) -> None:
    files = contents["Class1.zip"]
    for split, total, defective in (("Train", 64 + 14, 14), ("Test", 24 + 30, 30)):
        folder = f"Class1/Class1/{split}"
        images = matching(files, rf"{folder}/\d{{4}}\.PNG")
        lines = files[f"{folder}/Label/Labels.txt"].decode().splitlines()
        assert lines[0] == "1"
        rows = [line.split("\t") for line in lines[1:]]
        assert [row[0] for row in rows] == [str(n + 1) for n in range(total)]
        assert {f"{folder}/{row[2]}" for row in rows} == set(images)
        flagged = [row for row in rows if row[1] == "1"]
        assert len(flagged) == defective
        assert {f"{folder}/Label/{row[4]}" for row in flagged} == set(matching(files, rf"{folder}/Label/.*_label\.PNG"))
        assert all(row[3:] == ["0", "0"] for row in rows if row[1] == "0")
        for row in flagged:
            assert row[4] == f"{row[2].removesuffix('.PNG')}_label.PNG"
            assert decode(files[f"{folder}/{row[2]}"]).shape == (128, 128)
            label = decode(files[f"{folder}/Label/{row[4]}"]) > 0
            assert ndimage.label(label)[1] == 1
            changed = GRAVEL.normal(split, int(row[0]) - 1)[..., 0] != decode(files[f"{folder}/{row[2]}"])
            assert changed.any()
            assert not (changed & ~label).any()
            assert label.sum() > 1.05 * changed.sum()


def test_btad_layout_and_masks_that_are_not_pure(contents: dict[str, dict[str, bytes]]) -> None:
    files = contents["btad.zip"]
    root = "BTech_Dataset_transformed/01"
    assert len(matching(files, rf"{root}/train/ok/\d{{4}}\.bmp")) == 64
    assert len(matching(files, rf"{root}/test/ok/\d{{4}}\.bmp")) == 24
    assert len(matching(files, rf"{root}/test/ko/\d{{4}}\.bmp")) == 44
    assert len(matching(files, rf"{root}/ground_truth/ko/\d{{4}}\.png")) == 44
    assert len(files) == 64 + 24 + 2 * 44
    for n in range(44):
        mask = decode(files[f"{root}/ground_truth/ko/{n:04d}.png"])
        assert set(np.unique(mask)) == {0, 96, 250}
        image = decode(files[f"{root}/test/ko/{n:04d}.bmp"])
        changed = (DISC.normal("defective", n)[..., ::-1] != image).any(-1)
        assert changed.any()
        assert not (changed & (mask != 250)).any()


def test_ksdd2_layout_with_its_strays(contents: dict[str, dict[str, bytes]]) -> None:
    files = contents["KolektorSDD2.zip"]
    for split, normal, defective in (("train", 64, 8), ("test", 24, 44)):
        images = matching(files, rf"{split}/\d{{5}}\.png")
        assert len(images) == normal + defective
        masks = [decode(files[name.replace(".png", "_GT.png")]) for name in images]
        assert sum(mask.any() for mask in masks) == defective
        assert {mask.shape for mask in masks} == {(224, 80)}
        assert decode(files[images[0]]).shape == (224, 80, 3)
    assert "train/10301 (copy).png" in files
    assert "train/10301_GT (copy).png" in files
    assert len(matching(files, r"[^/]+\.pyb")) == 1
    assert len(files) == 2 * (72 + 68) + 3


def test_dtd_layout(contents: dict[str, dict[str, bytes]]) -> None:
    files = contents["dtd-r1.0.1.tar.gz"]
    assert len(matching(files, r"dtd/images/([a-z]+)/\1_\d{4}\.jpg")) == len(files) == 8 * len(TEXTURES)
    assert decode(files["dtd/images/chelsea/chelsea_0001.jpg"]).ndim == 3


def test_a_users_own_folder_and_its_csv_list_the_same_images(folder: Path) -> None:
    root = folder / "garden"
    masks = {
        path.relative_to(root / "lawn/ground_truth").as_posix() for path in (root / "lawn/ground_truth").rglob("*.png")
    }
    assert len(masks) == 44
    lines = (root / "images.csv").read_text().splitlines()
    assert lines[0] == "image,category,split,type,mask"
    assert lines[1] == "lawn/test/dye/000.png,lawn,test,dye,lawn/ground_truth/dye/000.png"
    assert lines[-1] == "lawn/train/good/063.png,lawn,train,good,"
    images = {line.split(",")[0] for line in lines[1:]}
    assert images == {f"lawn/train/good/{n:03d}.png" for n in range(64)} | {
        f"lawn/test/good/{n:03d}.png" for n in range(24)
    } | {f"lawn/test/{mask}" for mask in masks}


def test_a_second_build_leaves_no_old_file_in_the_folder(tmp_path: Path) -> None:
    write_folder({"lawn/old.png": b"1"}, tmp_path / "garden")
    write_folder({"lawn/new.png": b"2"}, tmp_path / "garden")
    assert [path.name for path in (tmp_path / "garden").rglob("*.png")] == ["new.png"]


def test_no_texture_shares_a_photograph_with_a_category_or_a_defect() -> None:
    used = {name for category in EVERY for name in (category.scene.photo, *category.scene.foreign)}
    assert not used & set(TEXTURES)


@pytest.mark.parametrize("category", EVERY, ids=lambda category: category.name)
def test_a_mask_marks_the_changed_pixels_and_no_others(category: Category) -> None:
    for n, kind in enumerate(category.kinds_for(3 * len(category.kinds))):
        image, mask = category.defective("defective", n, kind)
        changed = (category.normal("defective", n) != image).any(-1)
        assert mask.shape == (category.scene.height, category.scene.width)
        assert not (changed & ~mask).any()
        assert changed.sum() > 0.9 * mask.sum()
        assert 0.01 < mask.mean() < 0.25


def test_the_pixels_are_the_same_on_every_machine(contents: dict[str, dict[str, bytes]]) -> None:
    """Content, not bytes: another zlib may compress differently. JPEG textures are left to the decoder."""
    found = {}
    for archive, files in sorted(contents.items()):
        if archive.startswith("dtd"):
            continue
        digest = hashlib.sha256()
        for name in sorted(name for name in files if name.lower().endswith((".png", ".bmp"))):
            digest.update(name.encode() + np.ascontiguousarray(decode(files[name])).tobytes())
        found[archive] = digest.hexdigest()[:16]
    assert found == PIXELS


def small(image: np.ndarray) -> np.ndarray:
    """The image at the demo's 64 x 64, three channels, float64."""
    image = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    return np.repeat(image.reshape(64, 64, -1), 3 // image.reshape(64, 64, -1).shape[2], -1).astype(np.float64)


def top_mean(maps: np.ndarray) -> np.ndarray:
    """The mean of the 100 largest values of each map."""
    return np.sort(maps.reshape(len(maps), -1), axis=1)[:, -100:].mean(1)


@pytest.mark.parametrize("category", EVERY, ids=lambda category: category.name)
def test_naive_baselines_do_not_find_the_defects(category: Category) -> None:
    train = np.stack([small(category.normal("train", n)) for n in range(TRAIN_NORMAL)])
    good = np.stack([small(category.normal("test", n)) for n in range(TEST_NORMAL)])
    kinds = category.kinds_for(DEFECTIVE)
    bad = np.stack([small(category.defective("defective", n, kind)[0]) for n, kind in enumerate(kinds)])
    images, labels = np.concatenate([good, bad]), np.repeat([0, 1], [len(good), len(bad)])
    colour = train.mean((0, 1, 2))
    maps = {
        "mean image": np.linalg.norm(images - train.mean(0), axis=-1),
        "mean image, absolute": np.abs(images - train.mean(0)).mean(-1),
        "mean colour": np.linalg.norm(images - colour, axis=-1),
        "standardised colour": np.linalg.norm((images - colour) / train.std((0, 1, 2)), axis=-1),
        "bright": images.mean(-1),
        "dark": 255 - images.mean(-1),
    }
    found = {name: float(roc_auc_score(labels, top_mean(values))) for name, values in maps.items()}
    assert all(0.25 < auroc < 0.75 for auroc in found.values()), found


def test_other_photographs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    photograph.cache_clear()
    monkeypatch.setitem(PHOTOGRAPHS, "moon.png", "0" * 64)
    monkeypatch.setitem(PHOTOGRAPHS, "absent.png", "0" * 64)
    with pytest.raises(DataCorrupt, match=r"moon\.png.*expected 0000"):
        photograph("moon.png")
    with pytest.raises(DataMissing, match=r"absent\.png"):
        photograph("absent.png")
