"""A tree held against its index: what is missing, changed, not in the index, or listed as something else by now."""

import os
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from prn.datasets import ksdd2
from prn.datasets.images import cores, read_mask
from prn.datasets.layout import Entry, files_below, is_image, mask_files
from prn.datasets.layouts import layout_of
from prn.datasets.masks import MaskRules, joint_hash
from prn.datasets.progress import tracked
from prn.datasets.rows import IndexRow
from prn.datasets.type_names import labelled
from prn.errors import PrnError
from prn.provenance.files import sha256_file
from prn.settings.sections import IndexSettings


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Paths relative to the data set's root, sorted; checked: how many images and masks were hashed.

    listing: where folders, Labels.txt or the CSV no longer say what the index does, in words; passed_over: those of the
    extra files that a new index would not take either.
    """

    checked: int
    missing: list[str]
    changed: list[str]
    extra: list[str]
    listing: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the tree is what was indexed."""
        return not (self.missing or self.changed or self.extra or self.listing)

    def lines(self) -> list[str]:
        """One line a finding, for a terminal or a log."""
        parts = (
            ("missing", self.missing),
            ("changed", self.changed),
            ("extra", self.extra),
            ("listed otherwise", self.listing),
        )
        return [f"{kind}: {path}" for kind, paths in parts for path in paths]


def verify(
    dataset_root: str | os.PathLike[str],
    index_rows: Sequence[IndexRow],
    dataset: str = "",
    category: str = "",
    workers: int | None = None,
    *,
    settings: IndexSettings = IndexSettings(),  # noqa: B008 (frozen)
) -> VerifyReport:
    """Hash every image and mask of the index again, whatever its date and mode, and look for images that it lacks.

    With a `category` the tree is also listed again: split, type and mask of every image must be those of the index.

    `dataset_root` as for `build_index`; settings: those that the index was built with. Extra are images below the
    category's folders (the first parts of the indexed paths); KolektorSDD2's published stray files do not count, nor
    does anything beside a CSV's images, nor masks without an image where the settings let them be.
    """
    root = Path(dataset_root)
    base = root.parent if root.is_file() else root
    expected = {row.path: row.sha256 for row in index_rows}
    expected |= {row.mask: row.mask_sha256 for row in index_rows if row.mask}

    def state(path: str) -> str:
        files = mask_files(base / path)
        try:
            found = joint_hash(files, [sha256_file(file) for file in files])
        except OSError:
            return "missing"
        return "changed" if expected[path] and found != expected[path] else ""

    with ThreadPoolExecutor(workers or cores()) as pool:
        states = dict(zip(expected, tracked(pool.map(state, expected), "verify", len(expected)), strict=True))
    missing = sorted(path for path, word in states.items() if word == "missing")
    there = [row for row in index_rows if row.path not in missing and row.mask not in missing]
    again = _list_again(root, base, dataset, category, settings) if category else _Again()
    known = expected.keys() | again.let_be
    extra = set() if root.is_file() else _extra(base, expected.keys(), dataset)
    extra = {path for path in extra if path not in known and str(PurePosixPath(path).parent) not in known}
    new = again.entries.keys() - known
    masks = {entry.mask for entry in again.entries.values()}
    return VerifyReport(
        checked=len(expected),
        missing=missing,
        changed=sorted(path for path, word in states.items() if word == "changed"),
        extra=sorted(extra | new),
        listing=[again.fault] if again.fault else _listed_otherwise(again.entries, there) if category else [],
        passed_over=sorted(extra - new - masks) if category and not again.fault else [],
    )


@dataclass(frozen=True, slots=True)
class _Again:
    """A tree listed again: path -> entry; files that the settings let be; why that failed, '' where it did not."""

    entries: dict[str, Entry] = field(default_factory=dict)
    let_be: set[str] = field(default_factory=set)
    fault: str = ""


def _list_again(root: Path, base: Path, dataset: str, category: str, settings: IndexSettings) -> _Again:
    """The tree as the index stage would list it with these settings."""
    try:
        listing = layout_of(dataset, root)(root, category, False)
        entries = labelled(listing.entries, settings.types) if listing.own else listing.entries
        let_be: set[str] = set()
        if settings.orphan_masks == "ignore":
            let_be |= {f"{one.masks}/{name}" for one in listing.unmatched for name in one.without_image}
        if settings.empty_masks != "keep":
            rules = MaskRules(settings.mask_rule, settings.mask_background or 0)
            masked = [entry for entry in entries if entry.label and entry.mask]
            empty = {entry.path for entry in masked if not read_mask(base / entry.mask, rules).any()}
            let_be |= {entry.mask for entry in masked if entry.path in empty}
            if settings.empty_masks == "leave_out":
                let_be |= empty
            entries = [replace(entry, mask="") if entry.path in empty else entry for entry in entries]
    except PrnError as error:
        return _Again(fault=str(error))
    return _Again({entry.path: entry for entry in entries}, let_be)


def _listed_otherwise(entries: dict[str, Entry], rows: Sequence[IndexRow]) -> list[str]:
    """What the listing says otherwise than the index, in words."""
    lines = []
    for row in rows:
        entry = entries.get(row.path)
        if entry is None:
            lines.append(f"{row.path}: in the index, no longer listed")
        elif (now := _says(entry, row)) != (before := f"{row.split} {row.type} {row.mask}".rstrip()):
            lines.append(f"{row.path}: {before} in the index, now {now}")
    return lines


def _says(entry: Entry, row: IndexRow) -> str:
    """Split, type and mask of an entry; where only the mask's content tells the type, the index is believed."""
    kind = row.type if entry.label is None else entry.type
    return f"{entry.split} {kind} {entry.mask}".rstrip()


def _extra(base: Path, known: Set[str], dataset: str) -> set[str]:
    """Images below the category's folders that the index does not name."""
    tops = sorted({PurePosixPath(path).parts[0] for path in known})
    found = {path.as_posix() for top in tops for path in map(PurePosixPath(top).joinpath, files_below(base / top))}
    stray = {path for path in found if dataset == "ksdd2" and not ksdd2.NAME.fullmatch(PurePosixPath(path).name)}
    return {path for path in found - stray - known if is_image(path)}
