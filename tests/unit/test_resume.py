"""A training that is stopped: its saved state against damage and strangers, the lock, SIGTERM at every place.

The rest of the way from a saved state is held to the uninterrupted training's bytes, here and in `test_training`.
"""

import copy
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prn import layout
from prn.backbone import random_weights
from prn.datasets.images import CategoryTensors, TextureTensors, load_textures
from prn.errors import DataCorrupt, PrnError
from prn.methods.base import method_class
from prn.provenance import code
from prn.provenance.files import sha256_file
from prn.resume import SEAL_BYTES, Interrupted, ResumeFile, alone, run_key
from prn.splits import load_split, save_split
from prn.stages import train as train_stage
from tests.unit import methods_case, training_case
from tests.unit.cell_case import CELL, Bench

STEPS = 4
KEY = {"settings": "a", "code": "b", "tensors": "c"}
STATE = {
    "next_step": 3,
    "seconds": 1.5,
    "rows": [{"step": 3.0, "loss": 0.25}],
    "state": {"weight": torch.arange(2000.0)},
    "optimizer": {"state": {}, "param_groups": []},
    "generator": torch.get_rng_state(),
}


def read(file: ResumeFile) -> tuple[dict | None, list[str]]:
    said: list[str] = []
    return file.load("mvtec/bottle", said.append), said


@pytest.fixture
def saved(tmp_path) -> ResumeFile:
    """Two states: step 2, and the newest, step 3."""
    file = ResumeFile(tmp_path / "seed42.resume.pt", KEY)
    file.save({**STATE, "next_step": 2})
    file.save(STATE)
    return file


def test_what_was_saved_comes_back_and_carries_its_own_hash(saved):
    state, said = read(saved)
    assert (state["next_step"], state["rows"], said) == (3, STATE["rows"], [])
    assert torch.equal(state["state"]["weight"], STATE["state"]["weight"])
    data = saved.path.read_bytes()
    saved.path.write_bytes(data[SEAL_BYTES:])
    assert sha256_file(saved.path).encode() + b"\n" == data[:SEAL_BYTES], "the first line is the rest's sha256"


def positions(data: bytes) -> list[int]:
    weight = data.index(STATE["state"]["weight"].numpy().tobytes())
    return [0, SEAL_BYTES - 1, SEAL_BYTES + 40, weight, weight + 7999, len(data) - 1]


@pytest.mark.parametrize("place", range(6))
def test_a_flipped_bit_is_noticed_and_the_state_before_is_used(saved, place):
    data = bytearray(saved.path.read_bytes())
    data[positions(bytes(data))[place]] ^= 1
    saved.path.write_bytes(data)
    state, said = read(saved)
    assert state["next_step"] == 2
    assert said == [
        "mvtec/bottle: seed42.resume.pt cannot be read (its bytes are not those that were saved); it is not used"
    ]
    saved.save(STATE)
    saved.path.unlink()
    assert read(saved)[0]["next_step"] == 2, "the damaged state did not push out the good one"


class Evil:
    def __reduce__(self):
        return print, ("code of a stranger ran",)


