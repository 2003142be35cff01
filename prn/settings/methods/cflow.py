"""CFLOW's settings and entry."""

from typing import Annotated

from pydantic import Field, model_validator

from prn.settings.fields import AtLeastOne, NotNegative, Positive, Section, Side, WrongValue
from prn.settings.methods.entry import MethodEntry


class CFLOWSettings(Section):
    """CFLOW-AD (Gudovskiy et al., WACV 2022) at its own size; its backbone is `model.backbone`."""

    size: Side = Field(256, description="pixels; the stage's images are resized to it, and the maps back")
    epochs: AtLeastOne = Field(200, description="passes over the normal images (its 25 meta epochs of 8)")
    steps: AtLeastOne | None = Field(None, description="a number of steps in place of the epochs")
    batch: AtLeastOne = Field(32, description="images in a step")
    learning_rate: Positive = Field(2e-4, description="of Adam")
    warmup_epochs: NotNegative = Field(16.0, description="linear from a tenth, then a cosine")
    fibers: AtLeastOne = Field(256, description="feature vectors in a step of the optimiser")
    condition: Annotated[int, Field(ge=4, multiple_of=4)] = Field(
        128, description="length of a place's encoding, a multiple of 4: sine and cosine of two axes"
    )
    blocks: AtLeastOne = Field(8, description="coupling blocks")
    clamp: Positive = Field(1.9, description="bound of a coupling block's log scales")

    @model_validator(mode="after")
    def _warmup_fits(self) -> "CFLOWSettings":
        if self.warmup_epochs > self.epochs:
            raise WrongValue(f"found {self.warmup_epochs}, expected at most `epochs`, {self.epochs}", "warmup_epochs")
        return self


CFLOW = MethodEntry(
    "prn.methods.cflow", reads=("model.backbone", "train.threads", "train.checkpoint_minutes"), backbone=True
)
