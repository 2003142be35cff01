"""The results in the form that tools for experiments read: `reports/metrics/` and `reports/plots/`, a file a variant.

`metrics/<variant>.json` holds each data set's means in percent, `plots/<variant>.csv` the values of its categories.
"""

import csv
import io
import json
from pathlib import Path

from prn.provenance.files import write_text
from prn.reporting.results import METRICS, Results

DECIMALS = 3


def write_summary(folder: Path, results: Results) -> list[str]:
    """Write both folders below `folder`; the files' names in it. A variant without a current result has none."""
    texts: dict[str, str] = {}
    for variant in results.variants():
        if means := _means(results, variant):
            texts[f"metrics/{variant}.json"] = json.dumps(means, indent=1) + "\n"
            texts[f"plots/{variant}.csv"] = _table(results, variant)
    for name, text in texts.items():
        write_text(folder / name, text)
    return list(texts)


def _means(results: Results, variant: str) -> dict[str, dict[str, float]]:
    """Data set -> metric -> mean over its categories and seeds; only where every planned category has a value."""
    found: dict[str, dict[str, float]] = {}
    for dataset in results.datasets():
        for metric in METRICS if variant in results.variants(dataset) else ():
            summary = results.mean(dataset, variant, metric)
            if summary.mean is not None and summary.categories == summary.of_categories:
                found.setdefault(dataset, {})[metric] = round(summary.mean, DECIMALS)
    return found


def _table(results: Results, variant: str) -> str:
    """One row a category: its name and each metric's mean over the seeds, empty where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["category", *METRICS])
    for dataset in results.datasets():
        for category in results.categories(dataset) if variant in results.variants(dataset) else ():
            means = [results.value(dataset, category, variant, metric).mean for metric in METRICS]
            if any(mean is not None for mean in means):
                cells = ["" if mean is None else round(mean, DECIMALS) for mean in means]
                writer.writerow([f"{dataset} {category}", *cells])
    return buffer.getvalue()
