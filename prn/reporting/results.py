"""Measured results: the files of `data/metrics`, gathered in `results.csv`, from which every page is computed.

A run is planned (by the settings), and then done, stale, or not run; a value of a done run is a number or `n/a`.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from prn import layout
from prn.errors import DataCorrupt
from prn.reporting.lineage import STAGES, lineage, peak_memory, stage_seconds
from prn.settings.sections import Settings

METRICS = ("image_auroc", "pixel_auroc", "pro", "ap")
ALL_METRICS = (*METRICS, "seconds_per_image")
PAPER_ORDER = {"mvtec": 0, "dagm": 1, "btad": 2, "ksdd2": 3}
OK, NOT_AVAILABLE, STALE, NOT_RUN = "ok", "n/a", "stale", "not run"

StaleCheck = Callable[[Path, str, str, str], str | None]


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One planned job: a variant on a category with a seed."""

    dataset: str
    category: str
    variant: str
    seed: int

    def metrics_file(self, root: Path) -> Path:
        """Where the run's metrics lie below `root`."""
        return self.file(root, layout.METRICS)

    def file(self, root: Path, pattern: str) -> Path:
        """The file of the run that a pattern of `prn.layout` names."""
        names = {"dataset": self.dataset, "category": self.category, "variant": self.variant, "seed": self.seed}
        return root / layout.path(pattern, **names)

    @property
    def folder(self) -> str:
        """`<dataset>/<category>/<variant>`."""
        return f"{self.dataset}/{self.category}/{self.variant}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `results.csv`: a metric of a run. `value` is in percent, for `seconds_per_image` in seconds.

    `<stage>_seconds` is the wall time of the stage's artefact that the run uses; variants share those before training.
    `peak_memory_mb` is the training's (of the GPU where one is used), `peak_cpu_mb` and `peak_gpu_mb` the highest of
    training, prediction and evaluation.
    """

    dataset: str
    category: str
    variant: str
    seed: int
    metric: str
    value: float | None
    state: str
    reason: str
    confidence_low: float | None
    confidence_high: float | None
    n_train_normal: int | None
    n_seen: int | None
    n_test_good: int | None
    n_test_defective: int | None
    n_test_without_mask: int | None
    download_seconds: float | None
    index_seconds: float | None
    split_seconds: float | None
    tensors_seconds: float | None
    prototypes_seconds: float | None
    train_seconds: float | None
    predict_seconds: float | None
    evaluate_seconds: float | None
    train_steps: int | None
    images_per_second: float | None
    peak_memory_mb: float | None
    peak_cpu_mb: float | None
    peak_gpu_mb: float | None
    batch1_p95_seconds: float | None
    batch32_seconds: float | None
    method: str
    weights: str
    device: str
    commit: str
    tree_clean: bool | None
    parameters: str
    split: str
    warnings: str

    @property
    def run(self) -> Run:
        """The run that the row belongs to."""
        return Run(self.dataset, self.category, self.variant, self.seed)


COLUMNS = tuple(field.name for field in fields(Row))
FLOATS = tuple(field.name for field in fields(Row) if field.type == float | None)


@dataclass(frozen=True, slots=True)
class Summary:
    """A value over seeds or over categories: mean, standard deviation over seeds, and over how many it goes.

    `mean` is None where there is nothing to average; `reason` says why, `state` whether it is n/a, stale or not run.
    """

    mean: float | None
    spread: float | None
    seeds: int
    categories: int
    of_categories: int
    state: str
    reason: str


def planned_runs(settings: Settings) -> list[Run]:
    """The runs that the settings ask for: data sets as the paper orders them, a user's own after them by name.

    The order of the settings' data sets is not kept: the workflow hands them over sorted, a command line does not.
    """
    datasets = settings.benchmark.datasets
    return [
        Run(dataset, category, variant, seed)
        for dataset in sorted(datasets, key=lambda name: (PAPER_ORDER.get(name, len(PAPER_ORDER)), name))
        for run in [datasets[dataset]]
        for category in run.categories
        for variant in run.variants
        for seed in settings.benchmark.seeds
    ]


def unplanned_runs(root: Path, plan: Iterable[Run]) -> int:
    """How many metrics files lie below `root` that the settings do not ask for."""
    expected = {run.metrics_file(root) for run in plan}
    names = layout.METRICS.format(dataset="*", category="*", variant="*", seed="*")
    found = (file for file in root.glob(names) if not file.name.endswith(".prov.json"))
    return sum(file not in expected for file in found)


def read_results(root: Path, plan: Iterable[Run], stale: StaleCheck | None = None) -> list[Row]:
    """The rows of all planned runs that have a metrics file.

    A run for which `stale` gives a reason gets rows without values, in state `stale`.
    Raises `DataCorrupt` for a file that is no metrics file of that run.
    """
    rows: list[Row] = []
    for run in plan:
        file = run.metrics_file(root)
        if file.is_file():
            reason = stale(file, run.dataset, run.category, run.variant) if stale else None
            rows.extend(_rows(run, _read_metrics(file, run), reason, _costs(root, run)))
    return rows


def _read_metrics(file: Path, run: Run) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataCorrupt(f"{file}: not a metrics file ({error}); delete it and run again") from error
    identity = [run.dataset, run.category, run.variant, run.seed]
    found = [data.get(name) for name in ("dataset", "category", "variant", "seed")] if isinstance(data, dict) else []
    if found != identity:
        raise DataCorrupt(f"{file}: holds the metrics of {found}, expected {identity}; delete it and run again")
    for metric in ALL_METRICS:
        value = data.get(metric)
        limit = math.inf if metric == "seconds_per_image" else 1.0
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value) and 0 <= value <= limit):
            raise DataCorrupt(f"{file}: {metric} is {value!r}, expected a number from 0 to {limit:g} or null")
    return data


def _costs(root: Path, run: Run) -> dict[str, float | None]:
    """Wall time by stage and peak memory, from the sidecars of the files that the result was made from."""
    artefacts = lineage(root, run.metrics_file(root))
    seconds = stage_seconds(artefacts, run.dataset, run.category)
    cpu, gpu = peak_memory(artefacts)
    times = {f"{stage}_seconds": _scaled(seconds.get(stage)) for stage in STAGES if stage != "train"}
    return {**times, "peak_cpu_mb": _scaled(cpu), "peak_gpu_mb": _scaled(gpu)}


def _rows(run: Run, data: dict[str, Any], stale: str | None, costs: dict[str, float | None]) -> list[Row]:
    train, counts, timing = (data.get(name) or {} for name in ("train", "counts", "timing"))
    rows = []
    for metric in ALL_METRICS:
        scale = 1.0 if metric == "seconds_per_image" else 100.0
        value = None if stale else data.get(metric)
        low, high = (data.get("confidence") or {}).get(metric) or (None, None)
        if stale:
            state, reason = STALE, stale
        elif value is None:
            state, reason = NOT_AVAILABLE, (data.get("reasons") or {}).get(metric, "no reason was recorded")
        else:
            state, reason = OK, ""
        rows.append(
            Row(
                dataset=run.dataset,
                category=run.category,
                variant=run.variant,
                seed=run.seed,
                metric=metric,
                value=_scaled(value, scale),
                state=state,
                reason=reason,
                confidence_low=None if value is None else _scaled(low, scale),
                confidence_high=None if value is None else _scaled(high, scale),
                n_train_normal=counts.get("train_normal"),
                n_seen=counts.get("seen"),
                n_test_good=counts.get("test_good"),
                n_test_defective=counts.get("test_defective"),
                n_test_without_mask=counts.get("test_without_mask"),
                **costs,
                train_seconds=_scaled(train.get("seconds")),
                train_steps=train.get("steps"),
                images_per_second=_scaled(train.get("images_per_second")),
                peak_memory_mb=_scaled(train.get("peak_memory_mb")),
                batch1_p95_seconds=_scaled(timing.get("batch1_p95_s")),
                batch32_seconds=_scaled(timing.get("batch32_median_s")),
                method=str(data.get("method", "")),
                weights=str(data.get("weights", "")),
                device=str(data.get("device", "")),
                commit=str(data.get("commit", "")),
                tree_clean=data.get("tree_clean"),
                parameters=str(data.get("parameters", "")),
                split=str(data.get("split", "")),
                warnings="; ".join(data.get("warnings") or []),
            )
        )
    return rows


def _scaled(value: float | None, scale: float = 1.0) -> float | None:
    return None if value is None else round(value * scale, 6)


def to_csv(rows: Iterable[Row]) -> str:
    """`results.csv` as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if (value := getattr(row, name)) is None else value for name in COLUMNS])
    return buffer.getvalue()


