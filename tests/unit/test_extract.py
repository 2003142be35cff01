"""R8 to R10: extraction stays in its folder, stops bombs while streaming, and is all or nothing."""

import errno
import gzip
import io
import os
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from prn.datasets import capacity, extract
from prn.datasets.extract import Limits, origin
from prn.errors import DataCorrupt, DataMissing, PrnError
from tests.unit.archive_builders import dagm_tree, mvtec_tree, odd_tar, odd_zip, write_tar, write_tree, write_zip


def tree_of(folder: Path) -> dict[str, bytes]:
    """Path -> content of every file below a folder, hidden ones too, without the marker."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    files.pop(extract.MARKER, None)
    return files


def leftovers(parent: Path, name: str = "tree") -> list[str]:
    """What lies beside the tree besides its lock."""
    return sorted(p.name for p in parent.iterdir() if p.name not in (name, f".{name}.lock"))


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_every_kind_of_archive(tmp_path, kind):
    files = mvtec_tree("bottle")
    archive = (write_zip if kind == "a.zip" else write_tar)(files, tmp_path / "in" / kind)
    dest = extract.extract([archive], tmp_path / "out" / "tree")
    assert tree_of(dest) == files
    assert leftovers(tmp_path / "out") == []


def test_the_name_of_an_archive_does_not_matter_only_its_bytes(tmp_path):
    archive = write_zip({"a/b.png": b"1"}, tmp_path / "x.zip").rename(tmp_path / "x.tar.xz")
    assert tree_of(extract.extract([archive], tmp_path / "tree")) == {"a/b.png": b"1"}


def test_read_only_and_set_user_entries_come_out_plain(tmp_path):
    archive = write_tar({"a/b.png": b"1"}, tmp_path / "x.tar", mode=0o4555)
    dest = extract.extract([archive], tmp_path / "tree")
    mode = (dest / "a/b.png").stat().st_mode
    assert mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX) == 0
    assert mode & stat.S_IWUSR
    assert (dest / "a").stat().st_mode & stat.S_IWUSR


def test_several_archives_make_one_tree(tmp_path):
    one = write_zip(dagm_tree("Class1"), tmp_path / "Class1.zip")
    two = write_zip({n.removeprefix("Class2/"): d for n, d in dagm_tree("Class2").items()}, tmp_path / "Class2.zip")
    tops = {"Class1.zip": "Class1", "Class2.zip": "Class2"}
    dest = extract.extract([one, two], tmp_path / "tree", tops=tops)
    assert tree_of(dest) == dagm_tree("Class1") | dagm_tree("Class2")


def test_two_archives_with_the_same_folder_are_refused(tmp_path):
    one = write_zip({"a/1.png": b"1"}, tmp_path / "1.zip")
    two = write_zip({"a/2.png": b"2"}, tmp_path / "2.zip")
    with pytest.raises(DataCorrupt, match=r"2\.zip: a is also in another archive"):
        extract.extract([one, two], tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


EVIL_TARS = {
    "parent folder": [("../evil.png", tarfile.REGTYPE, b"x")],
    "parent folder in the middle": [("a/../../evil.png", tarfile.REGTYPE, b"x")],
    "absolute": [("/tmp/prn-evil.png", tarfile.REGTYPE, b"x")],
    "absolute symlink": [("link", tarfile.SYMTYPE, "/etc")],
    "symlink then write": [("link", tarfile.SYMTYPE, ".."), ("link/evil.png", tarfile.REGTYPE, b"x")],
    "hard link out": [("link", tarfile.LNKTYPE, "../../etc/passwd")],
    "fifo": [("pipe", tarfile.FIFOTYPE, b"")],
    "device": [("disk", tarfile.BLKTYPE, b"")],
    "backslash": [("..\\evil.png", tarfile.REGTYPE, b"x")],
    "drive": [("C:evil.png", tarfile.REGTYPE, b"x")],
    "file twice": [("a.png", tarfile.REGTYPE, b"x"), ("a.png", tarfile.REGTYPE, b"y")],
    "file below a file": [("a", tarfile.REGTYPE, b"x"), ("a/b", tarfile.REGTYPE, b"y")],
}


@pytest.mark.parametrize("case", EVIL_TARS)
def test_a_tar_cannot_leave_its_folder(tmp_path, case):
    entries = [("good.png", tarfile.REGTYPE, b"1"), *EVIL_TARS[case]]
    archive = odd_tar(tmp_path / "evil.tar", *entries)
    out = tmp_path / "out"
    with pytest.raises(DataCorrupt, match=r"evil\.tar: "):
        extract.extract([archive], out / "tree")
    assert leftovers(out) == []
    assert not (out / "tree").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.tar", "out"]
    assert not Path("/tmp/prn-evil.png").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../../evil.png", stat.S_IFREG),
        ("/tmp/prn-evil.png", stat.S_IFREG),
        ("C:/evil.png", stat.S_IFREG),
        ("c:evil.png", stat.S_IFREG),
        ("..\\evil.png", stat.S_IFREG),
        ("a\\..\\..\\evil.png", stat.S_IFREG),
        ("link", stat.S_IFLNK),
        ("pipe", stat.S_IFIFO),
    ],
)
def test_a_zip_cannot_leave_its_folder(tmp_path, name, kind):
    archive = odd_zip(tmp_path / "evil.zip", name, b"/etc", kind)
    out = tmp_path / "out"
    with pytest.raises(DataCorrupt, match=r"evil\.zip: .*refused"):
        extract.extract([archive], out / "tree")
    assert leftovers(out) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.zip", "out"]


def test_a_name_with_a_hidden_end_is_refused(tmp_path):
    archive = odd_zip(tmp_path / "evil.zip", "good.png#hidden")
    archive.write_bytes(archive.read_bytes().replace(b"good.png#hidden", b"good.png\0hidden"))
    with pytest.raises(DataCorrupt, match="refused"):
        extract.extract([archive], tmp_path / "tree")


SMALL = Limits(bytes=2**20, entries=100, ratio=10, allowance=2**16)


@pytest.mark.parametrize("kind", ["zeros.zip", "zeros.tar.gz", "zeros.tar.xz"])
def test_a_bomb_of_zeros_is_stopped_while_it_streams(tmp_path, kind, monkeypatch):
    files = {"zeros.png": bytes(50 * 2**20)}
    archive = (write_zip if kind.endswith("zip") else write_tar)(files, tmp_path / kind)
    written = []
    create = extract._write

    def watched(source, target, meter, *, count):
        try:
            create(source, target, meter, count=count)
        finally:
            written.append(target.stat().st_size)

    monkeypatch.setattr(extract, "_write", watched)
    with pytest.raises(DataCorrupt, match=rf"{kind}: grows beyond"):
        extract.extract([archive], tmp_path / "tree", limits=SMALL)
    assert max(written) <= 2 * 2**20
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("kind", ["many.zip", "many.tar.gz"])
def test_a_million_entries_are_stopped_at_the_limit(tmp_path, kind):
    """The limit is what counts, not how far beyond it the archive goes: 5,000 entries against a limit of 100."""
    files = {f"{i}.png": b"" for i in range(5000)}
    archive = (write_zip if kind.endswith("zip") else write_tar)(files, tmp_path / kind)
    with pytest.raises(DataCorrupt, match="more than 100 entries"):
        extract.extract([archive], tmp_path / "tree", limits=Limits(entries=100))
    assert not (tmp_path / "tree").exists()


def test_a_zip_header_that_lies_about_the_size_is_caught(tmp_path):
    archive = write_zip({"a.png": os.urandom(10_000)}, tmp_path / "lie.zip")
    data = bytearray(archive.read_bytes())
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, local + 22, 10)
    struct.pack_into("<I", data, central + 24, 10)
    archive.write_bytes(bytes(data))
    with pytest.raises(DataCorrupt, match=r"lie\.zip: damaged"):
        extract.extract([archive], tmp_path / "tree")


def test_a_zip_header_that_claims_gigabytes_is_caught(tmp_path):
    archive = write_zip({"a.png": b"x"}, tmp_path / "lie.zip")
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 2**32 - 2)
    archive.write_bytes(bytes(data))
    with pytest.raises(DataCorrupt, match=r"a\.png has 1 bytes, its entry says 4294967294"):
        extract.extract([archive], tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_tar_header_that_lies_about_the_size_is_caught(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo("a.png")
        entry.size = 10
        archive.addfile(entry, io.BytesIO(b"0123456789"))
    data = plain.getvalue()
    header = tarfile.TarInfo("a.png")
    header.size = 2**40
    (tmp_path / "lie.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + data[512:])
    with pytest.raises(DataCorrupt, match=r"lie\.tar"):
        extract.extract([tmp_path / "lie.tar"], tmp_path / "tree")
    (tmp_path / "lie.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(64 * 2**20)))
    with pytest.raises(DataCorrupt, match="grows beyond"):
        extract.extract([tmp_path / "lie.tar.gz"], tmp_path / "tree", limits=SMALL)
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz", "a.tar.xz"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_leaves_nothing(tmp_path, kind, damage):
    files = {f"{i}.png": os.urandom(5000) for i in range(20)}
    archive = (write_zip if kind.endswith("zip") else write_tar)(files, tmp_path / kind)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        del data[len(data) * 2 // 3 :]
    else:
        data[len(data) // 2] ^= 0x10
    archive.write_bytes(bytes(data))
    with pytest.raises(DataCorrupt, match=kind):
        extract.extract([archive], tmp_path / "out" / "tree")
    assert leftovers(tmp_path / "out") == []
    assert not (tmp_path / "out" / "tree").exists()


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "page.zip").write_bytes(b"<html>log in</html>")
    with pytest.raises(DataCorrupt, match=r"page\.zip: neither zip nor tar"):
        extract.extract([tmp_path / "page.zip"], tmp_path / "tree")
    with pytest.raises(DataMissing, match=r"absent\.zip: no such archive"):
        extract.extract([tmp_path / "absent.zip"], tmp_path / "tree")
    write_zip({}, tmp_path / "empty.zip")
    with pytest.raises(DataCorrupt, match="no file in it"):
        extract.extract([tmp_path / "empty.zip"], tmp_path / "tree")


def test_an_encrypted_zip_is_refused(tmp_path):
    archive = write_zip({"a.png": b"x"}, tmp_path / "locked.zip")
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(DataCorrupt, match=r"locked\.zip: cannot be unpacked"):
        extract.extract([archive], tmp_path / "tree")


def test_a_tree_from_the_same_bytes_is_kept(tmp_path):
    archive = write_zip(mvtec_tree("bottle"), tmp_path / "a.zip")
    dest = extract.extract([archive], tmp_path / "tree", facts={"dataset": "mvtec"})
    first = (dest / "bottle/train/good/000.png").stat().st_ino
    assert extract.extract([archive], tmp_path / "tree") == dest
    assert (dest / "bottle/train/good/000.png").stat().st_ino == first
    assert origin(dest)["dataset"] == "mvtec"
    assert origin(dest / "bottle")["archives"][0]["name"] == "a.zip"
    assert origin(dest / "bottle" / "train") is None


def test_a_tree_from_other_bytes_is_replaced_as_a_whole(tmp_path):
    dest = extract.extract([write_zip({"old.png": b"1"}, tmp_path / "a.zip")], tmp_path / "out" / "tree")
    extract.extract([write_zip({"new.png": b"2"}, tmp_path / "a.zip")], tmp_path / "out" / "tree")
    assert tree_of(dest) == {"new.png": b"2"}
    assert leftovers(tmp_path / "out") == []


def test_a_tree_that_lost_a_file_is_not_taken_for_whole(tmp_path):
    archive = write_zip(mvtec_tree("bottle"), tmp_path / "a.zip")
    dest = extract.extract([archive], tmp_path / "tree")
    (dest / "bottle/test/bent/000.png").unlink()
    with pytest.raises(DataCorrupt, match=r"1 files are missing .*bottle/test/bent/000\.png"):
        extract.extract([archive], tmp_path / "tree")


def test_a_folder_of_the_users_own_is_never_replaced(tmp_path):
    archive = write_zip({"a.png": b"1"}, tmp_path / "a.zip")
    write_tree({"holiday.png": b"mine"}, tmp_path / "tree")
    with pytest.raises(PrnError, match="did not come from an archive"):
        extract.extract([archive], tmp_path / "tree")
    assert tree_of(tmp_path / "tree") == {"holiday.png": b"mine"}


def test_an_empty_folder_may_stand_in_the_way(tmp_path):
    (tmp_path / "tree").mkdir()
    archive = write_zip({"a.png": b"1"}, tmp_path / "a.zip")
    assert tree_of(extract.extract([archive], tmp_path / "tree")) == {"a.png": b"1"}


def test_a_full_disk_leaves_nothing_and_says_so_in_one_line(tmp_path, monkeypatch):
    archive = write_zip({f"{i}.png": os.urandom(100) for i in range(5)}, tmp_path / "a.zip")
    write, calls = extract._write, []

    def full(source, target, meter, *, count):
        calls.append(target)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(source, target, meter, count=count)

    monkeypatch.setattr(extract, "_write", full)
    with pytest.raises(PrnError) as caught:
        extract.extract([archive], tmp_path / "out" / "tree")
    assert "the disk is full, nothing was kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path / "out") == []
    assert not (tmp_path / "out" / "tree").exists()


def test_too_small_a_disk_is_known_before_the_start(tmp_path, monkeypatch):
    archive = write_zip({"a.png": bytes(10_000_000)}, tmp_path / "a.zip")
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 9_999_999)
    with pytest.raises(PrnError, match=r"extracting tree needs 0\.01 GiB of disk"):
        extract.extract([archive], tmp_path / "out" / "tree")
    assert not (tmp_path / "out" / "tree").exists()
    monkeypatch.setattr(capacity, "free_disk", lambda folder: capacity.MARGIN + 10_000_000)
    extract.extract([archive], tmp_path / "out" / "tree")


SLOW = """
import sys, time
from prn.datasets import extract
write = extract._write
def slow(source, target, meter, *, count):
    write(source, target, meter, count=count)
    print("wrote", flush=True)
    time.sleep(float(sys.argv[3]))
