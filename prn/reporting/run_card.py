"""A run card for each run: what was run, on what, how long it took, what came out; as JSON and short Markdown."""

import json
import re
from pathlib import Path
from typing import Any

from prn import layout
from prn.errors import DataCorrupt
from prn.provenance.files import write_text
from prn.reporting.document import Block, Bullets, Code, Heading, Page, Table, markdown
from prn.reporting.lineage import STAGES, lineage
from prn.reporting.results import ALL_METRICS, METRICS, Results, Run
from prn.reporting.wording import (
    METRIC_NAMES,
    dataset_name,
    generated_title,
    number,
    plural,
    seconds_text,
    variant_name,
)
from prn.settings.sections import Settings

# An absolute path of two or more parts, not part of an address; a Windows path with its drive.
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])(?:~|/)[\w.@+~-]*(?:/[\w.@+ ~-]*[\w.@+~-])+/?|\b[A-Za-z]:\\[^\s\"']+")


def card_path(run: Run, ending: str) -> str:
    """Where the run's card lies below `reports/`."""
    return f"runs/{run.folder}/seed{run.seed}{ending}"


def read_card(root: Path, run: Run) -> dict[str, Any] | None:
    """The training's own card (without machine-bound paths), or None where the run has none.

    Raises `DataCorrupt` when the file is no JSON object.
    """
    file = run.file(root, layout.RUN_CARD)
    if not file.is_file():
        return None
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataCorrupt(f"{file}: not a run card ({error}); run the training again") from error
    if not isinstance(card, dict):
        raise DataCorrupt(f"{file}: not a run card; run the training again")
    return without_paths(card, root)


def without_paths(value: Any, root: Path) -> Any:
    """`value` with the work folder's own path taken away and any other absolute path cut down to its last part."""
    if isinstance(value, dict):
        return {without_paths(key, root): without_paths(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item, root) for item in value]
    if not isinstance(value, str):
        return value
    folder = str(root.resolve())
    text = value.replace(f"{folder}/", "").replace(folder, ".") if len(folder) > 1 else value
    return _ABSOLUTE.sub(lambda match: "…/" + re.split(r"[/\\]", match[0].rstrip("/"))[-1], text)


def write_run_cards(root: Path, folder: Path, settings: Settings, results: Results) -> list[Run]:
    """Write the card of every run that has a current result; returns those runs."""
    runs = [run for run in results.plan if run in results.done]
    for run in runs:
        card = {
            **_identity(run),
            "training": read_card(root, run),
            "results": _results(results, run),
            "archives": _archives(root, run.dataset),
            "lineage": _lineage(root, run),
        }
        text = json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_text(folder / card_path(run, ".json"), text)
        write_text(folder / card_path(run, ".md"), markdown(card_page(run, card, settings.benchmark.preset)))
    return runs


def runs_page(settings: Settings, results: Results, runs: list[Run]) -> Page:
    """`runs.md`: every run with its numbers and its card."""
    page = Page("runs.md", generated_title("Runs", settings))
    rows = []
    for run in runs:
        cells = {
            row.metric: _metric(row.value if row.value is not None else row.state)
            for metric in METRICS
            for row in results.cell(run.dataset, run.category, run.variant, metric)
            if row.seed == run.seed
        }
        name = [dataset_name(run.dataset), run.category, variant_name(run.variant), str(run.seed)]
        rows.append([*name, f"[card]({card_path(run, '.md')})", *(cells[metric] for metric in METRICS)])
    header = ["Data set", "Category", "Variant", "Seed", "Card", *(METRIC_NAMES[metric] for metric in METRICS)]
    page.add(Table(header, rows, left=5) if rows else "Nothing has been run yet.")
    return page


def _identity(run: Run) -> dict[str, Any]:
    return {"dataset": run.dataset, "category": run.category, "variant": run.variant, "seed": run.seed}


def _archives(root: Path, dataset: str) -> dict[str, str]:
    """The sha256 of the archives that the data set was extracted from; empty for a user's folder."""
    file = root / layout.RECEIPT.format(dataset=dataset)
    receipt = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return receipt.get("archives") or {}


def _lineage(root: Path, run: Run) -> list[dict[str, Any]]:
    """The files behind the result, from the metrics back to the receipt of the archive, each with its hash."""
    return [
        {"file": without_paths(one.path, root), "sha256": one.sha256, "stage": one.stage}
        for one in lineage(root, run.metrics_file(root))
        if one.sha256
    ]


