"""The decoder: up-sampling and convolution blocks from the bottleneck to a map of the input's size (paper, Fig. 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prn.model.fusion import upsample


def conv_norm_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class UpBlock(nn.Module):
    """Up-sampling by 2 and a convolution; with a skip connection also its concatenation and two more convolutions."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.reduce = conv_norm_relu(channels_in, channels_out)
        self.merge: nn.Module = nn.Identity()
        if channels_skip:
            self.merge = nn.Sequential(
                conv_norm_relu(channels_out + channels_skip, channels_out), conv_norm_relu(channels_out, channels_out)
            )

    def forward(self, feature_BCHW: Tensor, skip_BCHW: Tensor | None = None) -> Tensor:
        feature = self.reduce(upsample(feature_BCHW, 2, self.align_corners))
        return self.merge(feature if skip_BCHW is None else torch.cat([feature, skip_BCHW], dim=1))


class Decoder(nn.Module):
    """Three blocks with skip connections (to 1/4 of the input), two without, and a 3x3 convolution to one logit.

    `channels` are those of layer1 to layer4, `skip_channels` those of the three skip connections. A block's width is
    that of the layer at its size; it is halved again at each of the last two.
    """

    def __init__(self, channels: Sequence[int], skip_channels: Sequence[int], align_corners: bool = False) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.block3 = UpBlock(c4, skip_channels[2], c3, align_corners)
        self.block2 = UpBlock(c3, skip_channels[1], c2, align_corners)
        self.block1 = UpBlock(c2, skip_channels[0], c1, align_corners)
        self.refine_half = UpBlock(c1, 0, c1 // 2, align_corners)
        self.refine_whole = UpBlock(c1 // 2, 0, c1 // 4, align_corners)
        self.logit = nn.Conv2d(c1 // 4, 1, kernel_size=3, padding=1)

    def forward(self, bottleneck_BCHW: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Logits [B, 1, H, W] at 32 times the bottleneck's size; `skips` from layer1's scale to layer3's."""
        feature = self.block3(bottleneck_BCHW, skips[2])
        feature = self.block2(feature, skips[1])
        feature = self.block1(feature, skips[0])
        return self.logit(self.refine_whole(self.refine_half(feature)))
