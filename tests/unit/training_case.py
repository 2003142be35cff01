"""A small but whole PRN training, run in this process or as a program that a test can kill.

Usage: python training_case.py FOLDER STEPS CHECKPOINT_MINUTES
"""

import functools
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from prn.backbone import Backbone, random_weights
from prn.config import Settings
from prn.methods.interface import FitInputs, FitReport
from prn.methods.prn import Method
from prn.prototypes import Prototypes, cluster_prototypes
from prn.strict import from_plain
from prn.training import Run, seed_everything

SIZE, NORMALS = 32, 7


def settings(steps: int, checkpoint_minutes: float = 60.0, predict: dict | None = None, **train) -> Settings:
    """PRN at 32x32, three normals a step, so that an epoch has three steps of which the last is partial."""
    batch = {"normal": 3, "extended": 2, "simulated": 2}
    base = {
        "steps": steps,
        "batch": batch,
        "learning_rate": 1e-3,
        "threads": 1,
        "checkpoint_minutes": checkpoint_minutes,
    }
    return from_plain(Settings, {"tensors": {"size": SIZE}, "train": {**base, **train}, "predict": predict or {}})


def inputs(resume: Path | None) -> FitInputs:
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
    return untrained._run(data, untrained.network)


def fit(chosen: Settings, data: FitInputs) -> tuple[dict[str, torch.Tensor], FitReport]:
    """Train; the trained tensors and the report."""
    trained = method(chosen)
    report = trained.fit(data)
    return trained.tensors(), report


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    tensors, report = fit(settings(int(sys.argv[2]), float(sys.argv[3])), inputs(folder / "run.resume.pt"))
    save_file(tensors, folder / "weights.safetensors")
    np.savetxt(folder / "loss.txt", [[row["step"], row["loss"]] for row in report.log])
