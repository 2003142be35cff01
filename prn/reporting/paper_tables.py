"""`paper_tables.md`: every table of the paper in its own form, each line twice: as published and as measured here."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from prn.reporting.document import Heading, Page, Table, jump_line
from prn.reporting.published import MEAN, Published, table_rows
from prn.reporting.results import METRICS, NOT_AVAILABLE, NOT_RUN, OK, STALE, Results, Summary
from prn.reporting.wording import (
    METRIC_LETTERS,
    UNTRAINED,
    generated_note,
    generated_title,
    is_ablation,
    number,
    variant_name,
)
from prn.settings.sections import Settings

BLANK = "-"
TICKS_4 = {
    "unet": (True, False, False, False),
    "unet+mp+mf": (True, True, False, True),
    "unet+msa+mf": (True, False, True, True),
    "unet+mp+msa": (True, True, True, False),
    "unet+mp+msa+mf": (True, True, True, True),
}
TICKS_5 = {
    "ea+ta": (True, False, False, True),
    "ea+hea+ta": (True, True, False, True),
    "ea+hoa+ta": (True, False, True, True),
    "hea+hoa+ta": (False, True, True, True),
    "ea+hea+hoa": (True, True, True, False),
    "ea+hea+hoa+ta": (True, True, True, True),
}
FIVE = (*METRICS, "seconds_per_image")
ARD_VARIANTS = {"RD": "rd4ad", "DRÆM": "draem"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table: printed (None: the paper has none) and measured (None: nothing here measures it).

    The best of a `group` is bold: the highest, of seconds the lowest.
    """

    paper: float | None
    ours: Summary | None
    metric: str
    group: Hashable


Line = tuple[list[str], list[list[Cell]]]
Ours = Callable[[str, str, str], Summary | None]


def paper_tables_page(settings: Settings, results: Results) -> Page:
    """All tables, one after another."""
    page = Page("paper_tables.md", generated_title("The paper's tables", settings))
    page.add(
        *generated_note(settings),
        "Every line of a table stands twice: *paper* is the printed number, *ours* is measured here, or `not run`."
        " `-` is a blank of the paper, or a control that the paper does not have. A mean that lacks categories says"
        " over how many it goes. Bold is the best of what is compared, printed and measured each on their own. I, P,"
        " O, A and T are image AUROC, pixel AUROC, PRO, AP (percent) and seconds an image. `untrained` is our control;"
        " methods that a table of the paper lacks stand at its end.",
        "Two numbers of the sources contradict their own tables and are copied as printed: Table 3's DRA row (P 84.1,"
        " O 71.5, A 25.7 against 85.3, 73.3, 26.0 in Tables 1, 2 and 7), and the PRO mean of ARD's own row on DAGM"
        " (94.7, while its classes average 91.7). ARD's one-class tables (MNIST, Fashion-MNIST, CIFAR-10) are out"
        " of scope.",
    )
    titles = [title for title, _ in TABLES]
    page.add(jump_line(titles, [title.partition(":")[0] for title in titles]))
    for title, build in TABLES:
        page.add(Heading(title), build(results))
    return page


def by_category(table: str, metrics: tuple[str, ...], results: Results) -> Table:
    """Tables 1, 2, S1, S2 and ARD's: a line a category, a column a method, the metrics of a cell joined by `/`."""
    rows = table_rows(table)
    dataset, categories, methods = rows[0].dataset, _unique(r.category for r in rows), _unique(r.method for r in rows)
    printed = {(row.category, row.method, row.metric): row for row in rows}
    variants = {row.method: _variant(row) for row in rows}
    controls = _others(results, dataset, list(variants.values()))
    ours = _by_category(results, dataset, [name for name in categories if name != MEAN])
    lines: list[Line] = []
    for category in categories:
        cells = []
        for method in methods:
            found = [printed.get((category, method, metric)) for metric in metrics]
            values = [row.value if row else None for row in found]
            cells.append(
                [
                    Cell(value, ours(category, variants[method], metric), metric, (category, metric))
                    for value, metric in zip(values, metrics, strict=True)
                ]
            )
        cells += [
            [Cell(None, ours(category, control, metric), metric, (category, metric)) for metric in metrics]
            for control in controls
        ]
        lines.append((["Average" if category == MEAN else category], cells))
    return two_lines(["Category"], [*methods, *map(variant_name, controls)], lines)


