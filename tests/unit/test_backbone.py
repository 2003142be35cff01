"""The frozen encoder: what it computes, what never changes, and what it says about wrong weights and sizes."""

import os
import pickle

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from safetensors.torch import save_file
from skimage.transform import resize
from torchvision.models.feature_extraction import create_feature_extractor

from prn.backbone import BACKBONE_CHANNELS, Backbone, load_weights, normalise, random_weights
from prn.errors import DataCorrupt, DataMissing, SettingsError


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_weights("resnet18", seed=3)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    """Four photographs [4, 64, 64, 3] uint8."""
    pictures = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket())
    return torch.from_numpy(np.stack([(255 * resize(each, (64, 64, 3))).astype(np.uint8) for each in pictures]))


def test_normalise_equals_torchvision(photographs: torch.Tensor) -> None:
    transform = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = transform(photographs.permute(0, 3, 1, 2).double() / 255)
    found = normalise(photographs)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_equal_torchvisions_network(name: str, photographs: torch.Tensor) -> None:
    weights = random_weights(name, seed=0)
    network = torchvision.models.get_model(name, weights=None)
    network.load_state_dict({**weights, "fc.weight": network.fc.weight, "fc.bias": network.fc.bias})
    layers = {f"layer{number}": f"layer{number}" for number in (1, 2, 3, 4)}
    extractor = create_feature_extractor(network.eval(), layers)
    backbone = Backbone(name, weights).eval()
    images = normalise(photographs)
    with torch.no_grad():
        expected = extractor(images)
        features = backbone.frozen(images)
        bottleneck = backbone.layer4(features[2])
    for number, feature in enumerate((*features, bottleneck), start=1):
        assert feature.shape[1] == BACKBONE_CHANNELS[name][number - 1]
        assert feature.shape[2:] == (64 // 2 ** (number + 1), 64 // 2 ** (number + 1))
        assert torch.equal(feature, expected[f"layer{number}"])


def test_fewer_scales_are_the_first_ones(state: dict, photographs: torch.Tensor) -> None:
    backbone = Backbone("resnet18", state)
    every = backbone.frozen(normalise(photographs))
    for scales in (1, 2, 3):
        some = backbone.frozen(normalise(photographs), scales=scales)
        assert len(some) == scales
        assert torch.equal(some[-1], every[scales - 1])


@pytest.mark.parametrize("name", sorted(BACKBONE_CHANNELS))
def test_channels_are_those_of_the_network(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        features = backbone.frozen(torch.empty(1, 3, 64, 96))
        shapes = [tuple(each.shape[1:]) for each in (*features, backbone.layer4(features[2]))]
    c1, c2, c3, c4 = BACKBONE_CHANNELS[name]
    assert shapes == [(c1, 16, 24), (c2, 8, 12), (c3, 4, 6), (c4, 2, 3)]


def test_parameter_counts_of_resnet18_by_hand(state: dict) -> None:
    backbone = Backbone("resnet18", state)

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    def block(
        inputs: int, outputs: int
    ) -> int:  # two 3x3 convolutions and their norms, a 1x1 shortcut where widths differ
        plain = 9 * inputs * outputs + 9 * outputs * outputs + 4 * outputs
        return plain + (inputs * outputs + 2 * outputs if inputs != outputs else 0)

    assert count(backbone.stem) == 3 * 64 * 49 + 2 * 64 == 9_536
    assert count(backbone.layer1) == 2 * block(64, 64) == 147_968
    assert count(backbone.layer2) == block(64, 128) + block(128, 128) == 525_568
    assert count(backbone.layer3) == block(128, 256) + block(256, 256) == 2_099_712
    assert count(backbone.layer4) == block(256, 512) + block(512, 512) == 8_393_728


def test_frozen_part_ignores_train_and_holds_no_gradient(state: dict, photographs: torch.Tensor) -> None:
    backbone = Backbone("resnet18", state)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()
    features = backbone.frozen(normalise(photographs))
    assert not any(feature.requires_grad for feature in features)
    assert backbone.layer4(features[2]).requires_grad
    after = backbone.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed, "BatchNorm of layer4 learns its statistics in training"
    assert all(key.startswith("layer4.") and ("running" in key or "tracked" in key) for key in changed)
    assert {key.split(".")[0] for key, value in backbone.named_parameters() if value.requires_grad} == {"layer4"}


def test_layer4_can_be_frozen_too(state: dict, photographs: torch.Tensor) -> None:
    backbone = Backbone("resnet18", state, train_layer4=False).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert not backbone.layer4(backbone.frozen(normalise(photographs))[2]).requires_grad
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_layer4_starts_from_given_weights_or_from_its_seed(state: dict) -> None:
    whole = Backbone("resnet18", state).layer4.state_dict()
    assert all(torch.equal(value, state[f"layer4.{key}"]) for key, value in whole.items())
    rest = {key: value for key, value in state.items() if not key.startswith("layer4.")}
    first, again, other = (Backbone("resnet18", rest, layer4_seed=seed).layer4.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.conv1.weight"], other["0.conv1.weight"])
    deviation = first["1.conv2.weight"].std().item()
    assert deviation == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)  # Kaiming, fan out


def test_the_callers_weights_are_not_touched(state: dict) -> None:
    before = {key: value.clone() for key, value in state.items()}
    backbone = Backbone("resnet18", state)
    with torch.no_grad():
        for parameter in backbone.layer4.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, state[key]) for key, value in before.items())


