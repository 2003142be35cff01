"""CFA's settings and entry."""

from dataclasses import dataclass
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class CFASettings:
    """CFA (Lee et al., IEEE Access 2022) at its own size; its backbone is `model.backbone`."""

    resize: AtLeastOne = 256
    crop: Annotated[int, Range(32)] = 224
    epochs: AtLeastOne = 30
    steps: AtLeastOne | None = None
    batch: AtLeastOne = 4
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 5e-4
    neighbours: AtLeastOne = 3
    radius: Positive = 1e-5

    def check(self, path: str) -> None:
        """The crop is cut out of the resized image and passes the encoder."""
        if self.crop > self.resize:
            raise SettingsError(f"{path}.crop: found {self.crop}, expected at most {path}.resize, {self.resize}")
        if self.crop % 32:
            raise SettingsError(f"{path}.crop: found {self.crop}, expected a multiple of 32")


METHODS = {
    "cfa": MethodEntry(
        "prn.methods.cfa",
        options=CFASettings,
        reads=("model.backbone", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
