"""Stage `train`: fit the variant's method on the split's training images; weights, log and run card."""

import json
import shlex
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from prn import layout
from prn.artifacts import atomic_write
from prn.datasets.images import CategoryTensors, load_textures
from prn.devices import check_threads, compute_device
from prn.errors import DataMissing
from prn.fitting import FitInputs, FitReport
from prn.methods import METHODS, method_class
from prn.prototypes import Prototypes
from prn.provenance import artefact_hash, environment, write_json
from prn.resume import ResumeFile, alone, interruptible, run_key
from prn.splits import load_split
from prn.stages.cache import category_tensors
from prn.stages.job import Job
from prn.stages.tensors import cached_tensors, cached_textures, sources, textures_listing
from prn.stages.weights import weights_kind


def run(job: Job) -> None:
    """Write the checkpoint (safetensors, settings in its metadata), the training log (CSV) and the run card (JSON).

    One training of a cell at a time. SIGTERM ends it with exit code 143; started again it goes on from its saved state,
    which is removed once all is written.
    """
    label = f"{job.label} seed {job.seed}"
    with alone(job.path(layout.TRAINING_LOCK), label), interruptible(f"{label}: stopped"):
        inputs = input_paths(job)
        cell: dict[str, str | int] = {
            "dataset": job.dataset,
            "category": job.category,
            "variant": job.variant,
            "seed": job.seed,
        }
        resume = ResumeFile(job.path(layout.RESUME), run_key(job.view, job.code(), cell, inputs))
        method, report = _trained(job, inputs, resume)
        _write(job, inputs, method.tensors(), report)
        resume.clear()


def _trained(job: Job, inputs: dict, resume: ResumeFile) -> tuple[Any, FitReport]:
    """The fitted method and its report."""
    split, tensors = load_split(inputs["split"]), category_tensors(job)
    entry, settings = METHODS[job.view["method"]], job.settings
    seen = tensors.index_of(split.seen)
    if entry.needs("masks", settings):
        _check_masks(job, tensors, seen)
    device = compute_device()
    if device.type == "cpu" and "train" in job.view:
        check_threads(settings.train.threads, "train.threads")
    method = method_class(settings.method)(settings, *frozen_parts(inputs), device)
    report = method.fit(
        FitInputs(
            dataset=job.dataset,
            category=job.category,
            seed=job.seed,
            normals=tensors.images[tensors.index_of(split.train_normal)],
            seen=tensors.images[seen],
            seen_masks=tensors.masks[seen],
            textures=load_textures(inputs["textures"]) if "textures" in inputs else None,
            resume=resume,
        )
    )
    return method, report


def _write(job: Job, inputs: dict, tensors: dict[str, torch.Tensor], report: FitReport) -> None:
    path = job.path(layout.CHECKPOINT)
    metadata = {"view": job.view, "inputs": {name: str(value) for name, value in inputs.items()}}
    with atomic_write(path) as temporary:
        save_file(_writable(tensors), temporary, metadata={"prn": json.dumps(metadata, sort_keys=True)})
    with atomic_write(job.path(layout.TRAINING_LOG)) as temporary:
        pd.DataFrame(report.log).to_csv(temporary, index=False)
    write_json(job.path(layout.RUN_CARD), _run_card(job, report, inputs))
    textures = "textures" in inputs
    job.finish(
        path,
        [*inputs.values(), *sources(job, textures)],
        listing=textures_listing(job) if textures else "",
        seconds=report.seconds,
    )
    print(f"{path}: {report.steps} steps in {report.seconds:.0f} s")


def input_paths(job: Job) -> dict:
    """The files that the variant's training reads, by name."""
    entry, settings = METHODS[job.view["method"]], job.settings
    paths = {"split": job.needed(job.path(layout.SPLIT), "split"), "tensors": cached_tensors(job)}
    if entry.needs("backbone", settings):
        backbone = layout.path(layout.BACKBONE, backbone=settings.model.backbone)
        paths["backbone"] = job.needed(backbone, "weights")
    if entry.needs("prototypes", settings):
        paths["prototypes"] = job.needed(job.prototypes(), "prototypes")
    if entry.needs("textures", settings):
        paths["textures"] = cached_textures(job)
    return paths


def frozen_parts(inputs: dict) -> tuple:
    """The frozen encoder's weights and the prototypes, None where the method needs none."""
    backbone = load_file(inputs["backbone"]) if "backbone" in inputs else None
    prototypes = Prototypes.load(inputs["prototypes"]) if "prototypes" in inputs else None
    return backbone, prototypes


def _check_masks(job: Job, tensors: CategoryTensors, seen: np.ndarray) -> None:
    if not len(seen):
        raise DataMissing(
            f"{job.label}: PRN learns from seen defects with masks, but the split has none; add masks of"
            " defective images, or run an unsupervised method"
        )
    without = [tensors.paths[i] for i in seen if not tensors.has_mask[i]]
    if without:
        raise DataMissing(
            f"{job.label}: PRN learns from masks, but {len(without)} seen anomalies have none (first: {without[0]});"
            " add masks, or run an unsupervised method"
        )


def _writable(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors or {"empty": torch.zeros(0)}


def _run_card(job: Job, report: FitReport, inputs: dict) -> dict:
    facts = environment()
    return {
        "command": shlex.join(["python", "-m", "prn", "train", "--dataset", job.dataset, "--category", job.category])
        + f" --variant {job.variant} --seed {job.seed}",
        "commit": facts["commit"],
        "tree_clean": facts["tree_clean"],
        "settings": job.view,
        "parameters": layout.settings_digest(job.view),
        "code": job.code(),
        "seed": job.seed,
        "hashes": {name: artefact_hash(value) for name, value in inputs.items()},
        "weights": weights_kind(inputs["backbone"]) if "backbone" in inputs else "none",
        "versions": facts["versions"],
        "device": facts["device"],
        "platform": facts["platform"],
        "precision": report.precision,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "seconds": {"train": report.seconds},
        "peak_memory_mb": report.peak_memory_mb,
        "steps": report.steps,
        "epochs": report.epochs,
        "images_per_second": report.images_per_second,
        "final_loss": report.log[-1]["loss"] if report.log else None,
        "warnings": report.warnings,
    }
