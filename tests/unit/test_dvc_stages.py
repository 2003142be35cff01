"""DVC's stages name at least the settings and the code that Snakemake's phases compare."""

import pytest
import yaml

from prn.methods import METHODS
from prn.provenance import stage_modules
from prn.views import VIEWS

# A DVC stage and the Snakemake rules that it may run (its --allowed-rules).
PHASES = {
    "download": ("download",),
    "index": ("index",),
    "split": ("split",),
    "prototypes": ("prototypes", "weights", "tensors"),
    "train": ("train",),
    "evaluate": ("evaluate", "predict"),
    "report": ("report",),
}


@pytest.fixture(scope="module")
def stages(project) -> dict:
    return yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_each_phase_is_a_stage(stages):
    assert set(stages) == set(PHASES)


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
def test_a_stage_watches_every_module_that_its_rules_import(stages, phase):
    watched = [dep for dep in stages[phase]["deps"] if dep.startswith("prn")]
    methods = [entry.module for entry in METHODS.values()] if phase in ("train", "evaluate") else [None]
    for rule in PHASES[phase]:
        for method in methods:
            for module in stage_modules(rule, method):
                path = module.replace(".", "/")
                assert any(path == dep.removesuffix(".py") or f"{path}/".startswith(f"{dep}/") for dep in watched), path
