"""CFA's settings and entry."""

from pydantic import Field, model_validator

from prn.settings.fields import AtLeastOne, NotNegative, Positive, Section, Side, WrongValue
from prn.settings.methods.entry import MethodEntry


class CFASettings(Section):
    """CFA (Lee et al., IEEE Access 2022) at its own size; its backbone is `model.backbone`."""

    resize: AtLeastOne = Field(256, description="pixels; the stage's images are resized to it, then cropped")
    crop: Side = Field(224, description="the centre, a multiple of 32; the border takes the score of its nearest pixel")
    epochs: AtLeastOne = Field(30, description="passes over the normal images")
    steps: AtLeastOne | None = Field(None, description="a number of steps in place of the epochs")
    batch: AtLeastOne = Field(4, description="images in a step")
    learning_rate: Positive = Field(1e-3, description="of AdamW")
    weight_decay: NotNegative = Field(5e-4, description="of AdamW")
    neighbours: AtLeastOne = Field(3, description="nearest places of the memory, and as many hard negatives")
    radius: Positive = Field(1e-5, description="of the hyperspheres")

    @model_validator(mode="after")
    def _crop_fits(self) -> "CFASettings":
        if self.crop > self.resize:
            raise WrongValue(f"found {self.crop}, expected at most `resize`, {self.resize}", "crop")
        return self


CFA = MethodEntry(
    "prn.methods.cfa", reads=("model.backbone", "train.threads", "train.checkpoint_minutes"), backbone=True
)
