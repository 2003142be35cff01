"""Prediction: folded and half-precision networks against the plain one, the file of predictions, times, fall-backs."""

import numpy as np
import pytest
import torch
from torch import nn

from prn import acceleration
from prn.acceleration import Forward, chosen
from prn.backbone import normalise
from prn.errors import DataCorrupt, PrnError
from prn.inference import measure, predict
from prn.methods.prn import Method
from prn.model.folding import fold_batch_norms
from prn.predictions import load_predictions, save_predictions
from tests.unit import training_case
from tests.unit.test_model_network import build, images

CPU = torch.device("cpu")
PROBABILITY_TOLERANCE = 1e-5  # of a folded network, against the training-mode graph in evaluation


@pytest.fixture(scope="module")
def trained():
    return training_case.fit(training_case.settings(4), training_case.inputs(None))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fusion_shared": True, "attention": False},
        {"layer4": "frozen", "attention": False, "fusion_norm": False},
    ],
    ids=["whole", "shared fusion", "frozen layer4"],
)
def test_a_folded_network_computes_what_the_training_graph_does_in_evaluation(changes):
    network = build(32, 32, **changes).train()
    with torch.no_grad():
        for _ in range(2):
            network(normalise(images(3, 32, 32)))
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight.add_(0.2 * torch.randn_like(norm.weight))
            norm.bias.add_(0.2 * torch.randn_like(norm.bias))
        network.eval().decoder.logit.weight.mul_(20)  # probabilities that spread
        pixels = normalise(images(4, 32, 32, seed=9))
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        plain = torch.sigmoid(network(pixels))
        assert plain.std() > 0.01, "the comparison can fail"
        assert fold_batch_norms(network) == norms
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert (torch.sigmoid(network(pixels)) - plain).abs().max() < PROBABILITY_TOLERANCE


def loaded(tensors, **options):
    method = training_case.method(training_case.settings(4, predict=options))
    method.load(tensors)
    return method


def test_a_loaded_method_predicts_what_the_trained_network_does(trained):
    test = training_case.inputs(None).normals
    plain = training_case.method(training_case.settings(4))
    plain.network = plain._build(False)
    plain.network.load_prediction_state(trained[0])
    with torch.no_grad():
        expected = torch.sigmoid(plain.network.eval()(normalise(torch.from_numpy(test))))[:, 0].numpy()
    for options in ({}, {"channels_last": False}):
        method = loaded(trained[0], **options)
        maps, scores = method.predict(test)
        assert np.abs(maps - expected).max() < PROBABILITY_TOLERANCE
        assert scores == pytest.approx(np.sort(maps.reshape(len(maps), -1))[:, -100:].mean(axis=1), abs=1e-6)
        with pytest.raises(PrnError, match="only predicts"):
            method.tensors()
    half, _ = loaded(trained[0], precision="bfloat16").predict(test)
    assert 0 < np.abs(half - expected).max() < 0.05


def test_half_precision_halves_a_checkpoint_and_keeps_the_statistics(trained):
    tensors, _ = trained
    method = training_case.method(training_case.settings(4, checkpoint_precision="float16"))
    method.network = method._build(True)
    method.network.load_prediction_state(tensors)
    halves = method.tensors()
    assert all(halves[name].dtype == value.dtype for name, value in tensors.items() if "running_" in name)
    size, half_size = (sum(value.nbytes for value in state.values()) for state in (tensors, halves))
    assert half_size < 0.51 * size
    test = training_case.inputs(None).normals
    assert np.abs(loaded(halves).predict(test)[0] - loaded(tensors).predict(test)[0]).max() < 2e-3
    with torch.no_grad():
        method.network.decoder.logit.bias.fill_(1e5)
    with pytest.raises(PrnError, match=r"decoder.logit.bias: a weight is beyond half precision"):
        method.tensors()


def losses(**train):
    said: list[str] = []
    data = training_case.inputs(None)
    data.progress = said.append
    _, report = training_case.fit(training_case.settings(3, model=training_case.LIGHT, **train), data)
    return [float(row["loss"]) for row in report.log], said


