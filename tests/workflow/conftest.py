"""A tiny data set of one's own and a copy of the project to run the real tools in."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.workflow.hollow import hollow_out

TIMEOUT = 280
CACHE = Path(tempfile.gettempdir()) / "prn-test-cache"


@dataclass(frozen=True)
class Bench:
    """A work folder with a preset over the project's params.yaml."""

    project: Path
    folder: Path

    @property
    def preset(self) -> Path:
        return self.folder / "preset.yaml"

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run snakemake with the preset in the work folder."""
        command = [
            *(sys.executable, "-m", "snakemake", "--cores", "2", "--show-failed-logs"),
            *("--snakefile", str(self.project / "Snakefile"), "--directory", str(self.folder)),
            *("--configfile", str(self.preset), "--", *arguments),
        ]
        if arguments and arguments[0].startswith("-"):
            command.remove("--")
        return run(command, self.project, check)

    def plan(self, *arguments: str) -> dict[str, int]:
        """What snakemake would run: rule -> number of jobs; empty when nothing is to be done."""
        return planned(self.snakemake("-n", *arguments, "all").stdout)

    def change(self, **sections) -> None:
        """Lay settings over the preset."""
        data = yaml.safe_load(self.preset.read_text(encoding="utf-8"))
        for section, values in sections.items():
            data.setdefault(section, {}).update(values)
        self.preset.write_text(yaml.safe_dump(data), encoding="utf-8")


def planned(output: str) -> dict[str, int]:
    """The job table of a dry run."""
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE))
    return {name: int(count) for name, count in jobs.items() if name not in ("total", "all")}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a tool in a checkout: its own code, one thread a process, no caches in the project."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "XDG_CACHE_HOME": str(CACHE),
        # Compiled modules are kept, also where the environment forbids it: compiling costs each process seconds.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


def run(command: list[str], folder: Path, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program; on failure show what it said. `more` is added to its environment."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    done.stdout += done.stderr
    assert not check or done.returncode == 0, done.stdout[-6000:]
    return done


def make_images(folder: Path) -> Path:
    """A category in the layout of a user's folder: 8 normals, 4 good and 13 defective test images of 48 x 40 pixels."""
    random = np.random.default_rng(1)

    def image() -> np.ndarray:
        return random.integers(90, 130, (40, 48, 3)).astype(np.uint8)

    for name, count in (("train/good", 8), ("test/good", 4)):
        (folder / "part" / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / "part" / name / f"{number:03d}.png"), image())
    for kind in ("test/spot", "ground_truth/spot"):
        (folder / "part" / kind).mkdir(parents=True)
    for number in range(13):
        picture, mask = image(), np.zeros((40, 48), np.uint8)
        top, left = random.integers(2, 20, 2)
        mask[top : top + 14, left : left + 12] = 255
        picture[mask > 0] = 230
        cv2.imwrite(str(folder / "part/test/spot" / f"{number:03d}.png"), picture)
        cv2.imwrite(str(folder / "part/ground_truth/spot" / f"{number:03d}_mask.png"), mask)
    return folder


def tiny_settings(images: Path, textures: Path, variants: list[str]) -> dict:
    """Settings of a run that takes seconds."""
    return {
        "benchmark": {
            "preset": "tiny",
            "generated_images": True,
            "seeds": [42],
            "datasets": {
                "mine": {"categories": ["part"], "variants": variants},
                **{name: {"categories": [], "variants": []} for name in ("mvtec", "dagm", "btad", "ksdd2")},
            },
        },
        "download": {"sources": {"mine": str(images), "dtd": str(textures)}},
        "weights": {"download": False, "allow_random": True},
        "tensors": {"size": 32},
        "prototypes": {"ratio": 0.3},
        "train": {
            "steps": 2,
            "batch": {"normal": 2, "extended": 1, "simulated": 1},
            "precise_norm_batches": 1,
            "threads": 1,
        },
        "predict": {"timing_repeats": 1, "batch_size": 4},
    }


@pytest.fixture
def bench(project: Path, tmp_path: Path) -> Bench:
    """An untouched work folder with the preset of one category and the variants prn and mean-image."""
    folder = tmp_path / "a folder with spaces"
    images = make_images(folder / "images")
    settings = tiny_settings(images, images / "part" / "train", ["prn", "mean-image"])
    bench = Bench(project, folder)
    bench.preset.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return bench


@pytest.fixture
def hollow(project: Path, tmp_path: Path) -> Path:
    """A git checkout of the project with a tiny benchmark and stages without work (see `tests.workflow.hollow`)."""
    return make_checkout(project, tmp_path / "checkout", ["prn", "mean-image"], hollow_out)


def make_checkout(project: Path, folder: Path, variants: list[str], change: Callable[[Path], None]) -> Path:
    """A copy of the project's own files, as a git checkout whose params.yaml is a tiny benchmark."""
    names = ("Snakefile", "params.yaml", "dvc.yaml", "workflow", "prn", ".dvc", ".dvcignore", ".gitignore")
    skip = shutil.ignore_patterns("__pycache__", "tmp", "cache", "*.lock")
    for name in names:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    images = make_images(folder.parent / "images")
    data = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for section, values in tiny_settings(images, images / "part" / "train", variants).items():
        data[section].update(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    change(folder)
    run(["git", "init", "-q"], folder)
    commit(folder)
    return folder


def commit(folder: Path, words: str = "start") -> None:
    """Commit all that git does not ignore."""
    run(["git", "add", "-A"], folder)
    run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", words], folder)


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    """What the bare snakemake says in a checkout."""
    return run([sys.executable, "-m", "snakemake", "--cores", "2", *arguments], folder, check).stdout


def dvc(folder: Path, *arguments: str, check: bool = True) -> str:
    """What dvc says in a checkout."""
    return run([sys.executable, "-m", "dvc", *arguments], folder, check).stdout


def adopt(folder: Path, *arguments: str) -> str:
    """What `prn adopt` says in a checkout."""
    return run([sys.executable, "-m", "prn", "adopt", *arguments], folder).stdout


def plan(folder: Path, *targets: str) -> dict[str, int]:
    """What the bare snakemake would run in a checkout: rule -> number of jobs."""
    return planned(snakemake(folder, "-n", *(targets or ["all"])))


def set_parameter(folder: Path, path: str, value: object) -> None:
    """Change one key of a checkout's params.yaml, given as `section.key`."""
    file = folder / "params.yaml"
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    *sections, key = path.split(".")
    section = data
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