def by_setting(
    table: str, labels: list[str], label_of: Callable[[Published], list[str]], results: Results, others: bool = False
) -> Table:
    """Tables 3 to 6: a line a configuration, a column a metric; the control and, if asked for, other methods below."""
    rows = table_rows(table)
    metrics = tuple(metric for metric in FIVE if metric in {row.metric for row in rows})
    ours = _means(results, "mvtec")
    lines: list[Line] = []
    for key in _unique((row.method, row.setting) for row in rows):
        chosen = {row.metric: row for row in rows if (row.method, row.setting) == key}
        first = next(iter(chosen.values()))
        cells = [[Cell(chosen[m].value, ours(MEAN, first.variant, m), m, m)] for m in metrics]
        lines.append((label_of(first), cells))
    more = _others(results, "mvtec", [row.variant for row in rows]) if others else [UNTRAINED]
    for name in more:
        cells = [[Cell(None, ours(MEAN, name, metric), metric, metric)] for metric in metrics]
        lines.append(([variant_name(name), *[BLANK] * (len(labels) - 1)], cells))
    return two_lines(labels, [METRIC_LETTERS[metric] for metric in metrics], lines)


def shots_table(results: Results) -> Table:
    """Table 7: a line a number of seen anomalies, a column a method and metric."""
    rows = table_rows("7")
    methods = _unique(row.method for row in rows)
    ours = _means(results, "mvtec")
    lines: list[Line] = []
    for setting in _unique(row.setting for row in rows):
        chosen = {(row.method, row.metric): row for row in rows if row.setting == setting}
        cells = [
            [Cell(chosen[method, metric].value, ours(MEAN, chosen[method, metric].variant, metric), metric, metric_key)]
            for method in methods
            for metric in METRICS
            for metric_key in [(setting, metric)]
        ]
        cells += [[Cell(None, ours(MEAN, UNTRAINED, metric), metric, (setting, metric))] for metric in METRICS]
        lines.append(([setting.partition("=")[2]], cells))
    columns = [f"{method} {METRIC_LETTERS[metric]}" for method in [*methods, UNTRAINED] for metric in METRICS]
    return two_lines(["Seen anomalies"], columns, lines)


def other_sets_table(results: Results) -> Table:
    """Table 8: a line a method, a column a data set and metric."""
    rows = table_rows("8")
    printed = {(row.method, row.dataset, row.metric): row.value for row in rows}
    datasets = _unique(row.dataset for row in rows)
    lines: list[Line] = []
    methods = {row.variant: row.method for row in rows}
    more = _unique(name for dataset in datasets for name in _others(results, dataset, list(methods)))
    for variant in [*methods, *more]:
        cells = []
        for dataset in datasets:
            ours = _means(results, dataset)
            for metric in METRICS:
                value = printed.get((methods.get(variant, ""), dataset, metric))
                cells.append([Cell(value, ours(MEAN, variant, metric), metric, (dataset, metric))])
        lines.append(([variant_name(variant)], cells))
    names = {"dagm": "DAGM", "btad": "BTAD", "ksdd2": "KSDD2"}
    columns = [f"{names[dataset]} {METRIC_LETTERS[metric]}" for dataset in datasets for metric in METRICS]
    return two_lines(["Method"], columns, lines)


def two_lines(labels: list[str], columns: list[str], lines: Iterable[Line]) -> Table:
    """A table with two rows for each line: *paper* and *ours*."""
    grid = list(lines)
    best_paper = _best((cell.group, cell.metric, cell.paper) for _, cells in grid for c in cells for cell in c)
    best_ours = _best(
        (cell.group, cell.metric, cell.ours.mean if cell.ours else None)
        for _, cells in grid
        for c in cells
        for cell in c
    )
    rows = []
    for names, cells in grid:
        rows.append([*names, "paper", *(_joined([_printed(cell, best_paper) for cell in c]) for c in cells)])
        rows.append(
            [*names, "ours", *(_joined([_measured(cell, best_ours) for cell in c]) + _lacking(c) for c in cells)]
        )
    return Table([*labels, "Source", *columns], rows, left=len(labels) + 1)


def _printed(cell: Cell, best: dict[Hashable, float]) -> str:
    if cell.paper is None:
        return BLANK
    text = number(cell.paper, cell.metric)
    return f"**{text}**" if _rounded(cell.paper, cell.metric) == best.get(cell.group) else text


def _measured(cell: Cell, best: dict[Hashable, float]) -> str:
    if cell.ours is None:
        return NOT_RUN
    mean = cell.ours.mean
    if mean is None:
        return cell.ours.state
    text = number(mean, cell.metric)
    return f"**{text}**" if _rounded(mean, cell.metric) == best.get(cell.group) else text


def _lacking(cells: list[Cell]) -> str:
    """Over how many of its categories a mean goes, where it lacks some."""
    found = [cell.ours for cell in cells if cell.ours and cell.ours.mean is not None]
    fewest = min(found, key=lambda summary: summary.categories, default=None)
    if fewest is None or fewest.categories == fewest.of_categories:
        return ""
    return f" ({fewest.categories} of {fewest.of_categories})"


