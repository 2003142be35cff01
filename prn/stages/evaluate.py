"""Stage `evaluate`: the metrics of one cell, with counts and the reason of each one that cannot be given."""

import json

import numpy as np
from safetensors import safe_open

from prn import layout
from prn.datasets.images import CategoryTensors
from prn.datasets.index import read_index
from prn.metrics import image_auroc, localization_metrics
from prn.provenance import artefact_hash, write_json
from prn.splits import load_split
from prn.stages.job import Job

PIXEL_METRICS = ("pixel_auroc", "pro", "ap")
Values = dict[str, float | None]


def run(job: Job) -> None:
    """Write the cell's metrics."""
    predictions = job.needed(job.path(layout.PREDICTIONS), "predict")
    split_path, index_path = job.path(layout.SPLIT), job.path(layout.INDEX)
    tensors_path = job.needed(job.tensors(), "tensors")
    timing = json.loads(job.path(layout.TIMING).read_text(encoding="utf-8"))
    card_path = job.path(layout.RUN_CARD)
    split, tensors = load_split(split_path), CategoryTensors.load(tensors_path)
    with safe_open(predictions, "np") as file:
        maps, scores = file.get_tensor("score_maps"), file.get_tensor("image_scores")
    rows = {row.path: row for row in read_index(index_path)}
    labels = np.array([rows[path].label for path in split.test])
    test = tensors.index_of(split.test)
    unmasked = int(((labels == 1) & ~tensors.has_mask[test]).sum())
    values, reasons = _image_metrics(scores, labels)
    pixel_values, pixel_reasons = _pixel_metrics(maps, tensors.masks[test], unmasked, job.settings.evaluate.fpr_limit)
    values, reasons = {**values, **pixel_values}, {**reasons, **pixel_reasons}
    card = json.loads(card_path.read_text(encoding="utf-8"))
    result = {
        "dataset": job.dataset,
        "category": job.category,
        "variant": job.variant,
        "method": card["settings"]["method"],
        "seed": job.seed,
        **values,
        "reasons": reasons,
        "seconds_per_image": timing["batch1_median_s"],
        "timing": timing,
        "counts": {
            "train_normal": len(split.train_normal),
            "seen": len(split.seen),
            "test_good": int((labels == 0).sum()),
            "test_defective": int((labels == 1).sum()),
            "test_without_mask": unmasked,
        },
        "train": {
            "seconds": card["seconds"]["train"],
            **{key: card[key] for key in ("steps", "epochs", "images_per_second", "peak_memory_mb", "final_loss")},
        },
        **{key: card[key] for key in ("device", "commit", "tree_clean", "parameters", "weights", "warnings")},
        "split": artefact_hash(split_path),
    }
    path = job.path(layout.METRICS)
    write_json(path, result)
    job.finish(path, [predictions, split_path, index_path, tensors_path])
    print(f"{path}: " + ", ".join(f"{name} {_percent(value)}" for name, value in values.items()))


def _image_metrics(scores: np.ndarray, labels: np.ndarray) -> tuple[Values, dict[str, str]]:
    """Image AUROC (0 to 1), None with a reason where the test set has one class only."""
    value = image_auroc(scores, labels)
    reason = "the test set has only good or only defective images"
    return {"image_auroc": value}, {} if value is not None else {"image_auroc": reason}


def _pixel_metrics(
    maps: np.ndarray, masks: np.ndarray, unmasked: int, fpr_limit: float
) -> tuple[Values, dict[str, str]]:
    """Pixel AUROC, PRO and AP (0 to 1), None with a reason where a defect has no mask or a class is absent."""
    if unmasked:
        reason = f"{unmasked} defective test images have no mask"
        return dict.fromkeys(PIXEL_METRICS), dict.fromkeys(PIXEL_METRICS, reason)
    found = localization_metrics(maps, masks, fpr_limit=fpr_limit)
    values: Values = {name: found[name] for name in PIXEL_METRICS}
    reason = "the test masks have only defective or only normal pixels"
    return values, {name: reason for name, value in values.items() if value is None}


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"
