"""A method is declared by one light module: planning loads neither torch nor the method, and nothing else changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from prn.errors import SettingsError
from prn.provenance.code import stage_modules
from prn.settings.loading import parse_settings, read_yaml
from prn.settings.methods import METHODS, MethodSections
from prn.settings.methods.entry import MethodEntry
from prn.settings.validation import merged
from prn.settings.variants import resolve_variant
from prn.settings.views import from_view, view

SHORT = {"variants": {"kdad-short": {"method": "kdad", "methods": {"kdad": {"epochs": 5}}}}}


@pytest.fixture
def params(project) -> dict:
    return read_yaml(project / "params.yaml")


def test_the_settings_of_a_method_stand_in_its_view_alone_and_a_variant_may_override_them(params):
    typed = parse_settings(merged(params, SHORT))
    seen = [view(typed, "train", "mvtec", "bottle", name) for name in ("kdad", "kdad-short")]
    assert [set(one["methods"]) for one in seen] == [{"kdad"}, {"kdad"}]
    assert [one["methods"]["kdad"]["epochs"] for one in seen] == [601, 5]
    assert set(seen[0]) == {"method", "methods", "model", "tensors", "train"}
    assert seen[0]["train"] == {"threads": 2}
    assert from_view(seen[1], "train").methods.kdad.epochs == 5
    with pytest.raises(AttributeError):
        from_view(seen[1], "train").methods.patchcore


def test_another_methods_settings_leave_its_view_alone(params):
    other = merged(params, {"methods": {"patchcore": {"coreset": 0.5}}})
    for name, same in (("kdad", True), ("patchcore", False)):
        before, after = (view(parse_settings(one), "train", "mvtec", "bottle", name) for one in (params, other))
        assert (before == after) is same


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kdadd": {"epochs": 3}}, "methods.kdadd: unknown key; did you mean 'kdad'"),
        ({"mean_image": {}}, "methods.mean_image: unknown key; known: cfa, cflow"),
        ({"kdad": {"epoch": 3}}, "methods.kdad.epoch: unknown key; did you mean 'epochs'"),
        ({"kdad": {"epochs": 0}}, "methods.kdad.epochs: found 0"),
        ({"patchcore": {"resize": 200}}, "methods.patchcore.crop: found 224, expected at most `resize`, 200"),
        ({"cflow": {"epochs": 10}}, "methods.cflow.warmup_epochs: found 16.0, expected at most `epochs`, 10"),
        ({"dra": {"size": 64, "scales": 3}}, "methods.dra.size: found 64, expected at least 128 for `scales`: 3"),
        ({"draem": {"score_window": 20}}, "methods.draem.score_window: found 20, expected an odd number"),
        (3, "methods: found 3, expected a section"),
    ],
)
def test_wrong_settings_are_refused_by_name(params, section, words):
    with pytest.raises(SettingsError) as caught:
        parse_settings({**params, "methods": section})
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
    assert set(MethodSections.model_fields) < set(METHODS)
    used = {resolve_variant(typed, name).method for name in typed.variants}
    for name, entry in METHODS.items():
        assert isinstance(entry, MethodEntry)
        assert (project / Path(*entry.module.split("."))).with_suffix(".py").is_file()
        assert name in used


def test_a_declaration_is_part_of_no_methods_code():
    """What it decides (settings, needs, the module) is compared by value."""
    for name in ("prn.methods.patchcore", "prn.methods.prn"):
        assert not [module for module in stage_modules("train", name) if module.startswith("prn.settings")]


def test_planning_loads_neither_torch_nor_anomalib(project: Path):
    code = (
        "import sys; from prn.settings.loading import load_settings; load_settings('params.yaml');"
        " print([name for name in ('torch', 'anomalib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
