"""KDAD and its teacher: loss by hand, VGG-16 against torchvision, learning, resume, the weights' path."""

import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.ndimage import grey_opening
from sklearn.metrics import roc_auc_score

from prn import layout
from prn.backbone import random_weights, weights_kind
from prn.errors import DataCorrupt, DataMissing
from prn.methods.kdad import Method, cloner, distillation_loss, opened
from prn.resume import Interrupted, ResumeFile
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.variants import resolve_variant
from prn.stages import weights as weights_stage
from prn.stages.job import Job
from prn.vgg import block_outputs, vgg16
from tests.unit import methods_case


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("vgg16", seed=0)


def settings(epochs: int, learning_rate: float = 2e-3, **train):
    options = {"size": 64, "epochs": epochs, "batch": 8, "learning_rate": learning_rate}
    return methods_case.settings("kdad", options, backbone="vgg16", **train)


def test_it_learns_what_is_normal(weights):
    """Against the same cloner whose weights did not move."""
    images, labels, masks = methods_case.scored_images()
    method, report = methods_case.fitted(settings(12), weights, methods_case.inputs())
    maps, scores = method.predict(images)
    untrained, _ = methods_case.fitted(settings(1, learning_rate=1e-12), weights, methods_case.inputs())
    assert (report.steps, report.epochs) == (36, 12)
    assert (maps.shape, maps.dtype) == ((24, 64, 64), np.float32)
    assert roc_auc_score(labels, scores) >= 0.8
    assert roc_auc_score(labels, scores) >= roc_auc_score(labels, untrained.predict(images)[1]) + 0.1
    assert roc_auc_score(masks.ravel(), maps.ravel()) >= 0.75


def test_a_resumed_training_and_a_loaded_method_are_the_uninterrupted_one(weights, tmp_path):
    images = methods_case.scored_images()[0][10:14]
    method, report = methods_case.fitted(settings(1), weights, methods_case.inputs())
    data = methods_case.inputs(resume=ResumeFile(tmp_path / "run.resume.pt", {}))
    data.progress = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        methods_case.fitted(settings(1, checkpoint_minutes=1e-9), weights, data)
    data = methods_case.inputs(resume=ResumeFile(tmp_path / "run.resume.pt", {}))
    again, second = methods_case.fitted(settings(1, checkpoint_minutes=1e-9), weights, data)
    assert [row["loss"] for row in second.log] == [row["loss"] for row in report.log]
    trained = method.tensors()
    assert all(torch.equal(value, again.tensors()[name]) for name, value in trained.items())
    loaded = Method(settings(1), weights, None, torch.device("cpu"))
    loaded.load(trained)
    for expected, found in zip(method.predict(images), loaded.predict(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_loss_by_hand():
    """Two layers of one image: squares 4 and 1 by mean, cosines 0 and 0.8, half of each distance."""
    teacher = [torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])]
    student = [torch.tensor([[0.0, 2.0]]), torch.tensor([[4 / 5, 3 / 5]])]
    values = (4 + 4) / 2 + (0.04 + 0.36) / 2
    assert distillation_loss(teacher, student, 0.5).item() == pytest.approx(values + 0.5 * ((1 - 0) + (1 - 0.8)))
    assert distillation_loss(teacher, teacher, 0.5).item() == pytest.approx(0, abs=1e-6)


def test_each_image_has_a_loss_of_its_own():
    random = torch.Generator().manual_seed(0)
    teacher = [torch.randn(3, 2, 4, 4, generator=random), torch.randn(3, 5, 2, 2, generator=random)]
    student = [value + torch.randn(value.shape, generator=random) for value in teacher]
    alone = [distillation_loss([t[i : i + 1] for t in teacher], [s[i : i + 1] for s in student], 0.5) for i in range(3)]
    torch.testing.assert_close(distillation_loss(teacher, student, 0.5), torch.cat(alone))


