"""Where a data set's published tree lies: what the stages that read its files ask."""

import json
from pathlib import Path

from prn import layout
from prn.datasets.obtain import restore
from prn.errors import DataMissing
from prn.stages.job import Job


def tree_root(job: Job) -> Path:
    """Where the data set's tree lies (for a custom set a folder or a CSV), from the receipt.

    A tree that was unpacked from archives and is gone (a cleared folder, a clone) is unpacked again from the same
    bytes. Raises `DataMissing` when there is no receipt, or the tree is gone and cannot be had from the archives here.
    """
    receipt = job.needed(layout.RECEIPT)
    facts = json.loads(receipt.read_text(encoding="utf-8"))
    root = Path(facts["root"])
    if not root.exists():
        if not facts["archives"]:
            raise DataMissing(
                f"{root.absolute()}: the images of {job.dataset} are gone, though {receipt} names them; put them back,"
                " or name their new place under download.sources in the settings"
            )
        restore(facts, Path(layout.ARCHIVES) / job.dataset, job.path(layout.TREE))
    return root


def tree_base(job: Job) -> Path:
    """The folder that the index's paths are relative to."""
    root = tree_root(job)
    return root.parent if root.is_file() else root
