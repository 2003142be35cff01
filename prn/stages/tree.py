"""Where a data set's published tree lies: what the stages that read its files ask."""

import json
from pathlib import Path

from prn import layout
from prn.errors import DataMissing
from prn.stages.job import Job


def tree_root(job: Job) -> Path:
    """Where the data set's tree lies (for a custom set a folder or a CSV), from the receipt.

    Raises `DataMissing` when there is no receipt or the tree is gone.
    """
    receipt = job.needed(job.path(layout.RECEIPT), "download")
    root = Path(json.loads(receipt.read_text(encoding="utf-8"))["root"])
    if not root.exists():
        raise DataMissing(
            f"{root.absolute()}: the tree of {job.dataset} is gone, though {receipt} names it; "
            f"delete {receipt} and run again"
        )
    return root


def tree_base(job: Job) -> Path:
    """The folder that the index's paths are relative to."""
    root = tree_root(job)
    return root.parent if root.is_file() else root
