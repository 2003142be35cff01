"""Stage `evaluate`: the metrics of one cell, with counts and the reason of each one that cannot be given."""

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prn import layout
from prn.datasets.images import read_mask
from prn.datasets.rows import IndexRow, read_index
from prn.evaluation import PIXEL_METRICS, Chunks, ScoredTestSet, evaluate
from prn.metrics import resize_score_map
from prn.predictions import load_predictions
from prn.provenance.files import write_json
from prn.provenance.sidecars import artefact_hash, verify_artefact
from prn.stages.inputs import Inputs, inputs_of
from prn.stages.job import Job
from prn.stages.tree import tree_base


def run(job: Job) -> None:
    """Write the cell's metrics."""
    predictions, index = job.needed(layout.PREDICTIONS), job.needed(layout.INDEX)
    verify_artefact(predictions)
    started = time.monotonic()
    inputs = inputs_of(job)
    scored = _scored(job, inputs, predictions, index)
    values = evaluate(scored, job.settings.evaluate)
    split = artefact_hash(inputs.files["split"])
    write_json(job.artefact, {**_facts(job, inputs, scored), **values, "split": split})
    files = [predictions, job.path(layout.CHECKPOINT), index, *inputs.files.values()]
    job.finish(files, seconds=time.monotonic() - started)
    shown = ", ".join(f"{name} {_percent(values[name])}" for name in ("image_auroc", *PIXEL_METRICS))
    print(f"{job.artefact}: {shown}")


def _scored(job: Job, inputs: Inputs, predictions: Path, index: Path) -> ScoredTestSet:
    """The scored test images, in the split's order."""
    found, by_path = load_predictions(predictions), {row.path: row for row in read_index(index)}
    rows = [by_path[path] for path in inputs.split.test]
    labels = np.array([row.label for row in rows])
    return ScoredTestSet(
        scores=found.image_scores,
        labels=labels,
        types=[row.type for row in rows],
        unmasked=int(((labels == 1) & ~inputs.tensors.has_mask[inputs.test]).sum()),
        chunks=_chunks(job, found.score_maps, inputs.tensors.masks[inputs.test], rows),
    )


def _chunks(job: Job, maps: np.ndarray, masks: np.ndarray, rows: Sequence[IndexRow]) -> Chunks:
    """A pass over score maps and masks at the working size, or one image at a time at the original size."""
    if job.settings.evaluate.resolution == "working":
        return lambda: [(maps, masks)]
    return partial(_at_original_size, maps, rows, tree_base(job))


def _at_original_size(maps: np.ndarray, rows: Sequence[IndexRow], base: Path) -> Iterator[tuple[Any, Any]]:
    for score_map, row in zip(maps, rows, strict=True):
        mask = read_mask(base / row.mask) if row.mask else np.zeros((row.height, row.width), bool)
        yield resize_score_map(score_map, row.height, row.width)[None], mask[None]


def _facts(job: Job, inputs: Inputs, scored: ScoredTestSet) -> dict[str, Any]:
    """What the reports need to know of the cell besides its metrics: counts, timing and facts of the training."""
    timing = json.loads(job.path(layout.TIMING).read_text(encoding="utf-8"))
    card = json.loads(job.path(layout.RUN_CARD).read_text(encoding="utf-8"))
    return {
        **job.cell,
        "method": card["settings"]["method"],
        "seconds_per_image": timing["batch1_median_s"],
        "timing": timing,
        "resolution": job.settings.evaluate.resolution,
        "counts": {
            "train_normal": len(inputs.split.train_normal),
            "seen": len(inputs.split.seen),
            "test_good": int((scored.labels == 0).sum()),
            "test_defective": int((scored.labels == 1).sum()),
            "test_without_mask": scored.unmasked,
        },
        "train": {
            "seconds": card["seconds"]["train"],
            **{key: card[key] for key in ("steps", "epochs", "images_per_second", "peak_memory_mb", "final_loss")},
        },
        **{key: card[key] for key in ("device", "commit", "tree_clean", "parameters", "weights", "warnings")},
    }


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
