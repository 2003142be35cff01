"""The batches of a training: what they are made of, on every device alike, and what is logged of them."""

import numpy as np
import pytest
import torch

from prn.methods.prn_batches import IMAGE_KINDS, TrainingBatches
from prn.settings.sections import SynthesisSettings
from prn.training import BatchPlan
from tests.unit import training_case
from tests.unit.test_synthesis_device import DEVICES

CPU = torch.device("cpu")
LAST_OF_EPOCH = 2  # of the case's three steps an epoch: one normal in place of three


def batches(device=CPU, *, on_device=None, synthesis=None, **train) -> TrainingBatches:
    settings = training_case.settings(8, **train)
    settings = settings.changed(synthesis=synthesis or SynthesisSettings())
    inputs = training_case.inputs(None)
    plan = BatchPlan(
        len(inputs.normals),
        settings.train.batch,
        inputs.seed,
        settings.synthesis.extended,
        settings.synthesis.heterologous or settings.synthesis.homologous,
    )
    return TrainingBatches(settings, inputs, plan, device, on_device=on_device)


@pytest.fixture(scope="module")
def log() -> list[dict[str, float]]:
    return training_case.fit(training_case.settings(3), training_case.inputs(None))[1].log


def test_a_step_holds_its_normals_then_extended_then_simulated_anomalies():
    made = batches()
    for number in (0, LAST_OF_EPOCH, 4):
        batch, plan = made.step(number), made.plan.step(number)
        samples = [made.synthesizer.sample("extended", plan.epoch, index) for index in plan.extended]
        samples += [made.synthesizer.sample("simulated", plan.epoch, index) for index in plan.simulated]
        normals, count = made.inputs.normals[plan.normal], len(plan.normal)
        assert len(batch.images) == len(batch.masks) == count + len(samples)
        assert np.array_equal(batch.images[:count], normals) and not batch.masks[:count].any()
        assert np.array_equal(batch.images[count:], np.stack([sample.image for sample in samples]))
        assert np.array_equal(batch.masks[count:], np.stack([sample.mask for sample in samples]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"raw_seen_share": 0.5},
        {"raw_seen_share": 1.0, "shots": 1},
        {"synthesis": SynthesisSettings(extended=False, spatial="all")},
        {"synthesis": SynthesisSettings(heterologous=False, homologous=False, augmentations=7)},
        {"synthesis": SynthesisSettings(target_area=False, homologous_shuffle="strips")},
    ],
)
def test_the_device_renders_the_same_batches(device, options):
    """The code that runs on a GPU, here also on the CPU; steps in any order, as after a resume."""
    here, there = batches(**options), batches(torch.device(device), on_device=True, **options)
    for number in (0, 1, LAST_OF_EPOCH, 7, 3, 4, 4):
        expected, batch = here.step(number), there.step(number)
        assert batch.images.device.type == device and batch.images.dtype == batch.masks.dtype == torch.uint8
        assert torch.equal(batch.masks.cpu(), expected.masks)
        assert torch.equal(batch.images.cpu(), expected.images)
        assert batch.contents.shares() == expected.contents.shares()


def test_a_training_with_batches_from_the_device_has_the_same_losses(monkeypatch, log):
    built = []

    def forced(*arguments):
        built.append(TrainingBatches(*arguments, on_device=True))
        return built[-1]

    monkeypatch.setattr("prn.methods.prn.TrainingBatches", forced)
    _, report = training_case.fit(training_case.settings(3), training_case.inputs(None))
    assert built and [row["loss"] for row in report.log] == [row["loss"] for row in log]


def test_an_accelerator_is_asked_to_render_and_a_cpu_is_not():
    assert batches()._renderer is None
    assert batches(on_device=True)._renderer is not None


def test_the_log_has_the_share_of_each_kind_of_image_and_of_defect_pixels(log):
    made = batches()
    for number, row in enumerate(log):
        normal, extended, simulated = (1, 1, 1) if number == LAST_OF_EPOCH else (3, 2, 2)
        total = normal + extended + simulated
        assert row["normal_share"] == pytest.approx(normal / total)
        assert row["extended_share"] == pytest.approx(extended / total)
        assert row["heterologous_share"] + row["homologous_share"] == pytest.approx(simulated / total)
        assert row["seen_share"] == 0
        masks = made.step(number).masks.numpy()
        assert 0 < row["positive_share"] == pytest.approx((masks > 0).sum() / masks.size)


@pytest.mark.parametrize(("wanted", "raw"), [(0.5, 0.0), (0.2, 0.4)])
def test_the_shares_over_a_training_are_those_of_the_settings(wanted, raw):
    made = batches(synthesis=SynthesisSettings(heterologous_share=wanted), raw_seen_share=raw)
    steps = [made.contents(number) for number in range(240) if number % 3 != LAST_OF_EPOCH]
    mean = {kind: np.mean([step.shares()[f"{kind}_share"] for step in steps]) for kind in IMAGE_KINDS}
    assert sum(mean.values()) == pytest.approx(1)
    assert mean["normal"] == pytest.approx(3 / 7)
    simulated, extended = 2 / 7, 2 / 7
    assert mean["heterologous"] == pytest.approx(simulated * wanted, abs=0.04)
    assert mean["homologous"] == pytest.approx(simulated * (1 - wanted), abs=0.04)
    assert mean["seen"] == pytest.approx(extended * raw, abs=0.04)
    assert mean["extended"] == pytest.approx(extended * (1 - raw), abs=0.04)


def test_a_part_of_a_batch():
    batch = batches().step(0)
    images, masks = batch.part(np.array([1, 4, 6]))
    assert torch.equal(images, batch.images[[1, 4, 6]]) and torch.equal(masks, batch.masks[[1, 4, 6]])
    assert batch.part(np.arange(7))[0] is batch.images
