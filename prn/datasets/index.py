"""From a tree to its index: every file of a category is read once, hashed and decoded, masks are matched and measured.

So what is in the index is known to be readable, and what was found on the way is said (`prn.datasets.remarks`).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from prn.datasets.extract import origin
from prn.datasets.found import Found, find
from prn.datasets.images import cores
from prn.datasets.layout import SHOWN, Listing, shown
from prn.datasets.layouts import layout_of
from prn.datasets.matching import in_words
from prn.datasets.progress import tracked
from prn.datasets.registry import check_counts, dataset_names
from prn.datasets.remarks import remarks
from prn.datasets.rows import IndexRow
from prn.datasets.type_names import labelled, type_key
from prn.errors import DataCorrupt, DataMissing, PrnError
from prn.settings.sections import IndexSettings


@dataclass(frozen=True, slots=True)
class Index:
    """The rows of one category, sorted by path, and what a user must know of its files, a line each."""

    rows: list[IndexRow]
    remarks: list[str]


def build_index(
    dataset: str,
    root: str | os.PathLike[str],
    category: str,
    complete: bool | None = None,
    workers: int | None = None,
) -> list[IndexRow]:
    """The rows of `index_category` with the settings as they are by default."""
    return index_category(dataset, root, category, complete=complete, workers=workers).rows


def index_category(
    dataset: str,
    root: str | os.PathLike[str],
    category: str,
    *,
    complete: bool | None = None,
    workers: int | None = None,
    settings: IndexSettings = IndexSettings(),  # noqa: B008 (frozen)
) -> Index:
    """The index of one category from the tree at `root` (for a custom set a folder or a CSV file).

    complete: the tree comes from an archive, so every defect must have a mask and every mask an image (None: as
    the tree's own record says); else, in a user's folder, a defect may stand without a mask (mask ''). The counts of a
    tree from a published archive must be the published ones. `workers` threads (default: one a core).
    Errors: DataMissing (no such tree, category or file), DataCorrupt (a file does not decode, a mask is not of its
    image's size, the layout contradicts itself, or a user's own names or masks can be read in two ways), PrnError
    (memory is short); up to ten faults in one message, each naming its file.
    """
    folder_or_csv = Path(root)
    is_csv = folder_or_csv.is_file()
    record = None if is_csv else origin(folder_or_csv)
    listing = layout_of(dataset, folder_or_csv)(
        folder_or_csv, category, record is not None if complete is None else complete
    )
    entries = labelled(listing.entries, settings.types) if listing.own else listing.entries
    _check_unmatched(folder_or_csv, listing, settings)
    base = folder_or_csv.parent if is_csv else folder_or_csv
    ask = listing.own and dataset not in dataset_names()  # a published set is read by its own conventions
    found_or_fault = partial(find, base, settings=settings, ask=ask, lookalikes=listing.lookalikes)
    with ThreadPoolExecutor(workers or cores()) as pool:
        results = list(tracked(pool.map(found_or_fault, entries), f"index of {dataset}/{category}", len(entries)))
    _raise_faults([result for result in results if isinstance(result, PrnError)])
    found = sorted((result for result in results if isinstance(result, Found)), key=lambda one: one.row.path)
    if ask:
        _check_types([one.row for one in found], settings)
    rows = [row for one in found if (row := _with_empty_mask(one.row, settings.empty_masks))]
    if record is not None and record.get("published"):
        _check_published(dataset, category, rows, folder_or_csv)
    return Index(rows, remarks(listing, found, settings))


def _check_unmatched(root: Path, listing: Listing, settings: IndexSettings) -> None:
    """DataCorrupt where masks have no image, unless the settings let them be."""
    orphans = [one for one in listing.unmatched if one.without_image or one.unreadable]
    if orphans and settings.orphan_masks == "error":
        raise DataCorrupt(
            f"{root}: "
            + "\n".join(in_words(one) for one in orphans[:SHOWN])
            + "\nA mask is named like its image (007.png: 007.png, 007_mask.png, mask_007.png, ...) and lies in"
            " ground_truth/<type> as PNG, TIFF, BMP, WebP or JPEG: rename, convert or remove these, or set"
            " index.orphan_masks: ignore"
        )


def _check_types(rows: Sequence[IndexRow], settings: IndexSettings) -> None:
    """DataCorrupt for a defect type none of whose masks marks anything, though others' do: is it good?"""
    marked = {row.type for row in rows if row.label and row.mask_area > 0}
    answered = {type_key(name) for name, answer in settings.types.items() if answer == "defect"}
    unmarked = {row.type for row in rows if row.label} - marked
    silent = sorted(name for name in unmarked if type_key(name) not in answered)
    if marked and silent:
        counts = [f"{name} ({sum(row.type == name for row in rows)} images)" for name in silent]
        raise DataCorrupt(
            f"no image of the type {shown(counts)} has a mask that marks anything, while {shown(sorted(marked))} have:"
            " add masks, or, if these images are good or defects without masks, say so by index.types:"
            f" {{{silent[0]}: good}} or {{{silent[0]}: defect}}"
        )


def _raise_faults(faults: Sequence[PrnError]) -> None:
    """All faults in one error of the gravest kind."""
    if not faults:
        return
    kinds = [type(fault) for fault in faults]
    kind = next(kind for kind in (DataCorrupt, DataMissing, PrnError) if kind in kinds)
    more = f"\n... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    raise kind("\n".join(str(fault) for fault in faults[:SHOWN]) + more)


def _with_empty_mask(row: IndexRow, empty_masks: str) -> IndexRow | None:
    """A row as the settings want it where its mask marks nothing though it is a defect; None where it is left out."""
    if not (row.label and row.mask and row.mask_area == 0) or empty_masks == "keep":
        return row
    if empty_masks == "leave_out":
        return None
    return replace(row, mask="", mask_sha256="", mask_levels=0, mask_rule="", mask_background=0)


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
