"""Tool `verify`: a data set's files held against the index, byte by byte."""

from prn import layout
from prn.datasets.index import read_index
from prn.datasets.verify import verify
from prn.errors import DataCorrupt
from prn.stages.index import tree_root
from prn.stages.job import Job


def run(job: Job) -> None:
    """Print what is missing, changed or extra.

    Raises `DataCorrupt` when there is any.
    """
    rows = read_index(job.needed(job.path(layout.INDEX), "index"))
    report = verify(tree_root(job), rows, job.dataset)
    for line in report.lines():
        print(line)
    if not report.ok:
        numbers = f"{len(report.missing)} files missing, {len(report.changed)} changed, {len(report.extra)} extra"
        raise DataCorrupt(f"{job.label}: {numbers}")
    print(f"{job.label}: {report.checked} files are as indexed")
