"""What a user's own folder or CSV lists, as a digest: the workflow makes an index anew where it has changed."""

import hashlib
import json
from dataclasses import astuple

from prn.datasets import registry
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
        entries = sorted(layout_of(dataset, root)(root, category, False), key=lambda entry: entry.path)
        lengths = [[(base / name).stat().st_size for name in (entry.path, entry.mask) if name] for entry in entries]
    except (PrnError, OSError):
        return ""
    facts = json.dumps([[astuple(entry), length] for entry, length in zip(entries, lengths, strict=True)])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
