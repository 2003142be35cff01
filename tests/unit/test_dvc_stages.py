"""DVC's stages name at least the settings and the code that Snakemake's phases compare."""

import pytest
import yaml

from prn.settings.methods import METHODS
from prn.settings.views import VIEWS

# A DVC stage and the Snakemake rules that it may run (its --allowed-rules).
PHASES = {
    "download": ("download",),
    "index": ("index",),
    "split": ("split",),
    "prototypes": ("prototypes", "weights"),
    "train": ("train",),
    "evaluate": ("evaluate", "predict"),
    "report": ("report",),
}


@pytest.fixture(scope="module")
def stages(project) -> dict:
    return yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_each_phase_is_a_stage(stages):
    assert set(stages) == {"sources", *PHASES}


@pytest.mark.parametrize("phase", PHASES)
def test_a_stage_runs_its_phases_rules_only(stages, phase):
    allowed = stages[phase]["cmd"].partition("--allowed-rules")[2].split()
    assert set(allowed) == {f"phase_{phase}", *PHASES[phase]}


@pytest.mark.parametrize("phase", PHASES)
def test_a_stage_watches_every_setting_that_its_rules_read(stages, phase):
    watched = set(stages[phase]["params"])
    read = {key for rule in PHASES[phase] for key in VIEWS[rule]}
    if phase == "train":
        read |= {"methods"} | {key for entry in METHODS.values() for key in entry.reads}
    read = {"variants" if key == "method" else key for key in read}  # the method is a variant's own
    missing = {key for key in read if key not in watched and key.partition(".")[0] not in watched}
    assert not missing


@pytest.mark.parametrize("phase", PHASES)
def test_a_stage_watches_the_code_and_the_rules(stages, phase):
    assert {"prn", "workflow/rules", "Snakefile"} <= set(stages[phase]["deps"])
