"""DRA's network (Ding et al., CVPR 2022): one encoder, three heads for kinds of abnormality and one for normality.

Shape suffixes: B batch, R reference images, C channels, h and w height and width of a feature map.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prn.backbone import BACKBONE_CHANNELS
from prn.methods.deviation import PatchHead, deviation_loss, trainable_encoder

# The kinds of a training image.
NORMAL, SEEN, PSEUDO = 0, 1, 2
HIDDEN = 256  # of the normality head


class NormalityHead(nn.Module):
    """A score of the whole image: the feature map's mean through two fully connected layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, features_BChw: Tensor) -> Tensor:
        """Image scores [B], high for normal images."""
        return self.layers(features_BChw.mean(dim=(2, 3)))[:, 0]


class DRANetwork(nn.Module):
    """Four scores for each image, averaged over an image pyramid of `scales` halvings."""

    def __init__(self, name: str, state: Mapping[str, Tensor], share: float, scales: int) -> None:
        super().__init__()
        channels = BACKBONE_CHANNELS[name][3]
        self.scales = scales
        self.encoder = trainable_encoder(name, state)
        self.heads = nn.ModuleDict(
            {
                "normal": NormalityHead(channels),
                "seen": PatchHead(channels, share),
                "pseudo": PatchHead(channels, share),
                "residual": PatchHead(channels, share),
            }
        )

    def features(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Feature maps [B, C, h, w] of the image and of its halvings."""
        return [self.encoder(_halved(pixels_B3HW, scale)) for scale in range(self.scales)]

    def scores(self, features: list[Tensor], references: list[Tensor]) -> dict[str, Tensor]:
        """Each head's scores [B], the mean over the scales.

        `references` holds the mean feature map [1, C, h, w] of reference normals at each scale; the residual head sees
        the difference from it.
        """
        by_scale = [
            {name: head(reference - feature if name == "residual" else feature) for name, head in self.heads.items()}
            for feature, reference in zip(features, references, strict=True)
        ]
        return {name: torch.stack([scores[name] for scores in by_scale]).mean(dim=0) for name in self.heads}

    def forward(self, pixels_B3HW: Tensor, references: list[Tensor]) -> Tensor:
        """Anomaly scores [B]: seen + pseudo + residual - normal."""
        scores = self.scores(self.features(pixels_B3HW), references)
        return scores["seen"] + scores["pseudo"] + scores["residual"] - scores["normal"]


def mean_references(features: list[Tensor]) -> list[Tensor]:
    """The mean feature map [1, C, h, w] at each scale of reference images' [R, C, h, w]."""
    return [feature.mean(dim=0, keepdim=True) for feature in features]


def dra_loss(scores: Mapping[str, Tensor], kinds_B: Tensor, prior: Tensor, margin: float) -> dict[str, Tensor]:
    """The deviation loss of each head on the images that concern it; the training minimises their sum.

    seen and residual learn normals against seen anomalies, pseudo normals against pseudo anomalies, normal all
    anomalies against normals, which are to deviate.
    """
    without_pseudo, without_seen = kinds_B != PSEUDO, kinds_B != SEEN
    anomalous = (kinds_B != NORMAL).float()
    concerned = {
        "seen": (without_pseudo, anomalous),
        "pseudo": (without_seen, anomalous),
        "residual": (without_pseudo, anomalous),
        "normal": (torch.ones_like(without_seen), 1 - anomalous),
    }
    return {
        name: deviation_loss(scores[name][chosen], target[chosen], prior, margin)
        for name, (chosen, target) in concerned.items()
    }


def _halved(pixels_B3HW: Tensor, times: int) -> Tensor:
    if not times:
        return pixels_B3HW
    size = (pixels_B3HW.shape[-2] // 2**times, pixels_B3HW.shape[-1] // 2**times)
    return F.interpolate(pixels_B3HW, size=size, mode="bilinear", align_corners=False)