def _results(results: Results, run: Run) -> dict[str, Any]:
    rows = [row for metric in ALL_METRICS for row in results.cell(run.dataset, run.category, run.variant, metric)]
    rows = [row for row in rows if row.seed == run.seed]
    first = rows[0]
    return {
        "metrics": {row.metric: row.value if row.value is not None else f"{row.state}: {row.reason}" for row in rows},
        "test_images": {"good": first.n_test_good, "defective": first.n_test_defective},
        "training_images": {"normal": first.n_train_normal, "seen_anomalies": first.n_seen},
        "split": first.split,
        "parameters": first.parameters,
        "commit": first.commit,
        "tree_clean": first.tree_clean,
        "device": first.device,
        "weights": first.weights,
        "seconds": {stage: getattr(first, f"{stage}_seconds") for stage in STAGES},
        "peak_memory_mb": {"training": first.peak_memory_mb, "cpu": first.peak_cpu_mb, "gpu": first.peak_gpu_mb},
        "warnings": [warning for warning in first.warnings.split("; ") if warning],
    }


def card_page(run: Run, card: dict[str, Any], preset: str) -> Page:
    """The card as a page."""
    found, training = card["results"], card["training"] or {}
    title = f"{dataset_name(run.dataset)} {run.category}, {variant_name(run.variant)}, seed {run.seed}"
    page = Page(card_path(run, ".md"), f"Run card: {title}", preset=preset)
    metrics = found["metrics"]
    page.add(
        Table([METRIC_NAMES[name] for name in METRICS], [[_metric(metrics.get(name)) for name in METRICS]], left=0),
        Bullets(_facts(found, training)),
    )
    if training.get("command"):
        page.add(
            Heading("Command"),
            Code(str(training["command"])),
            f"It was run by the command in [README.md]({'../' * page.name.count('/')}README.md), which hands over the"
            " settings below; by hand it takes them from `params.yaml` and the file that `--preset` names.",
        )
    page.add(*_files(card))
    for title, name in (("Settings", "settings"), ("Versions", "versions")):
        rows = [[f"`{key}`", f"`{value}`"] for key, value in sorted(_flat(training.get(name) or {}).items())]
        if rows:
            page.add(Heading(title), Table(["Name", "Value"], rows, left=2))
    warnings = list(dict.fromkeys([*found["warnings"], *map(str, training.get("warnings") or [])]))
    page.add(Heading("Warnings"), Bullets(warnings) if warnings else "None.")
    page.add(f"[The same as JSON](seed{run.seed}.json)")
    return page


def _files(card: dict[str, Any]) -> list[Block]:
    """The files that the result was made from, with their hashes."""
    rows = [[f"`{one['file']}`", one["stage"] or "-", f"`{one['sha256']}`"] for one in card["lineage"]]
    if not rows:
        hashes = (card["training"] or {}).get("hashes") or {}
        rows = [[f"`{name}`", "-", f"`{digest}`"] for name, digest in sorted(hashes.items())]
    rows += [[f"`{name}` (archive)", "-", f"`{digest}`"] for name, digest in sorted(card["archives"].items())]
    return [Heading("Files, from the metrics back to the archive"), Table(["File", "Made by", "sha256"], rows, left=3)]


def _metric(value: float | str | None) -> str:
    if value is None:
        return "n/a"
    return value if isinstance(value, str) else number(value)


def _facts(found: dict[str, Any], training: dict[str, Any]) -> list[str]:
    images, tested = found["training_images"], found["test_images"]
    facts = [
        f"trained on {images['normal']} normal images and {images['seen_anomalies']} seen anomalies;"
        f" tested on {tested['good']} good and {tested['defective']} defective images",
        f"commit `{found['commit']}`, tree {'clean' if found['tree_clean'] else 'not clean'}",
        f"parameters `{found['parameters']}`, split `{found['split']}`",
        f"device {found['device']}; weights: {found['weights']}",
    ]
    seconds = {stage: value for stage, value in found["seconds"].items() if value is not None}
    times = [f"{stage} {seconds_text(value)}" for stage, value in seconds.items()]
    memory = {"CPU": found["peak_memory_mb"]["cpu"], "GPU": found["peak_memory_mb"]["gpu"]}
    most = [f"{name} {value:,.0f} MB" for name, value in memory.items() if value is not None]
    if not most and found["peak_memory_mb"]["training"]:
        most = [f"{found['peak_memory_mb']['training']:,.0f} MB (training)"]
    facts += [
        f"wall time by stage: {', '.join(times) or 'not recorded'}",
        f"peak memory: {', '.join(most) or 'not recorded'}",
    ]
    if not training:
        return [*facts, "no training: nothing was fitted, or its card is not kept here"]
    return [
        *facts,
        f"{plural(training.get('steps') or 0, 'step')}; precision {training.get('precision')},"
        f" {plural(training.get('threads') or 1, 'thread')},"
        f" deterministic algorithms {'on' if training.get('deterministic') else 'off'}",
    ]


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            flat.update(_flat(item, f"{name}."))
        else:
            flat[name] = item
    return flat
