"""The training engine: a loop over steps that is deterministic, resumable to the byte on a CPU, and stops on a NaN.

A step is a function of its number alone (the batches are functions of seed, epoch and index), so a run that was
killed goes on from its last state file as if nothing had happened.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from prn.errors import PrnError, memory_errors
from prn.methods.interface import FitReport, say
from prn.provenance.files import atomic_write
from prn.settings.sections import BatchSettings, TrainSettings

FLUSH_STEPS = 10


class Interrupted(PrnError):
    """The run was told to stop (SIGTERM) and has saved its state; starting it again continues (exit code 143)."""

    exit_code = 143


@dataclass(frozen=True)
class Batch:
    """Which samples make up a step: positions of normal images, and index ranges of the epoch's anomalies."""

    step: int
    epoch: int
    normal: np.ndarray
    extended: range
    simulated: range

    @property
    def size(self) -> int:
        """How many images the step has."""
        return len(self.normal) + len(self.extended) + len(self.simulated)


@dataclass(frozen=True)
class BatchPlan:
    """The steps of a training: an epoch is one pass over the normals in an order drawn from (seed, epoch).

    The last step of an epoch takes the normals that are left, with anomalies in proportion (reference 8.10).
    A kind that the settings switch off is replaced by the other, so that a step keeps its size.
    """

    normals: int
    batch: BatchSettings
    seed: int
    extended_on: bool = True
    simulated_on: bool = True

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the normals."""
        return math.ceil(self.normals / self.batch.normal)

    def total_steps(self, settings: TrainSettings) -> int:
        """`settings.steps` where given, else the epochs' steps."""
        return settings.steps or settings.epochs * self.steps_per_epoch

    def images(self, steps: int) -> int:
        """How many images the first `steps` steps have."""
        sizes = [self.step(number).size for number in range(self.steps_per_epoch)]
        epochs, rest = divmod(steps, self.steps_per_epoch)
        return epochs * sum(sizes) + sum(sizes[:rest])

    def step(self, number: int) -> Batch:
        """The samples of step `number`, counted from 0."""
        epoch, position = divmod(number, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.normals)
        chosen = order[position * self.batch.normal : (position + 1) * self.batch.normal]
        extended, simulated = self._anomalies()
        share = len(chosen) / self.batch.normal
        return Batch(
            step=number,
            epoch=epoch,
            normal=chosen,
            extended=range(position * extended, position * extended + round(extended * share)),
            simulated=range(position * simulated, position * simulated + round(simulated * share)),
        )

    def _anomalies(self) -> tuple[int, int]:
        extended, simulated = self.batch.extended, self.batch.simulated
        if not self.extended_on:
            return 0, extended + simulated
        if not self.simulated_on:
            return extended + simulated, 0
        return extended, simulated


def micro_batches(batch: Batch, limit: int | None) -> list[np.ndarray]:
    """Positions among a step's images (normal, extended, simulated) of the parts that are computed one after another.

    Each part has at most `limit` images and the step's mix, as nearly as whole images allow; one part without a limit.
    """
    sizes = [len(batch.normal), len(batch.extended), len(batch.simulated)]
    total = sum(sizes)
    # Each kind spread evenly over the step: any stretch of that order then has the step's mix.
    rank = np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in sizes])
    parts = np.array_split(np.argsort(rank, kind="stable"), math.ceil(total / (limit or total)))
    return [np.sort(part) for part in parts]


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """The learning rate of a step: linear warm-up, then constant or cosine decay to 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - settings.warmup_steps) / max(1, total - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(parameters: list[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam with coupled L2 (the paper's "weight decay" with Adam) or AdamW."""
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


