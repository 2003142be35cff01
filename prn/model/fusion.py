"""Multi-scale Fusion: every scale becomes the sum of all three, transformed to its size (paper, section 3.2, Fig. 4).

Scales are numbered 1 to 3 as in the paper; scale j has half the height and width of scale j - 1.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class DownTransform(nn.Module):
    """f_rj for r < j: a depth-wise separable convolution of stride 2^(j-r), kernel 2^(j-r) + 1, padding 2^(j-r-1)."""

    def __init__(self, channels_in: int, channels_out: int, steps: int, norm: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels_in,
            channels_in,
            kernel_size=2**steps + 1,
            stride=2**steps,
            padding=2 ** (steps - 1),
            groups=channels_in,
            bias=not norm,
        )
        self.depthwise_norm = nn.BatchNorm2d(channels_in) if norm else nn.Identity()
        self.pointwise = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=not norm)
        self.pointwise_norm = nn.BatchNorm2d(channels_out) if norm else nn.Identity()

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        feature = self.depthwise_norm(self.depthwise(feature_BCHW))
        return self.pointwise_norm(self.pointwise(feature))


class UpTransform(nn.Module):
    """f_rj for r > j: bilinear up-sampling by 2^(r-j) and a 1x1 convolution.

    A 1x1 convolution acts on channels and the interpolation on positions with weights that sum to one, so the two
    commute, bias included. The convolution goes first: it then sees 4^(r-j) times fewer positions.
    """

    def __init__(self, channels_in: int, channels_out: int, steps: int, norm: bool, align_corners: bool) -> None:
        super().__init__()
        self.factor = 2**steps
        self.align_corners = align_corners
        self.pointwise = nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=not norm)
        self.norm = nn.BatchNorm2d(channels_out) if norm else nn.Identity()

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        return self.norm(upsample(self.pointwise(feature_BCHW), self.factor, self.align_corners))


class MultiScaleFusion(nn.Module):
    """F*_j = f_1j(F_1) + f_2j(F_2) + f_3j(F_3), where f_jj is the identity (equation 2); no activation after the sum.

    `channels` are those of the three scales, which the output keeps. `norm` puts a BatchNorm after each convolution.
    """

    def __init__(self, channels: Sequence[int], norm: bool = True, align_corners: bool = False) -> None:
        super().__init__()
        self.scales = range(1, len(channels) + 1)
        self.transforms = nn.ModuleDict()
        for r in self.scales:
            for j in self.scales:
                source, target = channels[r - 1], channels[j - 1]
                if r < j:
                    self.transforms[f"{r}_to_{j}"] = DownTransform(source, target, j - r, norm)
                elif r > j:
                    self.transforms[f"{r}_to_{j}"] = UpTransform(source, target, r - j, norm, align_corners)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Three maps in, three maps of the same shapes out."""
        fused = []
        for j in self.scales:
            total = features[j - 1]
            for r in self.scales:
                if r != j:
                    total = total + self.transforms[f"{r}_to_{j}"](features[r - 1])
            fused.append(total)
        return fused


def upsample(feature_BCHW: Tensor, factor: int, align_corners: bool = False) -> Tensor:
    """Bilinear up-sampling of height and width by a whole factor."""
    size = (feature_BCHW.shape[-2] * factor, feature_BCHW.shape[-1] * factor)
    return F.interpolate(feature_BCHW, size=size, mode="bilinear", align_corners=align_corners)
