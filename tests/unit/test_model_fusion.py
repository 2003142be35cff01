"""Multi-scale fusion against equation 2 written out, and its parameters counted by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prn.model.fusion import DownTransform, MultiScaleFusion, UpTransform, upsample

CHANNELS = (4, 6, 8)


def features(height: int = 16, width: int = 24) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, channels, height // 2**scale, width // 2**scale, generator=generator)
        for scale, channels in enumerate(CHANNELS)
    ]


def shake_norms(module: nn.Module) -> None:
    """BatchNorms that do something in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight.data, part.running_var, part.running_mean, part.bias.data):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)


def slow_depthwise(image: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    """Each output pixel as the sum over its window of its own channel, zeros outside."""
    batch, channels, height, width = image.shape
    kernel = weight.shape[-1]
    result = torch.zeros(batch, channels, height // stride, width // stride)
    for row in range(height // stride):
        for column in range(width // stride):
            for i in range(kernel):
                for j in range(kernel):
                    y, x = row * stride + i - padding, column * stride + j - padding
                    if 0 <= y < height and 0 <= x < width:
                        result[:, :, row, column] += image[:, :, y, x] * weight[:, 0, i, j]
    return result


def slow_norm(image: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    if isinstance(norm, nn.Identity):
        return image
    shape = (1, -1, 1, 1)
    scale = norm.weight.view(shape) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return (image - norm.running_mean.view(shape)) * scale + norm.bias.view(shape)


def slow_pointwise(image: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    result = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], image)
    return result if conv.bias is None else result + conv.bias.view(1, -1, 1, 1)


def slow_transform(image: torch.Tensor, transform: nn.Module, r: int, j: int, align: bool) -> torch.Tensor:
    """f_rj in the paper's words and order."""
    if r < j:
        assert isinstance(transform, DownTransform)
        stride, padding = 2 ** (j - r), 2 ** (j - r - 1)
        assert transform.depthwise.weight.shape == (image.shape[1], 1, stride + 1, stride + 1)
        result = slow_depthwise(image, transform.depthwise.weight, stride, padding)
        if transform.depthwise.bias is not None:
            result = result + transform.depthwise.bias.view(1, -1, 1, 1)
        result = slow_norm(result, transform.depthwise_norm)
        return slow_norm(slow_pointwise(result, transform.pointwise), transform.pointwise_norm)
    assert isinstance(transform, UpTransform)
    up = F.interpolate(image, scale_factor=2 ** (r - j), mode="bilinear", align_corners=align)
    return slow_norm(slow_pointwise(up, transform.pointwise), transform.norm)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("align", [True, False])
def test_equals_equation_2(norm: bool, align: bool) -> None:
    torch.manual_seed(0)
    fusion = MultiScaleFusion(CHANNELS, norm=norm, align_corners=align).eval()
    shake_norms(fusion)
    maps = features()
    with torch.no_grad():
        found = fusion(maps)
        for j in (1, 2, 3):
            expected = maps[j - 1].clone()
            for r in (1, 2, 3):
                if r != j:
                    expected += slow_transform(maps[r - 1], fusion.transforms[f"{r}_to_{j}"], r, j, align)
            assert found[j - 1].shape == maps[j - 1].shape
            torch.testing.assert_close(found[j - 1], expected, rtol=1e-4, atol=1e-4)


def test_convolution_before_or_after_upsampling_is_the_same_in_training_too() -> None:
    torch.manual_seed(0)
    transform = UpTransform(6, 4, steps=2, norm=True, align_corners=False).train()
    image = torch.randn(3, 6, 5, 7)
    after = slow_pointwise(F.interpolate(image, scale_factor=4, mode="bilinear"), transform.pointwise)
    expected = F.batch_norm(after, None, None, transform.norm.weight, transform.norm.bias, training=True)
    torch.testing.assert_close(transform(image), expected, rtol=1e-4, atol=1e-5)


def test_parameters_of_each_transform_by_hand() -> None:
    fusion = MultiScaleFusion((64, 128, 256))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in fusion.transforms.items()}
    assert counts == {
        # depth-wise kernel, its norm, 1x1 kernel, its norm
        "1_to_2": 64 * 9 + 2 * 64 + 64 * 128 + 2 * 128,
        "1_to_3": 64 * 25 + 2 * 64 + 64 * 256 + 2 * 256,
        "2_to_3": 128 * 9 + 2 * 128 + 128 * 256 + 2 * 256,
        # 1x1 kernel, its norm
        "2_to_1": 128 * 64 + 2 * 64,
        "3_to_1": 256 * 64 + 2 * 64,
        "3_to_2": 256 * 128 + 2 * 128,
    }
    assert sum(counts.values()) == 120_320


def test_without_norm_there_are_biases_instead() -> None:
    fusion = MultiScaleFusion((64, 128, 256), norm=False)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fusion.modules())
    assert sum(p.numel() for p in fusion.transforms["1_to_2"].parameters()) == 64 * 9 + 64 + 64 * 128 + 128
    assert sum(p.numel() for p in fusion.transforms["3_to_1"].parameters()) == 256 * 64 + 64


def test_upsample_by_hand() -> None:
    row = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(row, 2)[0, 0].tolist() == [[0, 1, 3, 4], [0, 1, 3, 4]]
    assert upsample(row, 2, align_corners=True)[0, 0, 0].tolist() == pytest.approx([0, 4 / 3, 8 / 3, 4])
