"""DRAEM's settings and entry; SSPCAB is DRAEM with its block."""

from typing import Annotated

from pydantic import Field

from prn.settings.fields import AtLeastOne, NotNegative, Odd, Pair, Positive, Section, Share, Side
from prn.settings.methods.entry import MethodEntry


class DRAEMSettings(Section):
    """DRAEM (Zavrtanik et al., ICCV 2021) and, with `sspcab`, SSPCAB (Ristea et al., CVPR 2022)."""

    size: Side = Field(256, description="pixels; the stage's images are resized to it, and the maps back")
    epochs: AtLeastOne = Field(700, description="passes over the normal images")
    steps: AtLeastOne | None = Field(None, description="a number of steps in place of the epochs")
    batch: AtLeastOne = Field(8, description="images in a step")
    learning_rate: Positive = Field(1e-4, description="of Adam")
    decay_epochs: list[AtLeastOne] = Field([400, 600], description="where the learning rate is multiplied by `decay`")
    decay: Share = Field(0.1, description="see `decay_epochs`")
    reconstructive_width: AtLeastOne = Field(128, description="channels of the first convolution that restores")
    discriminative_width: AtLeastOne = Field(64, description="channels of the first convolution that compares")
    anomalous_share: Share = Field(0.5, description="of the images that are painted with an anomaly")
    opacity: Pair[Share] = Field([0.0, 0.8], description="weight of the normal image under an anomaly")
    augmentations: Annotated[int, Field(ge=1, le=7)] = Field(3, description="of the texture")
    rotated_share: Share = Field(0.3, description="of the images")
    rotate_degrees: NotNegative = Field(45.0, description="at most, in either direction")
    score_window: Odd = Field(21, description="the image score is the highest mean of such a window")
    sspcab: bool = Field(
        False,
        description="true: SSPCAB (Ristea et al., CVPR 2022) in place of the penultimate convolution of the encoder",
    )
    sspcab_weight: NotNegative = Field(0.1, description="lambda: of SSPCAB's loss")


DRAEM = MethodEntry("prn.methods.draem", reads=("train.threads", "train.checkpoint_minutes"), textures=True)
