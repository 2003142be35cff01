"""Stage `report`: every page, table and figure from the metrics on disk."""

from pathlib import Path

from prn.reporting import build
from prn.reporting.results import planned_runs
from prn.settings.sections import Settings
from prn.settings.validation import validated
from prn.stages.job import Job
from prn.stages.plan import Currency, job_of


def run(job: Job) -> None:
    """Write `reports/`."""
    settings = job.settings
    build(Path(), settings, Staleness(validated(Settings, settings.model_dump())))
    metrics = [run.metrics_file(Path()) for run in planned_runs(settings)]
    job.finish([file for file in metrics if file.is_file()])
    print("reports/README.md: written")


class Staleness:
    """Whether a result belongs to today's settings, code and inputs, judged by the sidecars from split to metrics."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.currency = settings, Currency(settings)

    def __call__(self, metrics: Path, dataset: str, category: str, variant: str) -> str | None:
        """The reason why a metrics file is stale, None when it is not."""
        seed = int(metrics.stem.removeprefix("seed"))
        cell = {"dataset": dataset, "category": category, "variant": variant, "seed": seed}
        for stage in ("split", "train", "predict", "evaluate"):
            job = job_of(self.settings, stage, cell)
            cleared = stage == "predict" and not job.artefact.exists()
            reason = None if cleared else self.currency.stale_reason(job)
            if reason is not None:
                return f"{job.artefact}: {reason}"
        return None
