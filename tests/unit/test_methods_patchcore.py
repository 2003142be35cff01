"""PatchCore through anomalib: it learns, repeats itself, takes our weights, and says what to install."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from prn.backbone import Backbone, normalise, random_weights
from prn.errors import DataCorrupt, PrnError, SettingsError
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.settings.variants import resolve_variant

from .anomalib_case import SIZE, inputs, scored_images, stripes


def settings(**changes) -> Settings:
    options = {"resize": 64, "crop": 56, "coreset": 0.1, "neighbours": 3, "batch_size": 4, **changes}
    return validated(
        Settings,
        {"method": "patchcore", "tensors": {"size": SIZE}, "methods": {"patchcore": options}, "train": {"threads": 1}},
    )


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("resnet18", seed=0)


@pytest.fixture(scope="module")
def patchcore():
    pytest.importorskip("anomalib", reason="the extra `compare` is not installed")
    from prn.methods.patchcore import Method

    return Method


def fitted(method_class, weights, normals, seed: int = 3):
    method = method_class(settings(), weights, None, torch.device("cpu"))
    method.fit(inputs(normals, seed))
    return method


def test_it_learns_what_is_normal(patchcore, weights):
    """Against the same model whose memory holds noise: it sees the same features and knows nothing of the category."""
    images, labels, masks = scored_images()
    maps, scores = fitted(patchcore, weights, stripes(16, seed=0)).predict(images)
    noise = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3)).astype(np.uint8)
    _, blind = fitted(patchcore, weights, noise).predict(images)
    assert maps.shape == (20, SIZE, SIZE)
    assert maps.dtype == np.float32
    assert roc_auc_score(labels, scores) >= 0.8
    assert roc_auc_score(labels, scores) >= roc_auc_score(labels, blind) + 0.1
    assert roc_auc_score(masks.ravel(), maps.ravel()) >= 0.8


def test_the_same_seed_gives_the_same_bytes_and_a_saved_memory_predicts_alike(patchcore, weights):
    normals, images = stripes(8, seed=0), scored_images()[0][:5]
    first, second = fitted(patchcore, weights, normals), fitted(patchcore, weights, normals)
    memory = first.tensors()["memory_bank"]
    assert memory.shape == (8 * 7 * 7 // 10, 128 + 256)
    assert torch.equal(memory, second.tensors()["memory_bank"])
    assert not torch.equal(memory, fitted(patchcore, weights, normals, seed=4).tensors()["memory_bank"])
    restored = patchcore(settings(), weights, None, torch.device("cpu"))
    restored.load(first.tensors())
    for expected, found in zip(first.predict(images), restored.predict(images), strict=True):
        assert np.array_equal(expected, found)


def test_a_map_does_not_depend_on_its_batch(patchcore, weights):
    method, images = fitted(patchcore, weights, stripes(4, seed=0)), scored_images()[0][8:14]
    together = method.predict(images)
    alone = [method.predict(image[None]) for image in images]
    for which in (0, 1):
        np.testing.assert_allclose(together[which], np.concatenate([pair[which] for pair in alone]), rtol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "wide_resnet50_2"])
def test_the_features_are_those_of_our_backbone(patchcore, name):
    """timm's network with our weights against torchvision's: the hand-over misses no layer."""
    weights = random_weights(name, seed=0)
    chosen = validated(Settings, {"model": {"backbone": name}, "train": {"threads": 1}})
    method = patchcore(chosen, weights, None, torch.device("cpu"))
    pixels = normalise(torch.from_numpy(stripes(2, seed=0)))
    with torch.no_grad():
        found = method.model.feature_extractor(pixels)
    _, layer2, layer3 = Backbone(name, weights).frozen(pixels)
    torch.testing.assert_close(found["layer2"], layer2, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["layer3"], layer3, rtol=1e-4, atol=1e-4)


def test_weights_up_to_layer3_are_enough_and_fewer_are_refused(patchcore, weights):
    shallow = {key: value for key, value in weights.items() if not key.startswith(("layer4", "fc"))}
    patchcore(settings(), shallow, None, torch.device("cpu"))
    less = {key: value for key, value in shallow.items() if not key.startswith("layer3")}
    with pytest.raises(DataCorrupt, match="do not fit resnet18"):
        patchcore(settings(), less, None, torch.device("cpu"))


def test_without_anomalib_the_error_names_the_extra(monkeypatch, weights):
    from prn.methods.patchcore import Method

    for name in [key for key in sys.modules if key.split(".")[0] == "anomalib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "anomalib", None)
    with pytest.raises(PrnError, match=r"pip install prn\[compare\]"):
        Method(settings(), weights, None, torch.device("cpu"))


def test_the_variants_have_the_papers_size_and_backbones(project: Path):
    """Roth et al., section 4.1: 256 resized, 224 cropped, Wide-ResNet-50-2."""
    params = parse_settings(read_yaml(project / "params.yaml"))
    large, small = (resolve_variant(params, name) for name in ("patchcore", "patchcore-resnet18"))
    assert (large.model.backbone, small.model.backbone) == ("wide_resnet50_2", "resnet18")
    assert (large.methods.patchcore.resize, large.methods.patchcore.crop) == (256, 224)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(SettingsError, match=r"methods\.patchcore\.crop: found 72"):
        settings(crop=72)
