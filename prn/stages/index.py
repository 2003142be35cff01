"""Stage `index`: one row an image of a category, from the published tree; every image is decoded once."""

import json
from collections.abc import Sequence

from prn import layout
from prn.datasets.index import index_category
from prn.datasets.layout import shown
from prn.datasets.rows import IndexRow, contradictions, duplicates, write_index
from prn.stages.job import Job
from prn.stages.tree import tree_root


def run(job: Job) -> None:
    """Write the category's index; say what its files hold and which images stand in it twice where that matters."""
    receipt = job.needed(layout.RECEIPT)
    complete = json.loads(receipt.read_text(encoding="utf-8"))["complete"]
    settings = job.settings.index
    index = index_category(job.dataset, tree_root(job), job.category, complete=complete, settings=settings)
    write_index(index.rows, job.artefact)
    job.finish([receipt], listing=job.listing(), remarks=index.remarks)
    defective = sum(row.label for row in index.rows)
    print(f"{job.artefact}: {len(index.rows)} images, {defective} of them defective")
    for line in [*_twice(index.rows), *index.remarks]:
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
