"""The training loop: batches, learning rate, exact resume after SIGTERM and SIGKILL, NaN."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prn.backbone import normalise
from prn.errors import PrnError
from prn.inference import predict
from prn.methods.prn_batches import TrainingBatches
from prn.model.losses import prn_loss
from prn.resume import Interrupted
from prn.settings.sections import BatchSettings, TrainSettings
from prn.training import Batch, BatchPlan, Run, learning_rate, micro_batches, train
from tests.unit import training_case

STEPS, LIGHT_STEPS = 8, 11


@pytest.fixture(scope="module")
def uninterrupted():
    return training_case.fit(training_case.settings(STEPS), training_case.inputs(None))


def test_an_epoch_shows_every_normal_once_in_a_new_order():
    plan = BatchPlan(normals=70, batch=BatchSettings(normal=32, extended=16, simulated=16), seed=1)
    assert plan.steps_per_epoch == 3
    assert plan.total_steps(TrainSettings(epochs=700)) == 2100
    assert plan.total_steps(TrainSettings(steps=5)) == 5
    orders = []
    for epoch in range(2):
        steps = [plan.step(3 * epoch + position) for position in range(3)]
        assert {step.epoch for step in steps} == {epoch}
        orders.append(np.concatenate([step.normal for step in steps]))
        assert sorted(orders[-1]) == list(range(70))
    assert (orders[0] != orders[1]).any()


def test_the_last_batch_keeps_the_mix_and_indices_never_repeat_within_an_epoch():
    plan = BatchPlan(normals=72, batch=BatchSettings(normal=32, extended=16, simulated=16), seed=1)
    sizes = [(len(s.normal), len(s.extended), len(s.simulated)) for s in map(plan.step, range(3))]
    assert sizes == [(32, 16, 16), (32, 16, 16), (8, 4, 4)]
    assert [plan.images(steps) for steps in (0, 2, 3, 7)] == [0, 128, 144, 352]
    for kind in ("extended", "simulated"):
        indices = [index for number in range(3) for index in getattr(plan.step(number), kind)]
        assert len(indices) == len(set(indices))


@pytest.mark.parametrize(("extended", "simulated", "expected"), [(False, True, (0, 32)), (True, False, (32, 0))])
def test_a_kind_that_is_off_is_replaced_by_the_other(extended, simulated, expected):
    plan = BatchPlan(
        64, BatchSettings(normal=32, extended=16, simulated=16), seed=1, extended_on=extended, simulated_on=simulated
    )
    step = plan.step(0)
    assert (len(step.extended), len(step.simulated)) == expected


@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(0, 20), st.integers(0, 20)), limit=st.none() | st.integers(1, 70)
)
def test_the_parts_of_a_step_are_a_partition_within_the_limit_and_in_its_mix(sizes, limit):
    normal, extended, simulated = sizes
    batch = Batch(0, 0, np.arange(normal), range(extended), range(simulated))
    parts = micro_batches(batch, limit)
    total = sum(sizes)
    assert sorted(np.concatenate(parts)) == list(range(total))
    assert len(parts) == math.ceil(total / (limit or total))
    assert max(map(len, parts)) <= (limit or total)
    kinds = np.repeat([0, 1, 2], sizes)
    for part in parts:
        for kind, size in enumerate(sizes):
            assert abs((kinds[part] == kind).sum() - len(part) * size / total) <= 2


def test_parts_of_the_papers_batch_keep_two_to_one_to_one():
    step = BatchPlan(64, BatchSettings(normal=32, extended=16, simulated=16), seed=1).step(0)
    kinds = np.repeat([0, 1, 2], [32, 16, 16])
    parts = micro_batches(step, 16)
    assert [np.bincount(kinds[part]).tolist() for part in parts] == [[8, 4, 4]] * 4


def test_accumulated_gradients_are_the_whole_batchs_where_batchnorm_keeps_its_statistics():
    def gradients(limit):
        method = training_case.method(training_case.settings(1, micro_batch=limit))
        run = training_case.run(method)
        method.network.eval()
        values = run.step(0)
        return {name: float(values[name]) for name in ("loss", "smooth_l1", "focal")}, {
            name: parameter.grad for name, parameter in method.network.named_parameters() if parameter.requires_grad
        }

    whole_values, whole = gradients(None)
    for limit in (1, 3):
        values, parts = gradients(limit)
        assert values == pytest.approx(whole_values, rel=1e-5)
        for name, gradient in whole.items():
            scale = float(gradient.abs().max())
            assert torch.allclose(parts[name], gradient, rtol=0, atol=1e-5 * scale + 1e-9), name


def test_with_parts_batchnorm_differs_and_training_still_runs(uninterrupted):
    _, report = training_case.fit(training_case.settings(3, micro_batch=4), training_case.inputs(None))
    losses = [float(row["loss"]) for row in report.log]
    assert np.isfinite(losses).all()
    assert losses != [float(row["loss"]) for row in uninterrupted[1].log[:3]]


def test_learning_rate_by_hand():
    settings = TrainSettings(learning_rate=0.1, schedule="cosine", warmup_steps=4)
    assert learning_rate(0, 12, settings) == pytest.approx(0.025)
    assert learning_rate(3, 12, settings) == pytest.approx(0.1)
    assert learning_rate(8, 12, settings) == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert learning_rate(11, 12, TrainSettings()) == 1e-4


def test_the_same_seed_gives_the_same_bytes(uninterrupted):
    tensors, report = training_case.fit(training_case.settings(STEPS), training_case.inputs(None))
    assert [row["loss"] for row in report.log] == [row["loss"] for row in uninterrupted[1].log]
    assert all(torch.equal(tensors[name], uninterrupted[0][name]) for name in uninterrupted[0])


def test_sigterm_saves_and_a_rerun_ends_at_the_same_bytes(uninterrupted, tmp_path):
    chosen = training_case.settings(STEPS, 1e-9)
    resume = training_case.state(tmp_path / "run.resume.pt", chosen)
    data = training_case.inputs(resume)
    data.progress = lambda _: os.kill(os.getpid(), signal.SIGTERM)  # while the first step's values are read back
    with pytest.raises(Interrupted) as caught:
        training_case.fit(chosen, data)
    assert caught.value.exit_code == 143
    assert resume.path.is_file()
    tensors, report = training_case.fit(chosen, training_case.inputs(resume))
    _same(tensors, report, uninterrupted)


def attempt(folder, how: str, number: int) -> tuple[int, str]:
    """The light training of `LIGHT_STEPS` steps as a process that is stopped (see `training_case.stop_at`)."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, training_case.__file__, str(folder), str(LIGHT_STEPS), how, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, done.stdout + done.stderr


