"""A comparison method's training on the common engine (`prn.training`): seed, schedule, resume and run key."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from prn.errors import DataMissing
from prn.layout import settings_digest
from prn.methods.interface import FitInputs, FitReport
from prn.settings.sections import Settings, TrainSettings
from prn.training import Run, clear_resume, make_optimizer, train


class Options(Protocol):
    """What every method's settings say of its optimisation."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...


def fine_tune(
    method: str,
    settings: Settings,
    inputs: FitInputs,
    network: nn.Module,
    step: Callable[[int], Mapping[str, Tensor | float]],
    *,
    total: int,
    images_per_step: int,
    rate: Callable[[int], float] | None = None,
) -> FitReport:
    """Train all parameters of `network` with Adam for `total` steps; the last step's weights are the result.

    `step(i)` does forward and backward of step `i`, a function of `i` and the seed alone. Raises as
    `prn.training.train` does.
    """
    options: Options = getattr(settings.methods, method)
    optimisation = TrainSettings(
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        checkpoint_minutes=settings.train.checkpoint_minutes,
    )
    run = Run(
        label=f"{inputs.dataset}/{inputs.category} {method} seed {inputs.seed}",
        key=run_key(settings, inputs),
        total=total,
        settings=optimisation,
        optimizer=make_optimizer(list(network.parameters()), optimisation),
        step=step,
        state=network.state_dict,
        restore=network.load_state_dict,
        images_per_step=images_per_step,
        resume=inputs.resume,
        progress=inputs.progress,
        rate=rate,
        section=f"methods.{method}",
    )
    network.train()
    report = train(run)
    clear_resume(inputs.resume)
    network.eval()
    return report


def run_key(settings: Settings, inputs: FitInputs) -> str:
    """What a resume state belongs to: the settings that the method reads, the seed, and the sums of the images."""
    sums = [int(array.sum(dtype=np.int64)) for array in (inputs.normals, inputs.seen)]
    return settings_digest({"settings": settings.model_dump(), "seed": inputs.seed, "images": sums})


def step_decay(learning_rate: float, every: int, factor: float) -> Callable[[int], float]:
    """The learning rate of step `i`, multiplied by `factor` after each `every` steps."""
    return lambda step: learning_rate * factor ** (step // every)


def drawn(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """`size` positions out of `count`, in random order; none comes twice before all have come once."""
    return np.resize(random.permutation(count), size)


def seen_anomalies(method: str, settings: Settings, inputs: FitInputs) -> np.ndarray:
    """The first `train.shots` of the seen anomalies.

    Raises `DataMissing` where the split has none.
    """
    if not len(inputs.seen):
        raise DataMissing(
            f"{inputs.dataset}/{inputs.category}: {method} learns from seen anomalies, but the split has none; add"
            " defective images to the test folder, or run an unsupervised method"
        )
    return inputs.seen[: settings.train.shots]


def saved(network: nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights and statistics, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
