"""How long is a whole training step on this device, synthesis included, and where does it go?

    python benchmarks/training.py    # on a GPU: the paper's batch of 64 at 256 x 256; --page FILE keeps the tables
    python benchmarks/training.py --size 64 --batch 4 2 2 --steps 3 --acceleration none   # to try it on a CPU

The step is the training engine's own: what `python -m prn train` runs, with the plans drawn by its thread, the images
rendered on the device, forward, loss, backward and Adam. Images, textures and weights are random; no layer's time
depends on its values. Wall time between two synchronised points over all steps, after a warm-up of eight. "batches
alone" is the same loop without the network, plans drawn in it rather than ahead. Inference is measured as the stage
`predict` does it: from images in host memory to score maps there.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from prn.backbone import BACKBONE_CHANNELS, random_weights
from prn.devices import torch_device
from prn.fitting import FitInputs
from prn.inference import measure
from prn.methods.prn import Method
from prn.methods.prn_batches import StepBatch, TrainingBatches
from prn.prototypes import Prototypes
from prn.provenance.environment import environment, peak_memory_mb
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.training import seed_everything

EPOCH = 4  # steps of an epoch, all of them whole
WARM_UP = 8


def settings_of(arguments: argparse.Namespace, **train: object) -> Settings:
    normal, extended, simulated = arguments.batch
    batch = {"normal": normal, "extended": extended, "simulated": simulated}
    predict = {name: train[name] for name in ("precision", "acceleration") if name in train}
    return validated(
        Settings,
        {
            "tensors": {"size": arguments.size},
            "train": {"batch": batch, **train},
            "predict": {**predict, "batch_size": arguments.inference_batch, "timing_repeats": 50},
        },
    )


def inputs_of(settings: Settings) -> FitInputs:
    """Smooth random images of a texture category, ten seen defects with an ellipse as their mask."""
    random, size = np.random.default_rng(0), settings.tensors.size

    def images(count: int) -> np.ndarray:
        coarse = random.integers(40, 216, (count, 16, 16, 3), dtype=np.uint8)
        whole = coarse.repeat(size // 16, axis=1).repeat(size // 16, axis=2).astype(np.int16)
        return (whole + random.integers(-20, 20, whole.shape)).astype(np.uint8)

    y, x = np.mgrid[:size, :size] / size
    mask = (((y - 0.5) / 0.1) ** 2 + ((x - 0.4) / 0.2) ** 2 < 1).astype(np.uint8)
    return FitInputs(
        dataset="mvtec",
        category="carpet",
        seed=0,
        normals=images(EPOCH * settings.train.batch.normal),
        seen=images(10),
        seen_masks=np.repeat(mask[None], 10, axis=0),
        textures=images(100),
        resume=None,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )


def method_of(settings: Settings, device: torch.device) -> Method:
    sides = [settings.tensors.size // 2**scale for scale in (2, 3, 4)]
    maps = [torch.rand(20, c, s, s) for c, s in zip(BACKBONE_CHANNELS["resnet18"][:3], sides, strict=True)]
    return Method(settings, random_weights("resnet18", 0), Prototypes((maps[0], maps[1], maps[2])), device)


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(step: Callable[[int], object], steps: int) -> tuple[float, float]:
    """Wall time of a step, over all steps together, and the seconds that the warm-up took."""
    began = time.perf_counter()
    for number in range(WARM_UP):
        step(number)
    wait()
    start = time.perf_counter()
    for number in range(WARM_UP, WARM_UP + steps):
        step(number)
    wait()
    return 1000 * (time.perf_counter() - start) / steps, start - began


def training_step(method: Method, inputs: FitInputs, synthesis: bool = True) -> Callable[[int], object]:
    """The engine's step with its batch, backward pass and optimiser; without `synthesis` one batch again and again."""
    search = torch.backends.cudnn.benchmark
    seed_everything(0, method.settings.train.threads)
    torch.backends.cudnn.benchmark = search
    method.network = method._build(method.settings.train.channels_last)
    batches = TrainingBatches(method.settings, inputs, method._plan(inputs), method.device)
    run = method._run(inputs, method.network, batches)
    made, kept = TrainingBatches.step, []

    def again(batches: TrainingBatches, _: int) -> StepBatch:
        if not kept:
            kept.append(made(batches, 0))
        return kept[0]

    def step(number: int) -> None:
        run.optimizer.zero_grad(set_to_none=True)
        with nullcontext() if synthesis else mock.patch.object(TrainingBatches, "step", again):
            run.step(number)
        run.optimizer.step()

    return step


