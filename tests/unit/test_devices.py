"""One GPU a job by locks, simulated with names in CUDA_VISIBLE_DEVICES; cores that jobs were given."""

import os
import signal
import subprocess
import sys

import pytest

from prn import devices
from prn.cli import main
from prn.datasets.images import cores
from prn.errors import SettingsError

HOLD = "from prn.devices import one_gpu\nwith one_gpu() as gpu:\n  print('got', gpu, flush=True)\n  input()"


@pytest.fixture(autouse=True)
def pool(tmp_path, monkeypatch):
    """Two GPUs and a folder of locks of their own."""
    monkeypatch.setenv("PRN_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-5e1f")
    monkeypatch.setattr(devices, "POLL_S", 0.05)
    for name in devices.GIVEN_BY:
        monkeypatch.delenv(name, raising=False)


def holder() -> subprocess.Popen:
    """A process that holds a GPU until it reads a line."""
    return subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_jobs_side_by_side_get_different_gpus_and_a_third_waits_for_a_free_one(monkeypatch):
    first, second = holder(), holder()
    try:
        lines = {process.stdout.readline().strip() for process in (first, second)}
        assert lines == {"got 0", "got GPU-5e1f"}
        said: list[str] = []

        def free_one(line: str) -> None:
            said.append(line)
            first.send_signal(signal.SIGKILL)  # a killed job gives its GPU back
            first.wait()

        with devices.one_gpu(free_one) as gpu:
            assert f"got {gpu}" in lines
            assert os.environ["CUDA_VISIBLE_DEVICES"] == gpu
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,GPU-5e1f"
        assert "waiting for one of 2 GPUs" in said[0]
        assert len(said) == 1
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def test_without_gpus_or_with_a_batch_systems_own_nothing_is_locked(monkeypatch, tmp_path):
    for name, value in (("CUDA_VISIBLE_DEVICES", ""), ("CUDA_VISIBLE_DEVICES", "-1"), ("SLURM_JOB_GPUS", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with devices.one_gpu() as gpu:
                assert gpu is None
            assert devices.gpu_count() == (2 if name.startswith("SLURM") else 0)
    assert not (tmp_path / "locks").exists()


def test_a_stage_that_computes_on_a_gpu_sees_one_alone(monkeypatch, project, tmp_path):
    seen = []
    for stage in ("train", "split"):
        monkeypatch.setattr(f"prn.stages.{stage}.run", lambda job: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
        cell = ["--category", "bottle", "--root", str(tmp_path), "--params", str(project / "params.yaml")]
        assert main([stage, *cell]) == 0
    assert seen == ["0", "0,GPU-5e1f"]


def test_threads_beyond_the_given_cores_are_refused_and_pools_keep_to_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    devices.check_threads(3, "train.threads")
    with pytest.raises(SettingsError, match=r"train.threads is 4, but this job was given 3 cores .* --cores 4"):
        devices.check_threads(4, "train.threads")
    monkeypatch.setenv("OPENCV_FOR_THREADS_NUM", "")  # so that it is as before after the test
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM")
    devices.keep_to_given_cores()
    code = "import cv2; print(cv2.getNumThreads())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "3\n"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert cores() == len(os.sched_getaffinity(0))
    devices.check_threads(64, "train.threads")
