"""How fast is the synthesis on one CPU thread, beside a loader that works as DRAEM's does?

    python benchmarks/synthesis.py     # photographs that scikit-image ships, as JPEG files in a temporary folder
    python benchmarks/synthesis.py --textures data/datasets/dtd/images --normals data/datasets/mvtec/bottle/train/good

The DRAEM-style loader is rebuilt from its published description (DRAEM, ICCV 2021, section 3.3; three of ten
operations on the texture, Perlin noise turned by up to 90 degrees, opacity up to 0.8) as plain vectorised numpy on
whole images. Both sides hold the normal images in memory; textures come from memory or from JPEG files, decoded and
resized alike. CPU time, one thread, all in one process, the candidates taking turns; the median over the rounds counts.
The anchors are times of DRAEM's own loader, measured once on a core of another machine: a rebuilt one slower than 1.3
times its anchor does not count. With `--device cuda` the batched path is measured beside a training step.
"""

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import cv2
import numpy as np

from prn.settings.sections import SynthesisSettings
from prn.synthesis import KINDS, Synthesizer
from prn.synthesis.perlin import perlin_noise

SIZE = 256
ANCHOR_MS = {"Perlin noise": 17.0, "whole image": 30.0}
BARS = {"Perlin noise": 50, "whole image, cached textures": 10, "whole image, JPEG textures": 5}


Textures = Sequence[np.ndarray] | np.ndarray

# The DRAEM-style loader.


def plain_perlin(angles: np.ndarray, size: int) -> np.ndarray:
    """Textbook Perlin noise with whole-image arrays: gradients gathered per pixel, four dot products, two blends."""
    scale_y, scale_x = angles.shape[0] - 1, angles.shape[1] - 1
    y, x = np.mgrid[0:size, 0:size] * np.array([scale_y / size, scale_x / size])[:, None, None]
    row, column = y.astype(int), x.astype(int)
    offset_y, offset_x = y - row, x - column
    gradient_y, gradient_x = np.sin(angles), np.cos(angles)

    def corner(down: int, across: int) -> np.ndarray:
        place = (row + down, column + across)
        return gradient_y[place] * (offset_y - down) + gradient_x[place] * (offset_x - across)

    fade_y, fade_x = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (offset_y, offset_x))
    top = corner(0, 0) + fade_x * (corner(0, 1) - corner(0, 0))
    bottom = corner(1, 0) + fade_x * (corner(1, 1) - corner(1, 0))
    return np.sqrt(2) * (top + fade_y * (bottom - top))


def gamma(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (255 * (image / 255) ** rng.uniform(0.5, 2, 3)).astype(np.uint8)


def brightness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30), 0, 255).astype(np.uint8)


def sharpness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    padded = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    smooth = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3)) + 4 * image
    smooth = smooth / 13
    return np.clip(smooth + rng.uniform(0.5, 2) * (image - smooth), 0, 255).astype(np.uint8)


