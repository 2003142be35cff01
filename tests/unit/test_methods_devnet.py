"""DevNet: it learns a miniature, repeats itself, resumes to the byte, uses the asked number of anomalies."""

import os
import signal

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from prn.backbone import random_weights
from prn.errors import DataMissing, PrnError
from prn.methods.devnet import Method
from prn.resume import Interrupted, ResumeFile
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.variants import resolve_variant
from tests.unit import methods_case


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights("resnet18", seed=0)


def settings(steps: int, learning_rate: float = 1e-3, **train):
    batch = {"normal": 6, "seen": 6}
    options = {"size": 64, "epochs": 1, "steps_per_epoch": steps, "batch": batch, "learning_rate": learning_rate}
    return methods_case.settings("devnet", options, **train)


def test_it_learns_what_the_seen_anomalies_show(weights):
    """Against the same network whose weights did not move."""
    images, labels, masks = methods_case.scored_images()
    method, report = methods_case.fitted(settings(14), weights, methods_case.inputs())
    maps, scores = method.predict(images)
    untrained, _ = methods_case.fitted(settings(1, learning_rate=1e-12), weights, methods_case.inputs())
    assert (report.steps, report.epochs, len(report.log)) == (14, 1, 14)
    assert (maps.shape, maps.dtype) == ((24, 64, 64), np.float32)
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
    said: list[str] = []
    data.progress = said.append
    again, second = methods_case.fitted(settings(3, checkpoint_minutes=1e-9), weights, data)
    assert "continuing after step 1 of 3" in said[0]
    assert [row["loss"] for row in second.log] == [row["loss"] for row in report.log]
    trained = method.tensors()
    assert all(torch.equal(value, again.tensors()[name]) for name, value in trained.items())
    loaded = Method(settings(3), weights, None, torch.device("cpu"))
    loaded.load(trained)
    for expected, found in zip(method.predict(images), loaded.predict(images), strict=True):
        np.testing.assert_array_equal(found, expected)
    other, _ = methods_case.fitted(settings(1), weights, methods_case.inputs(seed=4))
    assert not torch.equal(other.tensors()["1.score.weight"], trained["1.score.weight"])


def test_a_map_does_not_depend_on_its_batch(weights):
    method, _ = methods_case.fitted(settings(1), weights, methods_case.inputs())
    images = methods_case.scored_images()[0][10:14]
    together = method.predict(images)
    alone = [method.predict(image[None]) for image in images]
    for which in (0, 1):
        np.testing.assert_allclose(together[which], np.concatenate([pair[which] for pair in alone]), rtol=1e-3)


def test_only_the_first_shots_are_seen(weights):
    """With one shot, the other nine may be anything."""
    data = methods_case.inputs()
    first, _ = methods_case.fitted(settings(1, shots=1), weights, data)
    data.seen = np.concatenate([data.seen[:1], np.zeros_like(data.seen[1:])])
    second, _ = methods_case.fitted(settings(1, shots=1), weights, data)
    both, _ = methods_case.fitted(settings(1, shots=2), weights, data)
    name = "1.score.weight"
    assert torch.equal(first.tensors()[name], second.tensors()[name])
    assert not torch.equal(first.tensors()[name], both.tensors()[name])


def test_without_seen_anomalies_or_training_the_error_says_so(weights):
    data = methods_case.inputs()
    data.seen = data.seen[:0]
    method = Method(settings(1), weights, None, torch.device("cpu"))
    with pytest.raises(DataMissing, match=r"mvtec/bottle: DevNet learns from seen anomalies"):
        method.fit(data)
    with pytest.raises(PrnError, match="neither fitted nor loaded"):
        Method(settings(1), weights, None, torch.device("cpu")).predict(data.normals[:1])


def test_the_variants_have_the_published_settings(project):
    """reference: ResNet-18, 448 pixels, 50 epochs of 20 steps, batch 48 of which half are normal; Table 7's shots."""
    params = parse_settings(read_yaml(project / "params.yaml"))
    shots = {name: resolve_variant(params, name) for name in ("devnet-shots-1", "devnet-shots-5", "devnet")}
    assert [one.train.shots for one in shots.values()] == [1, 5, 10]
    options = shots["devnet"].methods.devnet
    assert {one.model.backbone for one in shots.values()} == {"resnet18"}
    assert (options.size, options.epochs, options.steps_per_epoch) == (448, 50, 20)
    assert (options.batch.normal, options.batch.seen) == (24, 24)
