"""`cost.md`: what a run costs in time and memory, by stage, category and variant."""

from collections.abc import Iterable
from statistics import fmean

from prn.reporting.document import Heading, Page, Table
from prn.reporting.lineage import OWN_STAGES, STAGES
from prn.reporting.published import MEAN, published_value
from prn.reporting.results import STALE, Results, Row
from prn.reporting.wording import dataset_name, generated_title, number, seconds_text, variant_name
from prn.settings.sections import Settings

PER_DATASET, PER_CATEGORY = ("download",), ("index", "tensors")
NO_COST = "n/a"


def cost_page(settings: Settings, results: Results) -> Page:
    """Wall time by stage and category, then time and memory of every variant; means over the seeds."""
    page = Page("cost.md", generated_title("Cost", settings))
    devices = sorted({row.device for row in results.rows if row.device})
    page.add(
        f"Measured on {', '.join(devices) or 'no device yet'}. Times of different devices do not compare, nor those of"
        " runs side by side on one machine. The paper's Table 3 (column T) was measured on unnamed hardware."
    )
    page.add(
        Heading("Wall time by stage and category"),
        "Summed over the variants and seeds with a result; what they share counts once. `n/a`: not recorded.",
        stage_table(results),
        Heading("Time and memory by variant and category"),
        _variants(results),
        "Memory is the highest of training, prediction and evaluation: of the process (CPU), and of the GPU where"
        " one is used. *Table 3* is the paper's mean over MVTec AD's categories (column T).",
    )
    return page


def stage_table(results: Results) -> Table:
    """A row a category, then the sum; a column a stage."""
    rows = []
    sums: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for dataset in results.datasets():
        for place, category in enumerate(results.categories(dataset)):
            row = [dataset_name(dataset), category]
            own = [one for one in _one_a_run(results) if (one.dataset, one.category) == (dataset, category)]
            total = []
            for stage in STAGES:
                if stage in PER_DATASET and place:
                    row.append("see above")
                    continue
                seconds = _once(stage, own)
                row.append(_time(seconds))
                sums[stage] += seconds
                total += seconds
            rows.append([*row, _time(total)])
    if len(rows) > 1:
        everything = [value for values in sums.values() for value in values]
        rows.append(["**All**", "", *(_time(sums[stage]) for stage in STAGES), _time(everything)])
        rows[-1][1] = f"{len(rows) - 1} categories"
    return Table(["Data set", "Category", *STAGES, "Sum"], rows, left=2)


def _one_a_run(results: Results) -> list[Row]:
    """The row of one metric stands for its run: all of a run's rows hold the same costs."""
    return [row for row in results.rows if row.metric == "image_auroc" and row.state != STALE]


def _once(stage: str, rows: Iterable[Row]) -> list[float]:
    """The seconds of a stage's artefacts, each counted once although several runs use it."""
    found: dict[tuple, float] = {}
    for row in rows:
        seconds = getattr(row, f"{stage}_seconds")
        if seconds is None:
            continue
        if stage in OWN_STAGES:
            found[row.run.variant, row.seed] = seconds
        elif stage in (*PER_DATASET, *PER_CATEGORY):
            found["shared", seconds] = seconds
        else:
            found[row.seed, seconds] = seconds
    return list(found.values())


def _time(seconds: list[float]) -> str:
    return seconds_text(sum(seconds)) if seconds else NO_COST


def _variants(results: Results) -> Table:
    rows = []
    for dataset in results.datasets():
        for variant in results.variants(dataset):
            for category in results.categories(dataset):
                names = [dataset_name(dataset), category, variant_name(variant)]
                rows.append([*names, *_cells(results, dataset, category, variant)])
    header = [
        "Data set",
        "Category",
        "Variant",
        "Training",
        "Steps",
        "Images a second",
        "Memory CPU, MB",
        "Memory GPU, MB",
    ]
    header += ["Image, batch 1 (s)", "95 % within (s)", "Image, batch 32 (s)", "Table 3 (s)"]
    return Table(header, rows, left=3)


def _cells(results: Results, dataset: str, category: str, variant: str) -> list[str]:
    rows = [row for row in results.cell(dataset, category, variant, "seconds_per_image") if row.state != STALE]
    if not rows:
        return ["not run"] * 8 + [_paper(dataset, variant)]
    time = results.value(dataset, category, variant, "seconds_per_image")
    training, cpu = _mean(rows, "train_seconds"), _mean(rows, "peak_cpu_mb")
    gpu = "none" if cpu is not None and not _mean(rows, "peak_gpu_mb") else _text(_mean(rows, "peak_gpu_mb"), "{:,.0f}")
    return [
        NO_COST if training is None else seconds_text(training) if training else "none",
        *(
            _text(_mean(rows, column) or None, form, empty="none")
            for column, form in (("train_steps", "{:,.0f}"), ("images_per_second", "{:.1f}"))
        ),
        _text(cpu, "{:,.0f}"),
        gpu,
        time.state if time.mean is None else number(time.mean, "seconds_per_image"),
        *(_text(_mean(rows, column), "", "seconds_per_image") for column in ("batch1_p95_seconds", "batch32_seconds")),
        _paper(dataset, variant),
    ]


def _paper(dataset: str, variant: str) -> str:
    value = published_value(dataset, MEAN, variant, "seconds_per_image")
    return "-" if value is None else number(value, "seconds_per_image")


def _mean(rows: list[Row], column: str) -> float | None:
    values = [value for row in rows if (value := getattr(row, column)) is not None]
    return fmean(values) if values else None


def _text(value: float | None, form: str, metric: str = "", empty: str = NO_COST) -> str:
    if value is None:
        return empty
    return form.format(value) if form else number(value, metric)