def test_what_cannot_be_compiled_falls_back_to_the_same_bytes(monkeypatch):
    def broken(network, dynamic):
        def call(pixels):
            network(pixels)  # BatchNorm's statistics have moved when the failure comes
            raise RuntimeError("no C++ compiler\nmore words")

        return call

    plain, _ = losses()
    found, said = losses(acceleration="cuda_graphs")
    assert found == plain
    assert "not accelerated, the plain network is used (CUDA graphs need a GPU)" in said
    monkeypatch.setattr(torch, "compile", broken)
    found, said = losses(acceleration="compile")
    assert found == plain
    assert "not accelerated, the plain network is used (RuntimeError: no C++ compiler)" in said


def test_a_compiled_network_is_used_from_its_trial_on(monkeypatch):
    calls = []

    def compile_it(network, dynamic):
        calls.append("compiled")
        return lambda pixels: calls.append(len(pixels)) or network(pixels)

    plain, _ = losses()
    monkeypatch.setattr(torch, "compile", compile_it)
    found, said = losses(acceleration="compile")
    assert found == plain
    assert calls == ["compiled", 7, 7, 7]  # the trial and two whole steps; the epoch's last is smaller
    assert not any("not accelerated" in line for line in said)


def test_which_acceleration_a_setting_means():
    said: list[str] = []
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [chosen("auto", device, progress=said.append) for device in (cpu, gpu)] == ["none", "cuda_graphs"]
    assert chosen("auto", gpu, one_pass=False, progress=said.append) == "none"
    assert chosen("compile", cpu, one_pass=False, progress=said.append) == "compile"
    assert not said
    assert chosen("cuda_graphs", gpu, one_pass=False, progress=said.append) == "none"
    assert "unset train.micro_batch" in said[-1]


class Replayed:
    """Stands for a CUDA graph: does the recorded work again and leaves what comes out where the recording had it."""

    def __init__(self, work, network):
        self.work, self.network, self.replays = work, network, 0
        self.outputs = work()
        self.gradients = {each: each.grad for each in network.parameters()}

    def replay(self):
        self.replays += 1
        for parameter in self.gradients:
            parameter.grad = None
        for name, value in self.work().items():
            self.outputs[name].copy_(value)
        for parameter, gradient in self.gradients.items():
            if gradient is not None:
                gradient.copy_(parameter.grad)
            parameter.grad = None


def recording(made):
    def record(work, network):
        work()  # as the warm-up passes do: BatchNorm's statistics move
        network.zero_grad(set_to_none=True)
        made.append(Replayed(work, network))
        return made[-1], made[-1].outputs

    return record


def test_replayed_steps_train_to_the_same_bytes(monkeypatch):
    made: list[Replayed] = []
    plain, _ = losses()
    monkeypatch.setattr(acceleration, "record", recording(made))
    monkeypatch.setattr("prn.methods.prn.chosen", lambda *_, **__: "cuda_graphs")
    found, said = losses()
    assert found == plain
    assert [graph.replays for graph in made] == [2, 1]  # two whole steps, and the epoch's smaller last
    assert not any("not accelerated" in line for line in said)


def test_replayed_predictions_are_those_of_whole_batches(monkeypatch, trained):
    made: list[Replayed] = []
    test = training_case.inputs(None).normals
    expected = loaded(trained[0]).predict(test)
    monkeypatch.setattr(acceleration, "record", recording(made))
    monkeypatch.setattr("prn.methods.prn.chosen", lambda *_, **__: "cuda_graphs")
    method = loaded(trained[0])
    for _ in range(2):
        first, second = method.predict(test[:4]), method.predict(test[4:])
        for found, whole in zip(zip(first, second, strict=True), expected, strict=True):
            np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-6)
    assert [graph.replays for graph in made] == [2, 2]


def test_what_cannot_be_recorded_falls_back_to_the_same_bytes(monkeypatch):
    def broken(work, network):
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    plain, _ = losses()
    monkeypatch.setattr(acceleration, "record", broken)
    monkeypatch.setattr("prn.methods.prn.chosen", lambda *_, **__: "cuda_graphs")
    found, said = losses()
    assert found == plain
    assert sum("(RuntimeError: operation not permitted when stream is capturing)" in line for line in said) == 1


