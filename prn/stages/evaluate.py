"""Stage `evaluate`: the metrics of one cell, with counts and the reason of each one that cannot be given."""

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prn import layout
from prn.datasets.images import mask_of
from prn.datasets.rows import IndexRow, read_index
from prn.evaluation import PIXEL_METRICS, Chunks, Scored, evaluate
from prn.metrics import resize_score_map
from prn.predictions import load_predictions
from prn.provenance import artefact_hash, verify_artefact, write_json
from prn.splits import Split, load_split
from prn.stages.cache import category_tensors
from prn.stages.job import Job
from prn.stages.tensors import cached_tensors
from prn.stages.tree import tree_base


def run(job: Job) -> None:
    """Write the cell's metrics."""
    predictions = job.needed(job.path(layout.PREDICTIONS), "predict")
    split_path, index_path = job.path(layout.SPLIT), job.path(layout.INDEX)
    tensors_path = cached_tensors(job)
    verify_artefact(predictions)
    started = time.monotonic()
    split, tensors, rows = load_split(split_path), category_tensors(job), read_index(index_path)
    found = load_predictions(predictions)
    by_path = {row.path: row for row in rows}
    test_rows = [by_path[path] for path in split.test]
    test = tensors.index_of(split.test)
    labels = np.array([row.label for row in test_rows])
    scored = Scored(
        scores=found.image_scores,
        labels=labels,
        types=[row.type for row in test_rows],
        unmasked=int(((labels == 1) & ~tensors.has_mask[test]).sum()),
        chunks=_chunks(job, found.score_maps, tensors.masks[test], test_rows),
    )
    values = evaluate(scored, job.settings.evaluate)
    path = job.path(layout.METRICS)
    write_json(path, {**_facts(job, split, scored), **values, "split": artefact_hash(split_path)})
    inputs = [predictions, job.path(layout.CHECKPOINT), split_path, index_path, tensors_path]
    job.finish(path, inputs, seconds=time.monotonic() - started)
    print(f"{path}: " + ", ".join(f"{name} {_percent(values[name])}" for name in ("image_auroc", *PIXEL_METRICS)))


def _chunks(job: Job, maps: np.ndarray, masks: np.ndarray, rows: Sequence[IndexRow]) -> Chunks:
    """A pass over score maps and masks at the working size, or one image at a time at the original size."""
    if job.settings.evaluate.resolution == "working":
        return lambda: [(maps, masks)]
    return partial(_at_original_size, maps, rows, tree_base(job))


def _at_original_size(maps: np.ndarray, rows: Sequence[IndexRow], base: Path) -> Iterator[tuple[Any, Any]]:
    for score_map, row in zip(maps, rows, strict=True):
        mask = mask_of(base, row) if row.mask else np.zeros((row.height, row.width), bool)
        yield resize_score_map(score_map, row.height, row.width)[None], mask[None]


def _facts(job: Job, split: Split, scored: Scored) -> dict[str, Any]:
    """What the reports need to know of the cell besides its metrics: counts, timing and facts of the training."""
    timing = json.loads(job.path(layout.TIMING).read_text(encoding="utf-8"))
    card = json.loads(job.path(layout.RUN_CARD).read_text(encoding="utf-8"))
    return {
        "dataset": job.dataset,
        "category": job.category,
        "variant": job.variant,
        "method": card["settings"]["method"],
        "seed": job.seed,
        "seconds_per_image": timing["batch1_median_s"],
        "timing": timing,
        "resolution": job.settings.evaluate.resolution,
        "counts": {
            "train_normal": len(split.train_normal),
            "seen": len(split.seen),
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
