"""DRA's settings and entry."""

from dataclasses import dataclass, field
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive, Share
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class DRABatch:
    """Images in a training step by kind; the reference images come on top."""

    normal: AtLeastOne = 16
    seen: AtLeastOne = 16
    pseudo: AtLeastOne = 16


@dataclass(frozen=True, slots=True)
class DRASettings:
    """DRA (Ding et al., CVPR 2022) at its own size; its encoder is `model.backbone`, its anomalies `train.shots`."""

    size: Annotated[int, Range(64)] = 448
    scales: Annotated[int, Range(1, 4)] = 2
    epochs: AtLeastOne = 30
    steps_per_epoch: AtLeastOne = 20
    batch: DRABatch = field(default_factory=DRABatch)
    reference_images: AtLeastOne = 5
    learning_rate: Positive = 2e-4
    weight_decay: NotNegative = 1e-5
    decay: Share = 0.1
    decay_epochs: AtLeastOne = 10
    gradient_clip: Positive = 1.0
    rotation_degrees: Annotated[float, Range(0, 180)] = 180.0
    margin: Positive = 5.0
    prior_draws: Annotated[int, Range(2)] = 5000
    top_share: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    clip_percentile: Annotated[float, Range(0, 100)] = 99.0
    sigma: Positive = 4.0
    batch_size: AtLeastOne = 8

    def check(self, path: str) -> None:
        """The smallest image of the pyramid must fill a position of the encoder's last map."""
        if self.size < 32 * 2 ** (self.scales - 1):
            raise SettingsError(
                f"{path}.size: found {self.size}, expected at least {32 * 2 ** (self.scales - 1)} for"
                f" {path}.scales: {self.scales}"
            )


METHODS = {
    "dra": MethodEntry(
        "prn.methods.dra",
        options=DRASettings,
        reads=("model.backbone", "train.shots", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