def hue_and_saturation(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(-50, 51)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + rng.integers(-50, 51), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def solarize(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(image < rng.integers(32, 129), image, 255 - image)


def posterize(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image & np.uint8(256 - (1 << (8 - int(rng.integers(2, 7)))))


def invert(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 255 - image


def autocontrast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    return ((image - low) * (255 / np.maximum(high.astype(float) - low, 1))).astype(np.uint8)


def equalize(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    result = np.empty_like(image)
    for channel in range(3):
        total = np.cumsum(np.bincount(image[..., channel].ravel(), minlength=256))
        result[..., channel] = (255 * total / total[-1]).astype(np.uint8)[image[..., channel]]
    return result


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2, (SIZE - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE))


def rotate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return turned(image, rng.uniform(-45, 45))


OPERATIONS = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarize,
    posterize,
    invert,
    autocontrast,
    equalize,
    rotate,
)


def draem_style(normals: np.ndarray, textures: Textures, rng: np.random.Generator) -> np.ndarray:
    """One sample: image 3 x H x W and mask 1 x H x W, float32 in 0..1."""
    normal = normals[rng.integers(len(normals))]
    if rng.random() < 0.3:
        normal = turned(normal, rng.uniform(-90, 90))
    texture = textures[int(rng.integers(len(textures)))]
    for choice in rng.permutation(len(OPERATIONS))[:3]:
        texture = OPERATIONS[choice](texture, rng)
    noise = turned(plain_perlin(random_angles(rng), SIZE), rng.uniform(-90, 90))
    mask = (noise > 0.5).astype(np.float32)[..., None]
    image, anomaly = normal.astype(np.float32) / 255, texture.astype(np.float32) * mask / 255
    beta = rng.random() * 0.8
    image = (image * (1 - mask) + (1 - beta) * anomaly + beta * image * mask).astype(np.float32)
    return np.concatenate((image, mask), axis=2).transpose(2, 0, 1).copy()


def random_angles(rng: np.random.Generator) -> np.ndarray:
    """Gradient angles of a lattice of 1 to 32 cells a side."""
    scale_y, scale_x = 2 ** rng.integers(0, 6, 2)
    return rng.random((scale_y + 1, scale_x + 1)) * 2 * np.pi


# The measurement.


class JpegTextures(Sequence[np.ndarray]):
    """Textures that are decoded from JPEG files when asked."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        return loaded(self.paths[index])


def loaded(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path}: not a readable image")
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (SIZE, SIZE))


def shipped_photographs(folder: Path) -> list[Path]:
    """Crops of 480 x 360 from photographs of scikit-image, as JPEG files."""
    from skimage import data

    paths: list[Path] = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea()):
        larger = cv2.resize(photograph, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        for top in range(0, larger.shape[0] - 360, 90):
            path = folder / f"{len(paths):03d}.jpg"
            crop = larger[top : top + 360, 100:580]
            cv2.imwrite(str(path), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
            paths.append(path)
    return paths


def pictures_below(folder: Path, most: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        raise SystemExit(f"{folder}: no JPEG or PNG file below it")
    return found[:: max(1, len(found) // most)][:most]


def synthesizers(normals: np.ndarray, paths: Sequence[Path]) -> dict[str, tuple[Synthesizer, str]]:
    """Ours, by what they make: heterologous from memory and from files, homologous, extended."""
    masks = np.zeros((10, SIZE, SIZE), np.uint8)
    rng = np.random.default_rng(1)
    for mask in masks:
        centre, axes = rng.integers(60, 196, 2).tolist(), rng.integers(6, 40, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 1, -1)
    seen = normals[rng.integers(len(normals), size=10)]

    def made(textures: Textures, settings: SynthesisSettings) -> Synthesizer:
        return Synthesizer(normals, seen, masks, textures, settings=settings, seed=0)

    cached = np.stack([loaded(path) for path in paths])
    return {
        "HEA, cached textures": (made(cached, SynthesisSettings(homologous=False)), "simulated"),
        "HEA, JPEG textures": (made(JpegTextures(paths), SynthesisSettings(homologous=False)), "simulated"),
        "HOA": (made([], SynthesisSettings(heterologous=False)), "simulated"),
        "EA, HEA and HOA": (made(cached, SynthesisSettings()), "simulated"),
        "EA": (made([], SynthesisSettings(heterologous=False)), "extended"),
    }


def candidates(normals: np.ndarray, paths: Sequence[Path]) -> dict[str, Callable[[int], object]]:
    """What is measured; each takes the number of a sample."""
    rng = np.random.default_rng(0)
    lattices = [random_angles(rng) for _ in range(64)]
    cached, decoded = np.stack([loaded(path) for path in paths]), JpegTextures(paths)
    found: dict[str, Callable[[int], object]] = {
        "Perlin, DRAEM-style": lambda number: plain_perlin(lattices[number % 64], SIZE),
        "Perlin, ours": lambda number: perlin_noise(lattices[number % 64], SIZE, SIZE),
        "DRAEM-style, cached textures": lambda number: draem_style(normals, cached, rng),
        "DRAEM-style, JPEG textures": lambda number: draem_style(normals, decoded, rng),
    }
    ours = synthesizers(normals, paths)
    del ours["EA, HEA and HOA"]
    for name, (synthesizer, kind) in ours.items():
        found[name] = lambda number, made=synthesizer, kind=kind: made.sample(kind, 0, number)  # type: ignore[misc]
    return found


def measure(tasks: dict[str, Callable[[int], object]], rounds: int, samples: int) -> dict[str, float]:
    """Median over the rounds of the CPU milliseconds per sample; the tasks take turns, the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            start = time.process_time()
            for number in range(turn * samples, (turn + 1) * samples):
                task(number)
            if turn:
                times[name].append(1000 * (time.process_time() - start) / samples)
    return {name: statistics.median(values) for name, values in times.items()}


def largest_difference() -> float:
    """Between the two Perlin noises, over 200 lattices."""
    rng = np.random.default_rng(2)
    return max(
        float(np.abs(plain_perlin(angles, SIZE) - perlin_noise(angles, SIZE, SIZE)).max())
        for angles in (random_angles(rng) for _ in range(200))
    )


def report(ms: dict[str, float], difference: float) -> list[str]:
    lines = ["| one sample of 256 x 256 | CPU ms |", "|---|---:|"]
    lines += [f"| {name} | {value:.3g} |" for name, value in ms.items()]
    lines += ["", "| ratio | promised | found | |", "|---|---:|---:|---|"]
    pairs = {
        "Perlin noise": ("Perlin, DRAEM-style", "Perlin, ours"),
        "whole image, cached textures": ("DRAEM-style, cached textures", "HEA, cached textures"),
        "whole image, JPEG textures": ("DRAEM-style, JPEG textures", "HEA, JPEG textures"),
    }
    for name, (theirs, ours) in pairs.items():
        ratio = ms[theirs] / ms[ours]
        lines.append(f"| {name} | {BARS[name]} | {ratio:.1f} | {'holds' if ratio >= BARS[name] else 'FAILS'} |")
    equal = "holds" if difference <= 1e-6 else "FAILS"
    lines.append(f"| largest difference of the two Perlin noises | 1e-6 | {difference:.1g} | {equal} |")
    lines += ["", "The rebuilt loader beside the anchors:", ""]
    for name, rebuilt in (("Perlin noise", "Perlin, DRAEM-style"), ("whole image", "DRAEM-style, JPEG textures")):
        share = ms[rebuilt] / ANCHOR_MS[name]
        verdict = "counts" if share <= 1.3 else "does NOT count: slower than 1.3 times the anchor"
        lines.append(f"- {name}: {ms[rebuilt]:.1f} ms, anchor {ANCHOR_MS[name]:.0f} ms ({share:.2f} times), {verdict}")
    return lines


# The device path beside a training step.


def timed(task: Callable[[], object], rounds: int, wait: Callable[[], None]) -> float:
    """Median milliseconds of wall time, the device's work included; the first two calls warm up."""
    times = []
    for _ in range(rounds + 2):
        wait()
        start = time.perf_counter()
        task()
        wait()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def training_step(normals: np.ndarray, batch: int, device: str) -> Callable[[], object]:
    """A step of PRN at the paper's settings on a batch of `batch` images: forward, loss, backward, Adam."""
    import torch

    from prn.backbone import BACKBONE_CHANNELS, Backbone, normalise, random_weights
    from prn.model.losses import prn_loss
    from prn.model.network import PRN
    from prn.prototypes import Prototypes
    from prn.settings.sections import ModelSettings, TrainSettings
    from prn.training import make_optimizer

    sides = (SIZE // 4, SIZE // 8, SIZE // 16)
    maps = [torch.randn(20, c, s, s) for c, s in zip(BACKBONE_CHANNELS["resnet18"][:3], sides, strict=True)]
    backbone = Backbone("resnet18", random_weights("resnet18", 0))
    network = PRN(backbone, Prototypes((maps[0], maps[1], maps[2])), ModelSettings()).to(device).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(list(network.trainable_parameters()), TrainSettings())
    images = torch.from_numpy(np.resize(normals, (batch, *normals.shape[1:]))).to(device)
    masks = torch.zeros(batch, 1, SIZE, SIZE, device=device)
    masks[batch // 2 :, :, 100:120, 90:150] = 1

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.split(":", maxsplit=1)[0], torch.bfloat16):
            logits = network(normalise(images).to(memory_format=torch.channels_last))
        prn_loss(logits.float(), masks)[0].backward()
        optimizer.step()

    return step


def device_report(normals: np.ndarray, paths: Sequence[Path], device: str, batch: int, rounds: int) -> list[str]:
    """Half a batch of anomalies (extended and simulated alike) by the device path, beside a training step."""
    import torch

    from prn.synthesis.device import DeviceSynthesizer

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    full = synthesizers(normals, paths)["EA, HEA and HOA"][0]
    on_device, numbers = DeviceSynthesizer(full, device), iter(range(10**9))

    def plans() -> list:
        epoch = next(numbers)
        return [full.plan(kind, epoch, index) for kind in KINDS for index in range(batch // 4)]

    ready = plans()
    planning = timed(plans, rounds, lambda: None)
    rendering = timed(lambda: on_device.render(ready), rounds, wait)
    step = timed(training_step(normals, batch, device), rounds, wait)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    return [
        "",
        f"## On a device ({name}), a batch of {batch} with {batch // 2} anomalies",
        "",
        "| part | ms, wall time |",
        "|---|---:|",
        f"| plans, on the CPU while the device works on the step before | {planning:.3g} |",
        f"| images, on the device | {rendering:.3g} |",
        f"| a training step without them (bfloat16) | {step:.3g} |",
        "",
        f"Rendering takes {100 * rendering / step:.1f} % of a step (promised: at most 10 %); planning takes"
        f" {100 * planning / step:.0f} % and is hidden as long as that is below 100 %.",
    ]


def run_card(arguments: argparse.Namespace, textures: int, normals: int) -> list[str]:
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    source = "photographs of scikit-image" if arguments.textures is None else "a folder of images"
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "opencv-python"))
    return [
        f"- `python benchmarks/synthesis.py`, commit {commit.stdout.strip()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- {arguments.rounds} rounds of {arguments.samples} samples; {textures} textures: {source}; {normals} normals",
        f"- processor: {cpu[0]}, {len(cpu)} cores, one thread used; load averages at the end"
        f" {', '.join(f'{value:.1f}' for value in os.getloadavg())} (CPU time)",
        f"- {platform.system()}, Python {platform.python_version()}, {versions}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", type=Path, help="folder with JPEG textures, such as DTD's images")
    parser.add_argument("--normals", type=Path, help="folder with normal images; without it, textures stand in")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=60, help="samples of each candidate in a round")
    parser.add_argument("--page", type=Path, help="Markdown file that receives the result; standard output without")
    parser.add_argument("--device", help="also measure the device path there ('cuda', or 'cpu' to try it)")
    parser.add_argument("--batch", type=int, default=64, help="images of a training step on the device")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures_below(arguments.textures, 200) if arguments.textures else shipped_photographs(Path(folder))
        normal_paths = pictures_below(arguments.normals, 100) if arguments.normals else paths
        normals = np.stack([loaded(path) for path in normal_paths])
        ms = measure(candidates(normals, paths), arguments.rounds, arguments.samples)
        extra: list[str] = []
        if arguments.device:
            extra = device_report(normals, paths, arguments.device, arguments.batch, arguments.rounds)
    lines = ["# Speed of the synthesis", "", *report(ms, largest_difference()), *extra, "", "## Run card", ""]
    lines += run_card(arguments, len(paths), len(normals))
    if arguments.page:
        arguments.page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
