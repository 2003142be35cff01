"""How fast are PRN's forward pass and training step beside anomalib's PatchCore and DRAEM, on one machine in one run?

    python benchmarks/engine.py --page benchmarks/engine.md      # one CPU thread, 256 x 256, batch 1 and 8
    python benchmarks/engine.py --device cuda --batches 1 8 64   # wall time, synchronised, bfloat16 for PRN

Needs the extra `compare`. Weights, images and prototypes are random numbers of the real shapes: no layer's time
depends on its values. PatchCore's memory bank has the rows of a real one, 10 % of the patches of 209 images (MVTec's
bottle), filled with random numbers. Every candidate gets uint8 images and gives score maps; PRN's training step is
forward, loss, backward and Adam, DRAEM's likewise with anomalib's networks and losses. PatchCore has no training step.
On a CPU the CPU time of one thread counts; the candidates take turns, a first round warms up (on a CPU at the first
batch size only), and each ratio is the median over the rounds of the ratio within a round, so that what else the
machine does concerns both sides.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import torch

from prn.backbone import BACKBONE_CHANNELS, Backbone, normalise, random_weights
from prn.methods.prn import Method
from prn.model.describe import describe, total
from prn.model.losses import prn_loss
from prn.model.network import PRN
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.training import make_optimizer

SIZE, NORMALS, CORESET = 256, 209, 0.1
PATCHES = (SIZE // 8) ** 2  # PatchCore's, on layer2's grid
PATCH_CHANNELS = {"resnet18": 384, "wide_resnet50_2": 1536}
PEERS = {"resnet18": "PatchCore ResNet-18", "wide_resnet50_2": "PatchCore Wide-ResNet-50-2"}
PLAIN = "PRN, plain layout"
NOTES = "\n## Profile"
Task = Callable[[], object]


def random_images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, SIZE, SIZE, 3), dtype=np.uint8)


def random_prototypes() -> Prototypes:
    """Maps of the shapes that 10 % of 209 images give."""
    sides = (SIZE // 4, SIZE // 8, SIZE // 16)
    channels = BACKBONE_CHANNELS["resnet18"][:3]
    first, second, third = (
        torch.randn(int(NORMALS * 0.1), c, s, s).abs() for c, s in zip(channels, sides, strict=True)
    )
    return Prototypes((first, second, third))


def loaded_prn(device: torch.device, **predict: object) -> Method:
    """PRN as `python -m prn predict` has it: BatchNorm folded."""
    settings = validated(Settings, {"predict": predict})
    weights, prototypes = random_weights("resnet18", 0), random_prototypes()
    network = PRN(Backbone("resnet18", weights), prototypes, settings.model)
    method = Method(settings, weights, prototypes, device)
    method.load(network.prediction_state())
    return method


def patchcore(backbone: str, device: torch.device) -> torch.nn.Module:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(layers=("layer2", "layer3"), backbone=backbone, pre_trained=False, num_neighbors=9)
    model.memory_bank = torch.rand(int(NORMALS * PATCHES * CORESET), PATCH_CHANNELS[backbone])
    return model.to(device).eval()


def draem(device: torch.device) -> torch.nn.Module:
    from anomalib.models.image.draem.torch_model import DraemModel

    return DraemModel().to(device)


def forwards(batch: int, device: torch.device) -> dict[str, Task]:
    """What predicts: images in host memory to score maps there."""
    images = random_images(batch)
    ours, plain = loaded_prn(device), loaded_prn(device, channels_last=False)
    tasks: dict[str, Task] = {"PRN": lambda: ours.predict(images), PLAIN: lambda: plain.predict(images)}

    def peer(model: torch.nn.Module) -> Task:
        @torch.inference_mode()
        def call() -> object:
            return model(normalise(torch.from_numpy(images).to(device)).contiguous()).anomaly_map.cpu()

        return call

    for backbone, name in PEERS.items():
        tasks[name] = peer(patchcore(backbone, device))
    tasks["DRAEM"] = peer(draem(device).eval())
    return tasks


def prn_step(batch: int, device: torch.device) -> Task:
    settings = Settings()
    network = PRN(Backbone("resnet18", random_weights("resnet18", 0)), random_prototypes(), settings.model)
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = make_optimizer(network.trainable_parameters(), settings.train)
    images, masks = torch.from_numpy(random_images(batch)).to(device), torch.zeros(batch, 1, SIZE, SIZE, device=device)
    masks[batch // 2 :, :, 100:120, 90:150] = 1

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(normalise(images))
        prn_loss(logits.float(), masks)[0].backward()
        optimizer.step()

    return step


def draem_step(batch: int, device: torch.device) -> Task:
    from anomalib.models.image.draem.loss import DraemLoss

    model, loss = draem(device).train(), DraemLoss().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)  # as in anomalib
    images, masks = torch.rand(batch, 3, SIZE, SIZE, device=device), torch.zeros(batch, 1, SIZE, SIZE, device=device)
    masks[batch // 2 :, :, 100:120, 90:150] = 1

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        reconstruction, prediction = model(images)
        loss(images, reconstruction, masks, prediction).backward()
        optimizer.step()

    return step


def measure(tasks: dict[str, Task], rounds: int, device: torch.device, warm_up: bool) -> dict[str, list[float]]:
    """Seconds of each round, a warm-up left out: CPU time on a CPU, synchronised wall time elsewhere."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(0 if warm_up else 1, rounds + 1):
        for name, task in tasks.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter() if device.type == "cuda" else time.process_time()
            task()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = (time.perf_counter() if device.type == "cuda" else time.process_time()) - start
            if turn:
                times[name].append(seconds)
        print(f"round {turn} of {rounds} done", file=sys.stderr, flush=True)
    return times


