"""DRA: heads and loss by hand, pseudo anomalies, learning, resume, references."""

import os
import signal

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from prn.backbone import random_weights
from prn.errors import SettingsError
from prn.methods.deviation import deviation_loss
from prn.methods.dra import Method, training_images
from prn.methods.dra_network import NORMAL, PSEUDO, SEEN, DRANetwork, dra_loss, mean_references
from prn.methods.pseudo_anomaly import AREA, JITTER, colour_jitter, pseudo_anomaly, rotated
from prn.resume import Interrupted, ResumeFile
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.variants import resolve_variant
from tests.unit import methods_case


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("resnet18", seed=0)


def settings(steps: int, learning_rate: float = 5e-4, **train):
    options = {
        "size": 64,
        "epochs": 1,
        "steps_per_epoch": steps,
        "batch": {"normal": 4, "seen": 4, "pseudo": 4},
        "reference_images": 3,
        "rotation_degrees": 0.0,
        "learning_rate": learning_rate,
    }
    return methods_case.settings("dra", options, **train)


def test_it_learns_what_the_seen_and_the_pseudo_anomalies_show(weights):
    """Against the same network whose weights did not move."""
    images, labels, masks = methods_case.scored_images()
    method, report = methods_case.fitted(settings(10), weights, methods_case.inputs())
    maps, scores = method.predict(images)
    untrained, _ = methods_case.fitted(settings(1, learning_rate=1e-12), weights, methods_case.inputs())
    assert set(report.log[0]) >= {"loss", "seen", "pseudo", "residual", "normal"}
    assert roc_auc_score(labels, scores) >= 0.8
    assert roc_auc_score(labels, scores) >= roc_auc_score(labels, untrained.predict(images)[1]) + 0.1
    assert roc_auc_score(masks.ravel(), maps.ravel()) >= 0.75


