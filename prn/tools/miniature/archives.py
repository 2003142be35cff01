"""Archives whose bytes depend on their content alone: sorted entries, one date, no owner."""

import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from pathlib import Path

from prn.provenance.files import atomic_write

_DATE = (2023, 6, 18, 0, 0, 0)
_MTIME = 1687046400  # the same day in seconds since 1970, UTC

Files = dict[str, bytes]  # path in the archive -> content


def write_zip(files: Files, path: Path) -> None:
    """A deflated zip of `files` at `path`."""
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 1)


def write_tar(files: Files, path: Path) -> None:
    """A tar of `files` at `path`, compressed as its name says (.tar.xz or .tar.gz), its entries read-only."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(files[name]), _MTIME, 0o444
            archive.addfile(entry, io.BytesIO(files[name]))
    if path.suffix == ".xz":
        content = lzma.compress(plain.getvalue(), preset=0)
    else:
        content = gzip.compress(plain.getvalue(), compresslevel=1, mtime=0)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_folder(files: Files, path: Path) -> None:
    """`files` as a plain folder at `path`; what an earlier version left there goes."""
    shutil.rmtree(path, ignore_errors=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
