"""A method is declared by one light module: planning loads neither torch nor the method, and nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from prn.config import merged, parse_settings, read_yaml, resolve_variant
from prn.errors import SettingsError
from prn.methods import METHODS, _declared, settings
from prn.methods.entry import MethodEntry
from prn.provenance.code import stage_modules
from prn.views import from_view, view

OWN = '''
from dataclasses import dataclass

from prn.config import AtLeastOne
from prn.methods.entry import MethodEntry


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """A method of a test."""

    epochs: AtLeastOne = 5


METHODS = {
    "own": MethodEntry("somewhere.own", options=OwnSettings, reads=("train.threads",), textures=True)
}
'''


@pytest.fixture
def params(project) -> dict:
    return read_yaml(project / "params.yaml")


@pytest.fixture
def own(tmp_path, monkeypatch, params) -> dict:
    """The settings with a method that one new file and its variants declare."""
    (tmp_path / "own_of_a_test.py").write_text(OWN, encoding="utf-8")
    monkeypatch.setattr(settings, "__path__", [*settings.__path__, str(tmp_path)])
    monkeypatch.setattr("prn.methods.METHODS", _declared())
    yield merged(
        params,
        {"variants": {"own": {"method": "own"}, "own-long": {"method": "own", "methods": {"own": {"epochs": 50}}}}},
    )
    sys.modules.pop("prn.methods.settings.own_of_a_test", None)


def test_a_new_file_is_a_new_method_with_settings_of_its_own(own):
    typed = parse_settings(own)
    seen = [view(typed, "train", "mvtec", "bottle", name) for name in ("own", "own-long")]
    assert [one["methods"] for one in seen] == [{"own": {"epochs": 5}}, {"own": {"epochs": 50}}]
    assert set(seen[0]) == {"method", "methods", "tensors", "train"}
    assert seen[0]["train"] == {"threads": 2}
    assert from_view(seen[1]).methods["own"].epochs == 50


def test_another_methods_settings_leave_its_view_alone(own):
    other = merged(own, {"methods": {"patchcore": {"coreset": 0.5}}})
    for name, same in (("own", True), ("patchcore", False)):
        before, after = (view(parse_settings(one), "train", "mvtec", "bottle", name) for one in (own, other))
        assert (before == after) is same


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"ownn": {"epochs": 3}}, "methods.ownn: no method has such settings; did you mean 'own'"),
        ({"own": {"epoch": 3}}, "methods.own.epoch: unknown key; did you mean 'epochs'"),
        ({"own": {"epochs": 0}}, "methods.own.epochs: found 0"),
        (3, "methods: found 3, expected a section"),
    ],
)
def test_wrong_settings_are_refused_by_name(own, section, words):
    with pytest.raises(SettingsError) as caught:
        parse_settings({**own, "methods": section})
    assert words in str(caught.value)


def test_needs_follow_a_switch_among_the_settings(params):
    typed = parse_settings(params)
    needs = {
        name: tuple(METHODS[chosen.method].needs(what, chosen) for what in ("backbone", "prototypes", "textures"))
        for name in ("prn", "prn-unet", "prn-no-hea", "untrained", "mean-image", "patchcore")
        for chosen in [resolve_variant(typed, name)]
    }
    assert needs == {
        "prn": (True, True, True),
        "prn-unet": (True, False, True),
        "prn-no-hea": (True, True, False),
        "untrained": (True, True, False),
        "mean-image": (False, False, False),
        "patchcore": (True, False, False),
    }


def test_every_method_has_its_module_and_a_variant(project, params):
    typed = parse_settings(params)
    used = {resolve_variant(typed, name).method for name in typed.variants}
    for name, entry in METHODS.items():
        assert isinstance(entry, MethodEntry)
        assert (project / Path(*entry.module.split("."))).with_suffix(".py").is_file()
        assert name in used


def test_a_declaration_is_part_of_its_own_methods_code_alone():
    module = "prn.methods.settings.patchcore"
    assert module in stage_modules("train", "prn.methods.patchcore")
    assert module not in stage_modules("train", "prn.methods.prn")


def test_planning_loads_neither_torch_nor_anomalib(project: Path):
    code = (
        "import sys; from prn.config import load_settings; load_settings('params.yaml');"
        " print([name for name in ('torch', 'anomalib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
