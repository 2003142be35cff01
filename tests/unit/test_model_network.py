"""The whole network: sizes, variants, what is trained and what never changes."""

import itertools

import pytest
import torch
from torch import nn

from prn.backbone import BACKBONE_CHANNELS, Backbone, normalise, random_weights
from prn.errors import DataCorrupt, SettingsError
from prn.model.losses import prn_loss
from prn.model.network import PRN, PrototypeResidual
from prn.prototypes import Prototypes, cluster_prototypes, residual
from prn.settings.sections import ModelSettings

WEIGHTS = random_weights("resnet18", seed=3)


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def build(height: int = 64, width: int = 64, normals: int = 5, ratio: float = 0.5, **changes) -> PRN:
    settings = ModelSettings(**{"attention_layers": 1, **changes})  # a third of the default's weights
    backbone = Backbone("resnet18", WEIGHTS, train_layer4=settings.layer4 == "trainable")
    prototypes = None
    if settings.prototypes:
        prototypes = cluster_prototypes(backbone, images(normals, height, width), ratio)
    torch.manual_seed(0)
    return PRN(backbone, prototypes, settings, input_size=(height, width))


def train_steps(network: PRN, steps: int = 2) -> list[float]:
    height, width = 64, 64
    network.train()
    optimiser = torch.optim.Adam(network.trainable_parameters(), lr=1e-3, weight_decay=1e-2)
    losses = []
    for step in range(steps):
        masks = torch.zeros(3, 1, height, width)
        masks[1:, :, 10:30, 20:40] = 1
        loss, _, _ = prn_loss(network(normalise(images(3, height, width, seed=10 + step))), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (32, 32), (96, 160), (160, 64), (64, 224)])
def test_logits_have_the_size_of_the_input(size: tuple[int, int]) -> None:
    network = build(*size).eval()
    with torch.no_grad():
        logits = network(normalise(images(2, *size, seed=1)))
    assert logits.shape == (2, 1, *size)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", sorted(BACKBONE_CHANNELS))
