"""A tree held against its index: what is missing, what changed, what is there that the index does not know."""

import os
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prn.artifacts import sha256_file
from prn.datasets import ksdd2
from prn.datasets.images import IMAGE_SUFFIXES, cores
from prn.datasets.index import IndexRow
from prn.datasets.progress import tracked


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Paths relative to the data set's root, sorted; checked: how many files were hashed."""

    checked: int
    missing: list[str]
    changed: list[str]
    extra: list[str]

    @property
    def ok(self) -> bool:
        """Whether the tree is what was indexed."""
        return not (self.missing or self.changed or self.extra)

    def lines(self) -> list[str]:
        """One line a finding, for a terminal or a log."""
        parts = (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        return [f"{kind}: {path}" for kind, paths in parts for path in paths]


def verify(
    dataset_root: str | os.PathLike[str],
    index_rows: Sequence[IndexRow],
    dataset: str = "",
    workers: int | None = None,
) -> VerifyReport:
    """Hash every image and mask of the index again, whatever its date and mode, and look for images that it lacks.

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
    extra = [] if root.is_file() else _extra(base, expected.keys(), dataset)
    return VerifyReport(
        checked=len(expected),
        missing=sorted(path for path, word in states.items() if word == "missing"),
        changed=sorted(path for path, word in states.items() if word == "changed"),
        extra=extra,
    )


def _extra(base: Path, known: Set[str], dataset: str) -> list[str]:
    """Images below the category's folders that the index does not name."""
    found = []
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
                found.append(name)
    return sorted(found)
