"""From a source to a tree: the registry's facts, archives of every layout, a user's folder, several processes."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from prn.datasets import obtain as obtaining
from prn.datasets import registry
from prn.datasets.index import build_index
from prn.datasets.obtain import obtain, restore, tree_root
from prn.datasets.registry import category_names, check_counts, dataset_names, find, notice
from prn.datasets.verify import verify
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.splits import make_split
from tests.unit.archive_builders import (
    btad_tree,
    dagm_tree,
    dtd_tree,
    ksdd2_tree,
    mvtec_tree,
    write_tar,
    write_tree,
    write_zip,
)


def test_the_registry_holds_the_published_facts():
    assert dataset_names() == ["mvtec", "dagm", "btad", "ksdd2", "dtd"]
    facts = {name: find(name).archives[0] for name in dataset_names()}
    assert (facts["mvtec"].bytes, facts["mvtec"].sha256) == (
        5_264_982_680,
        "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    )
    assert (facts["btad"].bytes, facts["btad"].sha256) == (
        1_229_193_337,
        "461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
    )
    assert (facts["ksdd2"].bytes, facts["ksdd2"].sha256) == (
        853_126_555,
        "edcdb486809b24f1d17b785e30c52fafc5999554dd5fe18ddf77b61ceb6f36a8",
    )
    assert (facts["dtd"].bytes, facts["dtd"].sha256) == (
        625_239_812,
        "e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
    )
    assert [archive.name for archive in find("dagm").archives] == [f"Class{i}.zip" for i in range(1, 11)]
    assert {archive.sha256 for archive in find("dagm").archives} == {None}


def test_the_counts_add_up_to_the_published_totals():
    mvtec = find("mvtec").counts
    assert len(mvtec) == 15
    assert sum(c["train"] for c in mvtec.values()) == 3629
    assert sum(c["good"] for c in mvtec.values()) == 467
    assert sum(c["defective"] for c in mvtec.values()) == 1258
    dagm = find("dagm").counts
    assert sum(c["train"] + c["test"] for c in dagm.values()) == 16_100
    assert sum(c["defective"] for c in dagm.values()) == 2100
    btad = find("btad").counts
    assert sum(sum(c.values()) for c in btad.values()) == 2540
    assert sum(find("ksdd2").counts["ksdd2"].values()) == 2331 + 1004
    assert find("dtd").counts["textures"]["train"] == 47 * 120


def test_every_address_is_https_and_every_set_has_a_licence_and_a_citation():
    for name in dataset_names():
        facts = find(name)
        assert facts.home.startswith("https://")
        assert facts.licence
        assert facts.citation
        assert all(url.startswith("https://") for archive in facts.archives for url in archive.urls)
        assert all(len(archive.sha256) == 64 for archive in facts.archives if archive.sha256)
        text = notice(name)
        assert facts.licence in text
        assert facts.citation in text


def test_unknown_names_get_a_suggestion():
    with pytest.raises(SettingsError, match="did you mean 'mvtec'"):
        find("mvtek")
    assert category_names("btad") == ["01", "02", "03"]


def test_counts_are_held_against_the_published_ones():
    right = {"train": 209, "test": 83, "good": 20, "defective": 63, "all_defective": 63}
    assert check_counts("mvtec", "bottle", right) == []
    assert check_counts("mvtec", "bottle", right | {"train": 208}) == ["train: 208 images, published are 209"]
    dagm = {"train": 575, "test": 575, "good": 500, "defective": 75, "all_defective": 150}
    assert check_counts("dagm", "Class1", dagm) == []
    assert check_counts("dagm", "Class1", dagm | {"all_defective": 149}) == ["defective: 149 images, published are 150"]
    ksdd2 = {"train": 2331, "test": 1004, "good": 894, "defective": 110, "all_defective": 356}
    assert check_counts("ksdd2", "ksdd2", ksdd2) == []


SETS = {
    "mvtec": ("mvtec_anomaly_detection.tar.xz", lambda: mvtec_tree("bottle"), "bottle", 10, ""),
    "dagm": ("Class1.zip", lambda: dagm_tree(doubled=True), "Class1", 7, ""),
    "btad": ("btad.zip", btad_tree, "03", 8, "BTech_Dataset_transformed"),
    "ksdd2": ("KolektorSDD2.zip", ksdd2_tree, "ksdd2", 7, ""),
    "dtd": ("dtd-r1.0.1.tar.gz", dtd_tree, "textures", 47, "dtd"),
}


def put_archive(dataset, folder):
    """The generated archive of a data set with its SHA256SUMS."""
    name, files, *_ = SETS[dataset]
    path = (write_zip if name.endswith("zip") else write_tar)(files(), folder / name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {name}\n")
    return path, digest


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("by_address", [True, False])
def test_every_layout_from_archive_to_index(tmp_path, dataset, by_address):
    archive, digest = put_archive(dataset, tmp_path / "source")
    _, _, category, count, around = SETS[dataset]
    source = (tmp_path / "source").as_uri() if by_address else str(tmp_path / "source")
    tree = tmp_path / "data" / "datasets" / dataset
    receipt = obtain(dataset, source, archives=tmp_path / "archives", tree=tree, progress=False)
    assert receipt["root"] == (tree / around).as_posix()
    assert receipt["complete"] is True
    assert receipt["published"] is False  # these are not the registry's bytes
    assert receipt["archives"] == {archive.name: digest}
    assert receipt["licence"] == find(dataset).licence
    rows = build_index(dataset, receipt["root"], category)
    assert len(rows) == count
    assert verify(receipt["root"], rows, dataset).ok
    assert not (tree / "unpickled").exists()
    again = obtain(dataset, source, archives=tmp_path / "archives", tree=tree, progress=False)
    assert again == receipt


def test_a_published_archive_must_hold_the_published_number_of_images(tmp_path, monkeypatch):
    archive, digest = put_archive("mvtec", tmp_path / "source")
    facts = find("mvtec")
    ours = dataclasses.replace(facts.archives[0], sha256=digest, bytes=archive.stat().st_size)
    changed = {**registry.registry(), "mvtec": dataclasses.replace(facts, archives=(ours,))}
    monkeypatch.setattr(registry, "registry", lambda: changed)
    receipt = obtain("mvtec", str(archive), tmp_path / "archives", tmp_path / "tree", progress=False)
    assert receipt["published"] is True
    with pytest.raises(
        DataCorrupt, match="bottle: train: 3 images, published are 209; good: 2 images, published are 20"
    ):
        build_index("mvtec", receipt["root"], "bottle")


def test_published_archives_may_go_once_they_are_unpacked(tmp_path, monkeypatch, capsys):
    archive, digest = put_archive("ksdd2", tmp_path / "archives")
    facts = find("ksdd2")
    ours = dataclasses.replace(facts.archives[0], sha256=digest, bytes=archive.stat().st_size)
    changed = {**registry.registry(), "ksdd2": dataclasses.replace(facts, archives=(ours,), unpacked_bytes=0)}
    monkeypatch.setattr(registry, "registry", lambda: changed)
    tree = tmp_path / "tree"
    receipt = obtain("ksdd2", None, tmp_path / "archives", tree, progress=False)
    archive.unlink()
    monkeypatch.setattr(obtaining, "fetch", lambda *_, **__: pytest.fail("the archive was asked for"))
    assert obtain("ksdd2", None, tmp_path / "archives", tree, progress=False) == receipt
    assert "which are not kept" in capsys.readouterr().err
    (tree / "test/20003.png").unlink()
    with pytest.raises(DataCorrupt, match=r"1 files are missing .*test/20003\.png.*delete the folder"):
        obtain("ksdd2", None, tmp_path / "archives", tree, progress=False)
    (tree / ".prn-source.json").write_text((tree / ".prn-source.json").read_text().replace(digest, "0" * 64))
    with pytest.raises(pytest.fail.Exception, match="asked for"):  # a tree from other archives is no substitute
        obtain("ksdd2", None, tmp_path / "archives", tree, progress=False)


def test_a_cleared_tree_is_unpacked_again_from_the_same_archives_alone(tmp_path):
    archive, _ = put_archive("btad", tmp_path / "archives")
    kept, tree = archive.parent, tmp_path / "tree"
    receipt = obtain("btad", str(kept), kept, tree, progress=False)
    before = sorted((path.relative_to(tree), path.read_bytes()) for path in tree.rglob("*.bmp"))
    shutil.rmtree(tree)
    restore(receipt, kept, tree, progress=False)
    assert sorted((path.relative_to(tree), path.read_bytes()) for path in tree.rglob("*.bmp")) == before != []
    shutil.rmtree(tree)
    with pytest.raises(DataMissing, match=r"the tree of btad is gone, and .*elsewhere/btad\.zip.*prn download"):
        restore(receipt, tmp_path / "elsewhere", tree, progress=False)
    archive.write_bytes(archive.read_bytes() + b"0")
    with pytest.raises(DataCorrupt, match=r"btad\.zip: not the archive that btad was made from"):
        restore(receipt, kept, tree, progress=False)
    assert not tree.exists()


def test_an_archive_of_another_set_says_what_was_expected(tmp_path):
    archive = write_zip(ksdd2_tree(), tmp_path / "source" / "btad.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (archive.parent / "SHA256SUMS").write_text(f"{digest}  btad.zip\n")
    receipt = obtain("btad", str(archive.parent), tmp_path / "archives", tmp_path / "tree", progress=False)
    with pytest.raises(DataMissing, match=r"expected 01/train/ok, .* found split_weakly_0\.pyb, test, train"):
        build_index("btad", receipt["root"], "01")


def test_an_archives_tree_without_a_mask_is_an_error(tmp_path):
    files = {name: data for name, data in mvtec_tree("bottle").items() if "bent/000_mask" not in name}
    archive = write_tar(files, tmp_path / "source" / "mvtec_anomaly_detection.tar.xz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (archive.parent / "SHA256SUMS").write_text(f"{digest}  {archive.name}\n")
    receipt = obtain("mvtec", str(archive), tmp_path / "archives", tmp_path / "tree", progress=False)
    with pytest.raises(DataCorrupt, match=r"no mask in bottle/ground_truth/bent for 000\.png"):
        build_index("mvtec", receipt["root"], "bottle")


def test_nothing_is_extracted_from_an_archive_with_another_hash(tmp_path):
    archive, _ = put_archive("btad", tmp_path / "source")
    archive.write_bytes(archive.read_bytes() + b"more")
    for source in (str(archive), archive.as_uri()):
        with pytest.raises(DataCorrupt, match="nothing was extracted"):
            obtain("btad", source, tmp_path / "archives", tmp_path / "tree", progress=False)
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("around", [True, False])
def test_an_extracted_folder_is_used_where_it_is(tmp_path, around):
    files = btad_tree("BTech_Dataset_transformed/" if around else "")
    mine = write_tree(files, tmp_path / "my btad")
    receipt = obtain("btad", str(mine), tmp_path / "archives", tmp_path / "tree", progress=False)
    root = mine / "BTech_Dataset_transformed" if around else mine
    assert receipt["root"] == root.as_posix()
    assert (receipt["complete"], receipt["archives"]) == (False, {})
    assert not (tmp_path / "archives").exists()
    assert not (tmp_path / "tree").exists()
    # the same paths, so the same splits, wherever the tree lies
    assert {row.path for row in build_index("btad", receipt["root"], "01")} == {
        *(f"01/train/ok/000{i}.bmp" for i in range(3)),
        *(f"01/test/ok/000{i}.bmp" for i in range(2)),
        *(f"01/test/ko/000{i}.bmp" for i in range(3)),
    }


def test_a_set_of_ones_own_is_a_folder_or_a_csv(tmp_path):
    mine = write_tree(mvtec_tree("cup"), tmp_path / "mine")
    receipt = obtain("mine", str(mine), tmp_path / "archives", tmp_path / "tree")
    assert (receipt["root"], receipt["licence"]) == (mine.as_posix(), "")
    table = tmp_path / "mine.csv"
    table.write_text("image,category,split,type,mask\nmine/cup/train/good/000.png,cup,train,good,\n")
    receipt = obtain("mine", str(table), tmp_path / "archives", tmp_path / "tree")
    assert len(build_index("mine", receipt["root"], "cup")) == 1
    for source in (None, "https://example.org/mine.zip"):
        with pytest.raises(SettingsError, match="a data set of your own is a folder or a CSV"):
            obtain("mine", source, tmp_path / "archives", tmp_path / "tree")
    with pytest.raises(DataMissing, match="though the settings name it"):
        obtain("mine", str(tmp_path / "absent"), tmp_path / "archives", tmp_path / "tree")
    with pytest.raises(DataMissing, match="an archive or the extracted folder of mvtec"):
        obtain("mvtec", str(tmp_path / "absent"), tmp_path / "archives", tmp_path / "tree")


def test_the_textures_may_be_any_folder_of_images(tmp_path):
    mine = write_tree(
        {name.split("/")[-1]: data for name, data in dtd_tree(3).items() if "jpg" in name}, tmp_path / "t"
    )
    receipt = obtain("dtd", str(mine), tmp_path / "archives", tmp_path / "tree")
    assert len(build_index("dtd", receipt["root"], "textures")) == 3


def test_the_root_of_a_tree_that_is_not_there(tmp_path):
    with pytest.raises(DataMissing, match="no such folder; expected the tree of dtd"):
        tree_root("dtd", tmp_path / "absent")


OBTAIN = """
import sys
from pathlib import Path
from prn.datasets.obtain import obtain
from prn.datasets.index import build_index
from prn.datasets.rows import write_index
source, work = sys.argv[1], Path(sys.argv[2])
receipt = obtain("mvtec", source, work / "archives", work / "tree", progress=False)
write_index(build_index("mvtec", receipt["root"], "bottle"), work / f"{sys.argv[3]}.csv")
"""


def test_four_processes_get_the_same_verified_tree(tmp_path):
    put_archive("mvtec", tmp_path / "source")
    command = [sys.executable, "-c", OBTAIN, (tmp_path / "source").as_uri(), tmp_path / "work"]
    jobs = [subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE, text=True) for i in range(4)]
    errors = [job.communicate(timeout=60)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, errors
    indexes = {(tmp_path / "work" / f"{i}.csv").read_bytes() for i in range(4)}
    assert len(indexes) == 1
    names = sorted(path.name for path in (tmp_path / "work").iterdir() if not path.name.endswith(".csv"))
    assert names == [".tree.lock", "archives", "tree"]


@pytest.mark.real
def test_a_whole_real_set_through_obtain(shared_dir, tmp_path):
    receipt = obtain("mvtec", os.fspath(shared_dir / "real" / "mvtec"), tmp_path / "archives", tmp_path / "tree")
    rows = build_index("mvtec", receipt["root"], "pill")
    split = make_split(rows, "mvtec", "pill", 42)
    assert (len(split.train_normal), len(split.seen), len(split.test)) == (267, 10, 157)
    assert verify(receipt["root"], rows, "mvtec").ok
