"""`SHA256SUMS`: the hash of every file of a report. It tells which files are the report's own, and if one was changed.

Only what an earlier report lists there is ever deleted; whatever else lies in the folder is somebody's own.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.provenance.files import sha256_file, write_text

SUMS = "SHA256SUMS"
# The folders of a report.
FOLDERS = ("figures", "runs", "metrics", "plots")


def own_files(folder: Path) -> dict[str, str]:
    """The files of the report in `folder` by its own list: POSIX path in it -> sha256; {} where there is no list.

    Raises `DataCorrupt` for a list that names a file outside of `folder`.
    """
    sums = folder / SUMS
    listed: dict[str, str] = {}
    for line in sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else ():
        digest, _, name = line.partition("  ")
        if not name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise DataCorrupt(f"{sums}: the line {line!r} names no file of this report; delete the file {SUMS}")
        listed[name] = digest
    return listed


def check_place(folder: Path) -> None:
    """Raise `SettingsError` where a report must not be written into `folder`.

    That is a folder that is no earlier report (it has no `SHA256SUMS`) but holds folders of a report's names, and one
    in which such a folder is a link: what lies behind it is somebody's own.
    """
    inside = (path for name in FOLDERS for path in [folder / name, *(folder / name).rglob("*")])
    link = next((path for path in inside if path.is_symlink() and path.is_dir()), None)
    if link is not None:
        raise SettingsError(f"{link}: a link; a report writes into folders of its own, remove the link")
    foreign = [name for name in FOLDERS if (folder / name).exists()]
    if foreign and not (folder / SUMS).is_file():
        raise SettingsError(
            f"{folder}: no earlier report (it has no {SUMS}), but it holds {foreign[0]}/, a report's own folder; name"
            " another folder, or move that one away"
        )


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the hashes of the report's files."""
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in sorted(set(names))]
    write_text(folder / SUMS, "".join(lines))


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Delete files of an earlier report and the folders that are empty then; nothing behind a link."""
    for name in names:
        file = folder / name
        parents = [folder / parent for parent in PurePosixPath(name).parents if parent.name]
        if any(parent.is_symlink() for parent in parents):
            continue
        file.unlink(missing_ok=True)
        for parent in parents:  # the innermost first
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def checked_files(folder: Path) -> list[Path]:
    """The files of a report, all of them as they were written, relative to `folder`.

    Raises `DataMissing` where there is no report, `DataCorrupt` for a file that was changed, removed or added.
    """
    if not (folder / SUMS).is_file():
        raise DataMissing(f"{folder / SUMS}: missing; `python -m prn report` writes the pages and this file")
    listed = own_files(folder)
    for name, digest in listed.items():
        found = sha256_file(folder / name) if (folder / name).is_file() else "no such file"
        if found != digest:
            raise DataCorrupt(
                f"{folder / name}: found {found}, {SUMS} says {digest}: it was changed after the report was made;"
                " `python -m prn report` makes it again"
            )
    found_names = (
        file.relative_to(folder).as_posix()
        for owned in FOLDERS
        for file in (folder / owned).rglob("*")
        if file.is_file()
    )
    added = set(found_names) - listed.keys()
    if added:
        raise DataCorrupt(
            f"{folder / min(added)}: not of this report ({SUMS} does not list it); move it out of the report's folder"
        )
    return [Path(name) for name in sorted(listed)]
