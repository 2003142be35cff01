"""Stage `report`: every page, table and figure from the metrics on disk."""

from pathlib import Path
from typing import Any

from prn import layout
from prn.code_digest import code_digest
from prn.config import Settings
from prn.methods import METHODS
from prn.provenance import stale_reason
from prn.reporting import build
from prn.reporting.results import planned_runs
from prn.stages.job import Job
from prn.strict import from_plain, to_plain
from prn.views import view


def run(job: Job) -> None:
    """Write `reports/`."""
    settings = job.settings
    build(Path(), settings, Staleness(from_plain(Settings, to_plain(settings))))
    metrics = [run.metrics_file(Path()) for run in planned_runs(settings)]
    job.finish(Path(layout.RESULTS), [file for file in metrics if file.is_file()])
    print("reports/README.md: written")


class Staleness:
    """Whether a result belongs to today's settings, code and inputs, judged by the sidecars from split to metrics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.known: dict[tuple[Path, str], str | None] = {}

    def __call__(self, metrics: Path, dataset: str, category: str, variant: str) -> str | None:
        """The reason why a metrics file is stale, None when it is not."""
        seed = metrics.stem.removeprefix("seed")
        cell = {"dataset": dataset, "category": category, "variant": variant, "seed": seed}
        for stage, pattern, must_exist in (
            ("split", layout.SPLIT, True),
            ("train", layout.CHECKPOINT, True),
            ("predict", layout.PREDICTIONS, False),
            ("evaluate", layout.METRICS, True),
        ):
            path = layout.path(pattern, **cell)
            if path.exists() or must_exist:
                reason = self._reason(path, stage, cell)
                if reason is not None:
                    return f"{path}: {reason}"
        return None

    def _reason(self, path: Path, stage: str, cell: dict[str, str]) -> str | None:
        if (path, stage) not in self.known:
            today, code = self._today(stage, cell)
            made_with = []
            if stage == "evaluate":  # the predictions are a cache: what they were made with counts, also without them
                predict, predict_code = self._today("predict", cell)
                digests = (layout.settings_digest(predict), predict_code)
                made_with.append((layout.PREDICTIONS.format(**cell), digests))
            self.known[path, stage] = stale_reason(path, today, code, made_with=made_with)
        return self.known[path, stage]

    def _today(self, stage: str, cell: dict[str, str]) -> tuple[dict[str, Any], str]:
        """The settings that the stage would have today for the cell, and the digest of its code."""
        today = view(
            self.settings, stage, cell["dataset"], cell["category"], "" if stage == "split" else cell["variant"]
        )
        return today, code_digest(stage, METHODS[today["method"]].module if "method" in today else None)
