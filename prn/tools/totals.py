"""Hours, memory and disk of a benchmark before it is started, from probes of this machine and the numbers of images.

What is not in it: downloading, indexing and caching (bound by network and disk) and the report.
"""

import dataclasses
import heapq
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prn import layout
from prn.datasets.registry import dataset_names, find
from prn.datasets.rows import read_index
from prn.inference import TIMING_BUDGET_S
from prn.settings.sections import Settings
from prn.settings.variants import resolve_variant
from prn.tools.probe import Cost, steps_of

# What a probe depends on: two variants that agree in it share one.
SHAPE = ("method", "model", "methods")
TRAIN_SHAPE = ("batch", "micro_batch", "precision", "channels_last", "acceleration", "threads", "checkpoint_precision")
# Anomalies in the published training images, which the split takes out (all of DAGM's come in equal halves).
TRAIN_ANOMALIES = {"ksdd2": 246}
TEXTURES = find("dtd").counts["textures"]["train"]


@dataclass(frozen=True)
class Count:
    """Images of a category after the split."""

    normals: int
    test: int

    @property
    def all(self) -> int:
        return self.normals + self.test + 10


@dataclass
class Total:
    """An estimate: seconds of work by stage, the largest memory of one job, bytes on disk by kind, what is left out.

    `cells` are the seconds of each cell's training, prediction and evaluation, which follow one another.
    """

    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    cells: list[float] = dataclasses.field(default_factory=list)
    peak_mb: float = 0.0
    peak_of: str = ""
    disk: dict[str, float] = dataclasses.field(default_factory=dict)
    trainings: int = 0
    unknown: list[str] = dataclasses.field(default_factory=list)

    def add(self, part: str, amount: float) -> None:
        """Add seconds to a stage."""
        self.seconds[part] = self.seconds.get(part, 0.0) + amount

    def store(self, part: str, amount: float) -> None:
        """Add bytes to a kind of file."""
        self.disk[part] = self.disk.get(part, 0.0) + amount

    def clock(self, jobs: int) -> float:
        """Seconds until all is done with `jobs` side by side: the longest cells first, each as soon as it can."""
        busy = [0.0] * jobs
        for cell in sorted(self.cells, reverse=True):
            heapq.heapreplace(busy, busy[0] + cell)
        return max(busy) + (sum(self.seconds.values()) - sum(self.cells)) / jobs


def shape_of(settings: Settings) -> str:
    """What a resolved variant's cost depends on, as text."""
    plain = settings.model_dump()
    shape = {key: plain[key] for key in SHAPE} | {"size": settings.tensors.size, "predict": plain["predict"]}
    return json.dumps(shape | {"train": {key: plain["train"][key] for key in TRAIN_SHAPE}}, sort_keys=True)


def distinct(settings: Settings) -> dict[str, Settings]:
    """The resolved settings of each shape that the benchmark has, by shape."""
    found: dict[str, Settings] = {}
    for run in settings.benchmark.datasets.values():
        for variant in run.variants if run.categories else ():
            resolved = resolve_variant(settings, variant)
            found.setdefault(shape_of(resolved), resolved)
    return found


def counts(dataset: str, category: str, seen: int) -> Count | None:
    """Images of a category: from its index where there is one, else as published; None where neither is known."""
    index = layout.path(layout.INDEX, dataset=dataset, category=category)
    if index.is_file():
        rows = read_index(index)
        normals = sum(row.split == "train" and not row.label for row in rows)
        return Count(normals, sum(row.split == "test" for row in rows) - seen)
    if dataset not in dataset_names() or category not in find(dataset).counts:
        return None
    published = find(dataset).counts[category]
    if "test" in published:  # DAGM
        half = published["defective"] // 2
        return Count(published["train"] - half, published["test"] + half - seen)
    return Count(
        published["train"] - TRAIN_ANOMALIES.get(dataset, 0), published["good"] + published["defective"] - seen
    )


def estimate(settings: Settings, costs: Mapping[str, Cost], evaluate_s_image: float) -> Total:
    """The sum over all cells of the benchmark. `costs`: by shape, see `distinct`."""
    total = Total()
    size, seeds, seen = settings.tensors.size, len(settings.benchmark.seeds), settings.split.seen_anomalies
    made: set[str] = set()
    for dataset, run in settings.benchmark.datasets.items():
        for category in run.categories if run.variants else ():
            count = counts(dataset, category, seen)
            if count is None:
                total.unknown.append(f"{dataset}/{category}: run `python -m prn index` for its numbers of images first")
                continue
            total.store("cached images", count.all * size * size * 4)
            for variant in run.variants:
                resolved = resolve_variant(settings, variant)
                cost = costs[shape_of(resolved)]
                computing = _cell(total, resolved, cost, count, seeds=seeds, label=f"{dataset}/{category}/{variant}")
                evaluating = count.test * evaluate_s_image
                total.add("evaluate", seeds * evaluating)
                total.cells += [computing + evaluating] * seeds
                key = f"{dataset}/{category}/{resolved.prototypes.model_dump()}{resolved.model.backbone}"
                if cost.prototype_bytes and key not in made:
                    made.add(key)
                    clusters = max(1, math.floor(resolved.prototypes.ratio * count.normals))
                    total.add("prototypes", seeds * count.normals * cost.prototypes_s_image)
                    total.store("prototypes", seeds * clusters * cost.prototype_bytes)
        if run.categories and run.variants and dataset in dataset_names():
            total.store("archives, where downloaded", sum(archive.bytes or 0 for archive in find(dataset).archives))
            total.store("extracted data sets, where downloaded", find(dataset).unpacked_bytes)
    total.store("cached images", TEXTURES * size * size * 3)
    return total