def profile(step: Callable[[int], object], rows: int) -> str:
    """Where three steps' time on the device goes, by kernel."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with torch.profiler.profile(activities=activities) as seen:
        for number in range(WARM_UP, WARM_UP + 3):
            step(number)
        wait()
    key = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return seen.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=70)


def freed() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()


def rows(
    arguments: argparse.Namespace, deadline: float, measured: Callable[[Settings, str], Iterator[str]]
) -> Iterator[str]:
    """What `measured` gives for each precision and acceleration, as long as there is time."""
    for precision in arguments.precision:
        for acceleration in arguments.acceleration:
            name = f"{precision}, {acceleration}"
            if time.monotonic() > deadline:
                yield f"| {name} | not measured: out of time | | |"
                continue
            yield from measured(settings_of(arguments, precision=precision, acceleration=acceleration), name)
            freed()


def training_rows(arguments: argparse.Namespace, device: torch.device, settings: Settings, name: str) -> Iterator[str]:
    step = training_step(method_of(settings, device), inputs_of(settings))
    ms, warm_up = milliseconds(step, arguments.steps)
    yield f"| {name} | {ms:.1f} | {warm_up:.0f} | {peak_memory_mb() / 1024:.1f} |"
    first = settings.train.acceleration == arguments.acceleration[0]
    if arguments.profile and first and settings.train.precision == "bfloat16":
        arguments.profile.write_text(profile(step, 60), encoding="utf-8")
    del step
    freed()
    if first and settings.train.precision == arguments.precision[0]:
        step = training_step(method_of(settings, device), inputs_of(settings), synthesis=False)
        ms, _ = milliseconds(step, arguments.steps)
        yield f"| {name}, one batch again and again (no synthesis) | {ms:.1f} | | |"


def batches_row(arguments: argparse.Namespace, device: torch.device) -> str:
    settings = settings_of(arguments)
    inputs = inputs_of(settings)
    batches = TrainingBatches(settings, inputs, method_of(settings, device)._plan(inputs), device)
    planning = [_seconds(lambda number=number: batches.contents(number)) for number in range(arguments.steps)]
    contents = [batches.contents(number) for number in range(3)]
    render = batches._renderer
    text = f"| batches alone: plans on the CPU | {1000 * statistics.median(planning):.1f} | | |"
    if render is not None:
        ms, _ = milliseconds(lambda number: batches._rendered_there(render, contents[number % 3]), arguments.steps)
        text += f"\n| batches alone: rendering on the device | {ms:.1f} | | |"
    return text


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def inference_rows(device: torch.device, settings: Settings, name: str) -> Iterator[str]:
    size, batch = settings.tensors.size, settings.predict.batch_size
    images = np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)
    method = method_of(settings, device)
    method.load(method._build(True).prediction_state())
    times = measure(method, images, batch, settings.predict.timing_repeats)
    cells = [
        f"{1000 * times[f'batch{count}_median_s']:.3f} ({1000 * times[f'batch{count}_p95_s']:.3f})"
        for count in sorted({1, batch})
    ]
    yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, nargs=3, default=[32, 16, 16], help="normals, extended, simulated")
    parser.add_argument("--inference-batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--precision", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--acceleration", nargs="+", default=["cuda_graphs", "none", "compile"])
    parser.add_argument("--search", action="store_true", help="let cuDNN try its algorithms (the engine does not)")
    parser.add_argument("--seconds", type=float, default=600, help="after which no further row is begun")
    parser.add_argument("--profile", type=Path, help="file for the profile of the first bfloat16 step")
    parser.add_argument("--page", type=Path, help="Markdown file that receives the result, row by row")
    arguments = parser.parse_args()
    device = torch_device()
    torch.backends.cudnn.benchmark = arguments.search
    deadline = time.monotonic() + arguments.seconds
    lines: list[str] = []

    def add(*more: str) -> None:
        print("\n".join(more), flush=True)
        lines.extend(more)
        if arguments.page:
            arguments.page.write_text("\n".join(lines) + "\n", encoding="utf-8")

    batch = sum(arguments.batch)
    add("# Speed of training and inference", "")
    add(f"| training step of {batch} at {arguments.size} x {arguments.size} | ms | warm-up s | peak GiB |")
    add("|---|---:|---:|---:|", batches_row(arguments, device))
    for row in rows(arguments, deadline, partial(training_rows, arguments, device)):
        add(row)
    add("", f"| inference, median (95th percentile) | batch 1, ms | batch {arguments.inference_batch}, ms an image |")
    add("|---|---:|---:|")
    for row in rows(arguments, deadline, partial(inference_rows, device)):
        add(row)
    facts = environment()
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("python", "torch", "numpy"))
    add("", "## Run card", "", f"- `python benchmarks/training.py`, commit {facts['commit'][:7]}, {facts['device']}")
    add(f"- {facts['platform']}, {versions}; {arguments.steps} steps after {WARM_UP}")
    add(f"- cuDNN's search for algorithms {'on' if arguments.search else 'off'}")


if __name__ == "__main__":
    main()