@dataclass
class Run:
    """What the loop needs to know of a training.

    step: does forward and backward of step `i` and returns detached scalars, `loss` among them.
    state, restore: the tensors that change in training (weights and BatchNorm statistics).
    key: identifies settings and inputs; a resume state with another key is not used.
    rate: the learning rate of step `i`, in place of the settings' schedule.
    section: the section of the settings that messages name.
    """

    label: str
    key: str
    total: int
    settings: TrainSettings
    optimizer: torch.optim.Optimizer
    step: Callable[[int], Mapping[str, torch.Tensor | float]]
    state: Callable[[], dict[str, torch.Tensor]]
    restore: Callable[[Mapping[str, torch.Tensor]], None]
    images_per_step: int
    resume: Path | None = None
    progress: Callable[[str], None] = say
    rate: Callable[[int], float] | None = None
    section: str = "train"
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train(run: Run) -> FitReport:
    """Run all steps, from the last saved state where there is one that fits; return the log and the totals.

    Raises `PrnError` on a loss that is not finite, `Interrupted` after SIGTERM (the state is saved first).
    """
    first = _restore(run)
    stop = threading.Event()
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    pending: list[dict[str, Any]] = []
    with _stop_on_sigterm(stop):
        for number in range(first, run.total):
            rate = run.rate(number) if run.rate else learning_rate(number, run.total, run.settings)
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            run.optimizer.zero_grad(set_to_none=True)
            with memory_errors(f"{run.label}: a training step", f"{run.section}.batch"):
                values = run.step(number)
                run.optimizer.step()
            pending.append({"step": number + 1, **values, "learning_rate": rate, "seconds": time.monotonic() - started})
            due = time.monotonic() - saved > 60 * run.settings.checkpoint_minutes
            if len(pending) == FLUSH_STEPS or number + 1 == run.total or due or stop.is_set():
                _flush(run, pending)
                run.seconds = time.monotonic() - started
            if (due or stop.is_set()) and number + 1 < run.total:
                _save(run, number + 1)
                saved = time.monotonic()
            if stop.is_set():
                raise Interrupted(f"{run.label}: stopped at step {number + 1} of {run.total}; start again to continue")
    return FitReport(
        log=run.rows,
        steps=run.total,
        seconds=run.seconds,
        images_per_second=run.images_per_step * run.total / max(run.seconds, 1e-9),
        peak_memory_mb=peak_memory_mb(),
    )


def peak_memory_mb() -> float:
    """Peak memory in MiB: the GPU's where one is used, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def seed_everything(seed: int, threads: int) -> None:
    """Fix torch's generator and thread count, and on a CPU choose deterministic algorithms where they exist.

    On a GPU they are left off: PyTorch names them as often slower, and results would still differ from one model of GPU
    to the next.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(not torch.cuda.is_available(), warn_only=True)
    # Filling new tensors with NaN helps to find bugs; it takes a tenth of a step on a CPU.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def _flush(run: Run, pending: list[dict[str, Any]]) -> None:
    """Move the pending values to the log; the one place where a step's scalars are read back from the device."""
    for entry in pending:
        row = {name: float(value) for name, value in entry.items()}
        if not math.isfinite(row["loss"]):
            raise PrnError(
                f"{run.label}: the loss is {row['loss']} at step {int(row['step'])}; lower"
                f" {run.section}.learning_rate, or set train.precision to float32"
            )
        run.rows.append(row)
    last = run.rows[-1]
    done = int(last["step"])
    speed = done / max(last["seconds"], 1e-9)
    left = (run.total - done) / speed
    run.progress(
        f"{run.label}: step {done}/{run.total}, loss {last['loss']:.4f}, {speed * run.images_per_step:.1f} images/s,"
        f" {left / 60:.1f} min left"
    )
    pending.clear()


def _previous(path: Path) -> Path:
    return path.with_suffix(".previous.pt")


def _save(run: Run, next_step: int) -> None:
    if run.resume is None:
        return
    state = {
        "key": run.key,
        "next_step": next_step,
        "seconds": run.seconds,
        "rows": run.rows,
        "state": run.state(),
        "optimizer": run.optimizer.state_dict(),
        "generator": torch.get_rng_state(),
    }
    _remove_parts(run.resume)
    with atomic_write(run.resume) as temporary:
        torch.save(state, temporary)
        if run.resume.exists():
            run.resume.replace(_previous(run.resume))


def _restore(run: Run) -> int:
    """Load the newest readable state that belongs to this run; the number of the first step to do."""
    for path in (run.resume, _previous(run.resume)) if run.resume else ():
        if not path.is_file():
            continue
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a truncated or foreign file: the previous state, or a fresh start
            run.progress(f"{run.label}: {path.name} cannot be read ({type(error).__name__}); it is not used")
            continue
        if saved.get("key") != run.key:
            run.progress(f"{run.label}: {path.name} belongs to other settings or inputs; starting from step 0")
            continue
        run.restore(saved["state"])
        run.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["generator"])
        run.rows, run.seconds = list(saved["rows"]), saved["seconds"]
        run.progress(f"{run.label}: continuing after step {saved['next_step']} of {run.total}")
        return int(saved["next_step"])
    return 0


def clear_resume(path: Path | None) -> None:
    """Remove the resume states of a finished training."""
    if path is not None:
        path.unlink(missing_ok=True)
        _previous(path).unlink(missing_ok=True)
        _remove_parts(path)


def _remove_parts(path: Path) -> None:
    """Remove what a save left that was killed."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _stop_on_sigterm(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM for the time of the block; outside the main thread no handler can be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
