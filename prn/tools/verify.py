"""Tool `verify`: a data set's files held against the index, byte by byte."""

from pathlib import Path

from prn import layout
from prn.datasets.layout import shown
from prn.datasets.rows import read_index
from prn.datasets.verify import VerifyReport, verify
from prn.errors import DataCorrupt
from prn.stages.job import Job
from prn.stages.tree import tree_root


def run(job: Job) -> None:
    """Print what is missing, changed, extra or listed otherwise.

    Raises `DataCorrupt` when there is any.
    """
    index = job.needed(layout.INDEX)
    rows = read_index(index)
    report = verify(tree_root(job), rows, job.dataset, job.category, settings=job.settings.index)
    for line in report.lines():
        print(line)
    if not report.ok:
        raise DataCorrupt(f"{job.label}: {_counts(report)}; {_advice(report, index)}")
    print(f"{job.label}: {report.checked} files are as indexed")


def _counts(report: VerifyReport) -> str:
    numbers = f"{len(report.missing)} files missing, {len(report.changed)} changed, {len(report.extra)} extra"
    return numbers + (f", {len(report.listing)} listed otherwise" if report.listing else "")


def _advice(report: VerifyReport, index: Path) -> str:
    """What helps: a new index changes nothing about files that it would pass over as well."""
    over = report.passed_over
    parts = []
    if report.missing or report.changed or report.listing or len(report.extra) > len(over):
        parts.append(f"restore the files, or delete {index} and run the index stage again")
    if over:
        parts.append(
            f"{shown(over)} would be passed over by a new index too: move them to train/good, test/<type> or"
            " ground_truth/<type>, or remove them"
        )
    return "; ".join(parts)
