"""Writes the report: results first, then figures, pages and run cards, all from the results."""

from pathlib import Path

from prn.config import Settings
from prn.reporting.dataset_page import dataset_page
from prn.reporting.document import Block, Page, write_page, write_text
from prn.reporting.overview import overview_page
from prn.reporting.pictures import Studio, category_figures
from prn.reporting.results import Results, StaleCheck, from_csv, planned_runs, read_results, to_csv, unplanned_runs
from prn.reporting.run_card import write_run_cards
from prn.reporting.wording import dataset_name


def write_report(root: Path, settings: Settings, stale: StaleCheck | None) -> None:
    """Write `root/reports`; see `prn.reporting.build`."""
    folder = root / "reports"
    plan = planned_runs(settings)
    text = to_csv(read_results(root, plan, stale))
    write_text(folder / "results.csv", text)
    results = Results(from_csv(text), plan)
    studio = Studio(root, folder, settings, results)
    pages: list[tuple[Page, str]] = []
    for dataset in results.datasets():
        figures: dict[str, list[Block]] = {
            category: category_figures(studio, dataset, category) for category in results.categories(dataset)
        }
        page = dataset_page(dataset, settings, results, figures)
        pages.append((page, f"{dataset_name(dataset)}, category by category, measured beside published"))
    write_run_cards(root, folder, results)
    others = [(page.name, words) for page, words in pages]
    for page, _ in pages:
        write_page(page, folder)
    write_page(overview_page(settings, results, others, unplanned_runs(root, plan)), folder)
