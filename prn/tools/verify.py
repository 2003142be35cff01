"""Tool `verify`: a data set's files held against the index, byte by byte."""

from prn import layout
from prn.datasets.rows import read_index
from prn.datasets.verify import verify
from prn.errors import DataCorrupt
from prn.stages.job import Job
from prn.stages.tree import tree_root


def run(job: Job) -> None:
    """Print what is missing, changed, extra or listed otherwise.

    Raises `DataCorrupt` when there is any.
    """
    index = job.needed(layout.INDEX)
    rows = read_index(index)
    report = verify(tree_root(job), rows, job.dataset, job.category)
    for line in report.lines():
        print(line)
    if not report.ok:
        numbers = f"{len(report.missing)} files missing, {len(report.changed)} changed, {len(report.extra)} extra"
        numbers += f", {len(report.listing)} listed otherwise" if report.listing else ""
        raise DataCorrupt(f"{job.label}: {numbers}; restore the files, or delete {index} and run the index stage again")
    print(f"{job.label}: {report.checked} files are as indexed")
