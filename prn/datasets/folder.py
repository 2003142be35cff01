"""A user's own data: <category>/{train/good,test/<type>,ground_truth/<type>}, or a CSV of images.

The CSV has the columns image,category,split,type,mask; split is train or test, type `good` or a defect's name, mask may
be empty; paths are relative to the CSV. Masks may be absent.
"""

import csv
import posixpath
from pathlib import Path

from prn.datasets import mvtec
from prn.datasets.layout import Entry, shown
from prn.errors import DataCorrupt, DataMissing

COLUMNS = ("image", "category", "split", "type", "mask")


def list_images(root: Path, category: str, complete: bool) -> list[Entry]:
    """The entries of one category of a folder, or of a CSV where `root` is a file. Errors: DataMissing, DataCorrupt."""
    if root.is_file():
        return _from_csv(root, category)
    return mvtec.list_images(root, category, complete=False, endings=("_mask", "_GT", "_label"))


def _from_csv(path: Path, category: str) -> list[Entry]:
    """The entries of one category of a CSV."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or [])]:
                raise DataCorrupt(f"{path}: no column {shown(missing)}; expected the columns {','.join(COLUMNS)}")
            rows = list(enumerate(reader, start=2))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataCorrupt(
                f"{path}: not a CSV in UTF-8 ({error}); expected the columns {','.join(COLUMNS)}"
            ) from error
    entries = [_entry(path, line, row) for line, row in rows if row["category"] == category]
    if not entries:
        found = sorted({row["category"] or "" for _, row in rows})
        raise DataMissing(f"{path}: no row of category {category!r}; it has {shown(found) or 'no rows'}")
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            raise DataCorrupt(f"{path}: {entry.path} stands in category {category!r} twice; keep one row")
        seen.add(entry.path)
    return entries


def _entry(path: Path, line: int, row: dict[str, str]) -> Entry:
    """One row of the CSV; DataCorrupt names the line."""
    image, mask = (_relative(path, line, row[column] or "") for column in ("image", "mask"))
    if row["split"] not in ("train", "test") or not row["type"] or not image:
        raise DataCorrupt(
            f"{path}: line {line} has image {row['image']!r}, split {row['split']!r}, type {row['type']!r}; "
            "expected an image, split train or test, type good or a defect's name"
        )
    if row["type"] == "good":
        return Entry(image, row["split"], "good", 0)
    return Entry(image, row["split"], row["type"], 1, mask)


def _relative(path: Path, line: int, name: str) -> str:
    """A normalised POSIX path relative to the CSV's folder ('' stays '')."""
    if not name:
        return ""
    posix = name.replace("\\", "/")
    if posix.startswith("/") or posix[1:3] == ":/":
        raise DataCorrupt(f"{path}: line {line}: {name} is an absolute path; expected one relative to the CSV's folder")
    return posixpath.normpath(posix)
