"""The description against shapes, weights and multiply-accumulates worked out by hand for 256 x 256."""

import pytest

from prn.backbone import Backbone, random_weights
from prn.errors import SettingsError
from prn.model.describe import as_text, describe, total
from prn.model.drawing import draw_network
from prn.model.network import PRN
from prn.settings.sections import ModelSettings

SIZES = {1: 64, 2: 32, 3: 16, 4: 8}
WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512}


def shape(scale: int, factor: int = 1) -> tuple[int, int, int]:
    return factor * WIDTHS[scale], SIZES[scale], SIZES[scale]


def basic_block(inputs: int, outputs: int, size: int) -> int:
    """Multiply-accumulates of two 3x3 convolutions, and the 1x1 shortcut where the widths differ."""
    return size * size * (9 * inputs * outputs + 9 * outputs * outputs + (inputs != outputs) * inputs * outputs)


def fusion(factor: int) -> int:
    """Multiply-accumulates of a fusion of maps with `factor` times the backbone's channels."""
    macs = 0
    for r in (1, 2, 3):
        for j in (1, 2, 3):
            source, target = factor * WIDTHS[r], factor * WIDTHS[j]
            if r < j:
                macs += SIZES[j] ** 2 * (source * (2 ** (j - r) + 1) ** 2 + source * target)
            elif r > j:
                macs += SIZES[r] ** 2 * source * target  # the convolution goes before the up-sampling
    return macs


def attention(scale: int) -> int:
    channels, pixels = 2 * WIDTHS[scale], SIZES[scale] ** 2
    embedding = 3 * channels**2 - 2 * channels * (channels // 4)  # no query and no key for the head with one patch,
    macs = pixels * (embedding + 2 * 9 * channels**2)
    for patches in (4, 16, 64):  # which multiplies nothing
        macs += 2 * patches * patches * (channels // 4) * pixels // patches  # Q K^T, then the weighted values
    return macs


def up_block(scale: int) -> int:
    above, here, pixels = WIDTHS[scale + 1], WIDTHS[scale], SIZES[scale] ** 2
    return pixels * 9 * (above * here + 3 * here * here + here * here)


BY_HAND = {
    "encoder: stem": ([shape(1)], 128 * 128 * 64 * 3 * 49),
    "encoder: layer1": ([shape(1)], 2 * basic_block(64, 64, 64)),
    "encoder: layer2": ([shape(2)], basic_block(64, 128, 32) + basic_block(128, 128, 32)),
    "encoder: layer3": ([shape(3)], basic_block(128, 256, 16) + basic_block(256, 256, 16)),
    "bottleneck: layer4": ([shape(4)], basic_block(256, 512, 8) + basic_block(512, 512, 8)),
    "fusion of features": ([shape(1), shape(2), shape(3)], fusion(1)),
    "residuals from nearest prototypes": (
        [shape(1), shape(2), shape(3)],
        25 * (64 * 64 * 64 + 128 * 32 * 32 + 256 * 16 * 16),
    ),
    "fusion of residuals": ([shape(1), shape(2), shape(3)], fusion(1)),
    **{
        f"attention: scale {scale}, layer {layer}": ([shape(scale, 2)], attention(scale))
        for scale in (1, 2, 3)
        for layer in (1, 2, 3)
    },
    "fusion of attended maps": ([shape(1, 2), shape(2, 2), shape(3, 2)], fusion(2)),
    "decoder: block 3": ([shape(3)], up_block(3)),
    "decoder: block 2": ([shape(2)], up_block(2)),
    "decoder: block 1": ([shape(1)], up_block(1)),
    "decoder: to half size": ([(32, 128, 128)], 128 * 128 * 9 * 64 * 32),
    "decoder: to whole size": ([(16, 256, 256)], 256 * 256 * 9 * 32 * 16),
    "decoder: logit": ([(1, 256, 256)], 256 * 256 * 9 * 16),
}


def test_shapes_and_multiply_accumulates_by_hand() -> None:
    blocks = describe(ModelSettings())
    assert [block.name for block in blocks] == list(BY_HAND)
    for block in blocks:
        shapes, macs = BY_HAND[block.name]
        assert list(block.outputs) == shapes, block.name
        assert block.gmac == pytest.approx(macs / 1e9, rel=1e-12), block.name


def test_parameters_by_hand() -> None:
    found = {block.name: (block.trainable, block.fixed) for block in describe(ModelSettings())}
    assert found["encoder: stem"] == (0, 9_536)
    assert found["encoder: layer1"] == (0, 147_968)
    assert found["encoder: layer2"] == (0, 525_568)
    assert found["encoder: layer3"] == (0, 2_099_712)
    assert found["bottleneck: layer4"] == (8_393_728, 0)
    assert found["fusion of features"] == found["fusion of residuals"] == (120_320, 0)
    assert found["residuals from nearest prototypes"] == (0, 25 * 458_752)
    for scale, weights in ((1, 344_960), (2, 1_378_048), (3, 5_508_608)):
        assert all(found[f"attention: scale {scale}, layer {layer}"] == (weights, 0) for layer in (1, 2, 3))
    assert found["fusion of attended maps"] == (470_016, 0)
    assert found["decoder: block 3"] == (9 * 256 * (512 + 3 * 256 + 256) + 3 * 512, 0)
    whole = total(describe(ModelSettings()))
    assert whole.trainable == sum(trainable for trainable, _ in found.values()) == 35_470_065
    assert whole.outputs == ((1, 256, 256),)


@pytest.mark.parametrize(
    "changes",
    [{}, {"fusion_shared": True}, {"prototypes": False}, {"layer4": "frozen"}, {"attention_projection": "full"}],
    ids=str,
)
def test_no_weight_is_left_out(changes: dict) -> None:
    settings = ModelSettings(**{"prototypes": False, **changes})
    backbone = Backbone("resnet18", random_weights("resnet18", 0), train_layer4=settings.layer4 == "trainable")
    network = PRN(backbone, None, settings)
    whole = total(describe(settings, (64, 64)))
    assert whole.trainable == sum(parameter.numel() for parameter in network.trainable_parameters())
    assert whole.trainable + whole.fixed == sum(parameter.numel() for parameter in network.parameters())


def test_shared_fusion_counts_its_weights_once_and_its_work_twice() -> None:
    apart = {block.name: block for block in describe(ModelSettings())}
    shared = {block.name: block for block in describe(ModelSettings(fusion_shared=True))}
    both = shared["fusion of features and residuals"]
    assert "fusion of residuals" not in shared
    assert both.trainable == apart["fusion of features"].trainable
    assert both.gmac == pytest.approx(2 * apart["fusion of features"].gmac)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "wide_resnet50_2"])
