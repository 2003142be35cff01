"""The decoder: its shapes, its parameters counted by hand, its order of operations."""

import pytest
import torch
from torch.nn import functional as F

from prn.model.decoder import Decoder, UpBlock


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolution(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + 2 * outputs  # 3x3 kernel without bias, norm


@pytest.mark.parametrize("factor", [1, 2])
def test_parameters_by_hand(factor: int) -> None:
    """`factor` 2: skips of features and residuals, 1: features alone."""
    decoder = Decoder((64, 128, 256, 512), (64 * factor, 128 * factor, 256 * factor))
    for block, inputs, outputs in ((decoder.block3, 512, 256), (decoder.block2, 256, 128), (decoder.block1, 128, 64)):
        expected = convolution(inputs, outputs) + convolution(outputs * (1 + factor), outputs)
        assert count(block) == expected + convolution(outputs, outputs)
    assert count(decoder.refine_half) == convolution(64, 32) == 18_496
    assert count(decoder.refine_whole) == convolution(32, 16) == 4_640
    assert count(decoder.logit) == 9 * 16 + 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 8)])
def test_output_is_32_times_the_bottleneck(height: int, width: int) -> None:
    decoder = Decoder((8, 16, 32, 64), (16, 32, 64))
    skips = [torch.zeros(2, 16 * 2**scale, height * 2 ** (3 - scale), width * 2 ** (3 - scale)) for scale in range(3)]
    assert decoder(torch.zeros(2, 64, height, width), skips).shape == (2, 1, 32 * height, 32 * width)


@pytest.mark.parametrize("align", [True, False])
def test_up_block_step_by_step(align: bool) -> None:
    torch.manual_seed(0)
    block = UpBlock(6, 5, 4, align).eval()
    feature, skip = torch.randn(2, 6, 4, 3), torch.randn(2, 5, 8, 6)

    def step(image: torch.Tensor, sequence: torch.nn.Sequential) -> torch.Tensor:
        conv, norm, _ = sequence
        image = F.conv2d(image, conv.weight, padding=1)
        return F.batch_norm(image, norm.running_mean, norm.running_var, norm.weight, norm.bias).clamp(min=0)

    up = F.interpolate(feature, scale_factor=2, mode="bilinear", align_corners=align)
    merged = torch.cat([step(up, block.reduce), skip], dim=1)
    expected = step(step(merged, block.merge[0]), block.merge[1])
    torch.testing.assert_close(block(feature, skip), expected)