def test_killed_mid_epoch_between_checkpoints_or_in_a_save_it_ends_at_the_same_bytes(tmp_path):
    """An epoch has three steps; a state is saved after step 5 and every fourth one from there."""
    expected = training_case.fit(
        training_case.settings(LIGHT_STEPS, model=training_case.LIGHT), training_case.inputs(None)
    )
    # SIGTERM in step 8: saved and stopped.
    code, said = attempt(tmp_path / "term", "TERM", 7)
    assert (code, "stopped at step 8 of 11" in said) == (143, True), said
    chosen = training_case.settings(LIGHT_STEPS, 3.5, model=training_case.LIGHT)
    state = training_case.state(tmp_path / "term/run.resume.pt", chosen)

    # SIGKILL as step 8 begins, then in the middle of the next save: both times the state of step 5 is what is left.
    killed = tmp_path / "kill"
    assert attempt(killed, "KILL", 7)[0] == -signal.SIGKILL
    code, said = attempt(killed, "SAVE", 1)
    assert (code, "continuing after step 5 of 11" in said) == (-signal.SIGKILL, True), said
    assert len(list(killed.glob(".run.resume.pt.*.part"))) == 1
    code, said = attempt(killed, "TERM", 7)
    assert (code, "continuing after step 5 of 11" in said) == (143, True), said
    assert not list(killed.glob(".*.part")), "what a killed save left is removed"
    _same_state(
        *(
            training_case.state(folder / "run.resume.pt", chosen).load("", print)
            for folder in (killed, tmp_path / "term")
        )
    )

    # The rest of the way, from the state before where the newest is cut off.
    state.path.replace(state.previous)
    state.path.write_bytes(state.previous.read_bytes()[:100_000])
    lines: list[str] = []
    data = training_case.inputs(state)
    data.progress = lines.append
    _same(*training_case.fit(chosen, data), expected)
    assert "run.resume.pt cannot be read" in lines[0]
    assert "continuing after step 8" in lines[1]


