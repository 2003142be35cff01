"""One call of a stage: which cell of the benchmark it is for, and its settings."""

import json
import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prn import layout
from prn.code_digest import code_digest
from prn.config import Settings
from prn.datasets.listing import listing_digest
from prn.errors import DataMissing
from prn.methods import METHODS
from prn.provenance import finish
from prn.views import from_view, view_of_prototypes


@dataclass(frozen=True)
class Job:
    """A stage with its cell and its settings view; paths are relative to the work folder (the current one)."""

    stage: str
    view: Mapping[str, Any]
    dataset: str = ""
    category: str = ""
    variant: str = ""
    seed: int = 0
    execution: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> Settings:
        """The view as typed settings, with those of execution; what they do not hold cannot be read."""
        return from_view(self.view, self.execution)

    @property
    def label(self) -> str:
        """The cell in words, for messages."""
        parts = [self.dataset, self.category, self.variant]
        return "/".join(part for part in parts if part)

    def path(self, pattern: str, **more: Any) -> Path:
        """The artefact of this cell."""
        cell = {"dataset": self.dataset, "category": self.category, "variant": self.variant, "seed": self.seed}
        return layout.path(pattern, **{**cell, **more})

    def tensors(self) -> Path:
        """The cell's cached images (see `prn.stages.tensors.cached_tensors`)."""
        return self.path(layout.TENSORS, size=self.view["tensors"]["size"])

    def prototypes(self, view: Mapping[str, Any] | None = None) -> Path:
        """The cell's prototypes, named by what they depend on."""
        key = view_of_prototypes(view or self.view)
        return self.path(layout.PROTOTYPES, digest=layout.prototype_digest(key, self.seed))

    def needed(self, path: Path, stage: str, hint: str = "", **cell: str) -> Path:
        """`path` when it is there; `cell` names what differs from this job's cell.

        Raises `DataMissing` with the command of the stage that makes it, and the hint.
        """
        if not path.is_file():
            command = self._command(stage, cell)
            raise DataMissing(f"{path}: missing; `{command}` makes it (or let snakemake run all){hint}")
        return path

    def _command(self, stage: str, cell: Mapping[str, str]) -> str:
        """The command line of a stage with the names that it takes."""
        from prn.cli import STAGES

        names = {"dataset": self.dataset, "category": self.category, "variant": self.variant, "seed": self.seed, **cell}
        options = [part for name in STAGES[stage][1] if names[name] != "" for part in (f"--{name}", str(names[name]))]
        return shlex.join(["python", "-m", "prn", stage, *options])

    def __post_init__(self) -> None:
        """Take the digest of the code now: what is edited while the job runs is not what it ran."""
        self.code()

    def code(self) -> str:
        """The digest of the code this job uses (kept from its first call)."""
        return code_digest(self.stage, self.method_module)

    @property
    def method_module(self) -> str | None:
        """The module of the variant's method, for the stages that load it."""
        method = self.view.get("method") if self.variant else None
        return METHODS[method].module if method else None

    def listing(self, dataset: str = "", category: str = "") -> str:
        """What the user's own folder or CSV lists for this cell or another one, '' for data from archives."""
        dataset, category = dataset or self.dataset, category or self.category
        facts = json.loads(self.path(layout.RECEIPT, dataset=dataset).read_text(encoding="utf-8"))
        return "" if facts["archives"] else listing_digest(dataset, facts["root"], category)

    def finish(self, artefact: Path, inputs: Iterable[Path], **record: Any) -> None:
        """Write the artefact's digest file and provenance, with the seconds that the job took so far."""
        record.setdefault("seconds", time.monotonic() - self.started)
        finish(artefact, self.stage, self.view, inputs, self.code(), seed=self.seed, **record)
