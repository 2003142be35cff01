"""The data stages as a user calls them: exit codes, messages that help, `prn verify`, a cache that knows its source."""

import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from prn import layout
from prn.cli import main, parser
from prn.datasets import capacity
from prn.datasets.images import CategoryTensors, mask_of
from prn.datasets.own_sources import images_digest
from prn.datasets.rows import read_index
from prn.errors import DataMissing
from prn.provenance.hashes import FileHashes
from prn.stages.caches import images_cache, load_images
from prn.stages.job import Job
from prn.stages.names import STAGES
from tests.unit.archive_builders import dagm_tree, encoded, mask, mvtec_tree, picture, write_tree

OWN = "eigene Schräubchen"  # a category with a space and an umlaut


class Work:
    """A work folder with a preset, and its command line."""

    def __init__(self, folder, params, capsys):
        self.folder, self.capsys, self.params = folder, capsys, params
        self.root = folder / "work folder"
        self.root.mkdir()
        self.home = Path.cwd()

    def settings(self, index=None, **sources):
        own = {name: {"categories": [OWN], "variants": ["prn"]} for name in sources if name == "mine"}
        preset = {"benchmark": {"datasets": own}, "download": {"sources": sources}}
        preset |= {"split": {"seen_anomalies": 1}, "train": {"shots": 1}, "tensors": {"size": 32}}
        preset |= {"index": index or {}}
        variants = yaml.safe_load(Path(self.params).read_text(encoding="utf-8"))["variants"]
        shots = [name for name, changes in variants.items() if "shots" in (changes or {}).get("train", {})]
        preset |= {"variants": {name: {"train": {"shots": 1}} for name in shots}}
        (self.folder / "preset.yaml").write_text(yaml.safe_dump(preset, allow_unicode=True), encoding="utf-8")

    def __call__(self, command, *arguments):
        """Exit code and all that was said."""
        options = ["--params", self.params, "--preset", str(self.folder / "preset.yaml"), "--root", str(self.root)]
        try:
            code = main([command, *options, *arguments])
        finally:
            os.chdir(self.home)
        said = self.capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture
def work(tmp_path, project, capsys):
    return Work(tmp_path, str(project / "params.yaml"), capsys)


@pytest.fixture
def own(work):
    """A data set of one's own, indexed, split and cached."""
    images = write_tree(mvtec_tree(OWN), work.folder / "Bilder ü")
    work.settings(mine=str(images))
    for stage in ("download", "index", "split", "tensors"):
        cell = ["--dataset", "mine"] if stage == "download" else ["--category", OWN]
        code, said = work(stage, *cell)
        assert code == 0, said
    return images / OWN


def digest_of(dataset: str, source: str | None, category: str) -> str | None:
    return images_digest(dataset, source, category, FileHashes(Path("no store")))


def test_names_nobody_knows_get_a_suggestion_before_anything_is_done(work):
    work.settings()
    for arguments, words in (
        (("download", "--dataset", "mvtecc"), "--dataset mvtecc: unknown; did you mean 'mvtec'?"),
        (("download",), "--dataset: missing; known: mvtec, dagm, btad, ksdd2, dtd"),
        (("index", "--category", "botle"), "not in benchmark.datasets; did you mean 'bottle'?"),
        (("index", "--dataset", "mvtec", "--category", "botle"), "mvtec has no such category; did you mean 'bottle'?"),
        (("verify", "--dataset", "dagm", "--category", "bottle"), "dagm has no such category"),
    ):
        code, said = work(*arguments)
        assert code == 2, said
        assert words in said
    assert list(work.root.iterdir()) == []


def test_a_missing_artefact_is_told_with_a_command_that_exists(work, monkeypatch):
    monkeypatch.chdir(work.folder)
    view = {"tensors": {"size": 32}, "model": {"backbone": "resnet18"}, "prototypes": {"ratio": 0.1}}
    job = Job("train", view, "mvtec", "bottle", "prn", 43)
    for stage in STAGES.values():
        names = stage.cell
        with pytest.raises(DataMissing) as caught:
            job.needed(stage.artefact)
        hint = re.search(r"`python -m prn (.*?)` makes it", str(caught.value))
        options = parser().parse_args(shlex.split(hint[1]))  # exits where the command line would
        assert {name: str(getattr(options, name)) for name in names} == {
            name: str(getattr(job, name)) for name in names
        }
    work.settings()
    code, said = work("index", "--category", "bottle")
    assert code == 3
    hint = re.search(r"`python -m prn (download --dataset mvtec .*?)` makes it", said)
    options = parser().parse_args(shlex.split(hint[1]))
    assert options.root.resolve() == work.root.resolve(), "typed as printed it works in the same folder"