def sealed(path: Path, content: object) -> None:
    """A file that `torch.save` wrote and whose first line is right."""
    torch.save(content, path)
    path.write_bytes(sha256_file(path).encode() + b"\n" + path.read_bytes())


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a state\n" * 50),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "as it was before states were sealed": lambda path: torch.save({"key": KEY, **STATE}, path),
    "a list": lambda path: torch.save([1, 2, 3], path),
    "half": lambda path: torch.save({"key": KEY}, path),
    "sealed list": lambda path: sealed(path, [1, 2, 3]),
    "sealed half": lambda path: sealed(path, {"key": KEY, "next_step": 3, "seconds": 1.0}),
    "sealed without key": lambda path: sealed(path, STATE),
    "sealed with other types": lambda path: sealed(path, {"key": KEY, **STATE, "next_step": "3"}),
    "sealed text key": lambda path: sealed(path, {"key": "a", **STATE}),
    "sealed code": lambda path: sealed(path, Evil()),
    "sealed text": lambda path: path.write_bytes(
        b"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\nhello\n"
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_one_line_and_a_start_from_step_0(tmp_path, capsys, kind):
    file = ResumeFile(tmp_path / "seed42.resume.pt", KEY)
    FOREIGN[kind](file.path)
    state, said = read(file)
    assert state is None
    (line,) = said
    assert line.startswith("mvtec/bottle: seed42.resume.pt cannot be read (")
    assert line.endswith("); starting from step 0") and "\n" not in line
    assert "stranger" not in capsys.readouterr().out


def test_a_state_that_cannot_be_taken_over_is_one_line(tmp_path):
    """Whole and of this very training by its key, but with other weights: only a forger can make it."""
    chosen = training_case.settings(STEPS, model=training_case.LIGHT)
    file = training_case.state(tmp_path / "run.resume.pt", chosen)
    file.save(STATE)
    with pytest.raises(DataCorrupt, match=r"run\.resume\.pt does not fit this training .* delete it") as caught:
        training_case.fit(chosen, training_case.inputs(file))
    assert "\n" not in str(caught.value)


def test_a_key_holds_all_that_a_training_follows_from(tmp_path):
    given = {"settings": {"train": {"steps": 3}}, "code": "c0de", "cell": {"category": "bottle", "seed": 42}}
    for name in ("split", "tensors"):
        (tmp_path / name).write_bytes(b"0123")
    files = {name: tmp_path / name for name in ("split", "tensors")}
    key = run_key(**given, files=files)
    assert key == run_key(**copy.deepcopy(given), files=dict(files))
    changed = {
        "settings": {**given, "settings": {"train": {"steps": 4}}},
        "code": {**given, "code": "c0de2"},
        "category": {**given, "cell": {"category": "cable", "seed": 42}},
        "seed": {**given, "cell": {"category": "bottle", "seed": 43}},
    }
    for name, other in changed.items():
        found = run_key(**other, files=files)
        assert {entry for entry in found if found[entry] != key[entry]} == {name}
    (tmp_path / "tensors").write_bytes(b"3210")  # the same sum of bytes
    found = run_key(**given, files=files)
    assert {entry for entry in found if found[entry] != key[entry]} == {"tensors"}


def test_another_key_is_named_and_not_used(saved):
    state, said = read(ResumeFile(saved.path, {**KEY, "code": "other", "textures": "new"}))
    assert state is None
    first, second = (f"{name} belongs to other code, textures" for name in (saved.path.name, saved.previous.name))
    assert said == [f"mvtec/bottle: {first}; {second}; starting from step 0"]


def test_one_training_at_a_time_and_who_it_is(tmp_path):
    lock = tmp_path / "locks" / "seed42.lock"
    program = (
        "import pathlib, sys, time; from prn.resume import alone\n"
        "with alone(pathlib.Path(sys.argv[1]), 'x'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PrnError) as caught, alone(lock, "mvtec/bottle/prn seed 42"):
            pytest.fail("two at once")
        message = str(caught.value)
        assert message.startswith(f"mvtec/bottle/prn seed 42: process {holder.pid} on ")
        assert "trains it already" in message and "\n" not in message
        assert caught.value.exit_code == 1
    finally:
        holder.kill()
        holder.wait()
    own = pytest.raises(PrnError, match=rf"process {os.getpid()} on ")
    with alone(lock, "mvtec/bottle/prn seed 42"), own, alone(lock, "the same process"):
        pytest.fail("two at once")


@pytest.mark.parametrize("words", [f"step {STEPS}/{STEPS}", "recalibrating BatchNorm's statistics"])
def test_sigterm_after_the_last_step_saves_and_a_rerun_ends_at_the_same_bytes(tmp_path, words):
    chosen = training_case.settings(STEPS, model=training_case.LIGHT, precise_norm_batches=2)
    expected, whole = training_case.fit(chosen, training_case.inputs(None))
    resume = training_case.state(tmp_path / "run.resume.pt", chosen)
    stop_at(words, chosen, resume)
    data, said = training_case.inputs(resume), []
    data.progress = said.append
    tensors, report = training_case.fit(chosen, data)
    assert said[0].endswith(f"continuing after step {STEPS} of {STEPS}")
    assert [row["loss"] for row in report.log] == [row["loss"] for row in whole.log]
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())


def stop_at(words: str, chosen, resume: ResumeFile) -> None:
    """A training of `training_case` that gets SIGTERM as it says `words`."""
    data = training_case.inputs(resume)
    data.progress = lambda line: os.kill(os.getpid(), signal.SIGTERM) if words in line else None
    with pytest.raises(Interrupted) as caught:
        training_case.fit(chosen, data)
    assert caught.value.exit_code == 143


def test_sigterm_in_what_another_method_does_after_its_last_step(tmp_path, monkeypatch):
    weights = random_weights("resnet18", 0)
    options = {"size": 64, "epochs": 1, "steps_per_epoch": 2, "batch": {"normal": 2, "seen": 2, "pseudo": 2}}
    chosen = methods_case.settings("dra", options)
    expected = methods_case.fitted(chosen, weights, methods_case.inputs())[0].tensors()
    resume = ResumeFile(tmp_path / "run.resume.pt", {})
    with monkeypatch.context() as patch:
        patch.setattr(method_class("dra"), "_refer_to", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted, match="stopped after the last step"):
            methods_case.fitted(chosen, weights, methods_case.inputs(resume=resume))
    found = methods_case.fitted(chosen, weights, methods_case.inputs(resume=resume))[0].tensors()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.fixture(scope="module")
def prepared(project, tmp_path_factory) -> Bench:
    """A work folder with all that a training of one cell reads."""
    with pytest.MonkeyPatch.context() as patch:
        bench = Bench(project, tmp_path_factory.mktemp("prepared"), patch)
        bench.settings["model"] = training_case.LIGHT
        bench.settings["train"] = {**bench.settings["train"], "steps": STEPS}
        torch.set_num_threads(1)
        bench.before_training()
    return bench


@pytest.fixture
def bench(prepared, tmp_path, monkeypatch) -> Bench:
    """A copy of it of one's own."""
    bench = copy.copy(prepared)
    bench.settings, bench.chdir = copy.deepcopy(prepared.settings), monkeypatch.chdir
    bench.folder = tmp_path / "work"
    shutil.copytree(prepared.folder / "data", bench.folder / "data")
    yield bench
    code.forget()


RESUME = "data/checkpoints/mine/part/prn/seed42.resume.pt"
CHECKPOINT = "data/checkpoints/mine/part/prn/seed42.safetensors"


def stopped_in_step_2(bench: Bench, monkeypatch) -> None:
    """The stage `train`, which gets SIGTERM in its second step."""

    def rate(number: int, *_) -> float:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1e-4

    with monkeypatch.context() as patch:
        patch.setattr("prn.methods.prn.learning_rate", rate)
        bench.call("train", *CELL, code=143)
    assert (bench.folder / RESUME).is_file() and not (bench.folder / CHECKPOINT).exists()


def edit_settings(bench, monkeypatch) -> None:
    bench.settings["train"]["focal_weight"] = 1.0


def edit_code(bench, monkeypatch) -> None:
    package = bench.folder / "prn"
    shutil.copytree(code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "model/losses.py").open("a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    monkeypatch.setattr(code, "PACKAGE", package)
    code.forget()


def replaced(path: Path) -> None:
    """The digest file of a file that was exchanged as a whole."""
    Path(layout.digest_file(str(path))).write_text(f"{sha256_file(path)}  {path.name}\n", encoding="utf-8")


def other_weights(bench, monkeypatch) -> None:
    path = bench.folder / "data/backbones/resnet18.safetensors"
    save_file(random_weights("resnet18", 1), path, metadata={"kind": "random"})
    replaced(path)


def turn_images(bench, monkeypatch) -> None:
    """By 180 degrees, with their masks: the sums of the pixels stay."""
    path = bench.folder / "data/tensors/mine/part/32.safetensors"
    tensors = CategoryTensors.load(path)
    before = tensors.images.sum()
    tensors.images, tensors.masks = tensors.images[:, ::-1, ::-1], tensors.masks[:, ::-1, ::-1]
    assert tensors.images.sum() == before
    tensors.save(path)
    replaced(path)


def turn_textures(bench, monkeypatch) -> None:
    path = bench.folder / "data/tensors/dtd/textures/32.safetensors"
    TextureTensors(load_textures(path)[:, ::-1, ::-1], [], "").save(path)
    replaced(path)


def swap_seen(bench, monkeypatch) -> None:
    path = bench.folder / "data/splits/mine/part/seed42.json"
    split = load_split(path)
    split.seen.reverse()
    save_split(split, path)
    replaced(path)


def other_prototypes(bench, monkeypatch) -> None:
    (path,) = (bench.folder / "data/prototypes/mine/part").glob("*.safetensors")
    save_file({name: value.flip(0) + 0.1 for name, value in load_file(path).items()}, path)
    replaced(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit_settings, "settings"),
        (edit_code, "code"),
        (other_weights, "backbone"),
        (turn_images, "tensors"),
        (turn_textures, "textures"),
        (swap_seen, "split"),
        (other_prototypes, "prototypes"),
    ],
)
def test_after_a_change_a_killed_training_starts_from_step_0(bench, monkeypatch, capsys, change, named):
    stopped_in_step_2(bench, monkeypatch)
    change(bench, monkeypatch)
    capsys.readouterr()
    bench.call("train", *CELL)
    lines = [line for line in capsys.readouterr().out.splitlines() if "resume" in line]
    assert lines == [f"mine/part seed 42: seed42.resume.pt belongs to other {named}; starting from step 0"]
    first = (bench.folder / CHECKPOINT).read_bytes()
    bench.call("train", *CELL)
    assert (bench.folder / CHECKPOINT).read_bytes() == first, "as a training that was never stopped"


