"""Stage `predict`: score maps, image scores and times of the test images; a cache."""

import json
from pathlib import Path

import torch
from safetensors import safe_open

from prn import layout
from prn.devices import check_threads, compute_device
from prn.errors import DataMissing
from prn.inference import measure, predict
from prn.methods import method_class
from prn.predictions import save_predictions
from prn.provenance import verify_artefact, write_json
from prn.splits import load_split
from prn.stages.cache import category_tensors
from prn.stages.job import Job
from prn.stages.tensors import cached_tensors, sources
from prn.stages.train import frozen_parts
from prn.stages.tree import tree_base
from prn.views import from_view


def run(job: Job) -> None:
    """Write the predictions of the split's test images."""
    settings = job.settings
    checkpoint = job.needed(job.path(layout.CHECKPOINT), "train")
    split_path, tensors_path = job.path(layout.SPLIT), cached_tensors(job)
    method, inputs = load_method(job, checkpoint)
    split, tensors = load_split(split_path), category_tensors(job)
    images = tensors.images[tensors.index_of(split.test)]
    maps, scores = predict(method, images, settings.predict.batch_size, f"{job.label} seed {job.seed}")
    path = job.path(layout.PREDICTIONS)
    save_predictions(path, maps, scores, split.test)
    timing = measure(
        method, images, settings.predict.batch_size, settings.predict.timing_repeats, _files(job, split.test)
    )
    write_json(job.path(layout.TIMING), timing)
    job.finish(path, [checkpoint, split_path, *sources(job), tensors_path, *inputs])
    print(f"{path}: {len(images)} score maps, {timing['batch1_median_s'] * 1e3:.0f} ms an image")


def _files(job: Job, paths: list[str]) -> list[Path]:
    """The images' own files, for the time with reading; none where the published tree is no longer here."""
    try:
        base = tree_base(job)
    except DataMissing:
        return []
    files = [base / path for path in paths]
    return files if all(file.is_file() for file in files) else []


def load_method(job: Job, checkpoint: Path) -> tuple:
    """The fitted method of a checkpoint, and the frozen files it refers to (checked against their hashes)."""
    verify_artefact(checkpoint)
    with safe_open(checkpoint, "pt") as file:
        metadata = json.loads(file.metadata()["prn"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a safetensors handle
    frozen = {name: Path(value) for name, value in metadata["inputs"].items() if name in ("backbone", "prototypes")}
    for path in frozen.values():
        verify_artefact(path)
    settings = from_view({**metadata["view"], "predict": job.view["predict"]})
    device = compute_device()
    if device.type == "cpu":
        check_threads(settings.predict.threads, "predict.threads")
    torch.set_num_threads(settings.predict.threads)
    method = method_class(settings.method)(settings, *frozen_parts(frozen), device)
    method.load(tensors)
    return method, list(frozen.values())
