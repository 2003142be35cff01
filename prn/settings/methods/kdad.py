"""KDAD's settings and entry."""

from typing import Annotated

from pydantic import Field

from prn.settings.fields import AtLeastOne, NotNegative, Positive, Section
from prn.settings.methods.entry import MethodEntry

Layers = Annotated[int, Field(ge=1, le=5)]


class KDADSettings(Section):
    """KDAD (Salehi et al., CVPR 2021) at its own size; its teacher is `model.backbone`, which must be vgg16."""

    size: Annotated[int, Field(ge=32)] = Field(
        128, description="pixels; the stage's images are resized to it, and the maps back"
    )
    epochs: AtLeastOne = Field(601, description="passes over the normals")
    batch: AtLeastOne = Field(64, description="images in a step")
    learning_rate: Positive = Field(1e-3, description="of Adam")
    weight_decay: NotNegative = Field(0.0, description="of Adam")
    direction_weight: NotNegative = Field(
        0.5, description="lambda: of the cosine distance, beside the squared difference"
    )
    layers_train: Layers = Field(4, description="the last max-poolings of the teacher that the cloner learns")
    layers_test: Layers = Field(3, description="and that are compared at test time")
    cloner_width: AtLeastOne = Field(16, description="channels inside the cloner's blocks (a guess)")
    sigma: Positive = Field(4.0, description="pixels of size; the Gaussian over the map")
    opening: AtLeastOne = Field(4, description="diameter in pixels of the opening after it; 1: none (a guess)")
    batch_size: AtLeastOne = Field(16, description="images scored at once; bounds memory, changes nothing else")


KDAD = MethodEntry(
    "prn.methods.kdad", reads=("model.backbone", "train.threads", "train.checkpoint_minutes"), backbone=True
)