def test_without_a_change_it_goes_on_to_the_same_bytes_and_leaves_no_state(bench, monkeypatch, capsys):
    bench.call("train", *CELL)
    expected = (bench.folder / CHECKPOINT).read_bytes()
    (bench.folder / CHECKPOINT).unlink()
    stopped_in_step_2(bench, monkeypatch)
    capsys.readouterr()
    bench.call("train", *CELL)
    assert "continuing after step 2 of 4" in capsys.readouterr().out
    assert (bench.folder / CHECKPOINT).read_bytes() == expected
    assert not list((bench.folder / RESUME).parent.glob("*.resume*"))


@pytest.mark.parametrize("place", ["save_file", "_run_card"])
def test_sigterm_while_the_results_are_written(bench, monkeypatch, capsys, place):
    """Nothing of the training is lost: its state goes when all is written."""
    bench.call("train", *CELL)
    expected = (bench.folder / CHECKPOINT).read_bytes()
    (bench.folder / CHECKPOINT).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(train_stage, place, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        bench.call("train", *CELL, code=143)
    assert "start again to continue" in capsys.readouterr().err
    bench.call("train", *CELL)
    assert f"continuing after step {STEPS} of {STEPS}" in capsys.readouterr().out
    assert (bench.folder / CHECKPOINT).read_bytes() == expected
    assert not (bench.folder / RESUME).exists()


def test_the_stage_refuses_a_cell_that_is_being_trained(bench, capsys):
    with alone(bench.folder / "data/locks/train/mine/part/prn/seed42.lock", "another"):
        bench.call("train", *CELL, code=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"prn train: mine/part/prn seed 42: process {os.getpid()} on ")
    bench.call("train", *CELL)


@pytest.mark.slow
def test_the_command_stopped_from_outside_goes_on_and_under_edited_code_does_not(bench, tmp_path):
    """`python -m prn train` from a copy of the package, stopped twice; then the loss in the copy is edited."""
    package = tmp_path / "code/prn"
    shutil.copytree(code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    bench.settings["train"].update(steps=8, checkpoint_minutes=1e-4)  # a state after each step
    command = [sys.executable, "-m", "prn", "train", *CELL, *bench.common()]
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"}

    def run(words: str = "", number: int = 0) -> tuple[int, str]:
        """Exit code and all that was said; the signal `number` is sent as `words` appear."""
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = []
        for line in process.stdout:
            said.append(line)
            if words and words in line:
                process.send_signal(number)
        return process.wait(), "".join(said)

    status, said = run("step 2/8", signal.SIGTERM)
    assert (status, "start again to continue" in said) == (143, True), said
    status, said = run("step 4/8", signal.SIGKILL)
    assert (status, "continuing after step " in said) == (-signal.SIGKILL, True), said
    losses = package / "model/losses.py"
    text = losses.read_text(encoding="utf-8")
    losses.write_text(text.replace("return smooth_l1 +", "return 2 * smooth_l1 +"), encoding="utf-8")
    assert losses.read_text(encoding="utf-8") != text
    status, said = run()
    assert (status, "belongs to other code" in said, "starting from step 0" in said) == (0, True, True), said
    first = (bench.folder / CHECKPOINT).read_bytes()
    assert run()[0] == 0
    assert (bench.folder / CHECKPOINT).read_bytes() == first
