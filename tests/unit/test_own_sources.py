"""R27: a user's files are known by what they hold: an edit in place is seen, a touch and another place are not."""

import os
import shutil
from pathlib import Path

import pytest

from prn.datasets.own_sources import archives_digest, images_digest, own_root
from prn.encoder_files import weights_digest
from prn.provenance import hashes as hashes_module
from prn.provenance.files import sha256_file
from prn.provenance.hashes import FileHashes
from tests.workflow.conftest import make_images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_images(tmp_path / "images")


@pytest.fixture(autouse=True)
def _old_files(monkeypatch) -> None:
    """The files of these tests are as old as files are that somebody trains on."""
    monkeypatch.setattr(hashes_module, "FRESH_S", 0.0)


def digest(source: Path, store: Path = Path("none")) -> str:
    found = images_digest("mine", str(source), "part", FileHashes(store))
    assert found
    return found


def edited_in_place(file: Path) -> bytes:
    """Other bytes of the same length, with the date that the file had; returns those before."""
    before, dates = file.read_bytes(), file.stat()
    file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    return before


@pytest.mark.parametrize(
    "name", ["train/good/003.png", "test/good/001.png", "test/spot/004.png", "ground_truth/spot/004_mask.png"]
)
def test_an_edit_in_place_with_the_same_name_length_and_date_is_seen(images, name, tmp_path):
    store = tmp_path / "store.json"
    hashes = FileHashes(store)
    first = images_digest("mine", str(images), "part", hashes)
    hashes.save()
    before = edited_in_place(images / "part" / name)
    assert digest(images, store) != first
    (images / "part" / name).write_bytes(before)
    assert digest(images, store) == first


def test_touched_copied_and_moved_files_are_the_same(images, tmp_path):
    first = digest(images)
    for file in images.rglob("*.png"):
        os.utime(file)
    assert digest(images) == first
    assert digest(Path(shutil.copytree(images, tmp_path / "copied"))) == first
    assert digest(images.rename(tmp_path / "moved")) == first


def test_an_untouched_folder_is_not_read_again_and_nothing_is_written_before_it_is_asked_for(images, tmp_path):
    store = tmp_path / "hashes" / "part.json"
    hashes = FileHashes(store)
    first = images_digest("mine", str(images), "part", hashes)
    assert hashes.read == 8 + 4 + 13 + 13
    assert not store.exists()
    hashes.save()
    again = FileHashes(store)
    assert images_digest("mine", str(images), "part", again) == first
    assert again.read == 0
    edited_in_place(images / "part/test/spot/000.png")
    again = FileHashes(store)
    images_digest("mine", str(images), "part", again)
    assert again.read == 1
    for spoilt in ("", "[]", "{"):
        store.write_text(spoilt, encoding="utf-8")
        assert digest(images, store) != first


def test_a_file_that_was_written_just_now_is_not_remembered(images, monkeypatch):
    monkeypatch.setattr(hashes_module, "FRESH_S", 60.0)
    hashes, file = FileHashes(Path("none")), images / "part/train/good/000.png"
    assert [hashes.sha256(file) for _ in range(2)] == [sha256_file(file)] * 2
    assert hashes.read == 2, "within the clock's grain a second edit would have the same dates"


def test_archives_on_this_machine_are_known_by_their_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "btad.zip").write_bytes(b"an archive")

    def found(name: str) -> str | None:
        return archives_digest("btad", str(tmp_path / name), FileHashes(Path("none")))

    assert found("a") == found("b") != ""
    assert archives_digest("btad", f"file:{tmp_path / 'a'}", FileHashes(Path("none"))) == found("a")
    edited_in_place(tmp_path / "b/btad.zip")
    assert found("a") != found("b")
    (tmp_path / "a/SHA256SUMS").write_text("0" * 64 + "  btad.zip\n", encoding="utf-8")
    assert found("a") not in (found("b"), "")
    for source in (None, "https://example.org/btad.zip"):
        assert archives_digest("btad", source, FileHashes(Path("none"))) == ""
    nowhere = str(tmp_path / "nowhere")
    assert archives_digest("btad", nowhere, FileHashes(Path("none"))) is None, "not here: what was recorded stands"
    assert images_digest("mine", nowhere, "part", FileHashes(Path("none"))) is None
    assert own_root("btad", str(tmp_path / "a")) is None


def test_weights_are_known_by_their_bytes_and_torchvisions_by_the_hash_in_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/weights"
    folder.mkdir(parents=True)

    def found(path: str | None = None) -> str | None:
        return weights_digest("resnet18", path, FileHashes(Path("none")))

    assert found() is None, "none is there: torchvision's will be downloaded"
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"weights")
    assert found(str(own)) == sha256_file(own)
    moved = own.rename(tmp_path / "moved.safetensors")
    before = found(str(moved))
    edited_in_place(moved)
    assert found(str(moved)) == sha256_file(moved) != before
    named = folder / f"resnet18-{before[:8]}.pth"
    named.write_bytes(b"weights")
    assert found() == "", "torchvision's own file"
    edited_in_place(named)
    assert found() == sha256_file(named), "no longer what its name says"
