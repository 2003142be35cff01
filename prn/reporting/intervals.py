"""How sure the measured numbers are: bootstrap confidence intervals over the test images, category by category."""

from prn.reporting.document import Block, Heading, Table
from prn.reporting.results import METRICS, Results, Row
from prn.reporting.wording import METRIC_NAMES, number, variant_name

NOTE = (
    "95 % intervals from bootstrap replicates over the test images, good and defective ones drawn apart; with several"
    " seeds, the mean of their ends. They say how much these few test images leave open, not how much a training"
    " varies: that is the deviation over seeds. Two values within each other's intervals are not told apart by this"
    " test set."
)


def intervals(dataset: str, results: Results, variants: list[str]) -> list[Block]:
    """A row a category and variant with `value [low, high]` for each metric; nothing where no interval was computed."""
    rows = []
    for category in results.categories(dataset):
        for variant in variants:
            cells = [_interval(results.cell(dataset, category, variant, metric)) for metric in METRICS]
            if any(cells):
                rows.append([category, variant_name(variant), *(cell or "-" for cell in cells)])
    if not rows:
        return []
    header = ["Category", "Method", *(METRIC_NAMES[metric] for metric in METRICS)]
    return [Heading("Confidence intervals"), NOTE, Table(header, rows, left=2)]


def _interval(rows: list[Row]) -> str:
    known = [
        (row.value, row.confidence_low, row.confidence_high)
        for row in rows
        if row.value is not None and row.confidence_low is not None and row.confidence_high is not None
    ]
    if not known:
        return ""
    value, low, high = (sum(ends) / len(known) for ends in zip(*known, strict=True))
    return f"{number(value)} [{number(low)}, {number(high)}]"
