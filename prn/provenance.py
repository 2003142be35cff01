"""Provenance: every artefact carries what it was made from, by which code and with which settings.

`<artefact>.sha256` holds the artefact's hash (deterministic: it is a workflow input); `<artefact>.prov.json` holds the
stage, its settings and their digest, the digest of the code it imports, the hashes of its inputs, the seed, and, for
the record only, versions, device and commit. An artefact *matches* when settings, code, inputs and its own bytes do.
"""

import functools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from prn.artifacts import atomic_write, sha256_file
from prn.devices import peak_memory
from prn.errors import DataCorrupt, DataMissing
from prn.layout import digest_file, settings_digest, sidecar

PACKAGE = Path(__file__).resolve().parent
SMALL = 1_000_000  # bytes
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


def finish(
    artefact: Path,
    stage: str,
    settings: Mapping[str, Any],
    inputs: Iterable[Path],
    code: str,
    *,
    listing: str = "",
    **record: Any,
) -> None:
    """Write the digest file and the provenance sidecar of a finished artefact.

    `settings` is the stage's view, `code` its code digest; `record` holds what is kept for the record (seed, seconds).
    Inputs are given by their paths relative to the work folder; a large one is identified by its digest file. With each
    input stand the digests of its own settings and code: where a cache was cleared, they say what it was made with.
    `listing` is the digest of the user's own images that were read (`prn.datasets.listing`), '' for published ones.
    """
    inputs = list(inputs)
    digest = sha256_file(artefact)
    write_text(digest_file(str(artefact)), f"{digest}  {artefact.name}\n")
    provenance = {
        "stage": stage,
        "output": digest,
        "settings": settings,
        "settings_digest": settings_digest(settings),
        "code": code,
        "inputs": {path.as_posix(): artefact_hash(path) for path in inputs},
        "made_with": {path.as_posix(): made_with for path in inputs if (made_with := _made_with(path))},
        "listing": listing,
        "record": {**record, **environment(), **peak_memory()},
    }
    write_json(sidecar(str(artefact)), provenance)


def stale_reason(
    artefact: Path,
    settings: Mapping[str, Any],
    code: str,
    root: Path | None = None,
    *,
    made_with: Iterable[tuple[str, tuple[str, str]]] = (),
    trust_large: bool = False,
    listing: str | None = None,
) -> str | None:
    """Why `artefact` does not belong to today's settings, code and inputs, or None when it does.

    An input that is absent is a cache that was cleared: its recorded hash stands. `made_with` pairs inputs with the
    digests of the settings and the code that they must have been made with; it is read last. With `trust_large` the
    bytes of a file above `SMALL` are not read: its digest file stands for them. `listing`: what the user's own folder
    lists today, None where nobody looked.
    """
    file = Path(sidecar(str(artefact)))
    if not artefact.is_file():
        return "the file is missing"
    if not file.is_file():
        return "it has no provenance sidecar"
    try:
        provenance = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return "its provenance sidecar is not readable"
    if provenance.get("settings_digest") != settings_digest(settings):
        return "the settings have changed since it was made"
    if provenance.get("code") != code:
        return "the code has changed since it was made"
    if listing is not None and provenance.get("listing", "") != listing:
        return "the images that it was made from are not those of today"
    trusted = trust_large and artefact.stat().st_size > SMALL
    if provenance.get("output") != (artefact_hash(artefact) if trusted else sha256_file(artefact)):
        return "the file was changed after it was made"
    return _changed_input(provenance, root or Path(), made_with)


def _changed_input(
    provenance: Mapping[str, Any], root: Path, made_with: Iterable[tuple[str, tuple[str, str]]]
) -> str | None:
    """Which input of an artefact is not the one that it was made from, None when all are."""
    for name, digests in made_with:
        if provenance.get("made_with", {}).get(name) != list(digests):
            return f"its input {name} was made with other settings or code"
    for name, digest in provenance.get("inputs", {}).items():
        current = root / name
        if current.is_file() and artefact_hash(current) != digest:
            return f"its input {name} has changed since it was made"
    return None


def _made_with(path: Path) -> list[str] | None:
    """The digests of the settings and the code that an artefact was made with, None where it has no provenance."""
    try:
        provenance = json.loads(Path(sidecar(str(path))).read_text(encoding="utf-8"))
        return [provenance["settings_digest"], provenance["code"]]
    except (OSError, ValueError, KeyError):
        return None


def artefact_hash(path: Path) -> str:
    """The sha256 of an artefact, read from its digest file where it has one.

    Raises `DataMissing` when the file is not there.
    """
    small = Path(digest_file(str(path)))
    if small.is_file():
        return small.read_text(encoding="utf-8").split()[0]
    if not path.is_file():
        raise DataMissing(f"{path}: the file is missing; run the stage that makes it")
    return sha256_file(path)


def verify_artefact(path: Path) -> None:
    """Raise `DataCorrupt` when a file's bytes are not those of its digest file (a truncated or edited artefact)."""
    expected, found = artefact_hash(path), sha256_file(path)
    if expected != found:
        raise DataCorrupt(
            f"{path}: sha256 is {found}, its digest file says {expected}; delete it and run its stage again"
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
    """The project's commit and whether the code was as committed; `unknown` outside a git checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        dirty = _git("status", "--porcelain", "--", "prn", "Snakefile", "workflow", "params.yaml")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "tree_clean": False}
    return {"commit": head, "tree_clean": not dirty}


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    write_text(path, json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _git(*arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
