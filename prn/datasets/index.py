"""From a tree to its index: every file of a category is read once, hashed and decoded, masks are matched and measured.

So what is in the index is known to be readable.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2

from prn.datasets.extract import origin
from prn.datasets.images import cores, decode, mask_from_bytes, read_bytes
from prn.datasets.layout import SHOWN, Entry
from prn.datasets.layouts import layout_of
from prn.datasets.progress import tracked
from prn.datasets.registry import check_counts
from prn.datasets.rows import IndexRow
from prn.errors import DataCorrupt, DataMissing, PrnError


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
    list_images = layout_of(dataset, folder_or_csv)
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
