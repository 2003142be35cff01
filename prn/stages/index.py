"""Stage `index`: one row an image of a category, from the published tree; every image is decoded once."""

import json
from collections.abc import Sequence

from prn import layout
from prn.datasets.index import build_index
from prn.datasets.layout import shown
from prn.datasets.rows import IndexRow, contradictions, duplicates, write_index
from prn.stages.job import Job
from prn.stages.tree import tree_root


def run(job: Job) -> None:
    """Write the category's index; say which images stand in it twice where that matters."""
    receipt = job.needed(layout.RECEIPT)
    complete = json.loads(receipt.read_text(encoding="utf-8"))["complete"]
    rows = build_index(job.dataset, tree_root(job), job.category, complete=complete)
    write_index(rows, job.artefact)
    job.finish([receipt], listing=job.listing())
    defective = sum(row.label for row in rows)
    print(f"{job.artefact}: {len(rows)} images, {defective} of them defective")
    for line in _twice(rows):
        print(f"{job.label}: {line}")


def _twice(rows: Sequence[IndexRow]) -> list[str]:
    """Images with the same bytes in training and test, or with both labels."""
    lines = []
    if pairs := duplicates(rows):
        names = shown([f"{train} = {test}" for train, test in pairs])
        lines.append(f"{len({train for train, _ in pairs})} training images are test images too: {names}")
    if pairs := contradictions(rows):
        names = shown([f"{normal} = {defect}" for normal, defect in pairs])
        lines.append(f"the same image is normal and defective, check the labels: {names}")
    return lines