def test_the_teacher_is_torchvisions_vgg16(weights):
    from torchvision.models import vgg16 as torchvision_vgg16

    with torch.device("meta"):
        reference = torchvision_vgg16(weights=None).features
    expected = {f"features.{name}": value.shape for name, value in reference.state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == expected
    reference.to_empty(device="cpu").load_state_dict({k.removeprefix("features."): v for k, v in weights.items()})
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = block_outputs(vgg16(weights), pixels, last=4)
    with torch.no_grad():
        torch.testing.assert_close(found[-1], reference(pixels), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[0], reference[:10](pixels), rtol=1e-5, atol=1e-5)
    assert [value.shape[1:] for value in found] == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]


def test_the_cloner_is_small_and_has_the_teachers_outputs(weights):
    small = cloner(width=16).eval()
    pixels = torch.zeros(1, 3, 64, 64)
    shapes = [value.shape for value in block_outputs(small, pixels, last=5)]
    assert shapes == [value.shape for value in block_outputs(vgg16(weights), pixels, last=5)]
    teachers = sum(value.numel() for value in weights.values())
    assert sum(parameter.numel() for parameter in small.parameters()) < teachers / 40


def test_random_weights_keep_deep_features_apart(weights):
    """Two unlike pictures must not have the same direction at the last layer."""
    images = methods_case.scored_images()[0]
    pixels = torch.from_numpy(np.stack([images[0], 255 - images[1]])).permute(0, 3, 1, 2).float() / 64 - 2
    deep = block_outputs(vgg16(weights), pixels, last=1)[0].flatten(1)
    assert torch.cosine_similarity(deep[0], deep[1], dim=0) < 0.9
    assert 0.1 < deep.std() < 10
    again = random_weights("vgg16", seed=0)
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_opening_is_scipys_and_one_pixel_changes_nothing():
    score_map = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    np.testing.assert_array_equal(opened(score_map, 1), score_map)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    inner = (slice(4, -4), slice(4, -4))  # the borders are the libraries' own
    np.testing.assert_allclose(opened(score_map, 3)[inner], grey_opening(score_map, footprint=cross)[inner])


def test_weights_of_another_network_are_refused():
    with pytest.raises(DataCorrupt, match=r"do not fit vgg16.*torchvision's ImageNet weights of vgg16"):
        Method(settings(1), {"conv1.weight": torch.zeros(1)}, None, torch.device("cpu"))


def weights_job(**options) -> Job:
    defaults = {"path": None, "download": False, "allow_random": False}
    return Job("weights", {"weights": {**defaults, **options}, "model": {"backbone": "vgg16"}})


def test_missing_weights_are_named_and_a_file_in_the_folder_is_taken(tmp_path, monkeypatch, weights):
    """The code path of the real file: torchvision's names and format, its classifier left aside."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissing, match=r"ImageNet weights of vgg16: none found.*torchvision's vgg16-\*\.pth"):
        weights_stage.run(weights_job())
    folder = tmp_path / layout.WEIGHTS_FOLDER
    folder.mkdir(parents=True)
    torch.save({**weights, "classifier.6.bias": torch.zeros(1000)}, folder / "vgg16-397923af.pth")
    weights_stage.run(weights_job())
    path = layout.path(layout.BACKBONE, backbone="vgg16")
    assert weights_kind(path) == "imagenet"
    stored = load_file(path)
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], value) for name, value in weights.items())
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    save_file({"conv1.weight": torch.zeros(1)}, elsewhere / "resnet18.safetensors")
    weights_stage.run(weights_job(path=str(elsewhere)))
    assert load_file(path).keys() == weights.keys()


def test_the_variant_has_the_published_settings(project):
    """reference: VGG-16, 128 pixels, batch 64, 601 epochs, 1e-3, lambda 0.5, four layers in training, three at test."""
    kdad = resolve_variant(parse_settings(read_yaml(project / "params.yaml")), "kdad")
    options = kdad.methods.kdad
    assert kdad.model.backbone == "vgg16"
    assert (options.size, options.batch, options.epochs, options.learning_rate) == (128, 64, 601, 1e-3)
    assert (options.direction_weight, options.layers_train, options.layers_test) == (0.5, 4, 3)
