"""Training of a comparison method: passes over the normal images through the engine of `prn.training`."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from prn.layout import settings_digest
from prn.methods.interface import FitInputs, FitReport
from prn.settings.sections import BatchSettings, Settings
from prn.training import BatchPlan, Run, clear_resume, train


class TrainingOptions(Protocol):
    """What every trained comparison method has among its settings; `steps` stands in place of the epochs."""

    @property
    def epochs(self) -> int: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def batch(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


def train_on_normals(
    name: str,
    settings: Settings,
    options: TrainingOptions,
    inputs: FitInputs,
    *,
    trained: nn.Module,
    optimizer: Optimizer,
    step: Callable[[int, np.ndarray], Tensor],
    rate: Callable[[float], float] | None = None,
) -> FitReport:
    """Train `trained` to its last step and leave it in evaluation mode.

    name: the method's, as in the settings; options: its section; an epoch is one pass over the normals.
    step(number, positions): forward and backward of one step on the normals at these positions, returns the loss.
    rate(progress): what the learning rate is multiplied with after this share of the steps, 0 to below 1; by default
    it is constant.
    Raises what `prn.training.train` raises.
    """
    batch = BatchSettings(normal=options.batch, extended=0, simulated=0)
    plan = BatchPlan(len(inputs.normals), batch, inputs.seed)
    total = options.steps or options.epochs * plan.steps_per_epoch

    def numbered(number: int) -> dict[str, Tensor | float]:
        batch = plan.step(number)
        return {"epoch": batch.epoch, "loss": step(number, batch.normal).detach()}

    trained.train()
    report = train(
        Run(
            label=f"{inputs.dataset}/{inputs.category} {name} seed {inputs.seed}",
            key=_run_key(settings, inputs),
            total=total,
            settings=settings.train,
            optimizer=optimizer,
            step=numbered,
            state=trained.state_dict,
            restore=trained.load_state_dict,
            images_per_step=options.batch,
            resume=inputs.resume,
            progress=inputs.progress,
            rate=lambda number: options.learning_rate * (rate(number / total) if rate else 1.0),
            section=f"methods.{name}",
        )
    )
    clear_resume(inputs.resume)
    report.epochs = total / plan.steps_per_epoch
    trained.eval()
    return report


def _run_key(settings: Settings, inputs: FitInputs) -> str:
    """Identifies settings, seed and images, so that a resume state of another training is not used."""
    images = (inputs.normals, inputs.textures)
    sums = [0 if array is None else int(array.sum(dtype=np.int64)) for array in images]
    return settings_digest({"settings": settings.model_dump(), "seed": inputs.seed, "images": sums})
