"""The training engine: a loop over steps that is deterministic, resumable to the byte on a CPU, and stops on a NaN.

A step is a function of its number alone (the batches are functions of seed, epoch and index), so a training that was
killed goes on from its last saved state (`prn.resume`) as if nothing had happened.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from prn.errors import DataCorrupt, PrnError, memory_errors
from prn.fitting import FitReport, say
from prn.provenance.environment import peak_memory_mb
from prn.resume import Interrupted, ResumeFile, interruptible, on_sigterm
from prn.settings.sections import BatchSettings, TrainSettings

FLUSH_STEPS = 10


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

    rate: the learning rate of step `i`, counted from 0.
    step: does forward and backward of step `i` and returns detached scalars, `loss` among them.
    state, restore: the tensors that change in training (weights and BatchNorm statistics).
    finish: what is left to do after the last step; a training that is stopped in it goes on there.
    section: the section of the settings that messages name.
    """

    label: str
    total: int
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    step: Callable[[int], Mapping[str, torch.Tensor | float]]
    state: Callable[[], dict[str, torch.Tensor]]
    restore: Callable[[Mapping[str, torch.Tensor]], object]
    images_per_step: int
    finish: Callable[[], object] | None = None
    resume: ResumeFile | None = None
    checkpoint_minutes: float = 5.0
    progress: Callable[[str], None] = say
    section: str = "train"
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def train(run: Run) -> FitReport:
    """Run all steps, from the last saved state where there is one that fits; return the log and the totals.

    The state is saved every `checkpoint_minutes`, on SIGTERM and after the last step; who writes the results removes it
    then. Raises `PrnError` on a loss that is not finite, `Interrupted` after SIGTERM.
    """
    done = first = _restore(run)
    stop = threading.Event()
    started, saved = time.monotonic() - run.seconds, time.monotonic()
    pending: list[dict[str, Any]] = []
    with on_sigterm(stop.set):
        for number in range(first, run.total):
            values = _step(run, number)
            done = number + 1
            pending.append({"step": done, **values, "seconds": time.monotonic() - started})
            due = done == run.total or time.monotonic() - saved > 60 * run.checkpoint_minutes
            if due or len(pending) == FLUSH_STEPS or stop.is_set():
                _flush(run, pending)
            stopping = stop.is_set()
            if due or stopping:
                _flush(run, pending)  # the signal may have come since
                run.seconds = time.monotonic() - started
                _save(run, done)
                saved = time.monotonic()
            if stopping:
                break
    if stop.is_set():
        raise Interrupted(f"{run.label}: stopped at step {done} of {run.total}; start again to continue")
    with interruptible(f"{run.label}: stopped after the last step"):
        if run.finish is not None:
            run.finish()
    return FitReport(
        log=run.rows,
        steps=run.total,
        seconds=time.monotonic() - started,
        images_per_second=run.images_per_step * run.total / max(run.seconds, 1e-9),
        peak_memory_mb=peak_memory_mb(),
    )


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


def _step(run: Run, number: int) -> dict[str, Any]:
    """One step of the optimiser; the step's scalars and its learning rate."""
    rate = run.rate(number)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    with memory_errors(f"{run.label}: a training step", f"{run.section}.batch"):
        values = run.step(number)
        run.optimizer.step()
    return {**values, "learning_rate": rate}


def _flush(run: Run, pending: list[dict[str, Any]]) -> None:
    """Move the pending values to the log; the one place where a step's scalars are read back from the device."""
    if not pending:
        return
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


def _save(run: Run, next_step: int) -> None:
    if run.resume is None:
        return
    run.resume.save(
        {
            "next_step": next_step,
            "seconds": run.seconds,
            "rows": run.rows,
            "state": run.state(),
            "optimizer": run.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
        }
    )


def _restore(run: Run) -> int:
    """Take over the newest saved state of this very training; the number of the first step to do."""
    saved = run.resume.load(run.label, run.progress) if run.resume else None
    if saved is None:
        return 0
    try:
        with memory_errors(f"{run.label}: a saved state", f"{run.section}.batch"):
            run.restore(saved["state"])
            run.optimizer.load_state_dict(saved["optimizer"])
            torch.set_rng_state(saved["generator"])
    except (DataCorrupt, KeyError, RuntimeError, TypeError, ValueError) as error:  # half taken over: no way on
        assert run.resume is not None
        raise DataCorrupt(
            f"{run.label}: {run.resume.path} does not fit this training ({type(error).__name__}); delete it to start"
            " from step 0"
        ) from error
    run.rows, run.seconds = list(saved["rows"]), saved["seconds"]
    run.progress(f"{run.label}: continuing after step {saved['next_step']} of {run.total}")
    return saved["next_step"]
