"""Stage `download`: a data set's archives, checked and extracted, or the user's own folder; a receipt says which."""

from pathlib import Path

from prn import layout
from prn.datasets.obtain import obtain
from prn.datasets.own_sources import archives_digest
from prn.provenance.files import write_json
from prn.provenance.hashes import FileHashes
from prn.stages.job import Job


def run(job: Job) -> None:
    """Make the published tree of `job.dataset` available and write its receipt, which names no place."""
    source = job.settings.download.sources.get(job.dataset)
    tree, archives = job.path(layout.TREE), Path(layout.ARCHIVES) / job.dataset
    receipt = obtain(job.dataset, _absolute(source), archives=archives, tree=tree)
    root = receipt.pop("root")
    write_json(job.artefact, receipt)
    hashes = FileHashes(job.path(layout.ARCHIVE_HASHES))
    digest = archives_digest(job.dataset, source, hashes)
    hashes.save()
    job.finish([], listing=digest or "")
    print(f"{job.artefact}: {job.dataset} is at {root}")


def _absolute(source: str | None) -> str | None:
    """`file:<relative path>` as an address below the work folder; anything else as it is."""
    if source is None or not source.startswith("file:") or "://" in source:
        return source
    return Path(source.removeprefix("file:")).resolve().as_uri()