def test_a_resumed_training_and_a_loaded_method_are_the_uninterrupted_one(weights, tmp_path):
    images = methods_case.scored_images()[0][10:14]
    method, report = methods_case.fitted(settings(3), weights, methods_case.inputs())
    data = methods_case.inputs(resume=ResumeFile(tmp_path / "run.resume.pt", {}))
    data.progress = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        methods_case.fitted(settings(3, checkpoint_minutes=1e-9), weights, data)
    data = methods_case.inputs(resume=ResumeFile(tmp_path / "run.resume.pt", {}))
    again, second = methods_case.fitted(settings(3, checkpoint_minutes=1e-9), weights, data)
    assert [row["loss"] for row in second.log] == [row["loss"] for row in report.log]
    trained = method.tensors()
    assert all(torch.equal(value, again.tensors()[name]) for name, value in trained.items())
    assert (trained["reference.0"].shape, trained["reference.1"].shape) == ((1, 512, 2, 2), (1, 512, 1, 1))
    loaded = Method(settings(3), weights, None, torch.device("cpu"))
    loaded.load(trained)
    for expected, found in zip(method.predict(images), loaded.predict(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_score_is_the_sum_of_the_heads_at_both_scales(weights):
    """Each head called by hand on the image and on its half, against the network's own score."""
    network = DRANetwork("resnet18", weights, share=0.1, scales=2).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    normals = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    half = torch.nn.functional.avg_pool2d  # bilinear halving of even sides is the mean of 2 x 2 pixels
    expected = torch.zeros(2)
    with torch.no_grad():
        found = network(pixels, mean_references(network.features(normals)))
        for image, reference in ((pixels, normals), (half(pixels, 2), half(normals, 2))):
            feature, mean = network.encoder(image), network.encoder(reference).mean(dim=0)
            patches = {name: network.heads[name].score(feature).flatten(1) for name in ("seen", "pseudo")}
            patches["residual"] = network.heads["residual"].score(mean - feature).flatten(1)
            expected += sum(scores.max(dim=1).values for scores in patches.values()) / 2  # a tenth of 4 patches is one
            expected -= network.heads["normal"].layers(feature.mean(dim=(2, 3)))[:, 0] / 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_each_head_learns_from_the_images_that_concern_it():
    kinds = torch.tensor([NORMAL, SEEN, PSEUDO, NORMAL])
    values = torch.tensor([0.5, 2.0, 7.0, -1.0])
    prior = torch.tensor([-1.0, 0.0, 1.0])
    found = dra_loss(dict.fromkeys(("normal", "seen", "pseudo", "residual"), values), kinds, prior, margin=5.0)
    assert found["seen"].item() == pytest.approx((0.5 + 3 + 1) / 3)
    assert found["residual"].item() == found["seen"].item()
    assert found["pseudo"].item() == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["normal"].item() == pytest.approx((4.5 + 2 + 7 + 6) / 4)
    assert found["seen"].item() == deviation_loss(values[[0, 1, 3]], torch.tensor([0.0, 1, 0]), prior, 5.0).item()


@pytest.mark.parametrize("seed", range(8))
def test_a_pseudo_anomaly_is_one_rectangle_of_the_source(seed):
    source, target = np.full((50, 80, 3), 200, np.uint8), np.full((50, 80, 3), 100, np.uint8)
    found = pseudo_anomaly(source, target, np.random.default_rng(seed))
    changed = (found != target).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert changed.sum() == len(rows) * len(columns) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    assert 0.8 * AREA[0] <= changed.mean() <= 1.2 * AREA[1]
    inside = found[changed].astype(float)
    assert abs(inside - 200).max() <= 200 * JITTER + 1
    assert (target == 100).all()


def test_the_colour_jitter_keeps_grey_grey_and_changes_the_mean_by_its_brightness():
    grey = np.repeat(np.linspace(60, 180, 100).reshape(10, 10, 1), 3, axis=2).astype(np.uint8)
    found = colour_jitter(grey, np.random.default_rng(0))
    brightness, contrast, _ = np.random.default_rng(0).uniform(0.9, 1.1, 3)
    assert np.ptp(found.astype(int), axis=2).max() == 0
    assert found.mean() == pytest.approx(grey.mean() * brightness, abs=0.5)
    assert found.std() == pytest.approx(grey.std() * brightness * contrast, rel=0.02)


def test_a_rotation_by_nothing_changes_nothing_and_others_leave_black_corners():
    image = np.random.default_rng(0).integers(1, 255, (21, 21, 3)).astype(np.uint8)
    np.testing.assert_array_equal(rotated(image, 0.0, np.random.default_rng(0)), image)
    turned = rotated(image, 180.0, np.random.default_rng(1))
    assert (turned[0, 0] == 0).all()
    np.testing.assert_array_equal(turned[10, 10], image[10, 10])


def test_a_steps_images_are_normals_seen_pseudo_and_references():
    options = settings(1).methods.dra
    normals, seen = np.full((5, 8, 8, 3), 10, np.uint8), np.full((2, 8, 8, 3), 200, np.uint8)
    found = training_images(normals, seen, options, np.random.default_rng(0))
    assert found.shape == (4 + 4 + 4 + 3, 8, 8, 3)
    assert found.reshape(15, -1)[:, 0].tolist()[:8] == [10] * 4 + [200] * 4
    assert (found[12:] == 10).all()


def test_the_variants_have_the_published_settings(project):
    """reference: 448 pixels, two scales, 30 epochs of 20 steps, batch 48, five references; Table 7's shots."""
    params = parse_settings(read_yaml(project / "params.yaml"))
    shots = {name: resolve_variant(params, name) for name in ("dra-shots-1", "dra-shots-5", "dra")}
    assert [one.train.shots for one in shots.values()] == [1, 5, 10]
    options = shots["dra"].methods.dra
    assert {one.model.backbone for one in shots.values()} == {"resnet18"}
    assert (options.size, options.scales, options.epochs, options.steps_per_epoch) == (448, 2, 30, 20)
    assert options.batch.normal + options.batch.seen + options.batch.pseudo == 48
    assert options.reference_images == 5


def test_a_pyramid_too_small_for_the_encoder_is_refused():
    with pytest.raises(SettingsError, match=r"methods\.dra\.size: found 64, expected at least 128"):
        methods_case.settings("dra", {"size": 64, "scales": 3})
