"""`cost.md`: what a run costs in time and memory, by stage, category and variant."""

import json
from pathlib import Path
from statistics import fmean

from prn.config import Settings
from prn.reporting.document import Heading, Page, Table
from prn.reporting.published import MEAN, published_value
from prn.reporting.results import Results, Row
from prn.reporting.wording import dataset_name, generated_title, number, plural, seconds_text, variant_name

TRAINING = (("train_steps", "{:,.0f}"), ("images_per_second", "{:.1f}"), ("peak_memory_mb", "{:,.0f}"))
STAGES = ("download", "index", "split", "tensors", "prototypes", "train", "predict", "evaluate")


def cost_page(root: Path, settings: Settings, results: Results) -> Page:
    """Totals by stage, then every category and variant; times are means over the seeds."""
    page = Page("cost.md", generated_title("Cost", settings))
    devices = sorted({row.device for row in results.rows if row.device})
    page.add(
        f"Measured on {', '.join(devices) or 'no device yet'}. Times of different devices do not compare. The paper's"
        " Table 3 (column T) was measured on unnamed hardware."
    )
    page.add(Heading("By stage"), "Wall time of the artefacts that are kept, from their provenance.")
    page.add(_stages(root, results))
    page.add(Heading("By category and variant"))
    rows = []
    for dataset in results.datasets():
        for variant in results.variants(dataset):
            for category in results.categories(dataset):
                rows.append(
                    [
                        dataset_name(dataset),
                        category,
                        variant_name(variant),
                        *_cells(results, dataset, category, variant),
                    ]
                )
    header = ["Data set", "Category", "Variant", "Training", "Steps", "Images a second", "Peak memory, MB"]
    header += ["Image, batch 1 (s)", "95 % within (s)", "Image, batch 32 (s)", "Paper (s)"]
    page.add(Table(header, rows, left=3))
    page.add(
        "Peak memory is that of the GPU where one is used, else the process's own. *Paper* is Table 3's mean over MVTec"
        " AD's categories."
    )
    return page


def _cells(results: Results, dataset: str, category: str, variant: str) -> list[str]:
    rows = [row for row in results.cell(dataset, category, variant, "seconds_per_image") if row.state != "stale"]
    if not rows:
        return ["not run"] * 7 + [_paper(dataset, variant)]
    time = results.value(dataset, category, variant, "seconds_per_image")
    training = _mean(rows, "train_seconds")
    return [
        "n/a" if training is None else seconds_text(training) if training else "none",
        *(_text(_mean(rows, column), form) if training else "none" for column, form in TRAINING),
        time.state if time.mean is None else number(time.mean, "seconds_per_image"),
        *(_seconds(_mean(rows, column)) for column in ("batch1_p95_seconds", "batch32_seconds")),
        _paper(dataset, variant),
    ]


def _paper(dataset: str, variant: str) -> str:
    value = published_value(dataset, MEAN, variant, "seconds_per_image")
    return "-" if value is None else number(value, "seconds_per_image")


def _mean(rows: list[Row], column: str) -> float | None:
    values = [value for row in rows if (value := getattr(row, column)) is not None]
    return fmean(values) if values else None


def _seconds(value: float | None) -> str:
    return "n/a" if value is None else number(value, "seconds_per_image")


def _text(value: float | None, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def _stages(root: Path, results: Results) -> Table:
    """Number of artefacts and summed wall time by stage; a stage whose provenance has no time is `n/a`."""
    seconds: dict[str, list[float | None]] = {stage: [] for stage in STAGES}
    wanted = set(results.datasets())
    for file in sorted((root / "data").glob("*/**/*.prov.json")):
        parts = file.relative_to(root / "data").parts
        if parts[0] == "datasets" or not wanted & {part.split(".")[0] for part in parts}:
            continue
        try:
            provenance = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if provenance.get("stage") in seconds:
            seconds[provenance["stage"]].append((provenance.get("record") or {}).get("seconds"))
    rows = []
    for stage, values in seconds.items():
        known = [value for value in values if value is not None]
        total = seconds_text(sum(known)) if known else "n/a (not recorded)"
        mean = seconds_text(fmean(known)) if known else "n/a"
        rows.append([stage, plural(len(values), "artefact"), total, mean])
    return Table(["Stage", "Artefacts", "Total", "Mean"], rows, left=1)
