"""What a production line would see: recall at bounded false alarms, and false alarms at a demanded recall."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from prn.reporting.document import Block, Heading, Table
from prn.reporting.results import NOT_AVAILABLE, Results, Run
from prn.reporting.wording import number, variant_name

NOTE = (
    "An image is rejected when its score reaches a threshold. Recall (percent of the defective images) at a false"
    " positive rate of at most 1 % and 5 %, and false alarms in 1,000 good parts at a recall of 95 % and of 100 %;"
    " means over the seeds. The thresholds are chosen on the test images themselves: this describes the ranking and is"
    " no threshold to carry to a line. With fewer than 100 good test images, at most 1 % means no false alarm at all."
)
COLUMNS = (
    ("fpr <= 0.01", "recall", "Recall at 1 % false positives", 100.0),
    ("fpr <= 0.05", "recall", "Recall at 5 % false positives", 100.0),
    ("recall >= 0.95", "false_alarms_per_1000_good", "False alarms in 1,000 at recall 95 %", 1.0),
    ("recall >= 1", "false_alarms_per_1000_good", "False alarms in 1,000 at recall 100 %", 1.0),
)


def operating_blocks(root: Path, dataset: str, results: Results, variants: Iterable[str]) -> list[Block]:
    """A row a category and variant; nothing where no run recorded operating points."""
    rows = []
    for category in results.categories(dataset):
        for variant in variants:
            points = [data["operating_points"] for data in current_metrics(root, dataset, category, variant, results)]
            points = [{point["rule"]: point for point in of_seed} for of_seed in points if of_seed]
            if points:
                cells = [_cell(points, rule, key, scale) for rule, key, _, scale in COLUMNS]
                rows.append([category, variant_name(variant), *cells])
    if not rows:
        return []
    header = ["Category", "Method", *(title for _, _, title, _ in COLUMNS)]
    return [Heading("Operating points"), NOTE, Table(header, rows, left=2)]


def current_metrics(
    root: Path, dataset: str, category: str, variant: str, results: Results
) -> Iterable[dict[str, Any]]:
    """The metrics files of a variant's runs whose results are not stale, a seed after the other."""
    for row in results.cell(dataset, category, variant, "image_auroc"):
        file = Run(dataset, category, variant, row.seed).metrics_file(root)
        if row.state != "stale" and file.is_file():
            data = json.loads(file.read_text(encoding="utf-8"))
            yield {"operating_points": [], "legacy": {}, **data}


def _cell(points: list[dict[str, Any]], rule: str, key: str, scale: float) -> str:
    values = [of_seed[rule][key] * scale for of_seed in points if rule in of_seed]
    return number(fmean(values)) if values else NOT_AVAILABLE
