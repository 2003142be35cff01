"""Stage `index`: one row an image of a category, from the published tree; every image is decoded once."""

import json

from prn import layout
from prn.datasets.index import build_index, write_index
from prn.stages.job import Job
from prn.stages.tree import tree_root


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