extract._write = slow
extract.extract([sys.argv[1]], sys.argv[2])
print("done", flush=True)
"""


def test_a_killed_extraction_leaves_no_tree_and_the_next_run_makes_one(tmp_path):
    files = {f"{i}.png": os.urandom(100) for i in range(30)}
    archive = write_tar(files, tmp_path / "a.tar.xz")
    out = tmp_path / "out"
    job = subprocess.Popen(
        [sys.executable, "-c", SLOW, archive, out / "tree", "0.2"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(3):
        assert job.stdout.readline() == "wrote\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (out / "tree").exists()
    assert len(leftovers(out)) == 1  # the half tree, under its hidden name
    dest = extract.extract([archive], out / "tree")
    assert tree_of(dest) == files
    assert leftovers(out) == []


def test_of_four_processes_one_extracts_and_all_get_the_tree(tmp_path):
    files = {f"{i}.png": os.urandom(100) for i in range(10)}
    archive = write_tar(files, tmp_path / "a.tar.gz")
    out = tmp_path / "out" / "tree"
    command = [sys.executable, "-c", SLOW, archive, out, "0.05"]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0, 0], outputs
    assert sorted(text.count("wrote") for text, _ in outputs) == [0, 0, 0, 10]
    assert tree_of(out) == files


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    files = {f"{i}.png": os.urandom(100) for i in range(30)}
    archive = write_tar(files, tmp_path / "a.tar.gz")
    out = tmp_path / "out" / "tree"
    holder = subprocess.Popen([sys.executable, "-c", SLOW, archive, out, "1"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "wrote\n"
    done = threading.Event()
    waiter = threading.Thread(target=lambda: (extract.extract([archive], out), done.set()), daemon=True)
    waiter.start()
    time.sleep(0.8)
    assert not done.is_set()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    waiter.join(20)
    assert done.is_set()
    assert tree_of(out) == files
