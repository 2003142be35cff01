"""DRAEM's settings and entry; SSPCAB is DRAEM with its block."""

from dataclasses import dataclass, field
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive, Share
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class DRAEMSettings:
    """DRAEM (Zavrtanik et al., ICCV 2021) and, with `sspcab`, SSPCAB (Ristea et al., CVPR 2022)."""

    size: Annotated[int, Range(32)] = 256
    epochs: AtLeastOne = 700
    steps: AtLeastOne | None = None
    batch: AtLeastOne = 8
    learning_rate: Positive = 1e-4
    decay_epochs: list[AtLeastOne] = field(default_factory=lambda: [400, 600])
    decay: Share = 0.1
    reconstructive_width: AtLeastOne = 128
    discriminative_width: AtLeastOne = 64
    anomalous_share: Share = 0.5
    opacity: list[Share] = field(default_factory=lambda: [0.0, 0.8])
    augmentations: Annotated[int, Range(1, 7)] = 3
    rotated_share: Share = 0.3
    rotate_degrees: NotNegative = 45.0
    score_window: AtLeastOne = 21
    sspcab: bool = False
    sspcab_weight: NotNegative = 0.1

    def check(self, path: str) -> None:
        """The networks halve the image five times; the mean around a pixel is taken over an odd side."""
        if self.size % 32:
            raise SettingsError(f"{path}.size: found {self.size}, expected a multiple of 32")
        if not self.score_window % 2:
            raise SettingsError(f"{path}.score_window: found {self.score_window}, expected an odd number")
        if len(self.opacity) != 2 or self.opacity[0] > self.opacity[1]:
            raise SettingsError(f"{path}.opacity: found {self.opacity}, expected two numbers, the lower first")


METHODS = {
    "draem": MethodEntry(
        "prn.methods.draem",
        options=DRAEMSettings,
        reads=("train.threads", "train.checkpoint_minutes"),
        textures=True,
    )
}