@pytest.mark.parametrize("size", [(0, 32), (30, 64), (64, 100), (224, 33), (16, 16)])
def test_other_sizes_are_refused(state: dict, size: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match=rf"{size[0]} x {size[1]} pixels.*multiples of 32"):
        Backbone("resnet18", state).frozen(torch.zeros(1, 3, *size))


def test_unknown_name_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"resnet19.*expected one of resnet18"):
        Backbone("resnet19")
    with pytest.raises(SettingsError, match="resnet19"):
        random_weights("resnet19", seed=0)


def test_weights_of_another_network_are_refused(state: dict) -> None:
    with pytest.raises(DataCorrupt, match=r"do not fit resnet34.*'layer1.2.bn1.bias'"):
        Backbone("resnet34", state)
    with pytest.raises(DataCorrupt, match="do not fit resnet18"):
        Backbone("resnet18", random_weights("resnet50", seed=0))
    lacking = {key: value for key, value in state.items() if key != "layer2.0.conv1.weight"}
    with pytest.raises(DataCorrupt, match=r"lack 'layer2.0.conv1.weight'"):
        Backbone("resnet18", lacking)
    with pytest.raises(DataCorrupt, match=r"another shape for 'conv1.weight'"):
        Backbone("resnet18", {**state, "conv1.weight": torch.zeros(64, 1, 7, 7)})


def test_load_weights_reads_both_kinds(tmp_path, state: dict) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    torch.save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "weights.pth")
    for name in ("weights.safetensors", "weights.pth"):
        loaded = load_weights(tmp_path / name)
        assert all(torch.equal(value, loaded[key]) for key, value in state.items())
        Backbone("resnet18", loaded)  # the classifier's entries are left aside


def test_load_weights_names_what_is_wrong(tmp_path, state: dict) -> None:
    with pytest.raises(DataMissing, match="no such file"):
        load_weights(tmp_path / "absent.safetensors")
    torch.save(state, tmp_path / "whole.pth")
    for name, content in (
        ("cut.pth", (tmp_path / "whole.pth").read_bytes()[:5000]),
        ("page.pth", b"<html>login</html>"),
        ("empty.pth", b""),
        ("page.safetensors", b"<html>login</html>"),
        ("empty.safetensors", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataCorrupt, match=name):
            load_weights(tmp_path / name)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(DataCorrupt, match=r"list.pth.*list"):
        load_weights(tmp_path / "list.pth")


class _Malice:
    def __reduce__(self):
        return os.mkdir, (os.environ["PRN_TEST_MALICE"],)


@pytest.mark.parametrize("as_zip", [True, False])
def test_loading_runs_no_code(tmp_path, monkeypatch: pytest.MonkeyPatch, as_zip: bool) -> None:
    monkeypatch.setenv("PRN_TEST_MALICE", str(tmp_path / "made by the pickle"))
    path = tmp_path / "weights.pth"
    if as_zip:
        torch.save({"conv1.weight": _Malice()}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": _Malice()}))
    with pytest.raises(DataCorrupt):
        load_weights(path)
    assert not (tmp_path / "made by the pickle").exists()


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = random_weights("resnet18", seed=5)
    torch.manual_seed(2)
    again = random_weights("resnet18", seed=5)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], random_weights("resnet18", seed=6)["conv1.weight"])


@pytest.mark.parametrize("name", sorted(BACKBONE_CHANNELS))
def test_random_features_keep_their_scale(name: str, photographs: torch.Tensor) -> None:
    backbone = Backbone(name, random_weights(name, seed=1)).eval()
    with torch.no_grad():
        features = backbone.frozen(normalise(photographs))
        bottleneck = backbone.layer4(features[2])
    for feature in (*features, bottleneck):
        assert 0.1 < feature.std().item() < 10
        alive = (feature > 0).float().mean().item()
        assert 0.2 < alive < 0.999


@pytest.mark.real
def test_the_imagenet_weights_beside_the_project(shared_dir) -> None:
    path = shared_dir / "weights" / "resnet18_imagenet_stem_to_layer3.safetensors"
    if not path.is_file():
        pytest.skip(f"no ImageNet weights at hand ({path})")
    image = torch.from_numpy((255 * resize(skimage.data.chelsea(), (224, 224, 3))).astype(np.uint8))
    both = normalise(torch.stack([image, image.flip(1)]))

    def mirror_similarity(weights: dict[str, torch.Tensor]) -> float:
        first, second = Backbone("resnet18", weights).frozen(both)[2]
        return torch.nn.functional.cosine_similarity(first.flip(2).flatten(), second.flatten(), dim=0).item()

    # Deep ImageNet features hardly tell left from right; random ones do, and so would misplaced weights.
    assert mirror_similarity(load_weights(path)) > 0.1 + mirror_similarity(random_weights("resnet18", seed=0))