def from_csv(text: str) -> list[Row]:
    """The rows of `results.csv`."""
    return [_parsed(row) for row in csv.DictReader(io.StringIO(text))]


def _parsed(row: dict[str, str]) -> Row:
    values: dict[str, Any] = dict(row)
    for name, value in row.items():
        if name in FLOATS:
            values[name] = float(value) if value else None
        elif name.startswith("n_") or name in ("seed", "train_steps"):
            values[name] = int(value) if value else None
        elif name == "tree_clean":
            values[name] = {"True": True, "False": False}.get(value)
    return Row(**values)


class Results:
    """Look-ups over the rows of `results.csv` and the plan."""

    def __init__(self, rows: Iterable[Row], plan: Iterable[Run]) -> None:
        self.rows = list(rows)
        self.plan = list(plan)
        self._by_cell: dict[tuple[str, str, str, str], list[Row]] = {}
        for row in self.rows:
            self._by_cell.setdefault((row.dataset, row.category, row.variant, row.metric), []).append(row)
        self.done = {row.run for row in self.rows if row.state != STALE}
        self.stale = {row.run: row.reason for row in self.rows if row.state == STALE}
        self.missing = [run for run in self.plan if run not in self.done and run not in self.stale]

    def datasets(self) -> list[str]:
        """The planned data sets, in order."""
        return list(dict.fromkeys(run.dataset for run in self.plan))

    def categories(self, dataset: str) -> list[str]:
        """The planned categories of a data set, in order."""
        return list(dict.fromkeys(run.category for run in self.plan if run.dataset == dataset))

    def variants(self, dataset: str | None = None) -> list[str]:
        """The planned variants (of a data set), in order."""
        return list(dict.fromkeys(run.variant for run in self.plan if dataset in (None, run.dataset)))

    def cell(self, dataset: str, category: str, variant: str, metric: str) -> list[Row]:
        """The rows of one metric of a variant on a category, one a seed."""
        return self._by_cell.get((dataset, category, variant, metric), [])

    def seeds_of(self, dataset: str, category: str, variant: str) -> list[int]:
        """The seeds with a current result."""
        return [row.seed for row in self.cell(dataset, category, variant, "image_auroc") if row.state != STALE]

    def value(self, dataset: str, category: str, variant: str, metric: str) -> Summary:
        """Mean and spread over the seeds of one category."""
        rows = self.cell(dataset, category, variant, metric)
        values = [row.value for row in rows if row.value is not None]
        if values:
            return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values), 1, 1, OK, "")
        if not rows:
            return Summary(None, None, 0, 0, 1, NOT_RUN, "not run")
        state = NOT_AVAILABLE if any(row.state == NOT_AVAILABLE for row in rows) else STALE
        reasons = dict.fromkeys(row.reason for row in rows if row.state == state)
        return Summary(None, None, 0, 0, 1, state, "; ".join(reasons))

    def mean(self, dataset: str, variant: str, metric: str, categories: Iterable[str] | None = None) -> Summary:
        """The mean over the categories that have a value; its spread over the seeds that all of these have.

        `categories` are the planned ones unless given.
        """
        names = list(categories if categories is not None else self.categories(dataset))
        cells = {name: self.value(dataset, name, variant, metric) for name in names}
        present = {name: cell.mean for name, cell in cells.items() if cell.mean is not None}
        if not present:
            states = {cell.state for cell in cells.values()}
            state = next((s for s in (NOT_AVAILABLE, STALE) if s in states), NOT_RUN)
            reason = "; ".join(dict.fromkeys(cell.reason for cell in cells.values() if cell.state == state))
            return Summary(None, None, 0, 0, len(names), state, reason or NOT_RUN)
        by_seed: dict[int, list[float]] = {}
        for name in present:
            for row in self.cell(dataset, name, variant, metric):
                if row.value is not None:
                    by_seed.setdefault(row.seed, []).append(row.value)
        whole = [fmean(values) for values in by_seed.values() if len(values) == len(present)]
        spread = stdev(whole) if len(whole) > 1 else None
        return Summary(fmean(present.values()), spread, len(by_seed), len(present), len(names), OK, "")
