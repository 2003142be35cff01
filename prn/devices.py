"""What a job of the workflow runs on: the GPUs of this machine, its share of cores, and the Python of its commands."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prn.errors import SettingsError
from prn.provenance.checkout import MEANT, PROJECT

VISIBLE = "CUDA_VISIBLE_DEVICES"
# A batch system that hands out GPUs itself: its jobs must not wait for one another here.
GIVEN_BY = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "PBS_GPUFILE")
POLL_S = 1.0


def torch_device() -> Any:
    """Where this process computes with torch: the GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them, without loading torch."""
    listed = os.environ.get(VISIBLE)
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def gpu_count() -> int:
    """How many GPUs this process may use."""
    return len(visible_gpus())


def lock_folder() -> Path:
    """Where the locks of the GPUs lie: one place for all work folders of a checkout, else the work folder's own.

    `PRN_GPU_LOCKS` names another, for instance one that several checkouts share.
    """
    if "PRN_GPU_LOCKS" in os.environ:
        return Path(os.environ["PRN_GPU_LOCKS"])
    if (PROJECT / "Snakefile").is_file() and os.access(PROJECT, os.W_OK):
        return PROJECT / "runs" / ".gpus"
    return Path("data/locks")


@contextlib.contextmanager
def one_gpu(say: Callable[[str], None] = print) -> Iterator[str | None]:
    """Hold one GPU for the time of the block: its name, which becomes the only visible one; None without GPUs.

    A GPU is held by a lock on a file, which the system releases also when the process is killed. Where all are held,
    this waits. Must be entered before CUDA is used. With a batch system's own choice of GPUs nothing is locked.
    """
    gpus = visible_gpus()
    if not gpus or any(name in os.environ for name in GIVEN_BY):
        yield None
        return
    lock, gpu = _claim(gpus, lock_folder(), say)
    before = os.environ.get(VISIBLE)
    # Else CUDA counts the fastest GPU first, and a number means another one than in the driver's own tools.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ[VISIBLE] = gpu
    try:
        yield gpu
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
        lock.release()


def _claim(gpus: list[str], folder: Path, say: Callable[[str], None]) -> tuple[FileLock, str]:
    folder.mkdir(parents=True, exist_ok=True)
    waiting = False
    while True:
        for gpu in gpus:
            lock = FileLock(folder / f"gpu-{gpu.replace('/', '_')}.lock")
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                return lock, gpu
        if not waiting:
            say(f"waiting for one of {len(gpus)} GPUs (all are held by other jobs; locks in {folder})")
            waiting = True
        time.sleep(POLL_S)


def given_cores() -> int | None:
    """The cores that Snakemake (or the user) gave this process by `OMP_NUM_THREADS`; None where nobody said."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def keep_to_given_cores() -> None:
    """Let OpenCV, which does not read `OMP_NUM_THREADS`, keep to it as well; must be called before it is imported."""
    given = given_cores()
    if given is not None:
        os.environ.setdefault("OPENCV_FOR_THREADS_NUM", str(given))


def check_threads(threads: int, key: str) -> None:
    """Raise `SettingsError` where a CPU job's threads are more than the cores it was given: they would take others'."""
    given = given_cores()
    if given is not None and threads > given:
        raise SettingsError(
            f"{key} is {threads}, but this job was given {given} {'core' if given == 1 else 'cores'} (OMP_NUM_THREADS);"
            f" give snakemake --cores {threads} or more, or set {key}: {given}"
        )


def use_this_python(project: str | os.PathLike[str]) -> None:
    """Let `python -m prn` in the children of this process mean this Python and the code in the folder `project`.

    A conda environment that Snakemake makes for a rule still comes first. Raises `SettingsError` for a folder that
    cannot stand in `PYTHONPATH`.
    """
    if os.pathsep in os.fspath(project):
        raise SettingsError(
            f"{project}: its name holds {os.pathsep!r}, where PYTHONPATH is cut: other code would run; rename the"
            " folder"
        )
    os.environ[MEANT] = os.fspath(project)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.fspath(project), os.environ.get("PYTHONPATH")]))
