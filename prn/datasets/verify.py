"""A tree held against its index: what is missing, changed, not in the index, or listed as something else by now."""

import os
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from prn.datasets import ksdd2
from prn.datasets.images import cores
from prn.datasets.layout import IMAGE_SUFFIXES, Entry
from prn.datasets.layouts import layout_of
from prn.datasets.progress import tracked
from prn.datasets.rows import IndexRow
from prn.errors import PrnError
from prn.provenance.files import sha256_file


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Paths relative to the data set's root, sorted; checked: how many files were hashed.

    listing: where folders, Labels.txt or the CSV no longer say what the index does, in words.
    """

    checked: int
    missing: list[str]
    changed: list[str]
    extra: list[str]
    listing: list[str] = field(default_factory=list)

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
) -> VerifyReport:
    """Hash every image and mask of the index again, whatever its date and mode, and look for images that it lacks.

    With a `category` the tree is also listed again: split, type and mask of every image must be those of the index.

    `dataset_root` as for `build_index`. Extra are images below the category's folders (the first parts of the indexed
    paths); KolektorSDD2's published stray files do not count, nor does anything beside a CSV's images.
    """
    root = Path(dataset_root)
    base = root.parent if root.is_file() else root
    expected = {row.path: row.sha256 for row in index_rows}
    expected |= {row.mask: row.mask_sha256 for row in index_rows if row.mask}

    def state(path: str) -> str:
        try:
            found = sha256_file(base / path)
        except OSError:
            return "missing"
        return "changed" if expected[path] and found != expected[path] else ""

    with ThreadPoolExecutor(workers or cores()) as pool:
        states = dict(zip(expected, tracked(pool.map(state, expected), "verify", len(expected)), strict=True))
    missing = sorted(path for path, word in states.items() if word == "missing")
    there = [row for row in index_rows if row.path not in missing and row.mask not in missing]
    listing, unknown = _listed_again(root, dataset, category, there) if category else ([], set())
    extra = set() if root.is_file() else _extra(base, expected.keys(), dataset)
    return VerifyReport(
        checked=len(expected),
        missing=missing,
        changed=sorted(path for path, word in states.items() if word == "changed"),
        extra=sorted(extra | unknown - expected.keys()),
        listing=listing,
    )


def _listed_again(root: Path, dataset: str, category: str, rows: Sequence[IndexRow]) -> tuple[list[str], set[str]]:
    """What the tree's listing says otherwise than the index, and all images that it names."""
    try:
        entries = {entry.path: entry for entry in layout_of(dataset, root)(root, category, False)}
    except PrnError as error:
        return [str(error)], set()
    lines = []
    for row in rows:
        entry = entries.get(row.path)
        if entry is None:
            lines.append(f"{row.path}: in the index, no longer listed")
        elif (now := _says(entry, row)) != (before := f"{row.split} {row.type} {row.mask}".rstrip()):
            lines.append(f"{row.path}: {before} in the index, now {now}")
    return lines, set(entries)


def _says(entry: Entry, row: IndexRow) -> str:
    """Split, type and mask of an entry; where only the mask's content tells the type, the index is believed."""
    kind = row.type if entry.label is None else entry.type
    return f"{entry.split} {kind} {entry.mask}".rstrip()


def _extra(base: Path, known: Set[str], dataset: str) -> set[str]:
    """Images below the category's folders that the index does not name."""
    found = set()
    for top in sorted({PurePosixPath(path).parts[0] for path in known}):
        for path in (base / top).rglob("*"):
            name = path.relative_to(base).as_posix()
            stray = dataset == "ksdd2" and not ksdd2.NAME.fullmatch(path.name)
            if (
                path.suffix.lower() in IMAGE_SUFFIXES
                and not path.name.startswith(".")
                and not stray
                and name not in known
            ):
                found.add(name)
    return found
