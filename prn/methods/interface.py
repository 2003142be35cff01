"""What every method is: fitted on a split's training images, then asked for score maps and image scores."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from prn.prototypes import Prototypes
from prn.settings.methods import METHODS
from prn.settings.sections import Settings


def say(line: str) -> None:
    """A line of progress, at once also when the output is a file."""
    print(line, flush=True)


@dataclass
class FitInputs:
    """The training side of a split at the working size S; nothing of the test images is in it.

    normals: N x S x S x 3 uint8 RGB; seen: M x S x S x 3 uint8, in the split's order; seen_masks: M x S x S, 0 or 1;
    textures: T x S x S x 3 uint8 where the method asks for them.
    """

    dataset: str
    category: str
    seed: int
    normals: np.ndarray
    seen: np.ndarray
    seen_masks: np.ndarray
    textures: np.ndarray | None = None
    resume: Path | None = None
    progress: Callable[[str], None] = say


@dataclass
class FitReport:
    """What a training did: one mapping a step for the log, and totals for the run card."""

    log: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    epochs: float = 0.0
    seconds: float = 0.0
    images_per_second: float = 0.0
    peak_memory_mb: float = 0.0
    precision: str = "float32"
    warnings: list[str] = field(default_factory=list)


class Method(Protocol):
    """A method for one category. `Method(settings, backbone, prototypes, device)` builds it."""

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, torch.Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None: ...

    def fit(self, inputs: FitInputs) -> FitReport:
        """Learn from the training images."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `load` needs to predict again, besides backbone and prototypes."""
        ...

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Become the method that wrote `tensors`."""
        ...

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score maps (B x S x S float32, higher is more anomalous) and image scores (B) of uint8 B x S x S x 3."""
        ...


def method_class(name: str) -> type[Any]:
    """The class of a method of `METHODS`."""
    return getattr(importlib.import_module(METHODS[name].module), METHODS[name].name)


def top_mean(score_maps: np.ndarray, pixels: int) -> np.ndarray:
    """Mean of each map's highest `pixels` scores (paper 3.5, K = 100): B x H x W to B float64."""
    flat = score_maps.reshape(len(score_maps), -1).astype(np.float64)
    count = min(pixels, flat.shape[1])
    return np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1)
