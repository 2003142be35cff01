"""Deviation learning, which DevNet and DRA share: patch scores that seen anomalies push away from a normal prior.

Every step draws its images and its prior from the seed and its own number.

Shape suffixes: B batch, C channels, h and w height and width of a feature map, N patches.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import Backbone
from prn.errors import DataMissing
from prn.fitting import FitInputs


def trainable_encoder(name: str, state: Mapping[str, Tensor]) -> nn.Sequential:
    """A ResNet from stem to layer4 with the given weights, all of it trained: [B, 3, H, W] to [B, C, H/32, W/32].

    Where `state` lacks layer4, that block starts at random. Raises as `prn.backbone.Backbone` does.
    """
    backbone = Backbone(name, state)
    encoder = nn.Sequential(backbone.stem, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    return encoder.requires_grad_(True).train()


def top_share_mean(scores_BN: Tensor, share: float) -> Tensor:
    """Mean of each image's highest `share` of the patch scores, at least one (DevNet, top-K MIL): [B, N] to [B]."""
    count = max(1, int(share * scores_BN.shape[1]))
    return scores_BN.topk(count, dim=1).values.mean(dim=1)


class PatchHead(nn.Module):
    """A score for each position of a feature map by a 1x1 convolution, then the mean of the highest share."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, kernel_size=1)
        self.share = share

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Image scores [B]."""
        return top_share_mean(self.score(features_BChw).flatten(1), self.share)


def seen_anomalies(title: str, inputs: FitInputs, shots: int) -> np.ndarray:
    """The first `shots` of the seen anomalies. Raises `DataMissing`, naming the method, where the split has none."""
    if not len(inputs.seen):
        raise DataMissing(
            f"{inputs.label}: {title} learns from seen anomalies, but the split has none; add defective images to the"
            " test folder, or run an unsupervised method"
        )
    return inputs.seen[:shots]


def drawn(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """`size` positions out of `count`, in random order; none comes twice before all have come once."""
    return np.resize(random.permutation(count), size)


def step_decay(learning_rate: float, every: int, factor: float) -> Callable[[int], float]:
    """The learning rate of step `i`, multiplied by `factor` after each `every` steps."""
    return lambda step: learning_rate * factor ** (step // every)


def prior_scores(count: int, seed: int, step: int) -> Tensor:
    """Scores [count] drawn from the standard normal prior for one step."""
    return torch.from_numpy(np.random.default_rng([seed, step, 1]).standard_normal(count).astype(np.float32))


def deviation_loss(scores_B: Tensor, anomalous_B: Tensor, prior: Tensor, margin: float) -> Tensor:
    """The deviation loss of image scores, mean over images (DevNet, equations 3 and 4 of its first form).

    The deviation is the score's distance from the prior's mean in its standard deviations. A normal image (0 in
    `anomalous_B`) loses its absolute deviation, an anomalous one (1) what it lacks to `margin`.
    """
    deviation = (scores_B - prior.mean()) / prior.std()
    normal = (1 - anomalous_B) * deviation.abs()
    return (normal + anomalous_B * (margin - deviation).clamp(min=0)).mean()
