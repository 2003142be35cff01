"""Archives to a tree: nothing leaves its folder, bombs are stopped while streaming, the tree is whole or absent.

Only regular files and folders are taken; links, devices and names that point elsewhere are refused. Files are written
anew with plain modes, so neither set-user bits nor read-only folders of an archive matter.
"""

import contextlib
import glob
import gzip
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prn.datasets.capacity import check_disk
from prn.datasets.download import FULL, hold
from prn.datasets.layout import shown
from prn.datasets.progress import progress_bar
from prn.errors import DataCorrupt, DataMissing, PrnError
from prn.provenance.files import sha256_file

MARKER = ".prn-source.json"
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may grow to: bytes and entries in all, and bytes out per byte in (beyond a first allowance)."""

    bytes: int = 64 * 2**30
    entries: int = 200_000
    ratio: float = 100.0
    allowance: int = 64 * 2**20


def extract(
    archives: Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    tops: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    unpacked: int = 0,
    limits: Limits | None = None,
    progress: bool = False,
) -> Path:
    """Unpack zip, tar, tar.gz and tar.xz archives into the folder `dest`, all of them or nothing; returns `dest`.

    A tree that was made from the same bytes is kept as it is; of several processes one extracts. The tree is built in a
    hidden folder beside `dest` and renamed; what a killed run left there is removed. Its file .prn-source.json says
    which archives it came from and lists its files.
    tops: archive name -> the folder it should hold; its files are put there where it does not.
    facts: more to remember in that file. unpacked: about how many bytes will be written (0: not known).

    Errors: DataMissing (no such archive), DataCorrupt (damaged, dangerous or too large; names archive and entry; or a
    tree in place has lost files), PrnError (`dest` is not ours, disk full).
    """
    target, paths = Path(dest), [Path(archive) for archive in archives]
    for path in paths:
        if not path.is_file():
            raise DataMissing(f"{path}: no such archive; run the download again")
    try:
        with hold(target.with_name(f".{target.name}.lock"), str(target)):
            sources = [{"name": p.name, "bytes": p.stat().st_size, "sha256": sha256_file(p)} for p in paths]
            if not _in_place(target, sources):
                bounds = (unpacked, limits or Limits(), progress)
                _build(target, paths, {**(facts or {}), "archives": sources}, tops or {}, bounds)
    except OSError as error:
        if error.errno in FULL:
            raise PrnError(f"{target}: the disk is full, nothing was kept; free some space and run again") from error
        raise PrnError(f"{error.filename or target}: {error.strerror or error}; is the folder writable?") from error
    return target


def origin(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `extract` wrote about the tree that `root` is or lies right below; None for any other folder."""
    for folder in (Path(root), Path(root).parent):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return None


def _in_place(target: Path, sources: list[dict[str, Any]]) -> bool:
    """Whether `target` is the whole tree of these archives; errors where it is something that must not be replaced."""
    if not target.exists():
        return False
    if target.is_dir() and not any(target.iterdir()):
        target.rmdir()
        return False
    record = origin(target) if (target / MARKER).is_file() else None
    if record is None:
        raise PrnError(
            f"{target}: holds files that did not come from an archive; move them away, or name the folder as the "
            "data set's source in the settings"
        )
    if record["archives"] != sources:
        return False
    check_whole(target)
    return True


def check_whole(target: Path) -> None:
    """DataCorrupt where a folder that `extract` made has lost files since.

    By name and length: what the bytes are is for the index and `prn verify` to say.
    """
    record = json.loads((target / MARKER).read_text(encoding="utf-8"))
    lost = [name for name, size in record["files"].items() if _size(target / name) != size]
    if lost:
        raise DataCorrupt(
            f"{target}: {len(lost)} files are missing or of another length since the extraction ({shown(lost)}); "
            "delete the folder and run again"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _build(
    target: Path, paths: list[Path], record: dict[str, Any], tops: Mapping[str, str], bounds: tuple[int, Limits, bool]
) -> None:
    """Unpack into a hidden sibling and rename it onto `target`."""
    unpacked, limits, progress = bounds
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.extracting"):
        shutil.rmtree(left)
    check_disk(target.parent, max(unpacked, sum(_zip_size(path) for path in paths)), f"extracting {target.name}")
    stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".extracting", dir=target.parent))
    try:
        tree = stage / "tree"
        tree.mkdir()
        for number, path in enumerate(paths):
            room = stage / str(number)
            with progress_bar(f"extracting {path.name}", None, "B", enabled=progress) as done:
                _unpack(path, room, _Meter(path, limits, done))
            _merge(room, tree, path, tops.get(path.name, ""))
        files = {p.relative_to(tree).as_posix(): p.stat().st_size for p in sorted(tree.rglob("*")) if p.is_file()}
        files.pop(MARKER, None)
        if not files:
            raise DataCorrupt(f"{', '.join(path.name for path in paths)}: no file in it; get the archive again")
        (tree / MARKER).write_text(json.dumps({**record, "files": files}, indent=0), encoding="utf-8")
        os.sync()
        if target.exists():
            target.rename(stage / "old")
        tree.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _merge(room: Path, tree: Path, path: Path, top: str) -> None:
    """Move what one archive held into the tree, below `top` where it lacks that folder."""
    if top and not (room / top).is_dir():
        room.rename(tree / top)
        return
    for entry in sorted(room.iterdir()):
        if (tree / entry.name).exists():
            raise DataCorrupt(f"{path}: {entry.name} is also in another archive of the set; are these the right ones?")
        entry.rename(tree / entry.name)