def test_a_source_that_is_not_there_is_named_in_full(work):
    work.settings(mvtec="../nowhere")
    code, said = work("download", "--dataset", "mvtec")
    assert code == 3
    assert f"{work.root}/../nowhere: no such file or folder" in said


def test_a_file_of_the_users_own_is_never_to_be_deleted(work):
    picture_file = work.folder / "holiday.png"
    picture_file.write_bytes(picture(1))
    work.settings(mvtec=str(picture_file))
    code, said = work("download", "--dataset", "mvtec")
    assert code == 4
    assert "Name the right one in the settings" in said
    assert "Delete" not in said


def test_the_home_folder_may_be_written_short(work, monkeypatch):
    monkeypatch.setenv("HOME", str(work.folder))
    write_tree(mvtec_tree(OWN), work.folder / "set")
    work.settings(mine="~/set")
    assert work("download", "--dataset", "mine")[0] == 0
    assert work("index", "--category", OWN)[0] == 0


def test_verify_is_silent_on_an_untouched_tree_and_fails_on_any_other(work, own):
    code, said = work("verify", "--category", OWN)
    assert (code, said) == (0, f"mine/{OWN}: 15 files are as indexed\n")
    changed = own / "train/good/000.png"
    before, data = changed.stat(), bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(bytes(data))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    (own / "train/good/001.png").unlink()
    (own / "test/good/new.png").write_bytes(picture(77))
    code, said = work("verify", "--category", OWN)
    assert code == 4
    assert said.splitlines()[:3] == [
        f"missing: {OWN}/train/good/001.png",
        f"changed: {OWN}/train/good/000.png",
        f"extra: {OWN}/test/good/new.png",
    ]
    assert "1 files missing, 1 changed, 1 extra" in said
    code, said = work("tensors", "--category", OWN)
    assert code in (3, 4)  # whichever of the two is read first
    assert "good/00" in said


def test_verify_gives_no_advice_that_changes_nothing(work, own):
    write_tree({"notes/photo.png": picture(3)}, own)
    code, said = work("verify", "--category", OWN)
    assert code == 4
    assert f"extra: {OWN}/notes/photo.png\n" in said
    assert "would be passed over by a new index too: move them to train/good" in said
    assert "run the index stage again" not in said
    (own / "test/good/new.png").write_bytes(picture(77))
    assert "run the index stage again" in work("verify", "--category", OWN)[1]


def test_the_index_says_what_it_found(work):
    files = mvtec_tree(OWN) | {f"{OWN}/test/OK/1.png": picture(9), f"{OWN}/test/bent/note.json": b"{}"}
    del files[f"{OWN}/ground_truth/broken/001_mask.png"]
    work.settings(mine=str(write_tree(files, work.folder / "set")))
    work("download", "--dataset", "mine")
    code, said = work("index", "--category", OWN)
    assert code == 0, said
    lines = [
        f"{OWN}/test/broken: 1 image without a mask: 001.png",
        "taken for good by the name of their type: 'OK' (1 images)",
        "masks: 4 with 2 levels by the rule label_map (all that is not background is defect)",
        f"passed over: 1 .json in {OWN}/test/bent",
    ]
    assert said.splitlines()[1:] == [f"mine/{OWN}: {line}" for line in lines]
    record = json.loads((work.root / f"data/index/mine/{OWN}.csv.prov.json").read_text(encoding="utf-8"))["record"]
    assert record["remarks"] == lines