def test_other_backbones_and_sizes(name: str) -> None:
    settings = ModelSettings(backbone=name, attention_projection="elementwise")
    blocks = describe(settings, (96, 64), prototypes=3)
    assert blocks[-1].outputs == ((1, 96, 64),)
    assert all(block.gmac > 0 for block in blocks)


def test_text_lists_every_block_and_the_sum() -> None:
    blocks = describe(ModelSettings())
    lines = as_text(blocks).splitlines()
    assert len(lines) == len(blocks) + 4
    assert lines[0].split() == ["block", "output", "C", "x", "H", "x", "W", "trainable", "fixed", "GMAC"]
    assert "8,393,728" in next(line for line in lines if line.startswith("bottleneck: layer4"))
    assert lines[-1].split()[-3] == "35,470,065"


def test_other_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="multiples of 32"):
        describe(ModelSettings(), (250, 256))


@pytest.mark.parametrize("changes", [{}, {"prototypes": False, "fusion": False}, {"attention": False}], ids=str)
def test_figure_is_the_same_twice(tmp_path, changes: dict) -> None:
    for name in ("first.svg", "second.svg", "figure.png"):
        draw_network(tmp_path / name, ModelSettings(**changes))
    text = (tmp_path / "first.svg").read_text()
    assert text == (tmp_path / "second.svg").read_text()
    assert ("self-attention" in text) == ("attention" not in changes)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SettingsError, match=r"\.svg or \.png"):
        draw_network(tmp_path / "figure.pdf", ModelSettings())


def test_figure_in_the_documents_is_todays(project, tmp_path) -> None:
    """The README's figure shows the network of the default settings."""
    draw_network(tmp_path / "network.svg", ModelSettings())

    def texts(path) -> list[str]:
        return [line for line in path.read_text().splitlines() if "<text" in line]

    assert texts(tmp_path / "network.svg") == texts(project / "docs" / "network.svg")