def _zip_size(path: Path) -> int:
    """What a zip says it will write; 0 for other archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        return 0


@dataclass(slots=True)
class _Meter:
    """Counts what one archive becomes and stops it at the limits."""

    path: Path
    limits: Limits
    done: Callable[[int], object]
    entries: int = 0
    written: int = 0

    def entry(self, name: str) -> None:
        """One more file or folder."""
        self.entries += 1
        if self.entries > self.limits.entries:
            raise DataCorrupt(f"{self.path}: more than {self.limits.entries} entries; this is not a published archive")

    def bytes(self, count: int) -> None:
        """`count` more bytes came out."""
        self.written += count
        self.done(count)
        grown = self.limits.allowance + self.limits.ratio * self.path.stat().st_size
        if self.written > min(self.limits.bytes, grown):
            raise DataCorrupt(
                f"{self.path}: grows beyond {self.written / 2**20:.0f} MiB from {self.path.stat().st_size} bytes; "
                "this is not a published archive"
            )


def _unpack(path: Path, room: Path, meter: _Meter) -> None:
    """One archive into the new folder `room`."""
    room.mkdir()
    with path.open("rb") as file:
        head = file.read(512)
    try:
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unpack_zip(path, room, meter)
        else:
            with _decompressed(path, head) as stream:
                _unpack_tar(_Counted(stream, meter), room, meter)
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DataCorrupt(f"{path}: damaged ({error}); delete it and run the download again") from error
    except (NotImplementedError, RuntimeError) as error:  # encrypted or an unknown method of compression
        raise DataCorrupt(f"{path}: cannot be unpacked ({error}); get the published archive") from error


@contextlib.contextmanager
def _decompressed(path: Path, head: bytes) -> Iterator[IO[bytes]]:
    """The tar stream of a tar, tar.gz or tar.xz."""
    if head.startswith(b"\xfd7zXZ\x00"):
        with lzma.open(path) as stream:
            yield stream
    elif head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as stream:
            yield stream  # type: ignore[misc]
    elif head[257:262] == b"ustar":
        with path.open("rb") as stream:
            yield stream
    else:
        raise DataCorrupt(f"{path}: neither zip nor tar, tar.gz or tar.xz; get the published archive")


@dataclass(slots=True)
class _Counted:
    """A stream that counts what is read from it, headers too."""

    stream: IO[bytes]
    meter: _Meter

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = self.stream.read(size)
        self.meter.bytes(len(data))
        return data


def _unpack_zip(path: Path, room: Path, meter: _Meter) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataCorrupt(f"{path}: {entry.filename!r} is a link or a device; refused")
            target = _inside(room, entry.orig_filename, meter)
            if entry.is_dir():
                with _new(target, meter):
                    continue
            with archive.open(entry) as source:
                _write(source, target, meter, count=True)
            _whole(target, entry.file_size, meter)


def _unpack_tar(stream: _Counted, room: Path, meter: _Meter) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        for entry in archive:
            if not (entry.isreg() or entry.isdir()):
                raise DataCorrupt(f"{meter.path}: {entry.name!r} is a link or a device; refused")
            target = _inside(room, entry.name, meter)
            if entry.isdir():
                with _new(target, meter):
                    continue
            source = archive.extractfile(entry)
            assert source is not None  # a regular file has content
            _write(source, target, meter, count=entry.issparse())
            _whole(target, entry.size, meter)
    while stream.read(_BLOCK):  # to the end, where the checksums of gzip and xz stand
        pass


def _whole(target: Path, size: int, meter: _Meter) -> None:
    """DataCorrupt where a file is not as long as the archive says."""
    found = target.stat().st_size
    if found != size:
        raise DataCorrupt(
            f"{meter.path}: {target.name} has {found} bytes, its entry says {size}; delete the archive and run again"
        )


def _inside(room: Path, name: str, meter: _Meter) -> Path:
    """Where an entry goes; DataCorrupt for a name that could lead out of `room` on any system."""
    parts = name.rstrip("/").split("/")
    if (
        name.startswith("/")
        or ".." in parts
        or any(char in name for char in ("\\", "\0"))
        or (len(name) > 1 and name[1] == ":")
    ):
        raise DataCorrupt(f"{meter.path}: the entry {name!r} leads out of its folder; refused")
    clean = [part for part in parts if part not in ("", ".")]
    meter.entry("/".join(clean))
    return room.joinpath(*clean)


@contextlib.contextmanager
def _new(folder: Path, meter: _Meter) -> Iterator[None]:
    """Make a folder for an entry; an entry that is there already, or lies below a file, is DataCorrupt."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataCorrupt(f"{meter.path}: {error.filename} is in it twice; get the archive again") from error


def _write(source: IO[bytes], target: Path, meter: _Meter, *, count: bool) -> None:
    """Copy one entry into a new file; `count` where the meter does not see the bytes otherwise."""
    with _new(target.parent, meter), target.open("xb") as file:
        while block := source.read(_BLOCK):
            if count:
                meter.bytes(len(block))
            file.write(block)
