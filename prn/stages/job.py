"""One call of a stage: which cell of the benchmark it is for, and its settings."""

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prn import layout
from prn.datasets.own_sources import images_digest
from prn.errors import DataMissing
from prn.provenance.code import code_digest
from prn.provenance.hashes import FileHashes
from prn.provenance.sidecars import finish
from prn.settings.methods import METHODS
from prn.settings.sections import Settings
from prn.settings.views import from_view, view_of_prototypes
from prn.stages.names import MAKERS, STAGES


@dataclass(frozen=True)
class Job:
    """A stage with its cell and its settings view; paths are relative to the work folder (the current one).

    options: those of the command line that a suggested command needs too (`--preset`, `--root`).
    """

    stage: str
    view: Mapping[str, Any]
    dataset: str = ""
    category: str = ""
    variant: str = ""
    seed: int = 0
    execution: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Take the digest of the code now: what is edited while the job runs is not what it ran."""
        self.code()

    @property
    def settings(self) -> Settings:
        """The view as typed settings, with those of execution; what they do not hold cannot be read."""
        return from_view(self.view, self.stage, run_with=self.execution)

    @property
    def cell(self) -> dict[str, Any]:
        """The names of the cell."""
        return {"dataset": self.dataset, "category": self.category, "variant": self.variant, "seed": self.seed}

    @property
    def label(self) -> str:
        """The cell in words, for messages."""
        parts = [self.dataset, self.category, self.variant]
        return "/".join(part for part in parts if part)

    def path(self, pattern: str) -> Path:
        """The file of this job that a pattern of `prn.layout` names."""
        names = dict(self.cell)
        if "{digest}" in pattern:  # prototypes are named by what they depend on
            names["digest"] = layout.prototype_digest(view_of_prototypes(self.view), self.seed)
        if "{backbone}" in pattern:
            names["backbone"] = self.view["model"]["backbone"]
        if "{size}" in pattern:
            names["size"] = self.view["tensors"]["size"]
        return layout.path(pattern, **names)

    @property
    def artefact(self) -> Path:
        """What this job makes."""
        return self.path(STAGES[self.stage].artefact)

    def needed(self, pattern: str, hint: str = "") -> Path:
        """The artefact of another stage that `pattern` names.

        Raises `DataMissing` with the command that makes it, and the hint, where it is not there.
        """
        path = self.path(pattern)
        if not path.is_file():
            stage = MAKERS[pattern]
            names = {name: str(value) for name, value in self.cell.items() if name in STAGES[stage].cell}
            cell = [part for name, value in names.items() if value for part in (f"--{name}", value)]
            command = shlex.join(["python", "-m", "prn", stage, *cell, *self.options])
            raise DataMissing(f"{path}: missing; `{command}` makes it (or let snakemake run all){hint}")
        return path

    def code(self) -> str:
        """The digest of the code this job uses (kept from its first call)."""
        method = self.view.get("method") if self.variant else None
        return code_digest(self.stage, METHODS[method].module if method else None)

    @property
    def source(self) -> str | None:
        """Where the user said that the data set's files are, None where nobody said."""
        return self.execution.get("download", {}).get("sources", {}).get(self.dataset)

    def listing(self) -> str:
        """What the user's own folder or CSV holds for this category, '' for data from archives."""
        facts = json.loads(self.path(layout.RECEIPT).read_text(encoding="utf-8"))
        if facts["archives"]:
            return ""
        hashes = FileHashes(self.path(layout.HASHES))
        digest = images_digest(self.dataset, self.source, self.category, hashes)
        hashes.save()
        return digest or ""

    def finish(self, inputs: Iterable[Path], **record: Any) -> None:
        """Write the artefact's digest file and provenance, with the seconds that the job took so far."""
        record.setdefault("seconds", time.monotonic() - self.started)
        finish(self.artefact, self.stage, self.view, inputs, self.code(), seed=self.seed, **record)
