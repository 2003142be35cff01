"""Stage `train`: fit the variant's method on the split's training images; weights, log and run card."""

import json
import shlex
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from prn import layout
from prn.backbone import weights_kind
from prn.devices import check_threads, torch_device
from prn.errors import DataMissing
from prn.fitting import FitReport
from prn.methods.base import method_class
from prn.provenance.environment import environment
from prn.provenance.files import atomic_write, write_json
from prn.provenance.sidecars import artefact_hash
from prn.resume import ResumeFile, alone, interruptible, run_key
from prn.settings.methods import METHODS
from prn.stages.inputs import Inputs, fit_inputs, inputs_of
from prn.stages.job import Job


def run(job: Job) -> None:
    """Write the checkpoint (safetensors, settings in its metadata), the training log (CSV) and the run card (JSON).

    One training of a cell at a time. SIGTERM ends it with exit code 143; started again it goes on from its saved state,
    which is removed once all is written.
    """
    label = f"{job.label} seed {job.seed}"
    with alone(job.path(layout.TRAINING_LOCK), label), interruptible(f"{label}: stopped"):
        settings, entry = job.settings, METHODS[job.view["method"]]
        inputs = inputs_of(job, also=entry.files(settings))
        if entry.needs("masks", settings):
            _check_masks(job, inputs)
        device = torch_device()
        if device.type == "cpu" and "train" in job.view:
            check_threads(settings.train.threads, "train.threads")
        method = method_class(settings.method)(settings, inputs.backbone, inputs.prototypes, device)
        resume = ResumeFile(job.path(layout.RESUME), run_key(job.view, job.code(), job.cell, inputs.files))
        report = method.fit(fit_inputs(job, inputs, resume))
        _write(job, inputs, method.tensors(), report)
        resume.clear()


def _write(job: Job, inputs: Inputs, tensors: dict[str, torch.Tensor], report: FitReport) -> None:
    metadata = {"view": job.view, "inputs": {name: str(file) for name, file in inputs.files.items()}}
    with atomic_write(job.artefact) as temporary:
        record = json.dumps(metadata, sort_keys=True)
        save_file(tensors or {"empty": torch.zeros(0)}, temporary, metadata={"prn": record})
    with atomic_write(job.path(layout.TRAINING_LOG)) as temporary:
        pd.DataFrame(report.log).to_csv(temporary, index=False)
    write_json(job.path(layout.RUN_CARD), _run_card(job, report, inputs))
    job.finish([*inputs.files.values(), *inputs.sources], listing=inputs.listing, seconds=report.seconds)
    print(f"{job.artefact}: {report.steps} steps in {report.seconds:.0f} s")


def _check_masks(job: Job, inputs: Inputs) -> None:
    if not len(inputs.seen):
        raise DataMissing(
            f"{job.label}: PRN learns from seen defects with masks, but the split has none; add masks of"
            " defective images, or run an unsupervised method"
        )
    without = [inputs.tensors.paths[i] for i in inputs.seen if not inputs.tensors.has_mask[i]]
    if without:
        raise DataMissing(
            f"{job.label}: PRN learns from masks, but {len(without)} seen anomalies have none (first: {without[0]});"
            " add masks, or run an unsupervised method"
        )


def _run_card(job: Job, report: FitReport, inputs: Inputs) -> dict[str, Any]:
    facts = environment()
    command = ["python", "-m", "prn", "train", "--dataset", job.dataset, "--category", job.category]
    return {
        "command": shlex.join([*command, "--variant", job.variant, "--seed", str(job.seed)]),
        "commit": facts["commit"],
        "tree_clean": facts["tree_clean"],
        "settings": job.view,
        "parameters": layout.settings_digest(job.view),
        "code": job.code(),
        "seed": job.seed,
        "hashes": {name: artefact_hash(file) for name, file in inputs.files.items()},
        "weights": weights_kind(inputs.files["backbone"]) if "backbone" in inputs.files else "none",
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
