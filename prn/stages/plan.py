"""The jobs that the settings ask for, and whether what lies on disk is what they would make today.

The workflow's rules say the same in Snakemake's words; here it serves those who judge files: `adopt` and the report.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from prn import layout
from prn.datasets.own_sources import archives_digest, images_digest
from prn.encoder_files import weights_digest
from prn.provenance.hashes import FileHashes
from prn.provenance.sidecars import recorded_listing, stale_reason
from prn.settings.methods import METHODS
from prn.settings.sections import Settings
from prn.settings.variants import resolve_variant
from prn.settings.views import view
from prn.stages.job import Job
from prn.stages.names import STAGES


def job_of(settings: Settings, stage: str, cell: Mapping[str, Any]) -> Job:
    """The job of a stage for a cell, of whose names the stage takes its own."""
    names: dict[str, Any] = {name: cell[name] for name in STAGES[stage].cell if name in cell}
    if stage in ("prototypes", "weights"):  # shared: their settings are what a variant needs of them
        return Job(stage, view(settings, stage, variant=cell.get("variant", "")), **names)
    of = {name: value for name, value in names.items() if name != "seed"}
    return Job(stage, view(settings, stage, **of), **names)


def planned_jobs(settings: Settings) -> list[Job]:
    """The jobs of all cells in the order in which they run, the report last; each artefact once."""
    jobs: dict[str, Job] = {}

    def add(stage: str, **cell: str | int) -> None:
        job = job_of(settings, stage, cell)
        jobs.setdefault(job.artefact.as_posix(), job)

    for dataset, run in settings.benchmark.datasets.items():
        if not run.categories or not run.variants:
            continue
        add("download", dataset=dataset)
        resolved = {variant: resolve_variant(settings, variant) for variant in run.variants}
        needed = {name: METHODS[variant.method].files(variant) for name, variant in resolved.items()}
        for variant, needs in needed.items():
            if "textures" in needs:
                add("download", dataset=layout.TEXTURES["dataset"])
            if "backbone" in needs:
                add("weights", variant=variant)
        for category in run.categories:
            add("index", dataset=dataset, category=category)
            for seed, (variant, needs) in product(settings.benchmark.seeds, needed.items()):
                stages = ("split", *(["prototypes"] if "prototypes" in needs else []), "train", "predict", "evaluate")
                for stage in stages:
                    add(stage, dataset=dataset, category=category, variant=variant, seed=seed)
    add("report")
    return list(jobs.values())


class Currency:
    """Whether artefacts belong to today's settings, code and inputs, by their sidecars; each is judged once."""

    def __init__(self, settings: Settings, *, own_files: bool = False) -> None:
        """own_files: also look whether a user's own images, archives and weights are what they were."""
        self.settings, self.own_files = settings, own_files
        self._reasons: dict[str, str | None] = {}

    def stale_reason(self, job: Job) -> str | None:
        """Why a job's artefact is not what the job would make today, None where it is."""
        name = job.artefact.as_posix()
        if name not in self._reasons:
            self._reasons[name] = stale_reason(
                job.artefact,
                job.view,
                job.code(),
                made_with=self._made_with(job),
                listing=self.own_files_of(job) if self.own_files else None,
            )
        return self._reasons[name]

    def _made_with(self, job: Job) -> list[tuple[str, tuple[str, str]]]:
        """The predictions are a cache: what they were made with counts, also without them."""
        if job.stage != "evaluate":
            return []
        predict = job_of(self.settings, "predict", job.cell)
        return [(predict.artefact.as_posix(), (layout.settings_digest(predict.view), predict.code()))]

    def own_files_of(self, job: Job) -> str:
        """What the user's own files that the job reads hold today, '' where it reads none.

        Where they are not here, as in a clone, what was recorded stands.
        """
        digest = self._own_files_here(job)
        return recorded_listing(job.artefact) if digest is None else digest

    def _own_files_here(self, job: Job) -> str | None:
        sources = self.settings.download.sources
        if job.stage == "download":
            hashes = FileHashes(job.path(layout.ARCHIVE_HASHES))
            return archives_digest(job.dataset, sources.get(job.dataset), hashes)
        if job.stage == "weights":
            hashes = FileHashes(job.path(layout.WEIGHTS_HASHES))
            return weights_digest(job.view["model"]["backbone"], self.settings.weights.path, hashes)
        if job.stage == "index":
            names = {"dataset": job.dataset, "category": job.category}
        elif job.stage == "train" and METHODS[job.view["method"]].needs("textures", job.settings):
            names = layout.TEXTURES
        else:
            return ""
        hashes = FileHashes(layout.path(layout.HASHES, **names))
        return images_digest(names["dataset"], sources.get(names["dataset"]), names["category"], hashes)
