"""A tiny data set of one's own and a copy of the project to run the real tools in."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

TIMEOUT = 280


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


def run(command: list[str], folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program with one thread a process; on failure show what it said."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
        "XDG_CACHE_HOME": str(Path(tempfile.gettempdir()) / "prn-test-cache"),
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
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
        "train": {"steps": 2, "batch": {"normal": 2, "extended": 1, "simulated": 1}, "threads": 1},
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
def checkout(project: Path, tmp_path: Path) -> Path:
    """A copy of the project's own files, as a git checkout whose params.yaml is a tiny benchmark."""
    folder = tmp_path / "checkout"
    names = ("Snakefile", "params.yaml", "dvc.yaml", "workflow", "prn", ".dvc", ".dvcignore", ".gitignore")
    skip = shutil.ignore_patterns("__pycache__", "tmp", "cache", "*.lock")
    for name in names:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    images = make_images(tmp_path / "images")
    data = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for section, values in tiny_settings(images, images / "part" / "train", ["mean-image"]).items():
        data[section].update(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        run(command, folder)
    run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start"], folder)
    return folder
