"""From the registry, or from where the user says, to archives on this disk whose hashes are right."""

import contextlib
import errno
import glob
import os
import shutil
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from prn.datasets import registry
from prn.datasets.capacity import check_disk
from prn.datasets.progress import progress_bar
from prn.datasets.registry import Archive, DataSet
from prn.datasets.sources import is_address, local_path
from prn.datasets.transfer import LOOPBACK, Options, Report, TransferError, arrived, discard, transfer
from prn.errors import DataCorrupt, DataMissing, PrnError, SettingsError
from prn.provenance.files import atomic_write, sha256_file

SUMS = "SHA256SUMS"
FULL = (errno.ENOSPC, errno.EDQUOT)  # no room on the disk
_MAGIC = (b"PK\x03\x04", b"\xfd7zXZ\x00", b"\x1f\x8b")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One archive to bring here: from its addresses or a local file (copied here, or used in place)."""

    archive: Archive
    local: Path | None = None
    copy: bool = False


def fetch(
    dataset: str,
    archive_dir: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
    progress: bool = True,
    *,
    reserve: int = 0,
    options: Options | None = None,
) -> list[Path]:
    """The archives of a published data set, each checked by sha256, also when it was already there.

    source: None (the registry's addresses, mirrors in order, into `archive_dir`); a folder that holds the archives, or
    one archive (used in place, nothing is copied); a file:// address of either (copied into `archive_dir`); an https
    address of one archive, or of a folder (ending in /). A `SHA256SUMS` file beside local archives takes the place of
    the registry's hashes, and says which archives there are. An archive without a known hash is pinned: its hash is
    written to `archive_dir`/<name>.sha256 the first time and checked ever after.
    reserve: bytes to be needed on that disk afterwards. Safe for several processes at once.

    Errors: DataCorrupt (a file is not the one expected; names it, the expected and the actual hash), DataMissing (no
    address gave it; lists each failure, the home page and the folder to put the archive into), PrnError (disk too
    small, folder not writable), SettingsError (unknown data set, an address that is not https).
    """
    facts, folder, choice = registry.find(dataset), Path(archive_dir), options or Options()
    wanted = _resolve(facts, source, choice)
    try:
        if all(item.local is not None and not item.copy for item in wanted):
            return [_in_place(item, folder) for item in wanted]
        with hold(folder / f".{dataset}.lock", f"the archives of {facts.title}"):
            todo = [item for item in wanted if not (folder / item.archive.name).exists()]
            _announce(facts, folder, todo, reserve)
            return [_bring(facts, item, folder, progress, choice) for item in wanted]
    except OSError as error:
        remedy = "free some space and run again, it goes on" if error.errno in FULL else "is the folder writable?"
        raise PrnError(f"{error.filename or folder}: {error.strerror or error}; {remedy}") from error


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; a process that dies gives its lock back. Says so where it has to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        print(f"waiting: another process works on {what} ({path})", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> sha256 from a folder's SHA256SUMS (as sha256sum writes it); {} where there is none."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    sums = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition(" ")
        if not line.strip():
            continue
        if len(digest) != 64 or not name.strip():
            raise DataCorrupt(f"{path}: the line {line!r} is not '<sha256>  <file>', as sha256sum writes it")
        sums[name.strip().removeprefix("*")] = digest.lower()
    return sums


def _resolve(facts: DataSet, source: str | os.PathLike[str] | None, options: Options) -> list[_Wanted]:
    """Where each archive comes from."""
    if source is None:
        return [_Wanted(archive) for archive in facts.archives]
    text, path = os.fspath(source), local_path(source)
    if path is not None:
        return _local(facts, path, copy=is_address(text))
    scheme, host = urllib.parse.urlsplit(text).scheme, urllib.parse.urlsplit(text).hostname
    if scheme != "https" and not (scheme == "http" and options.allow_loopback and host in LOOPBACK):
        raise SettingsError(f"{text}: the source of {facts.key} must be https://, file:// or a path")
    if text.endswith("/"):
        return [_Wanted(_at(archive, text + archive.name)) for archive in facts.archives]
    name = urllib.parse.unquote(Path(urllib.parse.urlsplit(text).path).name)
    matching = [archive for archive in facts.archives if archive.name == name]
    if not matching and len(facts.archives) > 1:
        names = ", ".join(archive.name for archive in facts.archives)
        raise SettingsError(f"{text}: not one of the archives of {facts.key} ({names}); name their folder, ending in /")
    return [_Wanted(_at((matching or list(facts.archives))[0], text))]


def _at(archive: Archive, url: str) -> Archive:
    """An archive at another address."""
    return Archive(archive.name, (url,), archive.bytes, archive.sha256, archive.top, archive.connections)


def _local(facts: DataSet, path: Path, copy: bool) -> list[_Wanted]:
    """The archives at a path of this machine: one file, or a folder of them."""
    if path.is_file():
        known = {archive.name: archive for archive in facts.archives}
        only = facts.archives[0] if len(facts.archives) == 1 else Archive(path.name, ())
        return [_Wanted(_summed(known.get(path.name, only), path), path, copy)]
    names = ", ".join(archive.name for archive in facts.archives)
    if not path.is_dir():
        raise DataMissing(f"{path.absolute()}: no such file or folder; expected the archives of {facts.title}: {names}")
    sums = read_sums(path)
    listed = [archive for archive in facts.archives if archive.name in sums] or list(facts.archives)
    if missing := [archive.name for archive in listed if not (path / archive.name).is_file()]:
        raise DataMissing(
            f"{path}: {', '.join(missing)} of {facts.title} not found; "
            f"get it from {facts.home}, put it there and run again (expected: {names})"
        )
    return [_Wanted(_summed(archive, path / archive.name), path / archive.name, copy) for archive in listed]


def _summed(archive: Archive, path: Path) -> Archive:
    """An archive with the hash from the SHA256SUMS beside it, where that lists it."""
    digest = read_sums(path.parent).get(path.name)
    if digest is None:
        return archive
    size = archive.bytes if digest == archive.sha256 else None
    return Archive(path.name, archive.urls, size, digest, archive.top, archive.connections)


def _in_place(item: _Wanted, folder: Path) -> Path:
    """Check a local archive where it lies."""
    assert item.local is not None
    _check(item.local, item.archive, folder, "Name the right one in the settings")
    return item.local


def _announce(facts: DataSet, folder: Path, todo: Sequence[_Wanted], reserve: int) -> None:
    """Before the first byte: licence and citation, and whether the disk will do."""
    if not todo:
        return
    if any(item.local is None for item in todo):
        print(registry.notice(facts.key), file=sys.stderr)
    needed = reserve
    for item in todo:
        # where no length is published: images hardly compress, so archives are about as large as what they hold
        published = item.archive.bytes or facts.unpacked_bytes // len(facts.archives)
        size = item.local.stat().st_size if item.local is not None else published
        needed += size - arrived(folder / f"{item.archive.name}.part")
    check_disk(folder, needed, facts.title)


def _bring(facts: DataSet, item: _Wanted, folder: Path, progress: bool, options: Options) -> Path:
    """One archive in the archive folder, checked."""
    target = folder / item.archive.name
    for left in folder.glob(f".{glob.escape(target.name)}.*.part"):  # of a copy that was killed
        left.unlink()
    if not target.exists():
        if item.local is not None:
            _check(item.local, item.archive, None, "Name the right one in the settings")
            with atomic_write(target) as temporary:
                shutil.copyfile(item.local, temporary)
        else:
            _download(facts, item.archive, target, progress, options)
    _check(target, item.archive, folder)
    return target


def _download(facts: DataSet, archive: Archive, target: Path, progress: bool, options: Options) -> None:
    """Try the addresses in order; the file gets its name only when it is whole and right."""
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in archive.urls:
        with progress_bar(archive.name, archive.bytes, "B", initial=arrived(part), enabled=progress) as report:
            try:
                _one_address(url, archive, part, options, report)
            except (TransferError, httpx.HTTPError, httpx.InvalidURL) as error:
                failures.append(f"  {url}: {error}")
                continue
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        discard(part)
        return
    reasons = "\n".join(failures)
    raise DataMissing(
        f"{target.name} of {facts.title} could not be downloaded:\n{reasons}\n"
        f"Get it from {facts.home} (fill in the form there if it asks for one), put it into {target.parent.absolute()} "
        f"as {target.name} and run again."
    )


def _one_address(url: str, archive: Archive, part: Path, options: Options, report: Report) -> None:
    """Fetch and check; a continued part with the wrong hash is fetched once more from its start."""
    for continued in (arrived(part) > 0, False):
        transfer(url, part, expected=archive.bytes, connections=archive.connections, options=options, report=report)
        actual = sha256_file(part)
        if archive.sha256 in (actual, None) and _is_archive(part):
            return
        size = part.stat().st_size
        report(-arrived(part))
        discard(part)
        if not continued:
            raise TransferError(
                f"sha256 is {actual} ({size} bytes), expected {archive.sha256}"
                if archive.sha256
                else f"what came ({size} bytes) is no zip, tar.xz or tar.gz"
            )


def _is_archive(path: Path) -> bool:
    """Whether a file begins like a zip, tar.xz, tar.gz or plain tar."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(_MAGIC) or head[257:262] == b"ustar"


def _check(path: Path, archive: Archive, pins: Path | None, remedy: str = "Delete the file and run again") -> None:
    """DataCorrupt where a file is not the expected archive; without a known hash it is pinned in folder `pins`."""
    actual, expected = sha256_file(path), archive.sha256
    pin = None if pins is None else pins / f"{archive.name}.sha256"
    origin = "the registry or SHA256SUMS"
    if expected is None and pin is not None and pin.is_file():
        expected, origin = pin.read_text(encoding="ascii").split(" ")[0], f"pinned in {pin}"
    size = path.stat().st_size
    if expected is None:
        if not _is_archive(path):
            raise DataCorrupt(f"{path}: no zip, tar.xz or tar.gz ({size} bytes); get the archive again")
        if pin is not None:
            with atomic_write(pin) as temporary:
                temporary.write_text(f"{actual}  {archive.name}\n", encoding="ascii")
    elif actual != expected:
        of = f" of {archive.bytes} bytes" if archive.bytes else ""
        raise DataCorrupt(
            f"{path}: sha256 is {actual} ({size} bytes), expected {expected}{of} ({origin}); "
            f"nothing was extracted. {remedy}"
        )
