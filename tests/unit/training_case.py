"""A small but whole PRN training, run in this process or as a program that a test can kill.

Usage: python training_case.py FOLDER STEPS KILL|TERM|SAVE NUMBER (see `stop_at`)
"""

import functools
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from prn import resume, training
from prn.backbone import Backbone, random_weights
from prn.errors import PrnError
from prn.fitting import FitInputs, FitReport
from prn.methods import prn
from prn.methods.prn import Method
from prn.methods.prn_batches import TrainingBatches
from prn.prototypes import Prototypes, cluster_prototypes
from prn.resume import ResumeFile, run_key
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.training import Run, seed_everything

SIZE, NORMALS = 32, 7


def settings(
    steps: int, checkpoint_minutes: float = 60.0, predict: dict | None = None, model: dict | None = None, **train
) -> Settings:
    """PRN at 32x32, three normals a step, so that an epoch has three steps of which the last is partial."""
    batch = {"normal": 3, "extended": 2, "simulated": 2}
    base = {
        "steps": steps,
        "batch": batch,
        "learning_rate": 1e-3,
        "precise_norm_batches": 1,
        "threads": 1,
        "checkpoint_minutes": checkpoint_minutes,
    }
    return validated(
        Settings,
        {"tensors": {"size": SIZE}, "train": {**base, **train}, "predict": predict or {}, "model": model or {}},
    )


def state(path: Path, chosen: Settings) -> ResumeFile:
    """The resume file of a training with these settings."""
    return ResumeFile(path, run_key(chosen.model_dump(), "", {}, {}))


def inputs(resume: ResumeFile | None) -> FitInputs:
    """Noise images with a bright square as the seen defect."""
    random = np.random.default_rng(5)
    images = random.integers(60, 190, (NORMALS + 4, SIZE, SIZE, 3)).astype(np.uint8)
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[:, 8:16, 8:20] = 1
    images[NORMALS : NORMALS + 2, 8:16, 8:20] = 250
    return FitInputs(
        dataset="mvtec",
        category="bottle",
        seed=3,
        normals=images[:NORMALS],
        seen=images[NORMALS : NORMALS + 2],
        seen_masks=masks,
        textures=images[NORMALS + 2 :],
        resume=resume,
    )


@functools.cache
def frozen() -> tuple[dict[str, torch.Tensor], Prototypes]:
    """Random features and the prototypes of the normals."""
    weights = random_weights("resnet18", seed=0)
    return weights, cluster_prototypes(Backbone("resnet18", weights), inputs(None).normals, ratio=0.3, seed=3)


def method(chosen: Settings) -> Method:
    """PRN before its training."""
    torch.set_num_threads(1)
    return Method(chosen, *frozen(), torch.device("cpu"))


def run(untrained: Method) -> Run:
    """The run that `fit` would train, its network built from the same seed."""
    data = inputs(None)
    seed_everything(data.seed, 1)
    untrained.network = untrained._build(True)
    batches = TrainingBatches(untrained.settings, data, untrained._plan(data), untrained.device)
    return untrained._run(data, untrained.network, batches)


def fit(chosen: Settings, data: FitInputs) -> tuple[dict[str, torch.Tensor], FitReport]:
    """Train; the trained tensors and the report."""
    trained = method(chosen)
    report = trained.fit(data)
    return trained.tensors(), report


def stop_at(how: str, number: int) -> None:
    """Send this process SIGKILL or SIGTERM as step `number` begins, or SIGKILL in the middle of its save `number`.

    The training's clock is made to tick one minute a step, so that the saves come at known steps.
    """
    rate, save = prn.learning_rate, torch.save
    step, saves = [0], [0]

    def begin(current: int, *more) -> float:
        step[0] = current
        if how in ("KILL", "TERM") and current == number:
            os.kill(os.getpid(), signal.Signals[f"SIG{how}"])
        return rate(current, *more)

    def half_save(state, file) -> None:
        save(state, file)
        saves[0] += 1
        if how == "SAVE" and saves[0] == number:
            file.truncate(file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    prn.learning_rate = begin
    resume.torch = SimpleNamespace(**{**vars(torch), "save": half_save})
    training.time = SimpleNamespace(monotonic=lambda: 60.0 * step[0])


LIGHT = {"fusion": False, "attention": False}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stop_at(sys.argv[3], int(sys.argv[4]))
    try:
        chosen = settings(int(sys.argv[2]), 3.5, model=LIGHT)
        fit(chosen, inputs(state(folder / "run.resume.pt", chosen)))
    except PrnError as error:
        print(error)
        sys.exit(error.exit_code)
