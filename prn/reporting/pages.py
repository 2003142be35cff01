"""Writes the report: results first, then figures, pages and run cards, all from the results."""

from pathlib import Path

from prn.config import Settings
from prn.reporting.ablations import ablations_page
from prn.reporting.dataset_page import dataset_page
from prn.reporting.delta import delta_page
from prn.reporting.document import Block, Page, write_page, write_text
from prn.reporting.overview import overview_page
from prn.reporting.paper_tables import paper_tables_page
from prn.reporting.pictures import Studio, category_figures, dataset_figures
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
        drawn = {category: category_figures(studio, dataset, category) for category in results.categories(dataset)}
        figures: dict[str, list[Block]] = {category: pictures.blocks for category, pictures in drawn.items()}
        figures[""] = dataset_figures(studio, dataset, list(drawn.values()))
        page = dataset_page(dataset, settings, results, figures)
        pages.append((page, f"{dataset_name(dataset)}, category by category, measured beside published"))
    pages += [
        (paper_tables_page(settings, results), "every table of the paper, published and measured"),
        (delta_page(settings, results), "measured against published, number by number"),
        (ablations_page(settings, results), "what each part of PRN is worth"),
    ]
    write_run_cards(root, folder, results)
    others = [(page.name, words) for page, words in pages]
    for page, _ in pages:
        write_page(page, folder)
    write_page(overview_page(settings, results, others, unplanned_runs(root, plan)), folder)
