"""`SHA256SUMS`: the hash of every file of a report, so that a change made by hand is seen (also by `sha256sum -c`)."""

from pathlib import Path

from prn.errors import DataCorrupt, DataMissing
from prn.provenance.files import sha256_file, write_text
from prn.reporting.document import GENERATED

SUMS = "SHA256SUMS"
# What a report consists of besides its pages; other files in the folder are somebody's own.
OWNED = ("figures", "runs")
SINGLE = ("results.csv", "report.html")


def report_files(folder: Path) -> list[Path]:
    """The files of the report in `folder`, relative to it, sorted; other people's files are left out."""
    found = [file for owned in OWNED for file in (folder / owned).rglob("*") if file.is_file()]
    found += [folder / name for name in SINGLE if (folder / name).is_file()]
    found += [page for page in folder.glob("*.md") if GENERATED in page.read_text(encoding="utf-8")]
    return sorted(file.relative_to(folder) for file in found)


def write_sums(folder: Path) -> None:
    """Write the hashes of the report's files."""
    lines = [f"{sha256_file(folder / file)}  {file.as_posix()}\n" for file in report_files(folder)]
    write_text(folder / SUMS, "".join(lines))


def checked_files(folder: Path) -> list[Path]:
    """The files of a report, all of them as they were written.

    Raises `DataMissing` where there is no report, `DataCorrupt` for a file that was changed, removed or added.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise DataMissing(f"{sums}: missing; `python -m prn report` writes the pages and this file")
    expected = {}
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        expected[Path(name)] = digest
    for file, digest in expected.items():
        found = sha256_file(folder / file) if (folder / file).is_file() else "no such file"
        if found != digest:
            raise DataCorrupt(
                f"{folder / file}: found {found}, {SUMS} says {digest}: it was changed after the report was made;"
                " `python -m prn report` makes it again"
            )
    added = set(report_files(folder)) - set(expected)
    if added:
        raise DataCorrupt(f"{folder / min(added)}: not of this report ({SUMS} lacks it); `python -m prn report` again")
    return sorted(expected)
