"""Stage `report`: every page, table and figure from the metrics on disk."""

from pathlib import Path

from prn import layout
from prn.config import Settings
from prn.methods import METHODS
from prn.provenance import code_digest, stale_reason
from prn.reporting import build
from prn.stages.job import Job
from prn.strict import from_plain, to_plain
from prn.views import view


def run(job: Job) -> None:
    """Write `reports/`."""
    settings = job.settings
    build(Path(), settings, Staleness(from_plain(Settings, to_plain(settings))))
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
            variant = "" if stage == "split" else cell["variant"]
            today = view(self.settings, stage, cell["dataset"], cell["category"], variant)
            module = METHODS[today["method"]].module if "method" in today else None
            self.known[path, stage] = stale_reason(path, today, code_digest(stage, module))
        return self.known[path, stage]
