"""Runs that are killed, interrupted, doubled or out of disk: the one command goes on, nothing half-written passes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import adopt, dvc, environment, plan, run, set_parameter, snakemake

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2", "all"]
CHECKPOINT = "data/checkpoints/mine/part/prn/seed42.safetensors"
WAIT_S = 120


@pytest.fixture
def held(hollow):
    """A function that starts a command and comes back when the training of `prn` is at work and waits."""
    started = []

    def start(command: list[str]) -> subprocess.Popen:
        (hollow / "hold-train-prn").touch()
        with heeding_interrupts():
            process = subprocess.Popen(
                command,
                cwd=hollow,
                env=environment(hollow),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        started.append(process)
        wait_for(lambda: (hollow / "held-train-prn").is_file() and (hollow / "held-train-prn").read_text())
        return process

    yield start
    for process in started:
        (hollow / "hold-train-prn").unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def heeding_interrupts() -> Iterator[None]:
    """What is started in the block heeds Ctrl-C, as from a terminal, wherever the tests themselves were started.

    A shell script's `make test &` ignores SIGINT, and every program below it inherits that: no Ctrl-C would arrive.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a handler is not inherited, ignoring is
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(condition) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def release(folder: Path) -> None:
    for name in ("hold-train-prn", "held-train-prn"):
        (folder / name).unlink(missing_ok=True)


def trainings(folder: Path) -> Counter:
    """How often each cell was trained to its end."""
    return Counter((folder / "trained").read_text(encoding="utf-8").split())


@pytest.mark.timeout(900)
def test_a_killed_job_a_killed_snakemake_and_an_interrupted_one(hollow, held):
    # kill -9 of a job: the run fails, says so, and goes on with the same command.
    process = held(COMMAND)
    os.kill(int((hollow / "held-train-prn").read_text()), signal.SIGKILL)
    assert process.wait(WAIT_S) != 0
    assert not (hollow / CHECKPOINT).exists()
    assert (hollow / "data/logs/train/mine.part.prn.seed42.log").is_file()
    release(hollow)

    # Ctrl-C: every process of the terminal gets it.
    process = held(COMMAND)
    # A second run beside it is refused and breaks nothing.
    assert "cannot be locked" in snakemake(hollow, "all", check=False)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(WAIT_S)
    assert not (hollow / CHECKPOINT).exists()
    release(hollow)

    # kill -9 of snakemake itself, with what it started; one output of the job lies there half done.
    process = held(COMMAND)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)
    release(hollow)
    (hollow / CHECKPOINT).parent.mkdir(parents=True, exist_ok=True)
    (hollow / CHECKPOINT).write_text("half", encoding="utf-8")
    assert "rerun-incomplete" in snakemake(hollow, "all", check=False)
    assert "unlock" in snakemake(hollow, "--rerun-incomplete", "all", check=False)
    snakemake(hollow, "--unlock")
    snakemake(hollow, "--rerun-incomplete", "all")
    assert "half" not in (hollow / CHECKPOINT).read_text(encoding="utf-8")
    assert plan(hollow) == {}
    assert trainings(hollow) == {"mine/part/prn": 1, "mine/part/mean-image": 1}, "nothing finished is done twice"


@pytest.mark.timeout(900)
def test_a_job_that_ended_after_snakemake_was_killed_is_not_done_twice(hollow, held):
    process = held(COMMAND)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)
    release(hollow)  # the job, an orphan now, goes on to its end
    wait_for((hollow / f"{CHECKPOINT}.prov.json").exists)
    snakemake(hollow, "--unlock")
    adopt(hollow)
    assert "train" not in plan(hollow)
    snakemake(hollow, "all")
    assert trainings(hollow)["mine/part/prn"] == 1


@pytest.mark.timeout(900)
def test_a_killed_dvc(hollow, held):
    process = held([sys.executable, "-m", "dvc", "repro"])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT_S)
    release(hollow)
    snakemake(hollow, "--unlock")
    adopt(hollow)
    dvc(hollow, "repro")
    assert plan(hollow) == {}
    assert "changed deps" not in dvc(hollow, "status")
    assert trainings(hollow)["mine/part/prn"] == 1


@pytest.mark.timeout(900)
def test_settings_that_are_edited_while_a_phase_trains_are_not_recorded_as_used(hollow, held):
    process = held([sys.executable, "-m", "dvc", "repro"])
    set_parameter(hollow, "train.learning_rate", 0.5)
    release(hollow)
    assert process.wait(WAIT_S) != 0
    lock = hollow / "dvc.lock"
    assert "learning_rate: 0.5" not in lock.read_text(encoding="utf-8")
    assert (hollow / CHECKPOINT).is_file(), "what was trained stays, with the settings of the start in its sidecar"
    said = dvc(hollow, "repro")
    assert "Running stage 'train'" in said
    assert "learning_rate: 0.5" in lock.read_text(encoding="utf-8")
    assert trainings(hollow)["mine/part/prn"] == 2
    assert plan(hollow) == {}


@pytest.mark.timeout(600)
def test_a_file_that_vanishes_while_snakemake_plans_is_missed_by_the_next_plan(hollow):
    """Whatever the stopped plan answers, no later one repeats it."""
    snakemake(hollow, "all")
    process = subprocess.Popen(
        COMMAND, cwd=hollow, env=environment(hollow), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Building DAG" in line:
            break
    process.send_signal(signal.SIGSTOP)
    (hollow / "data/metrics/mine/part/prn/seed42.json").unlink()
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=WAIT_S)
    if not (hollow / "data/metrics/mine/part/prn/seed42.json").exists():
        assert plan(hollow) == {"evaluate": 1, "report": 1}
        snakemake(hollow, "all")
    assert (hollow / "data/metrics/mine/part/prn/seed42.json").is_file()
    assert plan(hollow) == {}


@pytest.mark.timeout(600)
def test_a_failing_job_with_keep_going_stops_only_what_follows_from_it(hollow):
    (hollow / "fail-train-prn").touch()
    said = snakemake(hollow, "--keep-going", "all", check=False)
    assert "told to fail" in (hollow / "data/logs/train/mine.part.prn.seed42.log").read_text(encoding="utf-8")
    assert "Error in rule train" in said
    assert (hollow / "data/metrics/mine/part/mean-image/seed42.json").is_file()
    assert not (hollow / "reports/results.csv").exists()
    (hollow / "fail-train-prn").unlink()
    assert plan(hollow) == {"train": 1, "predict": 1, "evaluate": 1, "report": 1}


@pytest.mark.timeout(600)
def test_a_full_disk(hollow, tmp_path):
    """`data` on a file system of 4 MB, full while the checkpoints are written; with space the command goes on."""
    small = hollow / "data"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (small / "ballast").write_bytes(bytes(3_000_000))
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going", "phase_train"]
        done = run(command, hollow, check=False, HOLLOW_BYTES="2000000")
        assert done.returncode != 0
        assert "No space left" in (small / "logs/train/mine.part.prn.seed42.log").read_text(encoding="utf-8")
        assert not (hollow / CHECKPOINT).exists()
        assert not list(small.rglob("*.part"))
        (small / "ballast").unlink()
        run([*command[:5], "phase_train"], hollow, HOLLOW_BYTES="100000")
        assert (hollow / CHECKPOINT).stat().st_size > 100_000
        shutil.copytree(small, tmp_path / "kept")
    finally:
        subprocess.run(["umount", str(small)], check=False)
