"""What a result was made from: its artefacts, found by following the provenance sidecars back to the archive."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from prn.layout import sidecar

STAGES = ("download", "index", "split", "tensors", "prototypes", "train", "predict", "evaluate")
# Those whose work is a single run's own; the others are shared by the variants of a category.
OWN_STAGES = ("train", "predict", "evaluate")


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file in a result's lineage; what its sidecar does not say (or no sidecar is kept) is None.

    path: relative to the work folder; sha256: as the next stage read it; stage: the stage that made it;
    seconds: that stage's wall time; cpu_mb, gpu_mb: the process's peak memory in MB.
    """

    path: str
    sha256: str
    stage: str | None = None
    seconds: float | None = None
    cpu_mb: float | None = None
    gpu_mb: float | None = None


def lineage(root: Path, artefact: Path) -> list[Artefact]:
    """`artefact` (below `root`) and everything that it was made from, the artefact first, each file once."""
    found: dict[str, Artefact] = {}
    todo: list[tuple[str, str]] = [(artefact.relative_to(root).as_posix(), "")]
    while todo:
        name, digest = todo.pop(0)
        if name in found:
            continue
        provenance = _sidecar(sidecar(str(root / name)), _stamp(sidecar(str(root / name))))
        record = provenance.get("record") or {}
        found[name] = Artefact(
            path=name,
            sha256=digest or str(provenance.get("output", "")),
            stage=provenance.get("stage"),
            seconds=record.get("seconds"),
            cpu_mb=record.get("peak_cpu_mb"),
            gpu_mb=record.get("peak_gpu_mb"),
        )
        todo += (provenance.get("inputs") or {}).items()
    return list(found.values())


def stage_seconds(artefacts: Iterable[Artefact], dataset: str, category: str) -> dict[str, float]:
    """Wall time by stage of the artefacts of this category (textures and encoder belong to none)."""
    places = (f"/{dataset}/{category}/", f"/{dataset}/{category}.", f"data/receipts/{dataset}.")
    return {
        one.stage: one.seconds
        for one in artefacts
        if one.stage in STAGES and one.seconds is not None and any(place in one.path for place in places)
    }


def peak_memory(artefacts: Iterable[Artefact]) -> tuple[float | None, float | None]:
    """The highest peak memory of the run's own stages in MB: the process's, the GPU's; None where none is recorded."""
    own = [one for one in artefacts if one.stage in OWN_STAGES]
    cpu = [one.cpu_mb for one in own if one.cpu_mb is not None]
    gpu = [one.gpu_mb for one in own if one.gpu_mb is not None]
    return max(cpu, default=None), max(gpu, default=None)


def _stamp(file: str) -> tuple[int, int]:
    """What tells a changed sidecar from the one that was read before."""
    try:
        status = Path(file).stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _sidecar(file: str, _: tuple[int, int]) -> dict[str, Any]:
    try:
        data = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
