"""A user's own files by their content: what a folder, a CSV or local archives hold for a category, as a digest.

The workflow compares it, so that a change of the files is noticed, and their place is not.
"""

import hashlib
import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

from prn.datasets import registry
from prn.datasets.layout import Listing, mask_files
from prn.datasets.layouts import layout_of
from prn.datasets.sources import is_remote, is_tree, local_path, tree_root
from prn.errors import PrnError
from prn.provenance.hashes import FileHashes


def images_digest(dataset: str, source: str | None, category: str, hashes: FileHashes) -> str | None:
    """Sixteen hex digits over what a user's own folder or CSV lists for a category, and the bytes of its files.

    '' where the data come from archives, and where the listing fails (the index will say why); None where the place
    is not on this machine, as in a clone.
    """
    if _is_absent(source):
        return None
    root = own_root(dataset, source)
    if root is None:
        return ""
    base = root.parent if root.is_file() else root
    try:
        listing = layout_of(dataset, root)(root, category, False)
        return _digest(_contents(base, listing, hashes))
    except (PrnError, OSError):
        return ""


def archives_digest(dataset: str, source: str | None, hashes: FileHashes) -> str | None:
    """Sixteen hex digits over the archives of a published data set at a path of this machine, and their SHA256SUMS.

    '' where the data come from an address, or lie there as a folder of images; None where the place is not there.
    """
    if _is_absent(source):
        return None
    path = _local(source)
    if path is None or dataset not in registry.dataset_names() or own_root(dataset, source) is not None:
        return ""
    names = [archive.name for archive in registry.find(dataset).archives]
    files = [path] if path.is_file() else [path / name for name in (*names, "SHA256SUMS")]
    try:
        found = [(file.name, hashes.sha256(file)) for file in files if file.is_file()]
    except OSError:
        return ""
    return _digest(found) if found else ""


def own_root(dataset: str, source: str | None) -> Path | None:
    """The folder or CSV of a user's own images that a source names, None where it names anything else."""
    path = _local(source)
    try:
        if path is None or not is_tree(dataset, path, dataset in registry.dataset_names()):
            return None
        return path if path.is_file() else tree_root(dataset, path)
    except PrnError:
        return None


def _is_absent(source: str | None) -> bool:
    path = _local(source)
    return path is not None and not path.exists()


def _local(source: str | None) -> Path | None:
    return None if source is None or is_remote(source) else local_path(source)


def _contents(base: Path, listing: Listing, hashes: FileHashes) -> list[Any]:
    """Everything that a listing says, with the hash of each image and mask."""
    entries = [
        [*astuple(one), *(hashes.sha256(file) for file in [base / one.path, *_masks(base, one.mask)])]
        for one in sorted(listing.entries, key=lambda entry: entry.path)
    ]
    return [entries, [astuple(one) for one in listing.unmatched], sorted(listing.passed_over.items())]


def _masks(base: Path, mask: str) -> list[Path]:
    return mask_files(base / mask) if mask else []


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
