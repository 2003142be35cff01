"""Tool `estimate`: hours, memory and disk of the benchmark of the settings, from at most 20 steps a network."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prn.datasets.capacity import free_memory
from prn.datasets.images import cores
from prn.devices import gpu_count
from prn.errors import PrnError
from prn.provenance.environment import device_name
from prn.stages.job import Job
from prn.tools.probe import Cost, probe_alone
from prn.tools.totals import as_text, distinct, estimate, evaluation_seconds, folder_free, jobs_side_by_side


def run(job: Job, given_cores: int | None = None) -> None:
    """Print the estimate; each probe runs in a process of its own, so that its memory is its own."""
    settings = job.settings
    shapes = distinct(settings)
    costs: dict[str, Cost] = {}
    for number, (shape, resolved) in enumerate(shapes.items(), start=1):
        started = time.monotonic()
        with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                costs[shape] = probe_result = pool.submit(probe_alone, resolved).result()
            except (OSError, RuntimeError) as error:  # the child was killed, for instance for its memory
                raise PrnError(f"the probe of {resolved.method} died ({error}); free memory and try again") from error
        step = "no steps" if probe_result.step_s is None else f"{probe_result.step_s:.2f} s a step of the whole batch"
        how = "" if probe_result.probed else ", from two smaller batches"
        print(
            f"probe {number} of {len(shapes)} ({resolved.method}): {step}{how}, {probe_result.steps} steps tried in"
            f" {time.monotonic() - started:.0f} s",
            flush=True,
        )
    total = estimate(settings, costs, evaluation_seconds(settings, time.monotonic))
    gpus = gpu_count()
    where = f"{gpus} GPUs" if gpus else f"{given_cores or cores()} cores of {device_name()}"
    print("\n" + as_text(settings, total, jobs_side_by_side(settings, given_cores or cores(), gpus), where))
    free = free_memory()
    print(f"Free here now: {folder_free(Path()):.1f} GiB of disk, {(free or 0) / 2**30:.1f} GiB of memory.")
    if not gpus and free is not None and total.peak_mb * 2**20 > free:
        print("The largest job needs more memory than is free: lower train.micro_batch, train.batch or tensors.size.")
