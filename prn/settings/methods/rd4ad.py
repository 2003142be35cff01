"""RD4AD's settings and entry."""

from typing import Literal

from pydantic import Field

from prn.settings.fields import AtLeastOne, Positive, Section, Side
from prn.settings.methods.entry import MethodEntry


class RD4ADSettings(Section):
    """RD4AD (Deng and Li, CVPR 2022) at its own size; its backbone is `model.backbone`."""

    size: Side = Field(256, description="pixels; the stage's images are resized to it, and the maps back")
    epochs: AtLeastOne = Field(200, description="passes over the normal images")
    steps: AtLeastOne | None = Field(None, description="a number of steps in place of the epochs")
    batch: AtLeastOne = Field(16, description="images in a step")
    learning_rate: Positive = Field(5e-3, description="of Adam")
    maps: Literal["add", "multiply"] = Field("add", description="add | multiply the three scales' maps")


RD4AD = MethodEntry(
    "prn.methods.rd4ad", reads=("model.backbone", "train.threads", "train.checkpoint_minutes"), backbone=True
)