def _best(values: Iterable[tuple[Hashable, str, float | None]]) -> dict[Hashable, float]:
    """The best of each group with more than one number."""
    groups: dict[Hashable, list[float]] = {}
    lowest: set[Hashable] = set()
    for group, metric, value in values:
        if value is not None:
            groups.setdefault(group, []).append(_rounded(value, metric))
            if metric == "seconds_per_image":
                lowest.add(group)
    return {g: min(v) if g in lowest else max(v) for g, v in groups.items() if len(v) > 1}


def _rounded(value: float, metric: str) -> float:
    return round(value, 3 if metric == "seconds_per_image" else 1)


def _joined(texts: list[str]) -> str:
    """Values of a cell joined as the paper does; one word where all of them are missing for the same reason."""
    same = len(set(texts)) == 1 and texts[0] in (BLANK, NOT_RUN, NOT_AVAILABLE, STALE)
    return texts[0] if same else "/".join(texts)


def _by_category(results: Results, dataset: str, categories: list[str]) -> Ours:
    """Measured values by category, the mean over all categories that the paper has."""
    means = _means(results, dataset, categories)

    def ours(category: str, variant: str, metric: str) -> Summary | None:
        if not variant:
            return None
        return means(MEAN, variant, metric) if category == MEAN else results.value(dataset, category, variant, metric)

    return ours


def _means(results: Results, dataset: str, categories: list[str] | None = None) -> Ours:
    """Measured means over all categories that the paper has, whether or not all of them are planned."""
    if categories is None:
        categories = paper_categories(dataset)

    def ours(_: str, variant: str, metric: str) -> Summary | None:
        found = results.mean(dataset, variant, metric, categories)
        return found if found.state == OK or variant in results.variants(dataset) else None

    return ours


def paper_categories(dataset: str) -> list[str]:
    """The categories over which the paper's means of a data set go; KolektorSDD2's only one has its own name."""
    table = {"mvtec": "1", "dagm": "S1", "btad": "S2"}.get(dataset)
    if table is None:
        return [dataset]
    return _unique(row.category for row in table_rows(table) if row.category != MEAN)


def _others(results: Results, dataset: str, known: list[str]) -> list[str]:
    """The methods of this run that a printed table lacks: PRN and the control always, then the others that are planned.

    PRN's own variants are those of Tables 4 to 7 and of `ablations.md`.
    """
    planned = [name for name in results.variants(dataset) if not is_ablation(name) and name not in ("prn", UNTRAINED)]
    return [name for name in ("prn", UNTRAINED, *planned) if name not in known]


def _variant(row: Published) -> str:
    return ARD_VARIANTS.get(row.method, "") if row.source == "ard_supplement" else row.variant


def _unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))


def _ticks(marks: tuple[bool, ...]) -> list[str]:
    return ["✓" if mark else BLANK for mark in marks]


def _backbone(row: Published) -> list[str]:
    names = {"backbone=wide_resnet50": "WResNet50", "backbone=resnet18": "ResNet18"}
    return [row.method, names[row.setting]]


def _ratio(row: Published) -> list[str]:
    return [f"PRN {100 * float(row.setting.partition('=')[2]):.0f}%"]


PAIR_1, PAIR_2 = ("image_auroc", "pixel_auroc"), ("pro", "ap")
TABLES: tuple[tuple[str, Callable[[Results], Table]], ...] = (
    ("Table 1: MVTec AD, image AUROC / pixel AUROC", lambda r: by_category("1", PAIR_1, r)),
    ("Table 2: MVTec AD, PRO / AP", lambda r: by_category("2", PAIR_2, r)),
    (
        "Table 3: MVTec AD, pre-trained approaches and the time of an image",
        lambda r: by_setting("3", ["Method", "Backbone"], _backbone, r, others=True),
    ),
    (
        "Table 4: modules of PRN on MVTec AD",
        lambda r: by_setting("4", ["U-Net", "MP", "MSA", "MF"], lambda row: _ticks(TICKS_4[row.setting]), r),
    ),
    (
        "Table 5: kinds of anomaly on MVTec AD",
        lambda r: by_setting("5", ["EA", "HEA", "HOA", "TA"], lambda row: _ticks(TICKS_5[row.setting]), r),
    ),
    ("Table 6: share of prototypes on MVTec AD", lambda r: by_setting("6", ["Ratio"], _ratio, r)),
    ("Table 7: number of seen anomalies on MVTec AD", shots_table),
    ("Table 8: DAGM, BTAD and KolektorSDD2", other_sets_table),
    ("Table S1: DAGM, I/P/O/A", lambda r: by_category("S1", METRICS, r)),
    ("Table S2: BTAD, I/P/O/A", lambda r: by_category("S2", METRICS, r)),
    ("ARD supplement, Table 1: DAGM, image AUROC", lambda r: by_category("ARD1", ("image_auroc",), r)),
    ("ARD supplement, Table 2: DAGM, pixel AUROC / PRO", lambda r: by_category("ARD2", ("pixel_auroc", "pro"), r)),
)