def _same_state(found, expected) -> None:
    """Weights, BatchNorm, optimiser, random state and log, times left aside."""
    assert found["next_step"] == expected["next_step"]
    assert torch.equal(found["generator"], expected["generator"])
    assert found["state"].keys() == expected["state"].keys()
    assert all(torch.equal(found["state"][name], value) for name, value in expected["state"].items())
    moments = expected["optimizer"]["state"]
    assert moments
    for index, parts in moments.items():
        for name, value in parts.items():
            assert torch.equal(found["optimizer"]["state"][index][name], value)
    columns = ("step", "epoch", "loss", "smooth_l1", "focal", "positive_share", "learning_rate")
    assert [[row[name] for name in columns] for row in found["rows"]] == [
        [row[name] for name in columns] for row in expected["rows"]
    ]


@pytest.mark.parametrize("limit", [None, 3])
def test_recalibrated_statistics_are_the_mean_of_those_of_the_batches(uninterrupted, limit):
    count = 4
    chosen = training_case.settings(STEPS, precise_norm_batches=count, micro_batch=limit)
    plain = uninterrupted[0] if limit is None else None
    trained = training_case.method(chosen)
    report = trained.fit(training_case.inputs(None))
    tensors = {name: tensor.clone() for name, tensor in trained.tensors().items()}
    if plain is not None:
        changed = {name for name in tensors if not torch.equal(tensors[name], plain[name])}
        assert changed and all("running_" in name or "num_batches" in name for name in changed)
        assert len([name for name in tensors if "running_mean" in name]) * 3 == len(changed)
    network = trained.network
    assert network is not None
    norm = network.decoder.block2.reduce[1]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    norm.register_forward_pre_hook(
        lambda _, given: seen.append((given[0].mean(dim=(0, 2, 3)), given[0].var(dim=(0, 2, 3))))
    )
    network.train()
    data = training_case.inputs(None)
    batches = TrainingBatches(chosen, data, trained._plan(data), torch.device("cpu"))
    for number in range(report.steps, report.steps + count):
        batch = batches.step(number)
        for part in micro_batches(batch.contents.batch, limit):
            with torch.no_grad():
                network(trained._pixels(batch.part(part)[0], channels_last=True))
    means, variances = (torch.stack(each).mean(dim=0) for each in zip(*seen, strict=True))
    assert torch.allclose(tensors["decoder.block2.reduce.1.running_mean"], means, rtol=1e-4, atol=1e-5)
    assert torch.allclose(tensors["decoder.block2.reduce.1.running_var"], variances, rtol=1e-4, atol=1e-6)


def test_recalibrated_statistics_follow_weights_that_still_change_fast():
    """The loss in evaluation mode, on images of the training, comes close to the loss in training mode."""
    data, losses = training_case.inputs(None), {}
    for count in (0, 20):
        chosen = training_case.settings(12, learning_rate=0.01, precise_norm_batches=count, model=training_case.LIGHT)
        trained = training_case.method(chosen)
        report = trained.fit(data)
        network = trained.network
        assert network is not None and not network.training
        batches = TrainingBatches(chosen, data, trained._plan(data), torch.device("cpu"))
        steps = [batches.step(number) for number in range(report.steps, report.steps + 10)]
        losses[count] = {}
        for mode in (False, True):
            network.train(mode)
            with torch.no_grad():
                found = [prn_loss(network(normalise(step.images)), step.masks[:, None])[0] for step in steps]
            losses[count][mode] = float(torch.stack(found).mean())
    assert losses[0][True] == pytest.approx(losses[20][True], rel=1e-5)
    gap = {count: losses[count][False] - losses[count][True] for count in losses}
    assert gap[0] > 5 * abs(gap[20]), losses


