"""What a training and an image cost on this machine, from a few steps on random images: the parts of an estimate.

A step takes a fixed time (the optimiser) and a time per image. Where the whole batch would take too long, two small
batches give both, and the same two give the memory. Nothing here reads a data set or weights: no layer's time depends
on its values.
"""

import math
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from prn.backbone import Backbone, random_weights
from prn.devices import one_gpu, torch_device
from prn.fitting import FitInputs, FitReport
from prn.methods.base import method_class
from prn.prototypes import cluster_prototypes
from prn.settings.methods import METHODS
from prn.settings.sections import BatchSettings, Settings

SMALL = BatchSettings(normal=2, extended=1, simulated=1)
LARGE = BatchSettings(normal=4, extended=2, simulated=2)
STEPS_SMALL, STEPS_LARGE, STEPS_WHOLE = 4, 3, 6  # the first of each warms up; at most 20 together
WHOLE_S = 20.0  # the whole batch is tried where its steps should take less
IMAGES = 8  # random images that stand for a category


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one method at one size. step_s is None for a method that is not trained by steps of `train`.

    fit_s_image: seconds per normal image of a training without steps; prototypes_s_image: of clustering.
    peak_mb: memory of a training, the cached images left aside; probed: whether the whole batch was tried, or
    computed from smaller ones.
    """

    step_s: float | None
    fit_s_image: float
    predict_s: float
    predict_batch_s: float
    prototypes_s_image: float
    peak_mb: float
    checkpoint_bytes: int
    prototype_bytes: int
    steps: int
    probed: bool


def probe(settings: Settings) -> Cost:
    """The cost of a resolved variant. Raises `PrnError` where the memory does not suffice even for a small batch."""
    entry, device = METHODS[settings.method], torch_device()
    torch.set_num_threads(settings.train.threads)
    inputs = random_inputs(settings.tensors.size)
    weights, prototypes, prototypes_s = None, None, 0.0
    if entry.needs("backbone", settings):
        weights = random_weights(settings.model.backbone, 0)
    if entry.needs("prototypes", settings):
        assert weights is not None
        encoder = Backbone(settings.model.backbone, weights, train_layer4=False).to(device)
        started = time.monotonic()
        prototypes = cluster_prototypes(encoder, inputs.normals, settings.prototypes.ratio, device=device)
        prototypes_s = (time.monotonic() - started) / IMAGES
    by_steps = settings.method == "prn"

    def fit(batch: BatchSettings, steps: int) -> tuple[Any, FitReport]:
        train = settings.train.changed(batch=batch, steps=steps, precise_norm_batches=0)
        method = method_class(settings.method)(settings.changed(train=train), weights, prototypes, device)
        return method, method.fit(inputs)

    if by_steps:
        method, step_s, peak_mb, steps, probed = _steps(fit, settings, device)
        fit_s = 0.0
    else:
        method, report = fit(settings.train.batch, 1)
        step_s, steps, probed, peak_mb, fit_s = None, 0, True, report.peak_memory_mb, report.seconds / IMAGES
    tensors = method.tensors()
    method = method_class(settings.method)(settings, weights, prototypes, device)
    method.load(tensors)
    predict_s, predict_batch_s = _predictions(method, inputs.normals, settings.predict.batch_size)
    return Cost(
        step_s=step_s,
        fit_s_image=fit_s,
        predict_s=predict_s,
        predict_batch_s=predict_batch_s,
        prototypes_s_image=prototypes_s,
        peak_mb=peak_mb,
        checkpoint_bytes=sum(value.nbytes for value in tensors.values()),
        prototype_bytes=0 if prototypes is None else sum(maps[0].nbytes for maps in prototypes.maps),
        steps=steps,
        probed=probed,
    )


def probe_alone(settings: Settings) -> Cost:
    """`probe` on a GPU that no other job uses, where there are GPUs; for a process of its own."""
    with one_gpu():
        return probe(settings)


def _steps(fit: Any, settings: Settings, device: torch.device) -> tuple[Any, float, float, int, bool]:
    """(method, seconds per step, peak MB, steps done, whether the whole batch was tried)."""
    batch = settings.train.batch
    whole, small, large = (sum(each.model_dump().values()) for each in (batch, SMALL, LARGE))
    at_once = min(whole, settings.train.micro_batch or whole)
    if whole <= large or device.type == "cuda":
        method, report = fit(batch, STEPS_WHOLE)
        return method, _step_seconds(report), report.peak_memory_mb, STEPS_WHOLE, True
    _, first = fit(SMALL, STEPS_SMALL)
    seconds = _step_seconds(first)
    done = STEPS_SMALL
    if seconds / small * whole * STEPS_WHOLE < WHOLE_S:
        method, report = fit(batch, STEPS_WHOLE)
        return method, _step_seconds(report), report.peak_memory_mb, done + STEPS_WHOLE, True
    method, second = fit(LARGE, STEPS_LARGE)
    fixed, slope = line(small, seconds, large, _step_seconds(second))
    base, a_image = line(small, first.peak_memory_mb, large, second.peak_memory_mb)
    return method, fixed + slope * whole, base + a_image * at_once, done + STEPS_LARGE, False


def line(small: int, at_small: float, large: int, at_large: float) -> tuple[float, float]:
    """(value at 0, slope) of the line through two points; a line that falls, or starts below 0, starts at 0 instead."""
    slope = (at_large - at_small) / (large - small)
    start = at_small - slope * small
    return (start, slope) if slope > 0 and start >= 0 else (0.0, at_large / large)


def _step_seconds(report: FitReport) -> float:
    """Median seconds of the steps after the first."""
    ends = [row["seconds"] for row in report.log]
    return statistics.median(after - before for before, after in pairwise(ends))


def _predictions(method: Any, images: np.ndarray, batch_size: int) -> tuple[float, float]:
    """Seconds of one image alone, and of a whole batch (computed from a smaller one where it is large)."""
    times = []
    tried = min(batch_size, 4)
    for count in (1, 1, tried, tried):
        started = time.monotonic()
        method.predict(images[:count])
        times.append(time.monotonic() - started)
    return times[1], times[3] / tried * batch_size


def random_inputs(size: int) -> FitInputs:
    """Random images of `size` with a square as the seen defect, as a training gets them."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, size, size, 3), dtype=np.uint8)
    masks = np.zeros((2, size, size), np.uint8)
    masks[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    return FitInputs("probe", "random", 0, images, images[:2], masks, textures=images[:4], progress=lambda _: None)


def steps_of(settings: Settings, normals: int) -> int:
    """Steps of PRN's training on a category of so many normal images."""
    return settings.train.steps or settings.train.epochs * math.ceil(normals / settings.train.batch.normal)