def test_what_torch_compile_gives_is_called_for_whole_batches_only(monkeypatch):
    compiled_sizes, said = [], []

    def watched(graph, example_inputs):
        return lambda *values: compiled_sizes.append(len(values[-1])) or graph(*values)

    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_it(network, backend=watched, dynamic=False))
    forward = Forward(nn.Sequential(nn.Flatten()), compiled=True, batch=3, progress=said.append)
    forward.prove_once(2, lambda: pytest.fail("a smaller batch proves nothing"))
    forward.prove_once(3, lambda: forward(torch.zeros(3, 1, 2, 2)))
    assert [forward(torch.zeros(size, 1, 2, 2)).shape for size in (3, 2)] == [(3, 4), (2, 4)]
    assert compiled_sizes == [3, 3]
    assert not said


def test_predictions_are_compressed_exact_in_their_scores_and_refused_when_broken(tmp_path):
    random = np.random.default_rng(1)
    maps = random.random((3, 16, 16)).astype(np.float32)
    maps[0] = 0.25
    scores = random.random(3)
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in (first, second):
        save_predictions(path, np.repeat(maps, 20, axis=0), np.repeat(scores, 20), [f"ä/{i}.png" for i in range(60)])
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 60 * 16 * 16 * 2
    found = load_predictions(first)
    assert found.score_maps.dtype == np.float16
    assert np.abs(found.score_maps[::20] - maps).max() < 1e-3
    assert (found.image_scores == np.repeat(scores, 20)).all()
    assert found.paths[59] == "ä/59.png"
    first.write_bytes(first.read_bytes()[:500])
    with pytest.raises(DataCorrupt, match=r"a\.npz: not a file of predictions"):
        load_predictions(first)


class Slow:
    """Takes 2 ms an image, on a clock of its own."""

    def __init__(self, clock):
        self.clock, self.sizes = clock, []

    def predict(self, batch):
        self.sizes.append(len(batch))
        self.clock[0] += 0.002 * len(batch)
        return np.zeros(batch.shape[:3], np.float32), np.zeros(len(batch))


def test_times_with_and_without_reading_the_file(monkeypatch, tmp_path):
    clock = [0.0]

    def read(_):
        clock[0] += 0.005
        return np.zeros((40, 30, 3), np.uint8)

    monkeypatch.setattr("prn.inference.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("prn.inference.read_image", read)
    method = Slow(clock)
    test = np.zeros((3, 8, 8, 3), np.uint8)
    found = measure(method, test, 4, 5, [tmp_path / "a.png", tmp_path / "b.png"])
    assert method.sizes == [1] * 6 + [4] * 6, "a warm-up, then five runs, for each size"
    for size in (1, 4):
        for kind in ("median", "p95"):
            assert found[f"batch{size}_{kind}_s"] == pytest.approx(0.002)
            assert found[f"batch{size}_with_file_{kind}_s"] == pytest.approx(0.007)
    assert set(measure(Slow(clock), test, 1, 2)) == {"batch1_median_s", "batch1_p95_s"}


def test_scores_that_are_not_finite_stop_with_the_cell():
    class Broken:
        def predict(self, batch):
            return np.full(batch.shape[:3], np.nan, np.float32), np.zeros(len(batch))

    with pytest.raises(PrnError, match=r"mvtec/bottle/prn seed 3: 2 of 2 score maps are not finite"):
        predict(Broken(), np.zeros((2, 8, 8, 3), np.uint8), 1, "mvtec/bottle/prn seed 3")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_recorded_work_is_the_plain_one_up_to_rounding(precision):
    found = {}
    for kind in ("none", "cuda_graphs"):
        settings = training_case.settings(
            9, precision=precision, acceleration=kind, predict={"precision": precision, "acceleration": kind}
        )
        said: list[str] = []
        data = training_case.inputs(None)
        data.progress = said.append
        method = Method(settings, *training_case.frozen(), torch.device("cuda"))
        report = method.fit(data)
        assert not any("not accelerated" in line for line in said)
        ready = Method(settings, *training_case.frozen(), torch.device("cuda"))
        ready.load(method.tensors())
        maps = [ready.predict(data.normals[:count])[0] for count in (7, 3, 7)]
        assert (ready.graphs is None or not ready.graphs.failed) and np.array_equal(maps[0], maps[2])
        assert np.abs(maps[0][:3] - maps[1]).max() < 1e-2
        found[kind] = np.array([row["loss"] for row in report.log]), maps[0]
    (plain, plain_maps), (replayed, replayed_maps) = found.values()
    assert np.abs(replayed / plain - 1).max() < 0.05
    assert np.abs(plain_maps - replayed_maps).max() < 0.1
