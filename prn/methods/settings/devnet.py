"""DevNet's settings and entry."""

from dataclasses import dataclass, field
from typing import Annotated

from prn.config import AtLeastOne, NotNegative, Positive
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class DevNetBatch:
    """Images in a training step by kind."""

    normal: AtLeastOne = 24
    seen: AtLeastOne = 24


@dataclass(frozen=True, slots=True)
class DevNetSettings:
    """DevNet (Pang et al., 2021) at its own size; its encoder is `model.backbone`, its anomalies are `train.shots`."""

    size: Annotated[int, Range(64)] = 448
    epochs: AtLeastOne = 50
    steps_per_epoch: AtLeastOne = 20
    batch: DevNetBatch = field(default_factory=DevNetBatch)
    learning_rate: Positive = 2e-4
    weight_decay: NotNegative = 1e-5
    margin: Positive = 5.0
    prior_draws: Annotated[int, Range(2)] = 5000
    top_share: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    clip_percentile: Annotated[float, Range(0, 100)] = 99.0
    sigma: Positive = 4.0
    batch_size: AtLeastOne = 8


METHODS = {
    "devnet": MethodEntry(
        "prn.methods.devnet",
        options=DevNetSettings,
        reads=("model.backbone", "train.shots", "train.threads", "train.checkpoint_minutes"),
        backbone=True,
    )
}