def test_the_index_reads_its_settings_and_verify_the_same(work):
    files = mvtec_tree(OWN) | {f"{OWN}/test/pass/1.png": picture(9), f"{OWN}/ground_truth/bent/odd.png": mask(3)}
    source = str(write_tree(files, work.folder / "set"))
    work.settings(mine=source)
    work("download", "--dataset", "mine")
    code, said = work("index", "--category", OWN)
    assert code == 4
    assert "does the type 'pass' mean good images or a defect?" in said
    work.settings(mine=source, index={"types": {"pass": "good"}})
    code, said = work("index", "--category", OWN)
    assert code == 4
    assert "1 mask without an image in " in said
    assert "odd.png" in said
    work.settings(mine=source, index={"types": {"pass": "good"}, "orphan_masks": "ignore"})
    assert work("index", "--category", OWN)[0] == 0
    code, said = work("verify", "--category", OWN)
    assert code == 0, said


def test_a_mask_is_cached_and_evaluated_as_it_was_indexed(work):
    """Inverted masks: what the index reads by the settings, the cache and the metrics at full size read the same."""
    files = mvtec_tree(OWN)
    for name in [name for name in files if "ground_truth" in name]:
        pixels = np.full((12, 16), 255, np.uint8)
        pixels[:4, :5] = 0
        files[name] = encoded(pixels)
    work.settings(mine=str(write_tree(files, work.folder / "set")), index={"mask_background": 255})
    for stage, cell in (
        ("download", ["--dataset", "mine"]),
        ("index", ["--category", OWN]),
        ("tensors", ["--category", OWN]),
    ):
        assert work(stage, *cell)[0] == 0
    cached = CategoryTensors.load(work.root / f"data/tensors/mine/{OWN}/32.safetensors")
    bent = cached.masks[cached.paths.index(f"{OWN}/test/bent/000.png")]
    assert abs(bent.mean() - 20 / 192) < 0.02
    (row,) = [row for row in read_index(work.root / f"data/index/mine/{OWN}.csv") if row.path.endswith("bent/000.png")]
    assert mask_of(work.folder / "set", row).sum() == 20


def test_verify_reads_dagms_labels_again(work):
    tree = write_tree(dagm_tree(), work.folder / "dagm")
    work.settings(dagm=str(tree))
    cell = ("--category", "Class1")
    assert work("download", "--dataset", "dagm")[0] == 0
    assert work("index", *cell)[0] == work("verify", *cell)[0] == 0
    labels = tree / "Class1/Train/Label/Labels.txt"
    text = labels.read_text()
    labels.write_text(text.replace("1\t0\t0001.PNG\t0\t0", "1\t1\t0001.PNG\t0\t0002_label.PNG"))
    code, said = work("verify", *cell)
    assert code == 4
    before, now = "train good in the index", "now train defect Class1/Train/Label/0002_label.PNG"
    assert f"listed otherwise: Class1/Train/0001.PNG: {before}, {now}\n" in said
    labels.write_text("1\n")
    assert "Labels.txt: lists no image" in work("verify", *cell)[1]


def test_verify_reads_a_csv_again(work):
    write_tree({"a.png": picture(1), "b.png": picture(2), "c.png": picture(3)}, work.folder / "set")
    table = work.folder / "set" / "list.csv"
    lines = ["image,category,split,type,mask", f"a.png,{OWN},train,good,", f"b.png,{OWN},test,good,"]
    table.write_text("\n".join(lines), encoding="utf-8")
    work.settings(mine=str(table))
    assert work("download", "--dataset", "mine")[0] == 0
    assert work("index", "--category", OWN)[0] == work("verify", "--category", OWN)[0] == 0
    lines = [lines[0], f"b.png,{OWN},test,dent,", f"c.png,{OWN},test,dent,"]
    table.write_text("\n".join(lines), encoding="utf-8")
    code, said = work("verify", "--category", OWN)
    assert code == 4
    assert said.splitlines()[:3] == [
        "extra: c.png",
        "listed otherwise: a.png: in the index, no longer listed",
        "listed otherwise: b.png: test good in the index, now test dent",
    ]


