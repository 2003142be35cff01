"""The report: `reports/results.csv`, the pages computed from it, their figures and the run cards."""

from pathlib import Path

from prn.reporting.results import StaleCheck
from prn.settings.sections import Settings

__all__ = ["build"]


def build(root: Path, settings: Settings, stale: StaleCheck | None = None) -> None:
    """Write everything below `root/reports` from the files below `root/data`.

    The same inputs give the same bytes. `stale(metrics file, dataset, category, variant)` gives the reason why a result
    does not belong to today's settings, code or inputs, or None; without it every result counts as current.
    Raises `DataCorrupt` for a metrics file or run card that is not what it must be.
    """
    from prn.reporting.pages import write_report

    write_report(Path(root), settings, stale)