def ratio(times: dict[str, list[float]], numerator: str, denominator: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(times[numerator], times[denominator], strict=True))


def bars(found: dict[int, dict[str, list[float]]]) -> list[str]:
    """The bars of the CPU that the measured batches allow to judge."""
    lines = []
    if 1 in found:
        single = found[1]
        small, large = (ratio(single, "PRN", PEERS[name]) for name in PEERS)
        lines.append(_bar("PRN / PatchCore ResNet-18, one image", "at most 1.6", small, small <= 1.6))
        lines.append(_bar("PRN / PatchCore Wide-ResNet-50-2, one image", "below 1", large, large < 1))
    if 8 in found:
        layout = ratio(found[8], PLAIN, "PRN")
        lines.append(_bar("plain layout / channels last, forward of 8", "at least 1.2", layout, layout >= 1.2))
        lines.append(_most_a_layout_gains(statistics.median(found[8][PLAIN]) / 8))
    return lines


def _most_a_layout_gains(plain: float) -> str:
    """A row: `plain` seconds an image over the time that its products alone take at this processor's fastest rate."""
    rate, flops = fastest_rate(), 2e9 * total(describe(Settings().model, (SIZE, SIZE))).gmac
    name = f"plain layout / its products alone at the fastest rate seen here, {rate / 1e9:.0f} GFLOP/s"
    return f"| {name} | - | {plain * rate / flops:.2f} | the most that any layout could gain |"


def fastest_rate(rounds: int = 5) -> float:
    """The highest FLOP a CPU second of one thread: a matrix product, and PRN's 3x3 convolutions in both layouts."""
    square = torch.randn(2048, 2048)
    tasks: list[tuple[Task, int]] = [(lambda: square @ square, 2 * 2048**3)]
    for channels, side in ((64, 64), (128, 64), (128, 32), (256, 32), (256, 16), (512, 16)):
        for layout in (torch.contiguous_format, torch.channels_last):
            images = torch.randn(8, channels, side, side).contiguous(memory_format=layout)
            weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=layout)
            call = partial(torch.nn.functional.conv2d, images, weight, padding=1)
            tasks.append((call, 2 * 8 * side * side * channels * channels * 9))
    fastest = 0.0
    for task, flops in tasks:
        for _ in range(rounds):
            start = time.process_time()
            task()
            fastest = max(fastest, flops / (time.process_time() - start))
    return fastest


def _bar(name: str, promised: str, value: float, holds: bool) -> str:
    return f"| {name} | {promised} | {value:.2f} | {'holds' if holds else 'FAILS'} |"


def table(title: str, found: dict[int, dict[str, list[float]]], unit: str) -> list[str]:
    """Milliseconds an image: median and the slowest round."""
    batches = list(found)
    lines = [f"| {title} | " + " | ".join(f"batch {batch}, {unit} an image" for batch in batches) + " |"]
    lines.append("|---|" + "---:|" * len(batches))
    for name in found[batches[0]]:
        cells = []
        for batch in batches:
            times = [1000 * seconds / batch for seconds in found[batch][name]]
            cells.append(f"{statistics.median(times):.4g} (most {max(times):.4g})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def run_card(arguments: argparse.Namespace) -> list[str]:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    cpu = [line.split(":")[1].strip() for line in info.splitlines() if "model name" in line]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "anomalib", "numpy"))
    gpu = f"; {torch.cuda.get_device_name()}" if arguments.device == "cuda" else ", one thread used"
    return [
        f"- `python benchmarks/engine.py --device {arguments.device}`, commit {commit.stdout.strip()},"
        f" {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- {arguments.rounds} rounds forward, {arguments.step_rounds} of training steps; memory bank of"
        f" {int(NORMALS * PATCHES * CORESET):,} random rows",
        f"- processor: {cpu[0]}, {len(cpu)} cores{gpu}; load averages at the end"
        f" {', '.join(f'{value:.1f}' for value in os.getloadavg())}",
        f"- {platform.system()}, Python {platform.python_version()}, {versions}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7, help="of the forward pass, after a warm-up")
    parser.add_argument("--step-rounds", type=int, default=3, help="of the training steps")
    parser.add_argument("--page", type=Path, help="Markdown file that receives the result; standard output without")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    unit = "CPU ms" if device.type == "cpu" else "ms"
    first = arguments.batches[0]
    found = {
        batch: measure(forwards(batch, device), arguments.rounds, device, device.type == "cuda" or batch == first)
        for batch in arguments.batches
    }
    steps = {}
    for batch in arguments.batches:
        tasks = {"PRN": prn_step(batch, device), "DRAEM": draem_step(batch, device)}
        steps[batch] = measure(tasks, arguments.step_rounds, device, device.type == "cuda" or batch == first)
    lines = ["# Speed of the engine", "", *table("forward, 256 x 256", found, unit), ""]
    lines += [*table("training step, 256 x 256", steps, unit), ""]
    if device.type == "cpu":
        lines += ["| ratio (median over the rounds) | promised | found | |", "|---|---:|---:|---|", *bars(found), ""]
    lines += ["## Run card", "", *run_card(arguments)]
    if arguments.page:
        # What is written by hand stays.
        before = arguments.page.read_text(encoding="utf-8") if arguments.page.exists() else ""
        notes = before[before.index(NOTES) :] if NOTES in before else ""
        arguments.page.write_text("\n".join(lines) + "\n" + notes, encoding="utf-8")
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
