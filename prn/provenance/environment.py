"""What a result was computed on: versions, device, memory and commit, without names of hosts, users or folders."""

import functools
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from prn.provenance.checkout import PROJECT

RECORDED_VERSIONS = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "scikit-learn",
    "scikit-image",
    "pandas",
    "safetensors",
    "anomalib",
)


def environment() -> dict[str, Any]:
    """Versions, device, platform and commit, without names of hosts, users or folders."""
    return {"versions": versions(), "device": device_name(), "platform": _platform(), **commit()}


@functools.lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python, this project and the libraries that can change a number."""
    found = {"python": platform.python_version()}
    for name in ("prn", *RECORDED_VERSIONS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.lru_cache(maxsize=1)
def device_name() -> str:
    """The GPU's name where this process computes with torch and has one, else the processor's model."""
    torch = sys.modules.get("torch")  # a stage that needs no torch does not pay for loading it
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.lru_cache(maxsize=1)
def commit() -> dict[str, Any]:
    """The project's commit and whether the code was as committed; `unknown` outside a git checkout of this project.

    A package that is installed somewhere below another repository has no commit: that repository's is not its own.
    """
    try:
        if Path(_git("rev-parse", "--show-toplevel")) != PROJECT or not _git("ls-files", "--", "prn/__init__.py"):
            return {"commit": "unknown", "tree_clean": False}
        head = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain", "--", "prn", "Snakefile", "workflow", "params.yaml")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "tree_clean": False}
    return {"commit": head, "tree_clean": not dirty}


def peak_memory() -> dict[str, float | None]:
    """The most memory in MiB that this process has held: its own, and what torch took of a GPU (None without one)."""
    return {"peak_cpu_mb": _peak_cpu_mb(), "peak_gpu_mb": _peak_gpu_mb()}


def peak_memory_mb() -> float:
    """The most memory in MiB on the device that computes: the GPU's where there is one, else the process's."""
    gpu = _peak_gpu_mb()
    return _peak_cpu_mb() if gpu is None else gpu


def _peak_cpu_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_gpu_mb() -> float | None:
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_available() else None


def _git(*arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
