"""DevNet's settings and entry."""

from typing import Annotated

from pydantic import Field

from prn.settings.fields import (
    AtLeastOne,
    AtLeastTwo,
    NotNegative,
    Percentile,
    Positive,
    PositiveShare,
    Section,
)
from prn.settings.methods.entry import MethodEntry


class DevNetBatch(Section):
    """Images in a training step by kind."""

    normal: AtLeastOne = Field(24, description="normal images")
    seen: AtLeastOne = Field(24, description="seen anomalies")


class DevNetSettings(Section):
    """DevNet (Pang et al., 2021) at its own size; its encoder is `model.backbone`, its anomalies are `train.shots`."""

    size: Annotated[int, Field(ge=64)] = Field(
        448, description="pixels; the stage's images are resized to it, and the maps back"
    )
    epochs: AtLeastOne = Field(50, description="of steps_per_epoch steps")
    steps_per_epoch: AtLeastOne = Field(20, description="its own number, whatever the number of images")
    batch: DevNetBatch = Field(default_factory=DevNetBatch, description="images in a step by kind")
    learning_rate: Positive = Field(2e-4, description="of Adam")
    weight_decay: NotNegative = Field(1e-5, description="of Adam")
    margin: Positive = Field(5.0, description="standard deviations of the prior by which an anomaly must deviate")
    prior_draws: AtLeastTwo = Field(5000, description="scores drawn from the standard normal prior in a step")
    top_share: PositiveShare = Field(0.1, description="of the patch scores, whose mean is the image score")
    clip_percentile: Percentile = Field(99.0, description="of an image's gradient, above which it is cut")
    sigma: Positive = Field(4.0, description="pixels of size; the Gaussian over the map")
    batch_size: AtLeastOne = Field(8, description="images scored at once; bounds memory, changes nothing else")


DEVNET = MethodEntry(
    "prn.methods.devnet",
    reads=("model.backbone", "train.shots", "train.threads", "train.checkpoint_minutes"),
    backbone=True,
)
