"""PatchCore's settings and entry."""

from pydantic import Field, model_validator

from prn.settings.fields import AtLeastOne, PositiveShare, Section, WrongValue
from prn.settings.methods.entry import MethodEntry


class PatchCoreSettings(Section):
    """PatchCore (Roth et al., CVPR 2022) at its own size; its backbone is `model.backbone`."""

    resize: AtLeastOne = Field(256, description="pixels; the stage's images are resized to it, then cropped")
    crop: AtLeastOne = Field(
        224, description="the centre; the border around it takes the score of the crop's nearest pixel"
    )
    coreset: PositiveShare = Field(
        0.1, description="share of the patches that is kept (its paper: 25, 10 and 1 %; PRN's paper: unstated)"
    )
    neighbours: AtLeastOne = Field(9, description="b, over which the image score is weighted (unstated; anomalib's)")
    batch_size: AtLeastOne = Field(8, description="images in a step; bounds memory, changes nothing else")

    @model_validator(mode="after")
    def _crop_fits(self) -> "PatchCoreSettings":
        if self.crop > self.resize:
            raise WrongValue(f"found {self.crop}, expected at most `resize`, {self.resize}", "crop")
        return self


PATCHCORE = MethodEntry("prn.methods.patchcore", reads=("model.backbone", "train.threads"), backbone=True)
