"""`prn adopt` judges every artefact of the plan: what matches, what does not, and what was made from the latter."""

import json
from pathlib import Path

import pytest

from prn.layout import sidecar
from prn.provenance.sidecars import finish
from prn.stages.names import STAGES
from prn.stages.plan import planned_jobs
from prn.tools.adopt import judge
from tests.unit.reporting_world import make_settings

# What the sidecar of each stage names as its inputs, by stage.
INPUTS = {
    "index": ("download",),
    "split": ("index",),
    "prototypes": ("split", "weights"),
    "train": ("split", "index", "weights", "prototypes"),
    "predict": ("train", "split"),
    "evaluate": ("predict", "train", "split", "index"),
    "report": ("evaluate",),
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The settings of one category with PRN, and the files of all its jobs by stage; textures have a second receipt."""
    monkeypatch.chdir(tmp_path)
    settings = make_settings({"mvtec": ["bottle"]}, ["prn"], [42])
    files: dict[str, Path] = {}
    for job in planned_jobs(settings):
        job.artefact.parent.mkdir(parents=True, exist_ok=True)
        job.artefact.write_text(f"made by {job.stage}", encoding="utf-8")
        for pattern in STAGES[job.stage].beside:
            job.path(pattern).write_text("{}", encoding="utf-8")
        inputs = [files[stage] for stage in INPUTS.get(job.stage, ())]
        finish(job.artefact, job.stage, job.view, inputs, job.code())
        name = job.stage if job.dataset != "dtd" else "textures"
        files[name] = job.artefact
    return settings, files


def stages_of(verdict) -> tuple[set[str], dict[str, str], set[str]]:
    """The verdict by stage."""
    return {job.stage for job in verdict.matching}, verdict.stale, set(verdict.following)


def test_a_whole_plan_matches(made):
    settings, files = made
    matching, stale, following = stages_of(judge(settings))
    assert matching == set(STAGES) - {"tensors"}
    assert not stale
    assert not following
    assert len(judge(settings).matching) == len(files) == 10


def test_what_was_made_from_an_edited_file_follows_it(made):
    settings, files = made
    files["split"].write_text("edited", encoding="utf-8")
    matching, stale, following = stages_of(judge(settings))
    assert stale == {
        files["split"].as_posix(): "the file was changed after it was made",
    }
    assert following == {files[stage].as_posix() for stage in ("prototypes", "train", "predict", "evaluate", "report")}
    assert matching == {"download", "index", "weights"}


def test_another_code_or_setting_is_told_apart(made):
    settings, files = made
    for stage, key, words in (("train", "code", "the code has changed"), ("index", "settings_digest", "the settings")):
        file = Path(sidecar(str(files[stage])))
        before = file.read_text(encoding="utf-8")
        file.write_text(json.dumps({**json.loads(before), key: "another"}), encoding="utf-8")
        _, stale, _ = stages_of(judge(settings))
        assert list(stale) == [files[stage].as_posix()]
        assert words in stale[files[stage].as_posix()]
        file.write_text(before, encoding="utf-8")


def test_a_run_card_that_is_gone_is_missed_and_cleared_predictions_are_not(made):
    settings, files = made
    files["predict"].unlink()
    assert not judge(settings).stale
    card = files["train"].with_name("seed42.card.json")
    card.unlink()
    assert judge(settings).stale == {files["train"].as_posix(): f"{card} is missing"}
