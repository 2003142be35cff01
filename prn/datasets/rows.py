"""The rows of an index: one an image with its published split, type, mask, size and hashes; kept as CSV.

Apart from the layouts that rows are made from, so that a change to a layout is none to the code that trains.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from prn.errors import DataCorrupt, DataMissing
from prn.provenance.files import atomic_write


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One image. path, mask: POSIX, relative to the data set's root (or the CSV's folder); mask '' where there is none.

    split: 'train' or 'test' as published; type: 'good' or the defect's name (a texture's class); label: 1 for a defect;
    width, height: pixels as decoded; sha256, mask_sha256: of the files' bytes ('' for no mask);
    mask_area: defect pixels of the mask at full resolution, 0 without a mask, -1 unknown.
    """

    path: str
    split: str
    type: str
    label: int
    mask: str
    width: int
    height: int
    sha256: str
    mask_sha256: str = ""
    mask_area: int = -1


COLUMNS = tuple(field.name for field in fields(IndexRow))


def duplicates(rows: Sequence[IndexRow]) -> list[tuple[str, str]]:
    """Pairs (training image, test image) whose bytes are the same, sorted."""
    test: dict[str, list[str]] = {}
    for row in rows:
        if row.split == "test":
            test.setdefault(row.sha256, []).append(row.path)
    return sorted((row.path, path) for row in rows if row.split == "train" for path in test.get(row.sha256, []))


def contradictions(rows: Sequence[IndexRow]) -> list[tuple[str, str]]:
    """Pairs (normal image, defect) whose bytes are the same, sorted: one of the two labels is wrong."""
    normal: dict[str, list[str]] = {}
    for row in rows:
        if not row.label:
            normal.setdefault(row.sha256, []).append(row.path)
    return sorted((path, row.path) for row in rows if row.label for path in normal.get(row.sha256, []))


def write_index(rows: Sequence[IndexRow], csv_path: str | os.PathLike[str]) -> None:
    """Write the rows as CSV in UTF-8, whole or not at all; the same rows give the same bytes on every system."""
    with atomic_write(csv_path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def read_index(csv_path: str | os.PathLike[str]) -> list[IndexRow]:
    """Read what `write_index` wrote. Errors: DataMissing (no file), DataCorrupt (names the line)."""
    try:
        with Path(csv_path).open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except OSError as error:
        raise DataMissing(f"{csv_path}: cannot be read ({error.strerror}); run the index stage") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"{csv_path}: not a CSV in UTF-8 ({error}); delete it and run the index stage") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        found = ", ".join(lines[0][:20]) if lines else "an empty file"
        raise DataCorrupt(
            f"{csv_path}: the columns are {found}, expected {', '.join(COLUMNS)}; run the index stage again"
        )
    return [_parse(csv_path, number, line) for number, line in enumerate(lines[1:], start=2)]


def _parse(csv_path: str | os.PathLike[str], number: int, line: list[str]) -> IndexRow:
    """One line of the CSV; DataCorrupt names it."""
    try:
        path, split, kind, label, mask, width, height, sha256, mask_sha256, area = line
        row = IndexRow(path, split, kind, int(label), mask, int(width), int(height), sha256, mask_sha256, int(area))
    except ValueError as error:
        raise DataCorrupt(f"{csv_path}: line {number} is {line!r} ({error}); run the index stage again") from error
    if row.split not in ("train", "test") or row.label not in (0, 1):
        raise DataCorrupt(
            f"{csv_path}: line {number}: split {split!r}, label {label!r}; expected train or test, 0 or 1"
        )
    return row
