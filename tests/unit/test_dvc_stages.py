"""DVC's stages name at least the settings and the code that Snakemake's phases compare."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from prn.methods import METHODS
from prn.views import VIEWS

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
    assert set(stages) == {"code", *PHASES}


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
def test_a_stage_watches_the_code_of_its_rules(stages, phase):
    watched = {dep for dep in stages[phase]["deps"] if dep.startswith("data/code/")}
    assert watched == {f"data/code/{name}.txt" for name in ("rules", *PHASES[phase])}


def test_the_files_of_digests_change_with_code_and_not_with_comments(project, tmp_path):
    """`workflow/digests.py` on a copy: a comment, then a docstring, then code of the metrics, then a rule."""
    for name in ("prn", "workflow"):
        shutil.copytree(project / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "Snakefile", tmp_path)

    def edit(file: str, old: str, new: str) -> set[str]:
        """The stages whose digest files change with an edit."""
        path = tmp_path / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return changed()

    before: dict[str, str] = {}

    def changed() -> set[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [sys.executable, str(tmp_path / "workflow/digests.py")]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        now = {file.stem: file.read_text(encoding="utf-8") for file in (tmp_path / "data/code").iterdir()}
        different = {name for name in now if now[name] != before.get(name)}
        before.update(now)
        return different

    assert changed() == {"rules", *(rule for rules in PHASES.values() for rule in rules), "tensors"}
    assert edit("prn/metrics/ranking.py", '"""', '"""Longer. ') == set()
    assert edit("workflow/rules/train.smk", "#", "# A remark.\n#") == set()
    assert edit("workflow/rules/train.smk", "gpu=min(1, GPUS)", "gpu=min(2, GPUS)") == {"rules"}
    assert edit("prn/model/losses.py", "import", "import math\nimport") == {"train", "predict"}
    assert edit("prn/metrics/ranking.py", "import", "import math\nimport") == {"evaluate", "report"}
