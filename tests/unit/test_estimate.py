"""The estimate before a benchmark: probes against a measured training, sums against sums by hand."""

import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prn.cli import main
from prn.methods.prn import Method
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.validation import merged
from prn.tools import probe
from prn.tools.totals import Total, as_text, counts, distinct, estimate, jobs_side_by_side
from tests.unit import training_case

STEPS = 14


@pytest.fixture
def cpu_clock(monkeypatch):
    """Trainings and probes measured in CPU time, so that other work on the machine does not count."""
    for module in ("prn.training", "prn.tools.probe"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=time.process_time))


@pytest.mark.parametrize("limit", [0.0, probe.WHOLE_S], ids=["from two smaller batches", "whole batch"])
def test_the_estimate_of_a_training_is_within_30_percent_of_the_measured_one(cpu_clock, monkeypatch, limit):
    monkeypatch.setattr(probe, "WHOLE_S", limit)
    settings = training_case.settings(
        STEPS, model=training_case.LIGHT, batch={"normal": 8, "extended": 4, "simulated": 4}
    )
    data = training_case.inputs(None)
    data = dataclasses.replace(data, normals=np.tile(data.normals, (5, 1, 1, 1))[:32])
    estimates, measured = [], []
    # A neighbour that shares the caches and the memory adds to both, even to CPU time: the fastest of each decides.
    while not estimates or (len(estimates) < 6 and abs(min(estimates) / min(measured) - 1) > 0.3):
        found = probe.probe(settings)
        estimates.append(probe.steps_of(settings, 32) * found.step_s)
        measured.append(training_case.method(settings).fit(data).seconds)
    assert min(estimates) / min(measured) == pytest.approx(1, abs=0.3), (estimates, measured)
    assert found.steps <= 20
    assert found.probed == (limit > 0)
    weights = Method(settings, *training_case.frozen(), torch.device("cpu"))
    weights.network = weights._build(True)
    assert found.checkpoint_bytes == sum(value.nbytes for value in weights.tensors().values())


def test_a_line_through_two_batches_by_hand():
    assert probe.line(4, 10.0, 8, 16.0) == (4.0, 1.5)
    assert probe.line(4, 10.0, 8, 24.0) == (0.0, 3.0)  # it would start below 0
    assert probe.line(4, 10.0, 8, 9.0) == (0.0, 9 / 8)  # it falls


COST = probe.Cost(2.0, 0.0, 0.5, 3.2, 0.1, 1000.0, 142_000_000, 10_000, 7, False)
NOTHING = {name: {"categories": [], "variants": []} for name in ("dagm", "btad", "ksdd2")}


def small_benchmark(project, **more):
    data = read_yaml(project / "params.yaml")
    data["benchmark"]["seeds"] = [1, 2]
    data["benchmark"]["datasets"] = {
        "mvtec": {"categories": ["bottle"], "variants": ["prn", "untrained", "prn-shots-1"]},
        **NOTHING,
    }
    return parse_settings(merged(data, more))


def test_the_sums_of_two_seeds_on_bottle_by_hand(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = small_benchmark(project)
    shapes = distinct(settings)
    assert len(shapes) == 2, "the number of shots does not change what a step costs"
    untrained = dataclasses.replace(COST, step_s=None, checkpoint_bytes=0)
    costs = {shape: COST if resolved.method == "prn" else untrained for shape, resolved in shapes.items()}
    total = estimate(settings, costs, evaluate_s_image=0.25)
    # bottle: 209 normals, 83 test images of which ten are seen; 700 epochs of 7 steps, then 32 forward passes that
    # count as a third of a step; two trained variants, two seeds.
    assert total.trainings == 4
    assert total.seconds["train"] == pytest.approx(4 * (700 * 7 + 32 / 3) * 2.0)
    assert total.seconds["prototypes"] == pytest.approx(2 * 209 * 0.1)
    assert total.seconds["predict"] == pytest.approx(3 * 2 * (73 * 3.2 / 32 + 20 * 0.5 + 0.5 + 20.0 + 3.2))
    assert total.seconds["evaluate"] == 3 * 2 * 73 * 0.25
    assert total.disk["checkpoints"] == 4 * 142_000_000
    assert total.disk["prototypes"] == 2 * 20 * 10_000
    assert total.disk["cached images"] == 256 * 256 * (292 * 4 + 5640 * 3)
    assert total.peak_mb == pytest.approx(1000 + 256 * 256 * (292 * 4 + 209 * 3 + 5640 * 3) / 2**20)
    text = as_text(settings, total, jobs_side_by_side(settings, cores=8, gpus=0), "8 cores")
    assert "4 trainings by steps, 8 cores, 4 side by side" in text
    assert "10.91 h of work" in text  # 39,285 s of training


def test_one_training_takes_its_time_however_many_cores_are_free():
    total = Total(seconds={"train": 30.0, "prototypes": 4.0}, cells=[20.0, 10.0])
    assert total.clock(1) == 34
    assert total.clock(2) == 20 + 2
    assert Total(seconds={"train": 14.0}, cells=[5.0, 3.0, 3.0, 3.0]).clock(2) == 8, "5 + 3 beside 3 + 3"
    assert Total().clock(4) == 0


def test_counts_come_from_the_publication_or_are_unknown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dataclasses.astuple(counts("ksdd2", "ksdd2", 10)) == (2085, 994)
    assert dataclasses.astuple(counts("dagm", "Class1", 10)) == (500, 640)
    assert counts("mine", "part", 10) is None


def written_preset(folder, mvtec, size):
    """A preset of some of MVTec AD alone, from a folder that need not be there."""
    preset = folder / "preset.yaml"
    preset.write_text(
        f"benchmark:\n  seeds: [1]\n  datasets:\n    mvtec: {mvtec}\n"
        + "".join(f"    {name}: {{categories: [], variants: []}}\n" for name in NOTHING)
        + f"download: {{sources: {{mvtec: /nowhere}}}}\ntensors: {{size: {size}}}\nevaluate: {{bootstrap: 10}}\n",
        encoding="utf-8",
    )
    return preset


def test_the_command_prints_an_estimate_from_its_probes(project, tmp_path, monkeypatch, capsys):
    preset = written_preset(tmp_path, "{categories: [bottle, cup], variants: [prn]}", size=32)

    class Here:
        """A pool that computes in this process."""

        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, *_):
            return SimpleNamespace(result=lambda: COST)

    monkeypatch.setattr("prn.tools.estimate.ProcessPoolExecutor", Here)
    (tmp_path / "work").mkdir()
    command = ["estimate", "--params", str(project / "params.yaml"), "--preset", str(preset), "--cores", "6"]
    assert main([*command, "--root", str(tmp_path / "work")]) == 0
    said = capsys.readouterr().out
    assert "probe 1 of 1 (prn): 2.00 s a step of the whole batch, from two smaller batches, 7 steps tried" in said
    assert "3 side by side" in said
    assert "mvtec/cup: run `python -m prn index`" in said


def test_the_command_probes_in_a_process_of_its_own(project, tmp_path, capsys):
    preset = written_preset(tmp_path, "{categories: [bottle], variants: [untrained]}", size=64)
    command = ["estimate", "--params", str(project / "params.yaml"), "--preset", str(preset)]
    assert main([*command, "--root", str(tmp_path)]) == 0
    assert "probe 1 of 1 (untrained): no steps, 0 steps tried" in capsys.readouterr().out