def test_a_state_of_other_settings_is_not_used(uninterrupted, tmp_path):
    resume, others = tmp_path / "run.resume.pt", training_case.settings(STEPS, 1e-9, focal_weight=1.0)
    data = training_case.inputs(training_case.state(resume, others))
    data.progress = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted):
        training_case.fit(others, data)
    said: list[str] = []
    chosen = training_case.settings(STEPS)
    data = training_case.inputs(training_case.state(resume, chosen))
    data.progress = said.append
    tensors, report = training_case.fit(chosen, data)
    assert any("belongs to other settings" in line for line in said)
    _same(tensors, report, uninterrupted)


# Recorded once, on one thread in float32. Other instruction sets (AVX2, SSE4.1) differ by 3e-6 at the first step, by
# 5e-4 at the second and by up to 1 % later, as each step multiplies what rounding left; the bands are above that.
GOLDEN_TRACE = [0.347381, 0.256079, 0.223759, 0.176950, 0.168918, 0.143883, 0.124393, 0.115641, 0.119447, 0.094483]
GOLDEN_BANDS = [5e-5, 1e-3, 0.01, 0.01, 0.01, 0.01, 0.03, 0.03, 0.03, 0.03]


def test_the_loss_of_ten_steps_is_the_recorded_one():
    """What changes the batches, the network, the loss or the optimizer shows here, wanted or not."""
    _, report = training_case.fit(training_case.settings(10), training_case.inputs(None))
    losses = np.array([float(row["loss"]) for row in report.log])
    assert (np.abs(losses / GOLDEN_TRACE - 1) < GOLDEN_BANDS).all(), losses.round(6).tolist()


def test_a_method_can_bring_its_own_schedule_and_section():
    weight = torch.nn.Parameter(torch.ones(1))

    def step(number: int) -> dict[str, torch.Tensor | float]:
        loss = weight.sum() * (1.0 if number < 3 else math.nan)
        loss.backward()
        return {"loss": loss.detach()}

    run = Run(
        label="mvtec/bottle",
        total=3,
        optimizer=torch.optim.SGD([weight], lr=1.0),
        step=step,
        state=dict,
        restore=lambda tensors: None,
        images_per_step=1,
        progress=lambda line: None,
        rate=lambda number: 0.25 / 2**number,
        section="methods.own",
    )
    report = train(run)
    assert [row["learning_rate"] for row in report.log] == [0.25, 0.125, 0.0625]
    assert weight.item() == pytest.approx(1 - 0.25 - 0.125 - 0.0625)
    with pytest.raises(PrnError, match=r"the loss is nan at step 4; lower methods\.own\.learning_rate"):
        train(dataclasses.replace(run, total=4, rows=[]))


def test_out_of_memory_names_the_setting_to_lower(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("prn.methods.prn.prn_loss", lambda *_, **__: full())
    with pytest.raises(PrnError, match=r"mvtec/bottle seed 3: a training step: out of memory; lower `train.batch`"):
        training_case.fit(training_case.settings(1), training_case.inputs(None))
    method = SimpleNamespace(predict=full)
    with pytest.raises(PrnError, match=r"4 images at once: out of memory; lower `predict.batch_size`"):
        predict(method, np.zeros((5, 8, 8, 3), np.uint8), 4)


def test_a_loss_that_is_not_finite_stops_with_cell_and_step():
    with pytest.raises(PrnError, match=r"mvtec/bottle seed 3: the loss is (nan|inf) at step \d+"):
        training_case.fit(training_case.settings(30, learning_rate=1e30), training_case.inputs(None))


def test_frozen_parts_are_not_in_the_checkpoint(uninterrupted):
    names = set(uninterrupted[0])
    assert any(name.startswith("backbone.layer4") for name in names)
    assert not any(name.startswith(("backbone.stem", "backbone.layer1", "backbone.layer3")) for name in names)


def _same(tensors, report, expected) -> None:
    assert [(row["step"], row["loss"]) for row in report.log] == [(row["step"], row["loss"]) for row in expected[1].log]
    assert tensors.keys() == expected[0].keys()
    assert all(torch.equal(tensors[name], expected[0][name]) for name in tensors)
