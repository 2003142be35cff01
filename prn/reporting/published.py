"""The paper's numbers (`published.csv`): what PRN's authors and ARD's supplement printed, looked up by variant.

Copied as printed, with the sources' own contradictions: Table 3's DRA row (P 84.1, O 71.5, A 25.7) is not that of
Tables 1, 2 and 7 (85.3, 73.3, 26.0); ARD's PRO mean on DAGM (94.7) does not follow from its classes (91.7).
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")
MEAN = "mean"

# A row of Tables 3 to 7 and the variant that measures it.
SETTING_VARIANTS = {
    ("3", "CFLOW", "backbone=wide_resnet50"): "cflow",
    ("3", "RD4AD", "backbone=wide_resnet50"): "rd4ad",
    ("3", "PatchCore", "backbone=wide_resnet50"): "patchcore",
    ("3", "CFLOW", "backbone=resnet18"): "cflow-resnet18",
    ("3", "RD4AD", "backbone=resnet18"): "rd4ad-resnet18",
    ("3", "DRA", "backbone=resnet18"): "dra",
    ("3", "PRN", "backbone=resnet18"): "prn",
    ("4", "PRN", "unet"): "prn-unet",
    ("4", "PRN", "unet+mp+mf"): "prn-no-msa",
    ("4", "PRN", "unet+msa+mf"): "prn-no-mp",
    ("4", "PRN", "unet+mp+msa"): "prn-no-mf",
    ("4", "PRN", "unet+mp+msa+mf"): "prn",
    ("5", "PRN", "ea+ta"): "prn-ea-only",
    ("5", "PRN", "ea+hea+ta"): "prn-no-hoa",
    ("5", "PRN", "ea+hoa+ta"): "prn-no-hea",
    ("5", "PRN", "hea+hoa+ta"): "prn-no-ea",
    ("5", "PRN", "ea+hea+hoa"): "prn-no-ta",
    ("5", "PRN", "ea+hea+hoa+ta"): "prn",
    ("6", "PRN", "prototype_ratio=0.05"): "prn-ratio-05",
    ("6", "PRN", "prototype_ratio=0.10"): "prn",
    ("6", "PRN", "prototype_ratio=0.20"): "prn-ratio-20",
    ("6", "PRN", "prototype_ratio=1.00"): "prn-ratio-100",
    ("7", "DevNet", "seen_anomalies=1"): "devnet-shots-1",
    ("7", "DevNet", "seen_anomalies=5"): "devnet-shots-5",
    ("7", "DevNet", "seen_anomalies=10"): "devnet",
    ("7", "DRA", "seen_anomalies=1"): "dra-shots-1",
    ("7", "DRA", "seen_anomalies=5"): "dra-shots-5",
    ("7", "DRA", "seen_anomalies=10"): "dra",
    ("7", "PRN", "seen_anomalies=1"): "prn-shots-1",
    ("7", "PRN", "seen_anomalies=5"): "prn-shots-5",
    ("7", "PRN", "seen_anomalies=10"): "prn",
}
# Where a number that is printed twice is looked up first: Tables 1 and 2 come before Table 3, whose DRA row differs.
TABLE_ORDER = ("1", "2", "S1", "S2", "8", "3", "4", "5", "6", "7")


@dataclass(frozen=True, slots=True)
class Published:
    """One printed number; `variant` is the name under which this project measures it, empty for ARD's comparison."""

    source: str
    table: str
    dataset: str
    category: str
    method: str
    setting: str
    metric: str
    value: float
    variant: str


@cache
def published() -> tuple[Published, ...]:
    """All printed numbers, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_row(row) for row in csv.DictReader(file))


def _row(row: dict[str, str]) -> Published:
    if row["source"] == "ard_supplement":
        variant = ""
    elif row["setting"]:
        variant = SETTING_VARIANTS[row["table"], row["method"], row["setting"]]
    else:
        variant = row["method"].lower()
    return Published(**{**row, "value": float(row["value"]), "variant": variant})  # type: ignore[arg-type]


@cache
def _index() -> dict[tuple[str, str, str, str], float]:
    found: dict[tuple[str, str, str, str], float] = {}
    for table in TABLE_ORDER:
        for row in published():
            if row.table == table and row.variant:
                found.setdefault((row.dataset, row.category, row.variant, row.metric), row.value)
    return found


def published_value(dataset: str, category: str, variant: str, metric: str) -> float | None:
    """What PRN's paper printed, in its own unit (percent, seconds), or None; `category` may be `mean`.

    KolektorSDD2 has one category, whose numbers are its means.
    """
    if dataset == category:
        category = MEAN
    return _index().get((dataset, category, variant, metric))


def published_mean(dataset: str, categories: tuple[str, ...], variant: str, metric: str) -> float | None:
    """The printed mean where `categories` are all of the data set's, else the mean of their printed values.

    None where the paper has no such number.
    """
    printed = {row.category for row in published() if row.dataset == dataset and row.category != MEAN}
    if not printed - set(categories):
        return published_value(dataset, MEAN, variant, metric)
    values = [published_value(dataset, category, variant, metric) for category in categories]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def table_rows(table: str, dataset: str | None = None) -> list[Published]:
    """The rows of a printed table (`1` to `8`, `S1`, `S2`, `ARD1`, `ARD2`), in its order."""
    return [row for row in published() if row.table == table and dataset in (None, row.dataset)]


def measured_by(dataset: str) -> list[str]:
    """The variants for which the paper has numbers per category or means of this data set."""
    names = [row.variant for row in published() if row.dataset == dataset and row.variant and not row.setting]
    return list(dict.fromkeys(names))
