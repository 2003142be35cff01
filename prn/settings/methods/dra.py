"""DRA's settings and entry."""

from typing import Annotated

from pydantic import Field, model_validator

from prn.settings.fields import (
    AtLeastOne,
    AtLeastTwo,
    NotNegative,
    Percentile,
    Positive,
    PositiveShare,
    Section,
    Share,
    WrongValue,
)
from prn.settings.methods.entry import MethodEntry


class DRABatch(Section):
    """Images in a training step by kind; the reference images come on top."""

    normal: AtLeastOne = Field(16, description="normal images")
    seen: AtLeastOne = Field(16, description="seen anomalies")
    pseudo: AtLeastOne = Field(16, description="pseudo anomalies")


class DRASettings(Section):
    """DRA (Ding et al., CVPR 2022) at its own size; its encoder is `model.backbone`, its anomalies `train.shots`."""

    size: Annotated[int, Field(ge=64)] = Field(
        448, description="pixels; the stage's images are resized to it, and the maps back"
    )
    scales: Annotated[int, Field(ge=1, le=4)] = Field(2, description="of the image pyramid: size, size / 2")
    epochs: AtLeastOne = Field(30, description="of steps_per_epoch steps")
    steps_per_epoch: AtLeastOne = Field(20, description="its own number, whatever the number of images")
    batch: DRABatch = Field(
        default_factory=DRABatch,
        description="its code: 48, 2/3 drawn from normals; how they are shared is a guess",
    )
    reference_images: AtLeastOne = Field(5, description="normals from whose mean feature map the residual is taken")
    learning_rate: Positive = Field(2e-4, description="its code (its paper: 1e-3, weight decay 1e-2)")
    weight_decay: NotNegative = Field(1e-5, description="of Adam")
    decay: Share = Field(0.1, description="the learning rate is multiplied by it after each decay_epochs")
    decay_epochs: AtLeastOne = Field(10, description="epochs between two of these multiplications")
    gradient_clip: Positive = Field(1.0, description="norm above which the gradient is shortened to it")
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = Field(180.0, description="of every training image")
    margin: Positive = Field(5.0, description="standard deviations of the prior by which an anomaly must deviate")
    prior_draws: AtLeastTwo = Field(5000, description="scores drawn from the standard normal prior in a step")
    top_share: PositiveShare = Field(0.1, description="of the patch scores, whose mean is a head's score")
    clip_percentile: Percentile = Field(99.0, description="the maps are DevNet's")
    sigma: Positive = Field(4.0, description="pixels of size; the Gaussian over the map")
    batch_size: AtLeastOne = Field(8, description="images scored at once; bounds memory, changes nothing else")

    @model_validator(mode="after")
    def _smallest_image_fits(self) -> "DRASettings":
        """The smallest image of the pyramid must fill a position of the encoder's last map."""
        least = 32 * 2 ** (self.scales - 1)
        if self.size < least:
            raise WrongValue(f"found {self.size}, expected at least {least} for `scales`: {self.scales}", "size")
        return self


DRA = MethodEntry(
    "prn.methods.dra",
    reads=("model.backbone", "train.shots", "train.threads", "train.checkpoint_minutes"),
    backbone=True,
)