def test_the_index_names_images_that_are_there_twice(work):
    files = mvtec_tree(OWN)
    files[f"{OWN}/train/good/copy.png"] = files[f"{OWN}/test/good/001.png"]
    files[f"{OWN}/test/good/odd.png"] = files[f"{OWN}/test/bent/000.png"]
    work.settings(mine=str(write_tree(files, work.folder / "set")))
    work("download", "--dataset", "mine")
    code, said = work("index", "--category", OWN)
    assert code == 0
    assert f"1 training images are test images too: {OWN}/train/good/copy.png = {OWN}/test/good/001.png\n" in said
    assert f"check the labels: {OWN}/test/good/odd.png = {OWN}/test/bent/000.png\n" in said
    code, said = work("split", "--category", OWN)
    assert code == 0
    split = json.loads((work.root / f"data/splits/mine/{OWN}/seed42.json").read_text(encoding="utf-8"))
    assert split["dropped"][f"{OWN}/train/good/copy.png"] == "the same bytes as a test image"


def test_a_cache_from_other_images_is_made_anew(work, own, monkeypatch):
    monkeypatch.chdir(work.root)
    places = {"download": {"sources": {"mine": str(own.parent)}}}
    job = Job("prototypes", {"tensors": {"size": 32}}, "mine", OWN, "prn", 42, execution=places)
    before = load_images(images_cache(job))
    assert before.paths == CategoryTensors.load(job.path(layout.TENSORS)).paths
    (own / "train/good/000.png").write_bytes(picture(99))
    assert work("index", "--category", OWN)[0] == 0
    os.chdir(work.root)
    after = load_images(images_cache(job))
    assert after.source != before.source
    assert (after.images != before.images).any()
    (work.root / f"data/index/mine/{OWN}.csv").unlink()
    assert len(load_images(images_cache(job)).paths) == 10  # a machine that only trains needs no index


def test_a_changed_listing_of_ones_own_has_another_digest(work, own):
    def digest(category=OWN):
        return digest_of("mine", str(own.parent), category)

    seen = {digest()}
    assert digest() in seen
    write_tree(mvtec_tree("another"), own.parent)
    assert digest() in seen  # another category's business
    (own / "license.txt").write_text("CC0")
    assert digest() in seen
    for change in (
        lambda: (own / "train/good/new.png").write_bytes(picture(7)),
        lambda: (own / "train/good/new.png").write_bytes(picture(7, 30, 30)),
        lambda: (own / "test/bent/000.png").rename(own / "test/good/900.png"),
        (own / "ground_truth/bent/001_mask.png").unlink,
    ):
        change()
        assert digest() not in seen
        seen.add(digest())
    assert digest_of("mine", str(own.parent), "absent") == ""
    assert digest_of("mine", str(own.parent / "absent"), OWN) is None
    assert digest_of("mvtec", None, "bottle") == digest_of("mvtec", "https://example.org/a.tar.xz", "bottle") == ""


def test_too_little_disk_for_the_cache_is_known_before_the_first_image(work, own, monkeypatch):
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 10 * 32 * 32 * 4 - 1)
    code, said = work("tensors", "--category", OWN)
    assert code == 1
    assert "10 images of 32x32 needs 0.00 GiB of disk" in said
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 10 * 32 * 32 * 4)
    assert work("tensors", "--category", OWN)[0] == 0


def test_the_cache_keeps_its_estimate_of_disk_and_counts_lost_regions(work, own):
    (own / "ground_truth/bent/000_mask.png").write_bytes(_two_dots())
    (own / "test/bent/000.png").write_bytes(picture(5, 128, 128))
    assert work("index", "--category", OWN)[0] == 0
    code, said = work("tensors", "--category", OWN)
    assert code == 0
    assert "2 regions kept by one pixel" in said
    record = json.loads((work.root / f"data/tensors/mine/{OWN}/32.safetensors.prov.json").read_text())["record"]
    assert (record["lost_regions"], record["masks_with_lost_regions"]) == (2, 1)
    size = (work.root / f"data/tensors/mine/{OWN}/32.safetensors").stat().st_size
    assert 10 * 32 * 32 * 4 <= size <= 10 * 32 * 32 * 4 + 4096


def _two_dots() -> bytes:
    """A mask of 128x128 with two single pixels, each a sixteenth of a cell at 32x32."""

    pixels = np.zeros((128, 128), np.uint8)
    pixels[10, 10] = pixels[90, 100] = 255
    return encoded(pixels)
