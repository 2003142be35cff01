"""`ablations.md`: Tables 4 to 7 as published and measured, and what each change of PRN costs on the same categories."""

from statistics import fmean

from prn.reporting.document import Block, Heading, Page, Table
from prn.reporting.paper_tables import TABLES
from prn.reporting.published import MEAN, published_value
from prn.reporting.results import METRICS, Results
from prn.reporting.wording import (
    METRIC_NAMES,
    UNTRAINED,
    dataset_name,
    generated_note,
    generated_title,
    is_ablation,
    measured,
    plural,
    signed,
)
from prn.settings.sections import Settings

LIGHT = "prn-light"
WHAT = {
    "prn-unet": "U-Net only (Table 4)",
    "prn-no-msa": "without multi-size self-attention (Table 4)",
    "prn-no-mp": "without prototypes (Table 4)",
    "prn-no-mf": "without multi-scale fusion (Table 4)",
    "prn-ea-only": "extended anomalies only (Table 5)",
    "prn-no-hoa": "without homologous anomalies (Table 5)",
    "prn-no-hea": "without heterologous anomalies (Table 5)",
    "prn-no-ea": "without extended anomalies (Table 5)",
    "prn-no-ta": "without target areas (Table 5)",
    "prn-ratio-05": "5 % prototypes (Table 6)",
    "prn-ratio-20": "20 % prototypes (Table 6)",
    "prn-ratio-100": "every training image a prototype (Table 6)",
    "prn-shots-1": "one seen anomaly (Table 7)",
    "prn-shots-5": "five seen anomalies (Table 7)",
}


def ablations_page(settings: Settings, results: Results, grids: list[Block]) -> Page:
    """The paper's ablations and our own; `grids` are the figures of the variants side by side."""
    page = Page("ablations.md", generated_title("Ablations", settings))
    page.add(
        *generated_note(settings),
        "What each change costs or brings: the variant minus `prn` (minus `prn-light` where the name begins with it) on"
        " the categories and seeds that both have. The paper's difference is that of its MVTec AD means.",
    )
    rows = [row for dataset in results.datasets() for row in _rows(dataset, settings, results)]
    header = ["Data set", "Variant", "What changes", "Categories", *(f"Δ {METRIC_NAMES[metric]}" for metric in METRICS)]
    header += [f"paper Δ {METRIC_NAMES[metric]}" for metric in METRICS]
    page.add(Table(header, rows, left=3) if rows else "No variant of PRN was planned in this run.")
    page.add(*grids)
    page.add("Tables 4 to 7 as in the paper: means over the categories that the paper averages.")
    for title, build in TABLES:
        if title.startswith(("Table 4", "Table 5", "Table 6", "Table 7")):
            page.add(Heading(title), build(results))
    values = [row for dataset in results.datasets() for row in _values(dataset, results)]
    if values:
        header = ["Data set", "Category", "Variant", *(METRIC_NAMES[metric] for metric in METRICS)]
        page.add(
            Heading("Every variant, category by category"),
            "Mean over the seeds, ± their standard deviation; what the variants are compared with first.",
            Table(header, values, left=3),
        )
    return page


def _values(dataset: str, results: Results) -> list[list[str]]:
    """The measured values of PRN, the control and PRN's variants; nothing for a data set without variants."""
    changed = [name for name in results.variants(dataset) if is_ablation(name)]
    if not changed:
        return []
    compared = {"prn", UNTRAINED, *map(_base, changed)}
    base = [name for name in ("prn", LIGHT, UNTRAINED) if name in compared & set(results.variants(dataset))]
    names = [*base, *changed]
    rows = []
    for category in [*results.categories(dataset), MEAN]:
        for name in names:
            found = [
                results.mean(dataset, name, metric)
                if category == MEAN
                else results.value(dataset, category, name, metric)
                for metric in METRICS
            ]
            first = "**Mean**" if category == MEAN else category
            rows.append([dataset_name(dataset), first, f"`{name}`", *(measured(one, spread=True) for one in found)])
    return rows


def _rows(dataset: str, settings: Settings, results: Results) -> list[list[str]]:
    rows = []
    for variant in [name for name in results.variants(dataset) if is_ablation(name)]:
        found = {metric: effect(results, dataset, variant, metric, _base(variant)) for metric in METRICS}
        count = max((cell[1] for cell in found.values() if cell), default=0)
        row = [dataset_name(dataset), f"`{variant}`", what(variant, settings)]
        row.append(str(count) if count else "not run")
        row += [_signed(found[metric]) for metric in METRICS]
        row += [_paper(dataset, variant, metric) for metric in METRICS]
        rows.append(row)
    return rows


def _base(variant: str) -> str:
    """What an ablation is compared with."""
    return LIGHT if variant.startswith(f"{LIGHT}-") else "prn"


def effect(results: Results, dataset: str, variant: str, metric: str, base: str = "prn") -> tuple[float, int] | None:
    """Mean of `variant` minus `base` in points over the categories and seeds that both have; how many categories."""
    differences: dict[str, list[float]] = {}
    for category in results.categories(dataset):
        theirs = {row.seed: row.value for row in results.cell(dataset, category, base, metric)}
        for row in results.cell(dataset, category, variant, metric):
            other = theirs.get(row.seed)
            if row.value is not None and other is not None:
                differences.setdefault(category, []).append(row.value - other)
    if not differences:
        return None
    return fmean(fmean(values) for values in differences.values()), len(differences)


def effect_text(results: Results, variant: str) -> str:
    """A variant's effect on image AUROC and AP over all data sets that have it, for a sentence; empty when not run."""
    parts = []
    for dataset in results.datasets():
        image, pixel = (effect(results, dataset, variant, metric) for metric in ("image_auroc", "ap"))
        if image and pixel:
            count = plural(image[1], "category", "categories")
            parts.append(f"{dataset_name(dataset)}, {count}: image AUROC {signed(image[0])}, AP {signed(pixel[0])}")
    return "; ".join(parts)


def what(variant: str, settings: Settings) -> str:
    """What a variant changes: in words for the paper's, else its overrides."""
    if variant in WHAT:
        return WHAT[variant]
    overrides = _flat(settings.variants.get(variant) or {})
    return ", ".join(f"`{key}: {value}`" for key, value in overrides.items()) or "nothing"


def _flat(section: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _signed(found: tuple[float, int] | None) -> str:
    return "n/a" if found is None else signed(found[0])


def _paper(dataset: str, variant: str, metric: str) -> str:
    ours, full = (published_value(dataset, MEAN, name, metric) for name in (variant, "prn"))
    return "-" if ours is None or full is None else signed(ours - full)
