"""Tool `adopt`: files that were pulled, copied or lost their records, judged by their provenance and taken over.

Snakemake knows what it made by records of its own (`.snakemake`). Files without them it takes as they are, whatever the
settings say. So each artefact of today's plan is held against its sidecar first. One that does not match loses its
digest file, and so does what was made from it, so that Snakemake makes both again; then Snakemake records what is here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prn.errors import PrnError
from prn.layout import digest_file, sidecar
from prn.provenance.checkout import PROJECT
from prn.settings.sections import Settings
from prn.stages.job import Job
from prn.stages.names import STAGES
from prn.stages.plan import Currency, planned_jobs

SHOWN = 20
# Set for the Snakemake that this tool calls: the Snakefile refuses files without any record, and names this tool.
ADOPTING = "PRN_ADOPTING"


@dataclass
class Verdict:
    """The artefacts of today's plan that are here: which match, which do not and why, and which follow from those."""

    matching: list[Job] = field(default_factory=list)
    stale: dict[str, str] = field(default_factory=dict)
    following: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        """What was found, in lines."""
        lines = [f"{len(self.matching)} artefacts match today's settings, code and inputs"]
        if self.stale:
            lines.append(f"{len(self.stale)} do not, and are made again:")
            lines += [f"  {name}: {reason}" for name, reason in list(self.stale.items())[:SHOWN]]
            if len(self.stale) > SHOWN:
                lines.append(f"  ... and {len(self.stale) - SHOWN} more")
        if self.following:
            lines.append(f"{len(self.following)} were made from those, and follow")
        return "\n".join(lines)


def adopt(settings: Settings, files: Sequence[Path], dry_run: bool = False) -> str:
    """Judge every artefact of the plan in the current folder and let Snakemake record those that match; a summary.

    files: params.yaml and the presets over it, as Snakemake gets them. With `dry_run` nothing is changed.
    Raises `PrnError` where Snakemake fails.
    """
    verdict = judge(settings)
    if dry_run:
        return f"{verdict.as_text()}\nNothing was changed."
    for name in [*verdict.stale, *verdict.following]:
        Path(digest_file(name)).unlink(missing_ok=True)
    # Every artefact gets its record; one without its digest file is made again all the same.
    names = [*(job.artefact.as_posix() for job in verdict.matching), *verdict.stale, *verdict.following]
    if names:
        _snakemake(files, "--touch", "--forceall", "--rerun-incomplete", "--", *names)
    return f"{verdict.as_text()}\nSnakemake has recorded them; `snakemake all` makes the rest."


def judge(settings: Settings) -> Verdict:
    """Hold every artefact of the plan that lies in the current folder against its sidecar."""
    verdict, currency = Verdict(), Currency(settings, own_files=True)
    for job in planned_jobs(settings):
        name = job.artefact.as_posix()
        if not job.artefact.exists():
            continue
        missing = [path for pattern in STAGES[job.stage].beside if not (path := job.path(pattern)).exists()]
        reason = f"{missing[0]} is missing" if missing else currency.stale_reason(job)
        if reason is not None:
            verdict.stale[name] = reason
        elif any(source in verdict.stale or source in verdict.following for source in _sources(name)):
            verdict.following.append(name)
        else:
            verdict.matching.append(job)
    return verdict


def _sources(name: str) -> list[str]:
    """The inputs that an artefact's sidecar names."""
    return list(json.loads(Path(sidecar(name)).read_text(encoding="utf-8")).get("inputs", {}))


def _snakemake(files: Sequence[Path], *arguments: str) -> None:
    """Run this project's Snakemake in the current folder, with the settings files laid over one another."""
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--cores", "1"),
        *("--quiet", "progress", "rules", "--configfile", *map(str, files)),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, ADOPTING: "1"}, check=False)
    if done.returncode:
        raise PrnError(f"snakemake failed:\n{(done.stdout + done.stderr)[-2000:]}")
