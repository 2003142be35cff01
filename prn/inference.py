"""Inference: batched score maps, and the time an image takes, measured as the paper's column T."""

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from prn.errors import PrnError, memory_errors

TIMING_BUDGET_S = 20.0


def predict(method: Any, images: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Score maps N x S x S (float32) and image scores N (float64) of uint8 N x S x S x 3, in batches.

    Raises `PrnError` when a score is not finite.
    """
    maps, scores = [], []
    for start in range(0, len(images), batch_size):
        with memory_errors(f"score maps of {batch_size} images at once", "predict.batch_size"):
            batch_maps, batch_scores = method.predict(images[start : start + batch_size])
        maps.append(batch_maps)
        scores.append(batch_scores)
    all_maps, all_scores = np.concatenate(maps), np.concatenate(scores)
    bad = np.flatnonzero(~np.isfinite(all_scores) | ~np.isfinite(all_maps).all(axis=(1, 2)))
    if len(bad):
        raise PrnError(
            f"{len(bad)} of {len(all_maps)} score maps are not finite (first: image {bad[0]} of the test set)"
        )
    return all_maps, all_scores


def measure(method: Any, images: np.ndarray, batch_size: int, repeats: int) -> dict[str, float]:
    """Seconds an image, batch 1 and `batch_size`: median and 95th percentile, synchronised, after a warm-up.

    The clock starts with a decoded image in memory and ends with its score map back there. Each measurement stops
    after `repeats` runs or `TIMING_BUDGET_S` seconds.
    """
    result: dict[str, float] = {}
    for size in (1, batch_size):
        batch = np.concatenate([images] * (size // len(images) + 1))[:size]
        times = _times(functools.partial(method.predict, batch), repeats)
        result[f"batch{size}_median_s"] = float(np.median(times)) / size
        result[f"batch{size}_p95_s"] = float(np.percentile(times, 95)) / size
    return result


def _times(call: Callable[[], Any], repeats: int) -> list[float]:
    call()
    times: list[float] = []
    while len(times) < repeats and sum(times) < TIMING_BUDGET_S:
        _synchronise()
        started = time.perf_counter()
        call()
        _synchronise()
        times.append(time.perf_counter() - started)
    return times


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
