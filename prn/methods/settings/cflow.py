"""CFLOW's settings and entry."""

from dataclasses import dataclass
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class CFLOWSettings:
    """CFLOW-AD (Gudovskiy et al., WACV 2022) at its own size; its backbone is `model.backbone`."""

    size: Annotated[int, Range(32)] = 256
    epochs: AtLeastOne = 200
    steps: AtLeastOne | None = None
    batch: AtLeastOne = 32
    learning_rate: Positive = 2e-4
    warmup_epochs: NotNegative = 16.0
    fibers: AtLeastOne = 256
    condition: Annotated[int, Range(4)] = 128
    blocks: AtLeastOne = 8
    clamp: Positive = 1.9

    def check(self, path: str) -> None:
        """The encoder halves the image five times; sine and cosine of two axes make up the condition."""
        if self.size % 32:
            raise SettingsError(f"{path}.size: found {self.size}, expected a multiple of 32")
        if self.condition % 4:
            raise SettingsError(f"{path}.condition: found {self.condition}, expected a multiple of 4")
        if self.warmup_epochs > self.epochs:
            raise SettingsError(f"{path}.warmup_epochs: found {self.warmup_epochs}, expected at most {path}.epochs")


METHODS = {
    "cflow": MethodEntry(
        "prn.methods.cflow",
        options=CFLOWSettings,
        reads=("model.backbone", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
