"""RD4AD's settings and entry."""

from dataclasses import dataclass
from typing import Annotated, Literal

from prn.config import AtLeastOne, Positive
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class RD4ADSettings:
    """RD4AD (Deng and Li, CVPR 2022) at its own size; its backbone is `model.backbone`."""

    size: Annotated[int, Range(32)] = 256
    epochs: AtLeastOne = 200
    steps: AtLeastOne | None = None
    batch: AtLeastOne = 16
    learning_rate: Positive = 5e-3
    maps: Literal["add", "multiply"] = "add"

    def check(self, path: str) -> None:
        """The encoder halves the image five times."""
        if self.size % 32:
            raise SettingsError(f"{path}.size: found {self.size}, expected a multiple of 32")


METHODS = {
    "rd4ad": MethodEntry(
        "prn.methods.rd4ad",
        options=RD4ADSettings,
        reads=("model.backbone", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
