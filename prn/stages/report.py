"""Stage `report`: every page, table and figure from the metrics on disk."""

from pathlib import Path

from prn.reporting import build
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write `reports/`."""
    build(Path(), job.settings)
    print("reports/README.md: written")
