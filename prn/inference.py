"""Inference: batched score maps, and the time an image takes, measured as the paper's column T."""

import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prn.datasets.images import read_image, resize_image
from prn.errors import PrnError, memory_errors

TIMING_BUDGET_S = 20.0


def predict(method: Any, images: np.ndarray, batch_size: int, label: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Score maps N x S x S (float32) and image scores N (float64) of uint8 N x S x S x 3, in batches.

    Raises `PrnError` when a score is not finite; `label` (data set, category, variant, seed) is named in it.
    """
    all_maps, all_scores = np.empty(images.shape[:3], np.float32), np.empty(len(images), np.float64)
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        with memory_errors(f"score maps of {batch_size} images at once", "predict.batch_size"):
            all_maps[batch], all_scores[batch] = method.predict(images[batch])
    bad = np.flatnonzero(~np.isfinite(all_scores) | ~np.isfinite(all_maps).all(axis=(1, 2)))
    if len(bad):
        raise PrnError(
            f"{f'{label}: ' if label else ''}{len(bad)} of {len(all_maps)} score maps are not finite (first: image"
            f" {bad[0]} of the test set); train again, with train.precision: float32 or a lower train.learning_rate"
        )
    return all_maps, all_scores


def measure(
    method: Any, images: np.ndarray, batch_size: int, repeats: int, files: Sequence[Path] = ()
) -> dict[str, float]:
    """Seconds per image, batch 1 and `batch_size`: median and 95th percentile, synchronised, after a warm-up.

    The clock starts with a decoded image in memory and ends with its score map back there; for the entries
    `..._with_file_...`, given where there are `files`, it starts before the file is read, decoded and resized. Each
    measurement stops after `repeats` runs or `TIMING_BUDGET_S` seconds.
    """
    result: dict[str, float] = {}
    for size in sorted({1, batch_size}):
        times = np.array(_times(method, images, files, size, repeats)) / size
        for name, column in (("", 0), ("_with_file", 1)) if files else (("", 0),):
            result[f"batch{size}{name}_median_s"] = float(np.median(times[:, column]))
            result[f"batch{size}{name}_p95_s"] = float(np.percentile(times[:, column], 95))
    return result


def _times(
    method: Any, images: np.ndarray, files: Sequence[Path], size: int, repeats: int
) -> list[tuple[float, float]]:
    """Seconds of each run, from the decoded batch on and from its files on (the same without files)."""
    batch = np.concatenate([images] * (size // len(images) + 1))[:size]
    queue = cycle(files)
    method.predict(batch)
    times: list[tuple[float, float]] = []
    while len(times) < repeats and sum(whole for _, whole in times) < TIMING_BUDGET_S:
        _synchronise()
        started = time.perf_counter()
        if files:
            batch = np.stack([resize_image(read_image(file), images.shape[1]) for file in islice(queue, size)])
        decoded = time.perf_counter()
        method.predict(batch)
        _synchronise()
        ended = time.perf_counter()
        times.append((ended - decoded, ended - started))
    return times


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
