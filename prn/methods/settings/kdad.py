"""KDAD's settings and entry."""

from dataclasses import dataclass
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class KDADSettings:
    """KDAD (Salehi et al., CVPR 2021) at its own size; its teacher is `model.backbone`, which must be vgg16."""

    size: Annotated[int, Range(32)] = 128
    epochs: AtLeastOne = 601
    batch: AtLeastOne = 64
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    direction_weight: NotNegative = 0.5
    layers_train: Annotated[int, Range(1, 5)] = 4
    layers_test: Annotated[int, Range(1, 5)] = 3
    cloner_width: AtLeastOne = 16
    sigma: Positive = 4.0
    opening: AtLeastOne = 4
    batch_size: AtLeastOne = 16


METHODS = {
    "kdad": MethodEntry(
        "prn.methods.kdad",
        options=KDADSettings,
        reads=("model.backbone", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
