"""Where a data set's published tree lies: what the stages that read its files ask."""

import json
from pathlib import Path

from prn import layout
from prn.datasets import sources
from prn.datasets.obtain import restore
from prn.datasets.own_sources import own_root
from prn.errors import DataMissing
from prn.stages.job import Job


def tree_root(job: Job) -> Path:
    """Where the data set's tree lies: unpacked from its archives, or the user's own folder or CSV.

    A tree that was unpacked and is gone (a cleared folder, a clone) is unpacked again from the same bytes. Raises
    `DataMissing` when there is no receipt, the user's own images are gone, or the tree cannot be had from the archives
    here.
    """
    facts = json.loads(job.needed(layout.RECEIPT).read_text(encoding="utf-8"))
    if facts["archives"]:
        tree = job.path(layout.TREE)
        if not tree.is_dir():
            restore(facts, Path(layout.ARCHIVES) / job.dataset, tree)
        return sources.tree_root(job.dataset, tree)
    root = own_root(job.dataset, job.source)
    if root is None:
        place = f"{Path(job.source).expanduser().absolute()}: gone or no" if job.source else "download.sources names no"
        raise DataMissing(
            f"the images of {job.dataset} are gone ({place} folder of images or CSV); put them back, or name their new"
            " place under download.sources in the settings"
        )
    return root


def tree_base(job: Job) -> Path:
    """The folder that the index's paths are relative to."""
    root = tree_root(job)
    return root.parent if root.is_file() else root
