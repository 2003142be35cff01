"""What a user's own folder or CSV lists, as a digest: the workflow makes an index anew where it has changed."""

import hashlib
import json
from dataclasses import astuple
from pathlib import Path

from prn.datasets import registry
from prn.datasets.layout import Entry, mask_files
from prn.datasets.layouts import layout_of
from prn.datasets.sources import is_address, is_tree, local_path, tree_root
from prn.errors import PrnError


def listing_digest(dataset: str, source: str | None, category: str) -> str:
    """Sixteen hex digits over what a user's own folder or CSV lists for a category, with the lengths of the files.

    They change when images are added, removed, relabelled or replaced by files of another length. '' where the data
    come from archives, whose hashes say more, and where the listing fails (the index will say why).
    """
    if source is None or source.startswith("file:") or is_address(source):
        return ""
    path = local_path(source)
    try:
        if path is None or not is_tree(dataset, path, dataset in registry.dataset_names()):
            return ""
        root = path if path.is_file() else tree_root(dataset, path)
        base = root.parent if root.is_file() else root
        listing = layout_of(dataset, root)(root, category, False)
        entries = sorted(listing.entries, key=lambda entry: entry.path)
        listed = [
            (one.path, one.split, one.type, one.label, one.mask, [file.stat().st_size for file in _files(base, one)])
            for one in entries
        ]
    except (PrnError, OSError):
        return ""
    beside = [[astuple(one) for one in listing.unmatched], sorted(listing.passed_over.items())]
    return hashlib.sha256(json.dumps([listed, beside]).encode()).hexdigest()[:16]


def _files(base: Path, entry: Entry) -> list[Path]:
    """An entry's image and the files of its mask."""
    return [base / entry.path, *(mask_files(base / entry.mask) if entry.mask else [])]
