"""All figures of a report: drawn into `reports/figures`, handed to the pages with their texts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prn.config import Settings
from prn.datasets.index import read_index
from prn.reporting.document import Block, Figure
from prn.reporting.evidence import Evidence, NoEvidence, read_evidence
from prn.reporting.grids import RULE, score_grid
from prn.reporting.results import Results, Run
from prn.reporting.wording import dataset_name, variant_name


@dataclass(frozen=True, slots=True)
class Studio:
    """Where figures come from and go to."""

    root: Path
    folder: Path
    settings: Settings
    results: Results


def category_figures(studio: Studio, dataset: str, category: str) -> list[Block]:
    """The figures under a category's heading; a line in place of each that its caches do not allow."""
    return [_try(lambda: _score_grid(studio, dataset, category), "figure of score maps")]


def _try(draw: Callable[[], Block], what: str) -> Block:
    try:
        return draw()
    except NoEvidence as missing:
        return f"*No {what}: {missing}.*"


def evidence(studio: Studio, run: Run) -> Evidence:
    """The predictions and images of a run; raises `NoEvidence`."""
    file = studio.root / "data" / "index" / run.dataset / f"{run.category}.csv"
    if not file.is_file():
        raise NoEvidence(f"the index of {run.category} is not kept here")
    good = frozenset(row.path for row in read_index(file) if not row.label)
    return read_evidence(studio.root, run, good)


def shown_run(studio: Studio, dataset: str, category: str, variant: str = "prn") -> Run:
    """The run whose pictures stand for a category: PRN (else the first variant that was run) with its first seed."""
    names = [variant, *studio.results.variants(dataset)]
    for name in names:
        seeds = studio.results.seeds_of(dataset, category, name)
        if seeds:
            return Run(dataset, category, name, min(seeds))
    raise NoEvidence("nothing was run")


def _score_grid(studio: Studio, dataset: str, category: str) -> Figure:
    run = shown_run(studio, dataset, category)
    path = f"figures/{dataset}/{category}.png"
    chosen = score_grid(evidence(studio, run), studio.settings.report.figure_rows, studio.folder / path)
    rows = ", ".join(item.label for item in chosen)
    return Figure(
        path,
        f"{dataset_name(dataset)} {category}: input, ground truth, score map and overlay of test images ({rows})",
        f"{variant_name(run.variant)}, seed {run.seed}. {RULE} One colour scale for the category; the white line is the"
        " ground truth's outline.",
    )
