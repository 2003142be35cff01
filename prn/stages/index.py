"""Stage `index`: one row an image of a category, from the published tree; every image is decoded once."""

import json
from pathlib import Path

from prn import layout
from prn.datasets.index import build_index, write_index
from prn.errors import DataMissing
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the category's index."""
    receipt = job.needed(job.path(layout.RECEIPT), "download")
    complete = json.loads(receipt.read_text(encoding="utf-8"))["complete"]
    rows = build_index(job.dataset, tree_root(job), job.category, complete=complete)
    path = job.path(layout.INDEX)
    write_index(rows, path)
    job.finish(path, [receipt])
    defective = sum(row.label for row in rows)
    print(f"{path}: {len(rows)} images, {defective} of them defective")


def tree_root(job: Job) -> Path:
    """Where the data set's tree lies (for a custom set a folder or a CSV), from the receipt.

    Raises `DataMissing` when there is no receipt or the tree is gone.
    """
    receipt = job.needed(job.path(layout.RECEIPT), "download")
    root = Path(json.loads(receipt.read_text(encoding="utf-8"))["root"])
    if not root.exists():
        raise DataMissing(
            f"{root}: the tree of {job.dataset} is gone, though {receipt} names it; delete {receipt} and run again"
        )
    return root