def _cell(total: Total, settings: Settings, cost: Cost, count: Count, *, seeds: int, label: str) -> float:
    """One variant on one category, all seeds; the seconds of one seed's training and prediction."""
    training = count.normals * cost.fit_s_image
    if cost.step_s is not None:
        # BatchNorm's statistics are taken from passes forward, each about a third of a step.
        steps = steps_of(settings, count.normals) + settings.train.precise_norm_batches / 3
        training = steps * cost.step_s
        total.trainings += seeds
    elif settings.method not in ("untrained", "mean_image", "colour_threshold"):
        total.unknown.append(
            f"{label}: a rough guess, linear in the number of images; its training is not made of steps"
        )
    total.add("train", seeds * training)
    predict = settings.predict
    timing = sum(
        min(predict.timing_repeats * each, TIMING_BUDGET_S) + each for each in (cost.predict_s, cost.predict_batch_s)
    )
    predicting = count.test * cost.predict_batch_s / predict.batch_size + timing
    total.add("predict", seeds * predicting)
    size = settings.tensors.size
    textures = TEXTURES if settings.synthesis.heterologous and cost.step_s is not None else 0
    # All images with masks, the normals once more as the training's own.
    cached = (count.all * 4 + count.normals * 3 + textures * 3) * size * size / 2**20
    if cost.peak_mb + cached > total.peak_mb:
        total.peak_mb, total.peak_of = cost.peak_mb + cached, label
    total.store("checkpoints", seeds * cost.checkpoint_bytes)
    total.store("predictions (before compression)", seeds * count.test * size * size * 2)
    return training + predicting


def evaluation_seconds(settings: Settings, clock: Callable[[], float]) -> float:
    """Seconds an image of the evaluation, from random maps of 16 images."""
    import numpy as np

    from prn.evaluation import ScoredTestSet, evaluate

    size = settings.tensors.size
    random = np.random.default_rng(0)
    maps = random.random((16, size, size)).astype(np.float16)
    masks = np.zeros((16, size, size), np.uint8)
    masks[4:, : size // 5, : size // 5] = 1
    labels = (np.arange(16) >= 4).astype(int)
    scored = ScoredTestSet(random.random(16), labels, ["a"] * 16, 0, lambda: [(maps, masks)])
    started = clock()
    evaluate(scored, settings.evaluate)
    return (clock() - started) / 16


def as_text(settings: Settings, total: Total, jobs: int, where: str) -> str:
    """The estimate in words; `jobs`: how many run side by side, `where`: the hardware."""
    work, clock = sum(total.seconds.values()) / 3600, total.clock(jobs) / 3600
    lines = [f"{settings.benchmark.preset}: {total.trainings} trainings by steps, {where}, {jobs} side by side", ""]
    for stage, seconds in sorted(total.seconds.items(), key=lambda item: -item[1]):
        lines.append(f"  {stage:<38}{seconds / 3600:>10.2f} h of work")
    lines.append(f"  {'together':<38}{work:>10.2f} h of work, about {clock:.2f} h on the clock")
    lines.append(f"  {'memory of the largest job':<38}{total.peak_mb / 1024:>10.2f} GiB ({total.peak_of})")
    for kind, size in total.disk.items():
        lines.append(f"  {kind:<38}{size / 2**30:>10.2f} GiB of disk")
    lines.append(f"  {'disk together':<38}{sum(total.disk.values()) / 2**30:>10.2f} GiB")
    lines += ["", "Not in it: download, index, tensors and report; archives whose size is not published."]
    lines += [f"Note: {line}" for line in sorted(set(total.unknown))]
    return "\n".join(lines)


def jobs_side_by_side(settings: Settings, cores: int, gpus: int) -> int:
    """Trainings at once: one a GPU, else the cores by the threads of a training."""
    return gpus if gpus else max(1, cores // settings.train.threads)


def folder_free(folder: Path) -> float:
    """GiB free where the work folder lies."""
    from prn.datasets.capacity import free_disk

    return free_disk(folder) / 2**30
