"""What a training is given and what it reports: below the engine and every method, which both use it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from prn.resume import ResumeFile


def say(line: str) -> None:
    """A line of progress, at once also when the output is a file."""
    print(line, flush=True)


@dataclass
class FitInputs:
    """The training side of a split at the working size S; nothing of the test images is in it.

    normals: N x S x S x 3 uint8 RGB; seen: M x S x S x 3 uint8, in the split's order; seen_masks: M x S x S, 0 or 1;
    textures: T x S x S x 3 uint8 where the method asks for them; resume: where the training saves its state, with the
    key of this very training; None saves nothing.
    """

    dataset: str
    category: str
    seed: int
    normals: np.ndarray
    seen: np.ndarray
    seen_masks: np.ndarray
    textures: np.ndarray | None = None
    resume: ResumeFile | None = None
    progress: Callable[[str], None] = say

    @property
    def label(self) -> str:
        """Data set and category in words, for messages."""
        return f"{self.dataset}/{self.category}"


@dataclass
class FitReport:
    """What a training did: one mapping per step for the log, and totals for the run card."""

    log: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    epochs: float = 0.0
    seconds: float = 0.0
    images_per_second: float = 0.0
    peak_memory_mb: float = 0.0
    precision: str = "float32"
    warnings: list[str] = field(default_factory=list)
