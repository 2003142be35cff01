"""Stage `download`: a data set's archives, checked and extracted, or the user's own folder; a receipt says which."""

from pathlib import Path

from prn import layout
from prn.datasets.obtain import obtain
from prn.provenance.files import write_json
from prn.stages.job import Job


def run(job: Job) -> None:
    """Make the published tree of `job.dataset` available and write its receipt."""
    source = _absolute(job.settings.download.sources.get(job.dataset))
    receipt = obtain(job.dataset, source, archives=Path(layout.ARCHIVES) / job.dataset, tree=job.path(layout.TREE))
    write_json(job.artefact, receipt)
    job.finish([])
    print(f"{job.artefact}: {job.dataset} is at {receipt['root']}")


def _absolute(source: str | None) -> str | None:
    """`file:<relative path>` as an address below the work folder; anything else as it is."""
    if source is None or not source.startswith("file:") or "://" in source:
        return source
    return Path(source.removeprefix("file:")).resolve().as_uri()
