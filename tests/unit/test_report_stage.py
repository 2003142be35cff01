"""R24: a number whose files, settings or code are not today's is stale for the report, whichever was touched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prn import layout
from prn.provenance.code import code_digest
from prn.provenance.sidecars import finish
from prn.settings.methods import METHODS
from prn.settings.sections import Settings
from prn.settings.views import view
from prn.stages.report import Staleness
from tests.unit.reporting_world import make_settings

CELL = {"dataset": "mvtec", "category": "bottle", "variant": "prn", "seed": 42}
FILES = {
    stage: layout.path(pattern, **CELL)
    for stage, pattern in (
        ("split", layout.SPLIT),
        ("train", layout.CHECKPOINT),
        ("predict", layout.PREDICTIONS),
        ("evaluate", layout.METRICS),
    )
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a finished cell whose four files lie in the current folder with their sidecars."""
    monkeypatch.chdir(tmp_path)
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    before: list[Path] = []
    for stage, file in FILES.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"made by {stage}", encoding="utf-8")
        today = view(settings, stage, "mvtec", "bottle", "" if stage == "split" else "prn")
        module = METHODS[today["method"]].module if "method" in today else None
        finish(file, stage, today, before, code_digest(stage, module))
        before = [file]
    return settings


def reason(settings: Settings) -> str | None:
    return Staleness(settings)(FILES["evaluate"], "mvtec", "bottle", "prn")


def edit(stage: str) -> None:
    FILES[stage].write_text("edited by hand", encoding="utf-8")


def test_a_finished_cell_is_current(settings: Settings) -> None:
    assert reason(settings) is None


@pytest.mark.parametrize("stage", FILES)
def test_an_edited_file_makes_the_number_stale(settings: Settings, stage: str) -> None:
    edit(stage)
    found = reason(settings)
    assert found is not None
    assert str(FILES[stage]) in found
    assert "changed after it was made" in found


@pytest.mark.parametrize("stage", ["split", "train", "evaluate"])
def test_a_missing_file_or_sidecar_makes_the_number_stale(settings: Settings, stage: str) -> None:
    Path(layout.sidecar(str(FILES[stage]))).unlink()
    assert "no provenance sidecar" in (reason(settings) or "")
    FILES[stage].unlink()
    assert "missing" in (reason(settings) or "")


def test_cleared_predictions_are_no_change(settings: Settings) -> None:
    FILES["predict"].unlink()
    assert reason(settings) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.changed(train=s.train.changed(learning_rate=0.5)),
        lambda s: s.changed(evaluate=s.evaluate.changed(fpr_limit=0.2)),
        lambda s: s.changed(split=s.split.changed(seen_anomalies=9)),
        lambda s: s.changed(tensors=s.tensors.changed(size=64)),
    ],
)
def test_a_changed_setting_makes_the_number_stale(settings: Settings, change: Callable[[Settings], Settings]) -> None:
    assert "settings have changed" in (reason(change(settings)) or "")


def test_a_setting_of_the_pages_changes_no_number(settings: Settings) -> None:
    assert reason(settings.changed(report=settings.report.changed(tolerance=2.0))) is None