def test_every_backbone_fits(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        maps = [torch.empty(3, c, 64 // s, 96 // s) for c, s in zip(backbone.channels[:3], (4, 8, 16), strict=True)]
        network = PRN(backbone, Prototypes((maps[0], maps[1], maps[2])), ModelSettings(backbone=name))
        assert network(torch.empty(2, 3, 64, 96)).shape == (2, 1, 64, 96)
    assert network.skips.channels == tuple(2 * c for c in BACKBONE_CHANNELS[name][:3])


@pytest.mark.parametrize(("prototypes", "fusion", "attention"), list(itertools.product([True, False], repeat=3)))
def test_every_combination_of_modules_trains(prototypes: bool, fusion: bool, attention: bool) -> None:
    """Table 4; without prototypes the later blocks take c channels instead of 2c."""
    network = build(prototypes=prototypes, fusion=fusion, attention=attention)
    skips = network.skips
    assert skips.channels == ((128, 256, 512) if prototypes else (64, 128, 256))
    assert (skips.residual is not None) == prototypes
    assert (skips.fuse_features is not None) == fusion
    assert (skips.fuse_residuals is not None) == (fusion and prototypes)
    assert (skips.attention is not None) == attention
    assert (skips.fuse_attended is not None) == (fusion and attention)
    assert all(torch.isfinite(torch.tensor(train_steps(network, 1))))
    assert all(parameter.grad is not None for parameter in network.trainable_parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {"residual": "squared"},
        {"attention_projection": "full"},
        {"attention_projection": "elementwise"},
        {"attention_projection": "elementwise", "prototypes": False},
        {"attention_scale": "sqrt"},
        {"attention_shortcut": "heads"},
        {"attention_layers": 2},
        {"fusion_shared": True},
        {"fusion_norm": False},
        {"upsample_align_corners": True},
        {"layer4": "frozen"},
    ],
    ids=str,
)
def test_every_open_choice_trains_and_changes_the_output(changes: dict) -> None:
    network, default = build(**changes), build()
    image = normalise(images(2, 64, 64, seed=4))
    if changes != {"layer4": "frozen"}:
        with torch.no_grad():
            assert not torch.allclose(network.train()(image), default.train()(image), rtol=1e-3)
    assert all(torch.isfinite(torch.tensor(train_steps(network, 1))))


def test_skip_connections_without_modules_are_the_features() -> None:
    network = build(prototypes=False, fusion=False, attention=False)
    features = network.backbone.frozen(normalise(images(2, 64, 64)))
    assert all(torch.equal(a, b) for a, b in zip(network.skips(features), features, strict=True))


def test_skip_connections_concatenate_features_and_residuals() -> None:
    network = build(fusion=False, attention=False)
    backbone = network.backbone
    prototypes = cluster_prototypes(backbone, images(5, 64, 64), 0.5)
    features = backbone.frozen(normalise(images(2, 64, 64, seed=7)))
    for feature, maps, skip in zip(features, prototypes.maps, network.skips(features), strict=True):
        assert torch.equal(skip[:, : feature.shape[1]], feature)
        torch.testing.assert_close(skip[:, feature.shape[1] :], residual(feature, maps))


def test_features_and_residuals_share_a_fusion_only_when_told() -> None:
    apart, shared = build(), build(fusion_shared=True)
    assert apart.skips.fuse_features is not apart.skips.fuse_residuals
    assert shared.skips.fuse_features is shared.skips.fuse_residuals
    fewer = len(list(apart.skips.fuse_features.parameters()))
    assert len(apart.trainable_parameters()) - len(shared.trainable_parameters()) == fewer


def test_residual_of_its_own_prototype_is_zero() -> None:
    """K = N: every training image is a prototype, so its residual is exactly zero at all scales."""
    network = build(ratio=1.0)
    residuals = network.skips.residual(network.backbone.frozen(normalise(images(5, 64, 64))))
    assert all(torch.equal(each, torch.zeros_like(each)) for each in residuals)
    others = network.skips.residual(network.backbone.frozen(normalise(images(5, 64, 64, seed=9))))
    assert all(each.abs().mean() > 0 for each in others)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_residuals_equal_the_plain_function_in_both_layouts(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(4, c, h, h, generator=generator) for c, h in ((4, 8), (8, 4), (16, 2))]
    features = [torch.randn(3, *each.shape[1:], generator=generator).to(memory_format=layout) for each in maps]
    module = PrototypeResidual(Prototypes((maps[0], maps[1], maps[2])), "absolute")
    for found, feature, prototypes in zip(module(features), features, maps, strict=True):
        torch.testing.assert_close(found, residual(feature, prototypes))
        assert found.shape == feature.shape


def test_gradient_reaches_exactly_the_trainable_parameters() -> None:
    network = build()
    train_steps(network, 1)
    with_gradient = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    frozen = ("backbone.stem.", "backbone.layer1.", "backbone.layer2.", "backbone.layer3.")
    expected = {name for name, _ in network.named_parameters() if not name.startswith(frozen)}
    assert with_gradient == expected
    assert {id(p) for p in network.trainable_parameters()} == {
        id(p) for name, p in network.named_parameters() if name in expected
    }
    for name, parameter in network.named_parameters():
        if name not in expected:
            continue
        assert parameter.grad is not None
        gradient = parameter.grad.flatten(1) if parameter.ndim > 1 else parameter.grad[:, None]
        moved = gradient.abs().sum(dim=1) > 0
        if ".embed." not in name:
            assert moved.any(), name
            continue
        # A head with one patch returns its value: its query and key have no part in the result.
        query, key, value = moved.view(3, 4, -1)
        assert not query[0].any()
        assert not key[0].any()
        assert value.any(dim=1).all()
        assert query[1:].any(dim=1).all()


def test_frozen_part_is_byte_identical_after_training() -> None:
    network = build()
    frozen = ("backbone.stem.", "backbone.layer1.", "backbone.layer2.", "backbone.layer3.")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prototypes = {name: value.clone() for name, value in network.named_buffers() if ".residual." in name}
    assert len(prototypes) == 6
    train_steps(network, 2)
    after = network.state_dict()
    for name, value in before.items():
        if name.startswith(frozen):
            assert torch.equal(value, after[name]), name
        else:
            assert not torch.equal(value, after[name]), name
    assert all(torch.equal(value, dict(network.named_buffers())[name]) for name, value in prototypes.items())


def test_training_is_the_same_twice() -> None:
    first, second = build(), build()
    assert train_steps(first, 2) == train_steps(second, 2)
    states = first.prediction_state(), second.prediction_state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_lowers_the_loss_on_one_batch() -> None:
    """Also shows that nothing on the way cuts the gradient off."""
    network = build(32, 32, attention=False)
    image, masks = normalise(images(3, 32, 32, seed=1)), torch.zeros(3, 1, 32, 32)
    masks[1:, :, 8:16, 8:16] = 1
    optimiser = torch.optim.Adam(network.trainable_parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss, _, _ = prn_loss(network.train()(image), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_prediction_state_carries_what_was_learnt_and_nothing_else() -> None:
    trained, fresh = build(), build()
    train_steps(trained, 2)
    state = {name: value.clone() for name, value in trained.prediction_state().items()}
    assert not any(name.startswith(("backbone.stem", "backbone.layer1", "backbone.layer3")) for name in state)
    assert not any("rows" in name or "half_norms" in name for name in state)
    learnt = {name for name, parameter in trained.named_parameters() if parameter.requires_grad}
    statistics = {
        f"{name}.{part}"
        for name, module in trained.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and (not name.startswith("backbone.") or name.startswith("backbone.layer4"))
        for part in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert set(state) == learnt | statistics
    fresh.load_prediction_state(state)
    image = normalise(images(2, 64, 64, seed=5))
    with torch.no_grad():
        assert torch.equal(trained.eval()(image), fresh.eval()(image))


def test_frozen_layer4_travels_with_the_prediction_state() -> None:
    network = build(layer4="frozen")
    assert not any(name.startswith("backbone.") for name, p in network.named_parameters() if p.requires_grad)
    assert any(name.startswith("backbone.layer4.") for name in network.prediction_state())


def test_wrong_prediction_states_are_refused() -> None:
    network = build()
    state = dict(network.prediction_state())
    with pytest.raises(DataCorrupt, match=r"decoder\.logit\.bias"):
        network.load_prediction_state({name: value for name, value in state.items() if name != "decoder.logit.bias"})
    with pytest.raises(DataCorrupt, match="surplus"):
        network.load_prediction_state({**state, "surplus": torch.zeros(1)})
    with pytest.raises(DataCorrupt, match=r"decoder\.logit\.bias"):
        network.load_prediction_state({**state, "decoder.logit.bias": torch.zeros(2)})


def test_contradictions_are_refused() -> None:
    backbone = Backbone("resnet18", WEIGHTS)
    prototypes = cluster_prototypes(backbone, images(3, 64, 64), 0.5)
    with pytest.raises(SettingsError, match=r"model\.prototypes is true, but none"):
        PRN(backbone, None, ModelSettings())
    with pytest.raises(SettingsError, match=r"model\.prototypes is false, but some"):
        PRN(backbone, prototypes, ModelSettings(prototypes=False))
    with pytest.raises(SettingsError, match="resnet34"):
        PRN(backbone, prototypes, ModelSettings(backbone="resnet34"))
    with pytest.raises(SettingsError, match=r"model\.layer4"):
        PRN(backbone, prototypes, ModelSettings(layer4="frozen"))
    with pytest.raises(SettingsError, match="channels"):
        PRN(backbone, Prototypes(prototypes.maps[::-1]), ModelSettings())
    with pytest.raises(SettingsError, match="elementwise"):
        PRN(backbone, None, ModelSettings(prototypes=False, attention_projection="elementwise"))


def test_wrong_sizes_are_refused() -> None:
    network = build()
    with pytest.raises(SettingsError, match="multiples of 32"):
        network(torch.zeros(1, 3, 64, 70))
    with pytest.raises(SettingsError, match="64 x 96 pixels, but the prototypes were made at 64 x 64"):
        network(torch.zeros(1, 3, 64, 96))
    without = build(prototypes=False)
    assert without(torch.zeros(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_memory_layouts_agree() -> None:
    plain, last = build(32, 64).eval(), build(32, 64).eval().to(memory_format=torch.channels_last)
    image = normalise(images(2, 32, 64, seed=5))
    with torch.no_grad():
        torch.testing.assert_close(plain(image.contiguous()), last(image), rtol=1e-4, atol=1e-5)


def test_autocast_leaves_features_and_residuals_in_float32_and_lowers_the_rest() -> None:
    network = build(ratio=1.0).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = network.backbone.frozen(normalise(images(5, 64, 64)))
        assert all(each.dtype == torch.float32 for each in features)
        assert not any(each.any() for each in network.skips.residual(features))  # exactly zero: their own prototypes
        assert all(each.dtype == torch.bfloat16 for each in network.skips(features))


def test_bfloat16_autocast_stays_close() -> None:
    network = build().eval()
    image = normalise(images(2, 64, 64, seed=5))
    with torch.no_grad():
        expected = torch.sigmoid(network(image))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
    assert (torch.sigmoid(logits.float()) - expected).abs().max() < 0.05


@pytest.mark.slow
def test_graph_is_captured_whole() -> None:
    """torch.compile finds no branch that depends on data (the backend only replays the graph), also under autocast."""
    network = build(64, 96).eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    image = normalise(images(2, 64, 96, seed=5))
    for autocast in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert torch.equal(compiled(image), network(image))
