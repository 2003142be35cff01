"""Multi-size self-attention against equation 3 written as loops over patches, and its parameters counted by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prn.errors import SettingsError
from prn.model.attention import (
    MultiSizeSelfAttention,
    ResidualBlock,
    from_patches,
    patch_attention,
    patch_sizes,
    to_patches,
)


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("height", "sizes"),
    [
        (64, (64, 32, 16, 8)),
        (32, (32, 16, 8, 4)),
        (16, (16, 8, 4, 2)),
        (4, (4, 2, 1, 1)),
        (2, (2, 1, 1, 1)),
        (20, (20, 10, 5, 3)),
    ],
)
def test_patch_sizes(height: int, sizes: tuple[int, ...]) -> None:
    assert patch_sizes(height) == sizes


def test_patches_in_reading_order() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    patches = to_patches(image, 2)
    assert patches.shape == (1, 6, 8)
    assert patches[0, 1].tolist() == [2, 26, 3, 27, 8, 32, 9, 33]  # first row, second patch, the channels last
    filled = to_patches(image, 4)
    assert filled.shape == (1, 2, 32)
    assert filled[0, 1].view(4, 4, 2)[..., 0].tolist() == [[4, 5, 0, 0], [10, 11, 0, 0], [16, 17, 0, 0], [22, 23, 0, 0]]


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 13), st.integers(1, 13), st.integers(1, 13))
def test_from_patches_inverts_to_patches(batch: int, channels: int, height: int, width: int, patch: int) -> None:
    image = random_maps(batch, channels, height, width)
    assert torch.equal(from_patches(to_patches(image, patch), patch, height, width), image)


def slow_attention(query, key, value, patch: int, divisor) -> np.ndarray:
    """Equation 3 for one image [C, H, W]: cut patches, softmax over patches, put the sums back."""
    channels, height, width = value.shape
    rows, columns = math.ceil(height / patch), math.ceil(width / patch)

    def cut(image) -> list[np.ndarray]:
        canvas = np.zeros((channels, rows * patch, columns * patch))
        canvas[:, :height, :width] = image
        return [
            canvas[:, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch].ravel()
            for y in range(rows)
            for x in range(columns)
        ]

    queries, keys, values = cut(query), cut(key), cut(value)
    result = np.zeros((channels, rows * patch, columns * patch))
    for number, q in enumerate(queries):
        logits = [float(q @ k) / divisor(channels * patch * patch) for k in keys]
        shares = [math.exp(each - max(logits)) for each in logits]
        mixed = sum(share / sum(shares) * v for share, v in zip(shares, values, strict=True))
        y, x = divmod(number, columns)
        result[:, y * patch : (y + 1) * patch, x * patch : (x + 1) * patch] = mixed.reshape(channels, patch, patch)
    return result[:, :height, :width]


@pytest.mark.parametrize(("scale", "divisor"), [("dim", lambda length: length), ("sqrt", math.sqrt)])
@pytest.mark.parametrize("patch", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (4, 10)])
def test_attention_equals_equation_3(scale: str, divisor, patch: int, size: tuple[int, int]) -> None:
    query, key, value = (3 * random_maps(2, 3, *size, seed=seed) for seed in (1, 2, 3))
    found = patch_attention(query, key, value, patch, scale)
    for image in range(2):
        expected = slow_attention(query[image].numpy(), key[image].numpy(), value[image].numpy(), patch, divisor)
        np.testing.assert_allclose(found[image], expected, rtol=1e-4, atol=1e-4)


def test_one_patch_gives_its_value() -> None:
    query, key, value = (random_maps(2, 3, 8, 8, seed=seed) for seed in (1, 2, 3))
    assert torch.equal(patch_attention(query, key, value, 8, "dim"), value)


def test_division_by_the_length_is_nearly_averaging() -> None:
    """The printed scale: with unit-variance queries and keys the shares hardly differ; with the root they do."""
    query, key = (random_maps(1, 32, 64, 64, seed=seed) for seed in (1, 2))
    value = random_maps(1, 32, 64, 64, seed=3)
    mean = from_patches(to_patches(value, 8).mean(dim=1, keepdim=True).expand(-1, 64, -1), 8, 64, 64)
    by_length = (patch_attention(query, key, value, 8, "dim") - mean).std()
    by_root = (patch_attention(query, key, value, 8, "sqrt") - mean).std()
    assert by_length < 0.01
    assert by_root > 0.1


@pytest.mark.parametrize("projection", ["grouped", "full", "elementwise"])
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (4, 6)])
@pytest.mark.parametrize("shortcut", ["input", "heads"])
def test_block_equals_its_heads_one_by_one(projection: str, size: tuple[int, int], shortcut: str) -> None:
    torch.manual_seed(0)
    channels, height = 8, size[0]
    module = MultiSizeSelfAttention(channels, projection, "dim", height=height, shortcut=shortcut).eval()
    if projection == "elementwise":
        for parameter in module.embed.parameters():
            parameter.data.normal_()
    image = random_maps(2, channels, *size)
    own = channels // 4 if projection == "grouped" else channels
    with torch.no_grad():
        heads = []
        for s, patch in enumerate(patch_sizes(height)):
            parts = []
            for kind in range(3):  # query, key, value
                if projection == "elementwise":
                    weight, bias = module.embed[s][kind].weight[0], module.embed[s][kind].bias[0]
                    part = torch.zeros(2, channels, *size)
                    for y in range(size[0]):
                        for x in range(size[1]):
                            place = (slice(None), y % patch, x % patch)
                            part[:, :, y, x] = image[:, :, y, x] * weight[place] + bias[place]
                else:
                    rows = slice((kind * 4 + s) * own, (kind * 4 + s + 1) * own)
                    matrix, bias = module.embed.weight[rows, :, 0, 0], module.embed.bias[rows]
                    part = torch.einsum("oc,bchw->bohw", matrix, image) + bias.view(1, -1, 1, 1)
                parts.append(part.numpy())
            heads.append(
                np.stack([slow_attention(*(p[b] for p in parts), patch, lambda length: length) for b in (0, 1)])
            )
        joined = torch.from_numpy(np.concatenate(heads, axis=1)).float()
        added = image if shortcut == "input" else module.block.shortcut(joined)
        expected = torch.relu(module.block.body(joined) + added)
        torch.testing.assert_close(module(image), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("projection", ["grouped", "full"])
def test_the_shortcut_from_the_input_skips_the_attention(projection: str) -> None:
    """With a body that gives zero, what is left is the input (M2TR), whatever the heads average away."""
    module = MultiSizeSelfAttention(8, projection).eval()
    nn.init.zeros_(module.block.body[-1].weight)
    image = random_maps(2, 8, 8, 8)
    assert torch.equal(module(image), torch.relu(image))
    assert not list(module.block.shortcut.parameters())


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (24, 6)])
def test_residual_block(inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(inputs, outputs).eval()
    image = random_maps(2, inputs, 5, 7)
    first, first_norm, _, second, second_norm = block.body
    inner = torch.relu(first_norm(nn.functional.conv2d(image, first.weight, padding=1)))
    inner = second_norm(nn.functional.conv2d(inner, second.weight, padding=1))
    short = image if inputs == outputs else block.shortcut(image)
    torch.testing.assert_close(block(image), torch.relu(inner + short))
    shortcut = 0 if inputs == outputs else inputs * outputs + 2 * outputs
    assert count(block) == 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs + shortcut


@pytest.mark.parametrize(("channels", "total"), [(128, 344_960), (256, 1_378_048), (512, 5_508_608)])
def test_parameters_grouped_by_hand(channels: int, total: int) -> None:
    """Three 1x1 convolutions with bias (in one), two 3x3 without, two norms."""
    by_hand = 3 * (channels * channels + channels) + 2 * 9 * channels * channels + 2 * 2 * channels
    assert count(MultiSizeSelfAttention(channels)) == by_hand == total


def test_parameters_of_the_other_projections_by_hand() -> None:
    channels, height = 16, 8
    block = 9 * 4 * 16 * 16 + 9 * 16 * 16 + 4 * 16 + (64 * 16 + 2 * 16)  # eight times the channels in, with a shortcut
    assert count(MultiSizeSelfAttention(channels, "full", shortcut="heads").block) == block
    assert count(MultiSizeSelfAttention(channels, "full").block) == block - (64 * 16 + 2 * 16)
    assert count(MultiSizeSelfAttention(channels, "full").embed) == 3 * 4 * (16 * 16 + 16)
    elements = 16 * (64 + 16 + 4 + 1)  # patches of 8, 4, 2 and 1
    assert count(MultiSizeSelfAttention(channels, "elementwise", height=height).embed) == 3 * 2 * elements


def test_elementwise_needs_and_keeps_its_height() -> None:
    with pytest.raises(SettingsError, match="attention_projection 'elementwise'"):
        MultiSizeSelfAttention(8, "elementwise")
    module = MultiSizeSelfAttention(8, "elementwise", height=8)
    with pytest.raises(SettingsError, match="height 8, found 16"):
        module(torch.zeros(1, 8, 16, 16))
