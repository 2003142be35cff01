"""The index of a category: one row an image with its published split, type, mask, size and hashes; written as CSV.

Every file is read once: its bytes are hashed and decoded, so that what is in the index is known to be readable.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import cv2

from prn.artifacts import atomic_write
from prn.datasets import btad, dagm, dtd, folder, ksdd2, mvtec
from prn.datasets.extract import origin
from prn.datasets.images import cores, decode, mask_from_bytes, read_bytes
from prn.datasets.layout import SHOWN, Entry, shown
from prn.datasets.progress import tracked
from prn.datasets.registry import check_counts
from prn.errors import DataCorrupt, DataMissing, PrnError

LAYOUTS: dict[str, Callable[[Path, str, bool], list[Entry]]] = {
    "mvtec": mvtec.list_images,
    "dagm": dagm.list_images,
    "btad": btad.list_images,
    "ksdd2": ksdd2.list_images,
    "dtd": dtd.list_images,
}


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


def layout_of(dataset: str) -> Callable[[Path, str, bool], list[Entry]]:
    """The function that lists a category of `dataset`; any other name is a custom folder or CSV."""
    return LAYOUTS.get(dataset, folder.list_images)


def build_index(
    dataset: str,
    root: str | os.PathLike[str],
    category: str,
    complete: bool | None = None,
    workers: int | None = None,
) -> list[IndexRow]:
    """The rows of one category, sorted by path, from the tree at `root` (for a custom set a folder or a CSV file).

    complete: the tree comes from an archive, so every defect must have a mask and every mask an image (None: as
    the tree's own record says); else, in a user's folder, a defect may stand without a mask (mask ''). The counts of a
    tree from a published archive must be the published ones. `workers` threads (default: one a core).
    Errors: DataMissing (no such tree, category or file), DataCorrupt (a file does not decode, a mask is not of its
    image's size, the layout contradicts itself); up to ten faults in one message, each naming its file.
    """
    folder_or_csv = Path(root)
    is_csv = folder_or_csv.is_file()
    record = None if is_csv else origin(folder_or_csv)
    list_images = folder.list_images if is_csv else layout_of(dataset)
    entries = list_images(folder_or_csv, category, record is not None if complete is None else complete)
    base = folder_or_csv.parent if is_csv else folder_or_csv

    def describe(entry: Entry) -> IndexRow | PrnError:
        try:
            return _describe(base, entry)
        except PrnError as error:
            return error

    with ThreadPoolExecutor(workers or cores()) as pool:
        results = list(tracked(pool.map(describe, entries), f"index of {dataset}/{category}", len(entries)))
    faults = [result for result in results if isinstance(result, PrnError)]
    if faults:
        kind = DataCorrupt if any(isinstance(fault, DataCorrupt) for fault in faults) else DataMissing
        more = f"\n... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise kind("\n".join(str(fault) for fault in faults[:SHOWN]) + more)
    rows = sorted((result for result in results if isinstance(result, IndexRow)), key=lambda row: row.path)
    if record is not None and record.get("published"):
        _check_published(dataset, category, rows, folder_or_csv)
    return rows


def _check_published(dataset: str, category: str, rows: Sequence[IndexRow], root: Path) -> None:
    """DataCorrupt where the counts are not those of the registry."""
    test = [row.label for row in rows if row.split == "test"]
    counts = {
        "train": len(rows) - len(test),
        "test": len(test),
        "good": len(test) - sum(test),
        "defective": sum(test),
        "all_defective": sum(row.label for row in rows),
    }
    if wrong := check_counts(dataset, category, counts):
        raise DataCorrupt(f"{root}: {category}: {'; '.join(wrong)}. Delete the folder and run again")


def _describe(base: Path, entry: Entry) -> IndexRow:
    """Read, hash and decode one image and its mask."""
    data = read_bytes(base / entry.path)
    height, width = decode(data, base / entry.path, cv2.IMREAD_ANYCOLOR).shape[:2]
    row = IndexRow(
        path=entry.path,
        split=entry.split,
        type=entry.type,
        label=entry.label or 0,
        mask=entry.mask,
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
        mask_area=0,
    )
    if not entry.mask:
        return row
    data = read_bytes(base / entry.mask)
    mask = mask_from_bytes(data, base / entry.mask)
    if mask.shape != (height, width):
        raise DataCorrupt(
            f"{base / entry.mask}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, "
            f"its image {entry.path} {width}x{height}; restore the right mask"
        )
    area = int(mask.sum())
    label = int(area > 0) if entry.label is None else entry.label
    return replace(
        row,
        label=label,
        type=entry.type if label else "good",
        mask_sha256=hashlib.sha256(data).hexdigest(),
        mask_area=area,
    )


def duplicates(rows: Sequence[IndexRow]) -> list[tuple[str, str]]:
    """Pairs (training image, test image) whose bytes are the same, sorted."""
    test: dict[str, list[str]] = {}
    for row in rows:
        if row.split == "test":
            test.setdefault(row.sha256, []).append(row.path)
    return sorted((row.path, path) for row in rows if row.split == "train" for path in test.get(row.sha256, []))


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
        found = shown(lines[0]) if lines else "an empty file"
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
