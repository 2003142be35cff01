"""The PRO of other projects' evaluations beside the exact one, where the settings ask for it (`evaluate.legacy`)."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from prn.metrics import LEGACY_EXPLANATION
from prn.reporting.document import Block, Heading, Table
from prn.reporting.operating import current_metrics
from prn.reporting.results import NOT_AVAILABLE, Results
from prn.reporting.wording import number, variant_name

COLUMNS = (
    ("legacy_pro_rd4ad_200", "legacy: RD4AD's 200 thresholds"),
    ("legacy_pro_cflow_1000", "legacy: CFLOW's 1000 thresholds"),
)


def legacy_blocks(root: Path, dataset: str, results: Results, variants: Iterable[str]) -> list[Block]:
    """A row a category and variant with the exact PRO and the legacy columns; nothing where none was computed."""
    rows = []
    for category in results.categories(dataset):
        for variant in variants:
            found = [data for data in current_metrics(root, dataset, category, variant, results) if data["legacy"]]
            if found:
                values = [[data.get("pro") for data in found]]
                values += [[data["legacy"].get(key) for data in found] for key, _ in COLUMNS]
                rows.append([category, variant_name(variant), *(_mean(each) for each in values)])
    if not rows:
        return []
    header = ["Category", "Method", "PRO (exact)", *(title for _, title in COLUMNS)]
    return [Heading("PRO as other evaluations compute it"), LEGACY_EXPLANATION, Table(header, rows)]


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(100 * fmean(known)) if known else NOT_AVAILABLE
