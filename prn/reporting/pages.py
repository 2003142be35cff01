"""Writes the report: results first, then figures, pages and run cards, all from the results."""

from pathlib import Path

from prn import layout
from prn.provenance.files import write_text
from prn.reporting.ablations import ablations_page
from prn.reporting.cost import cost_page
from prn.reporting.data_card import data_card_page
from prn.reporting.dataset_figures import ablation_figures, dataset_figures
from prn.reporting.dataset_page import dataset_page
from prn.reporting.delta import delta_page
from prn.reporting.deviations import deviations_page
from prn.reporting.document import Block, Figure, Page, write_page
from prn.reporting.failures import Failures, failures_page
from prn.reporting.html import HTML, write_html
from prn.reporting.legacy import legacy_blocks
from prn.reporting.operating import operating_blocks
from prn.reporting.overview import overview_page
from prn.reporting.paper_tables import paper_tables_page
from prn.reporting.pictures import Studio, category_figures
from prn.reporting.results import Results, StaleCheck, from_csv, planned_runs, read_results, to_csv, unplanned_runs
from prn.reporting.run_card import card_path, runs_page, write_run_cards
from prn.reporting.summary import write_summary
from prn.reporting.sums import check_place, own_files, remove_files, write_sums
from prn.reporting.wording import compared_variants, dataset_name
from prn.settings.sections import Settings


def write_report(root: Path, settings: Settings, stale: StaleCheck | None) -> None:
    """Write `root/reports`; see `prn.reporting.build`."""
    folder = root / "reports"
    check_place(folder)
    before = own_files(folder)
    plan = planned_runs(settings)
    text = to_csv(read_results(root, plan, stale))
    write_text(folder / "results.csv", text)
    results = Results(from_csv(text), plan)
    summaries = write_summary(folder, results)
    studio = Studio(root, folder, settings, results)
    pages: list[tuple[Page, str]] = []
    failures: dict[str, list[Failures]] = {}
    for dataset in results.datasets():
        drawn = {category: category_figures(studio, dataset, category) for category in results.categories(dataset)}
        figures: dict[str, list[Block]] = {category: pictures.blocks for category, pictures in drawn.items()}
        figures[""] = dataset_figures(studio, dataset, list(drawn.values()))
        variants = compared_variants(dataset, results)
        figures[""] += operating_blocks(root, dataset, results, variants) + legacy_blocks(
            root, dataset, results, variants
        )
        failures[dataset] = [one for pictures in drawn.values() for one in pictures.failures]
        page = dataset_page(dataset, settings, results, figures)
        pages.append((page, f"{dataset_name(dataset)}, category by category, measured beside published"))
    grids = [block for dataset in results.datasets() for block in ablation_figures(studio, dataset)]
    pages += [
        (paper_tables_page(settings, results), "every table of the paper, published and measured"),
        (delta_page(settings, results), "measured against published, number by number"),
        (ablations_page(settings, results, grids), "what each part of PRN is worth"),
        (
            failures_page(settings, results, failures, root, folder),
            "the worst misses and false alarms; runs that failed",
        ),
        (data_card_page(root, settings, results), "the images: counts, defects, splits, licences"),
        (deviations_page(root, settings, results), "every difference from the paper, and why"),
        (cost_page(settings, results), "time and memory"),
    ]
    pages.append(
        (runs_page(settings, results, write_run_cards(root, folder, settings, results)), "a run card for each run")
    )
    others = [*((page.name, words) for page, words in pages), (HTML, "all of this in one file, with sortable tables")]
    first = overview_page(settings, results, others, unplanned_runs(root, plan))
    written = [first, *(page for page, _ in pages)]
    for page in written:
        page.preset = settings.benchmark.preset
        write_page(page, folder)
    write_html(written, folder, first.title)
    names = [layout.RESULTS.removeprefix("reports/"), HTML, *summaries, *(page.name for page in written)]
    names += [block.path for page in written for block in page.blocks if isinstance(block, Figure)]
    names += [card_path(run, ending) for run in results.done for ending in (".json", ".md")]
    remove_files(folder, before.keys() - set(names))
    write_sums(folder, names)
