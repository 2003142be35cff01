"""One page a data set: measured beside published, category by category, in the form of the paper's tables."""

from prn.reporting.document import Block, Bullets, Heading, Page, Table, jump_line
from prn.reporting.intervals import intervals
from prn.reporting.published import MEAN, measured_by, published_mean, published_value
from prn.reporting.results import METRICS, NOT_AVAILABLE, NOT_RUN, STALE, Results
from prn.reporting.wording import (
    METRIC_LETTERS,
    compared_variants,
    dataset_name,
    generated_note,
    generated_title,
    image_credit,
    is_ablation,
    listing,
    measured,
    number,
    plural,
    variant_name,
)
from prn.settings.sections import Settings

# The paper's form: Tables 1 and 2 pair two metrics in a cell, Tables S1 and S2 give each metric a column.
PAIRS = (("image_auroc", "pixel_auroc"), ("pro", "ap"))
PAIR_TITLES = ("Image AUROC / pixel AUROC", "PRO / AP")
PAPER_TABLES = {"dagm": "Table S1", "btad": "Table S2", "ksdd2": "Table 8"}


def dataset_page(dataset: str, settings: Settings, results: Results, figures: dict[str, list[Block]]) -> Page:
    """The page of one data set; `figures` holds what stands under each category's heading, under `""` the set's own."""
    page = Page(f"{dataset}.md", generated_title(dataset_name(dataset), settings))
    page.add(*introduction(dataset, settings, results))
    page.add(jump_line(results.categories(dataset)))
    variants = compared_variants(dataset, results)
    if dataset not in PAPER_TABLES:
        for pair, title, table in zip(PAIRS, PAIR_TITLES, ("Table 1", "Table 2"), strict=True):
            heading = f"{title} ({table})" if dataset == "mvtec" else title
            page.add(Heading(heading), comparison(dataset, results, variants, pair, joined=True))
    else:
        title = f"Image AUROC (I), pixel AUROC (P), PRO (O) and AP (A) ({PAPER_TABLES[dataset]})"
        page.add(Heading(title), comparison(dataset, results, variants, METRICS, joined=False))
    page.add(*_notes(dataset, results, variants))
    page.add(*intervals(dataset, results, variants))
    page.add(*figures.get("", []))
    for category in results.categories(dataset):
        page.add(Heading(category), _counts_line(dataset, category, results), *figures.get(category, []))
    return page


def introduction(dataset: str, settings: Settings, results: Results) -> list[Block]:
    """What the page's numbers are."""
    categories = results.categories(dataset)
    seeds = settings.benchmark.seeds
    variants = [variant for variant in results.variants(dataset) if is_ablation(variant)]
    text = (
        f"{plural(len(categories), 'category', 'categories')}, {plural(len(seeds), 'seed')}"
        f" ({listing(list(map(str, seeds)))}), preset `{settings.benchmark.preset}`. Percent, higher is better."
        " *paper* is what the paper printed (its mean goes over the categories of this page), *ours* is"
        " measured (mean over the seeds); bold marks the best measured value of a row."
        " `untrained` is the control: the distance to the nearest prototypes, without network or training."
    )
    if variants:
        text += " PRN's own variants stand in [ablations](ablations.md)."
    return [*generated_note(settings), text, *image_credit(dataset, settings)]


def comparison(dataset: str, results: Results, variants: list[str], metrics: tuple[str, ...], joined: bool) -> Table:
    """A row a category and one for the mean; for each variant the published and the measured values.

    `joined` writes the metrics into one cell (`I/P`), else each has a column of its own.
    """
    known = measured_by(dataset)
    header = ["Category"]
    for variant in variants:
        sides = ["paper", "ours"] if variant in known else ["ours"]
        for side in sides:
            label = f"{variant_name(variant)} {side}"
            header += [label] if joined else [f"{label} {METRIC_LETTERS[metric]}" for metric in metrics]
    rows = []
    categories = results.categories(dataset)
    for category in [*categories, *([MEAN] if len(categories) > 1 else [])]:
        row = ["**Mean**" if category == MEAN else category]
        cells = {v: [_measured_value(results, dataset, category, v, metric) for metric in metrics] for v in variants}
        best = [_best(cells[v][place][0] for v in variants) for place in range(len(metrics))]
        for variant in variants:
            if variant in known:
                row += _join([_paper(results, dataset, category, variant, metric) for metric in metrics], joined)
            row += _join([_emphasised(cell, best[place]) for place, cell in enumerate(cells[variant])], joined)
        rows.append(row)
    return Table(header, rows)


def _measured_value(
    results: Results, dataset: str, category: str, variant: str, metric: str
) -> tuple[float | None, str]:
    if category == MEAN:
        summary = results.mean(dataset, variant, metric)
    else:
        summary = results.value(dataset, category, variant, metric)
    return summary.mean, measured(summary)


def _best(values) -> float | None:
    rounded = [round(value, 1) for value in values if value is not None]
    return max(rounded) if len(rounded) > 1 else None


def _emphasised(cell: tuple[float | None, str], best: float | None) -> str:
    value, text = cell
    return f"**{text}**" if value is not None and best is not None and round(value, 1) == best else text


def _paper(results: Results, dataset: str, category: str, variant: str, metric: str) -> str:
    if category == MEAN:
        value = published_mean(dataset, tuple(results.categories(dataset)), variant, metric)
    else:
        value = published_value(dataset, category, variant, metric)
    return "-" if value is None else number(value)


def _join(texts: list[str], joined: bool) -> list[str]:
    if not joined:
        return texts
    same = len(set(texts)) == 1 and texts[0] in (NOT_RUN, STALE, NOT_AVAILABLE, "-")
    return [texts[0]] if same else ["/".join(texts)]


def _notes(dataset: str, results: Results, variants: list[str]) -> list[Block]:
    """Why values are missing, one line a reason."""
    reasons: dict[str, list[str]] = {}
    for category in results.categories(dataset):
        for variant in variants:
            for metric in METRICS:
                summary = results.value(dataset, category, variant, metric)
                if summary.mean is None and summary.reason and summary.state != "not run":
                    reasons.setdefault(f"{summary.state}: {summary.reason}", []).append(f"{category} ({variant})")
    lines = [f"{reason}: {', '.join(dict.fromkeys(places))}" for reason, places in reasons.items()]
    return [Bullets(lines)] if lines else []


def _counts_line(dataset: str, category: str, results: Results) -> str:
    for variant in results.variants(dataset):
        for row in results.cell(dataset, category, variant, "image_auroc"):
            if row.n_test_good is not None:
                return (
                    f"{plural(row.n_train_normal or 0, 'normal training image')},"
                    f" {plural(row.n_seen or 0, 'seen anomaly', 'seen anomalies')};"
                    f" tested on {row.n_test_good:,} good and {row.n_test_defective or 0:,} defective images."
                )
    return "Not run."
