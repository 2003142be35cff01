"""Settings: the paper's values, strictness, variants and views."""

import copy
import pickle
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from prn.errors import DataMissing, SettingsError
from prn.settings.loading import load_settings, parse_settings, read_yaml
from prn.settings.sections import VARIANT_SECTIONS, Settings
from prn.settings.validation import merged, validated
from prn.settings.variants import resolve_variant
from prn.settings.views import from_view, view

INFINITE = float("inf")


@pytest.fixture(scope="module")
def params(project) -> dict:
    return read_yaml(project / "params.yaml")


def leaves(data: dict, path: tuple = ()) -> Iterator[tuple]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def with_leaf(data: dict, path: tuple, value) -> dict:
    result = copy.deepcopy(data)
    section = result
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return result


def test_params_yaml_holds_the_papers_values(params):
    """Paper 3.1-3.5 and 4.1, supplement B.1; written by hand."""
    settings = parse_settings(params)
    assert settings.tensors.size == 256
    assert (settings.prototypes.ratio, settings.prototypes.max_iterations) == (0.1, 300)
    assert (settings.train.optimizer, settings.train.learning_rate, settings.train.weight_decay) == ("adam", 1e-4, 1e-2)
    assert settings.train.epochs == 700
    assert settings.train.steps is None
    assert (settings.train.batch.normal, settings.train.batch.extended, settings.train.batch.simulated) == (32, 16, 16)
    assert (settings.train.focal_weight, settings.train.focal_alpha, settings.train.focal_gamma) == (5, 0.5, 4)
    assert settings.predict.top_pixels == 100
    assert settings.split.seen_anomalies == settings.train.shots == 10
    assert settings.model.backbone == "resnet18"
    assert settings.model.attention_layers == 3
    assert settings.synthesis.augmentations == 2
    assert settings.synthesis.grid == 8
    counts = {name: len(run.categories) for name, run in settings.benchmark.datasets.items()}
    assert counts == {"mvtec": 15, "dagm": 10, "btad": 3, "ksdd2": 1}


def test_params_yaml_and_the_defaults_agree(params):
    """A leaf that stands in one place only would be a hidden setting."""
    free = {"benchmark": {"datasets"}, "synthesis": {"foreground"}}
    defaults = Settings().model_dump()
    for section in defaults.keys() - {"variants", "method"}:
        expected = {key: value for key, value in defaults[section].items() if key not in free.get(section, set())}
        found = {key: value for key, value in params[section].items() if key not in free.get(section, set())}
        assert found == expected, section


def test_every_misspelt_key_is_refused_with_its_path(params):
    for path in leaves(
        {key: value for key, value in params.items() if key not in ("variants", "benchmark", "download")}
    ):
        if path[:2] == ("synthesis", "foreground"):
            continue
        wrong = f"{path[-1]}x"
        with pytest.raises(SettingsError) as caught:
            parse_settings(with_leaf(params, (*path[:-1], wrong), 1))
        assert ".".join((*path[:-1], wrong)) in str(caught.value)
        if len(path[-1]) > 3:
            assert f"did you mean '{path[-1]}'" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("train", "learning_rate"), -1.0, "train.learning_rate: found -1.0"),
        (("train", "learning_rate"), "1e-4", "YAML wants 1.0e-4"),
        (("train", "epochs"), 0, "train.epochs: found 0"),
        (("train", "epochs"), 1.5, "expected a whole number"),
        (("train", "epochs"), True, "expected a whole number"),
        (("train", "optimizer"), "adamm", "did you mean 'adam'"),
        (("train", "batch"), 64, "train.batch: found 64, expected a section"),
        (("train", "batch", "normal"), 0, "train.batch.normal"),
        (("tensors", "size"), 200, "multiple of 32"),
        (("prototypes", "ratio"), 0, "above 0 and at most 1"),
        (("prototypes", "ratio"), 1.1, "above 0 and at most 1"),
        (("model", "fusion"), "yes", "expected true or false"),
        (("synthesis", "opacity"), [0.8, 0.2], "synthesis.opacity"),
        (("synthesis", "opacity"), [0.8], "expected two numbers"),
        (("evaluate", "fpr_limit"), 0, "evaluate.fpr_limit"),
        (("benchmark", "seeds"), 42, "benchmark.seeds: found 42, expected a list"),
        (("benchmark", "datasets", "mvtecc"), {"categories": [], "variants": []}, "did you mean 'mvtec'"),
        (("benchmark", "datasets", "mvtec", "categories"), ["botle"], "did you mean 'bottle'"),
        (("benchmark", "datasets", "mvtec", "variants"), ["prn-unett"], "did you mean 'prn-unet'"),
        (("benchmark", "datasets", "btad", "categories"), [1], "categories[0]"),
        (("download", "sources"), {"mvtecx": "/x"}, "did you mean 'mvtec'"),
        (("variants", "mine"), {"method": "prnn"}, "did you mean 'prn'"),
        (("variants", "mine"), {"split": {"seen_anomalies": 3}}, "variants.mine.split"),
        (("variants", "mine"), {"model": {"fusoin": False}}, "did you mean 'fusion'"),
        (("variants", "mine"), {"train": {"shots": 11}}, "split.seen_anomalies is only 10"),
        (("variants", "mine"), {"train": {"learning_rate": INFINITE}}, "variants.mine.train.learning_rate: found inf"),
        (("variants", "mine"), None, "variants.mine: found None, expected a section"),
        (("train", "learning_rate"), INFINITE, "train.learning_rate: found inf, expected a finite number above 0"),
        (("train", "learning_rate"), float("nan"), "train.learning_rate: found nan, expected a finite number"),
        (("report", "tolerance"), INFINITE, "report.tolerance: found inf, expected a finite number at least 0"),
        (("synthesis", "gamma"), [0.5, INFINITE], "synthesis.gamma[1]: found inf"),
        (("evaluate", "bootstrap"), INFINITE, "evaluate.bootstrap: found inf, expected a whole number"),
        (("benchmark", "seeds"), [], "benchmark.seeds: found [], expected a list, not empty"),
        (("benchmark", "seeds"), [42, 43, 42], "benchmark.seeds: 42 stands twice"),
        (
            ("benchmark", "seeds"),
            [2**32],
            "benchmark.seeds[0]: found 4294967296, expected a whole number at least 0 and",
        ),
        (("benchmark", "datasets", "mvtec", "categories"), ["bottle", "pill", "bottle"], "categories: 'bottle' stands"),
        (("benchmark", "datasets", "mvtec", "variants"), ["prn", "prn"], "mvtec.variants: 'prn' stands twice"),
        (
            ("benchmark", "datasets", 1),
            {"categories": [], "variants": []},
            "the key 1 is not a text; put it into quotes",
        ),
        (
            ("benchmark", "datasets", "mvtec"),
            {"categoriess": []},
            "mvtec.categoriess: unknown key; did you mean 'categories'",
        ),
        (("benchmark", "datasets", "mvtec"), {"categories": []}, "benchmark.datasets.mvtec.variants: missing"),
        (("synthesis", "foreground", "mvtec", "bottle"), {"treshold": 3}, "bottle.treshold: unknown key; did you mean"),
        (("synthesis", "foreground", "mvtec", "botle"), {"threshold": 3}, "unknown category; did you mean 'bottle'"),
        (("synthesis", "foreground", "mvtecc"), {}, "synthesis.foreground.mvtecc: unknown data set; did you mean"),
        (("method",), "prnn", "method: found 'prnn'; did you mean 'prn'"),
    ],
)
def test_wrong_values_name_path_and_remedy(params, path, value, words):
    with pytest.raises(SettingsError) as caught:
        parse_settings(with_leaf(params, path, value))
    assert words in str(caught.value)


def test_a_source_of_ones_own_admits_a_data_set_of_ones_own(params):
    own = merged(
        params,
        {
            "benchmark": {"datasets": {"screws": {"categories": ["m3"], "variants": ["prn"]}}},
            "download": {"sources": {"screws": "/somewhere"}},
        },
    )
    assert "screws" in parse_settings(own).benchmark.datasets


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(DataMissing, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\nb: 2", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"broken\.yaml: not valid YAML"):
        load_settings(broken)


def test_presets_lie_over_params(project, tmp_path):
    preset = tmp_path / "p.yaml"
    preset.write_text("train: {epochs: 3, batch: {normal: 4}}", encoding="utf-8")
    settings = load_settings(project / "params.yaml", preset)
    assert (settings.train.epochs, settings.train.batch.normal, settings.train.batch.extended) == (3, 4, 16)


def test_every_committed_preset_is_valid(project):
    presets = sorted((project / "workflow" / "presets").glob("*.yaml"))
    assert presets
    for preset in presets:
        base = {"demo-all.yaml": "demo.yaml", "real-ablations.yaml": "real-cpu.yaml"}.get(preset.name)
        below = [preset.parent / base] if base else []
        load_settings(project / "params.yaml", *below, preset)


def test_variants_of_the_tables_change_what_they_say(params):
    """Tables 4 to 7, written by hand: which modules, kinds, ratio and shots each variant has."""
    settings = parse_settings(params)
    modules = {
        name: (variant.model.prototypes, variant.model.attention, variant.model.fusion)
        for name in ("prn-unet", "prn-no-msa", "prn-no-mp", "prn-no-mf", "prn")
        for variant in [resolve_variant(settings, name)]
    }
    assert modules == {
        "prn-unet": (False, False, False),
        "prn-no-msa": (True, False, True),
        "prn-no-mp": (False, True, True),
        "prn-no-mf": (True, True, False),
        "prn": (True, True, True),
    }
    kinds = {
        name: (s.extended, s.heterologous, s.homologous, s.target_area)
        for name in ("prn-ea-only", "prn-no-hoa", "prn-no-hea", "prn-no-ea", "prn-no-ta")
        for s in [resolve_variant(settings, name).synthesis]
    }
    assert kinds == {
        "prn-ea-only": (True, False, False, True),
        "prn-no-hoa": (True, True, False, True),
        "prn-no-hea": (True, False, True, True),
        "prn-no-ea": (False, True, True, True),
        "prn-no-ta": (True, True, True, False),
    }
    ratios = {name: resolve_variant(settings, f"prn-ratio-{name}").prototypes.ratio for name in ("05", "20", "100")}
    assert ratios == {"05": 0.05, "20": 0.2, "100": 1.0}
    assert [resolve_variant(settings, f"prn-shots-{n}").train.shots for n in (1, 5)] == [1, 5]


def test_a_stage_sees_only_its_view(params):
    settings = parse_settings(params)
    seen = from_view(view(settings, "prototypes", "mvtec", "bottle", "prn"), "prototypes")
    assert seen.prototypes.ratio == 0.1
    assert seen.model.backbone == "resnet18"
    for attribute in ("train", "evaluate", "split"):
        with pytest.raises(AttributeError):
            getattr(seen, attribute)
    with pytest.raises(AttributeError):
        seen.model.attention


def test_the_training_view_follows_the_method(params):
    settings = parse_settings(params)
    assert set(view(settings, "train", "mvtec", "bottle", "prn")) == {
        "method",
        "model",
        "prototypes",
        "synthesis",
        "tensors",
        "train",
    }
    assert "prototypes" not in view(settings, "train", "mvtec", "bottle", "prn-unet")
    assert set(view(settings, "train", "mvtec", "bottle", "untrained")) == {"method", "model", "prototypes", "tensors"}
    assert set(view(settings, "train", "mvtec", "bottle", "mean-image")) == {"method", "tensors"}


def test_another_categorys_rules_and_sources_leave_a_view_alone(params):
    rule = {"method": "threshold", "threshold": 100, "side": "dark"}
    base = merged(params, {"synthesis": {"foreground": {"mvtec": {"bottle": rule}}}})
    more = merged(base, {"synthesis": {"foreground": {"mvtec": {"screw": rule}, "btad": {"01": rule}}}})
    more = merged(more, {"download": {"sources": {"btad": "/btad"}}})
    first, second = parse_settings(base), parse_settings(more)
    for stage in ("download", "train"):
        assert view(first, stage, "mvtec", "bottle", "prn" if stage == "train" else "") == view(
            second, stage, "mvtec", "bottle", "prn" if stage == "train" else ""
        )
    assert view(first, "train", "mvtec", "screw", "prn") != view(second, "train", "mvtec", "screw", "prn")


def test_the_report_sees_what_every_stage_of_every_cell_saw(params):
    """Else the report would call a fresh result stale."""
    settings = parse_settings(params)
    report = validated(Settings, from_view(view(settings, "report"), "report").model_dump())
    for stage in ("split", "train", "predict", "evaluate"):
        for category in ("bottle", "carpet"):
            variant = "" if stage == "split" else "prn"
            cell = (stage, "mvtec", category, variant)
            assert view(report, *cell) == view(settings, *cell)


def test_variant_sections_exist():
    assert set(VARIANT_SECTIONS) <= set(Settings.model_fields)


def test_a_view_is_checked_too(params):
    seen = view(parse_settings(params), "train", "mvtec", "bottle", "prn")
    for change, words in [
        ({"train": {"epochs": -1}}, "train.epochs: found -1"),
        ({"train": {"epoch": 3}}, "train.epoch: unknown key; did you mean 'epochs'"),
        ({"split": {"seen_anomalies": 10}}, "split: unknown key"),
        ({"model": {"prototypes": False}}, "prototypes: unknown key"),  # a variant that reads no such section
        ({"method": "prnn"}, "method: found 'prnn'; did you mean 'prn'"),
    ]:
        with pytest.raises(SettingsError) as caught:
            from_view(merged(seen, change), "train")
        assert words in str(caught.value)
    for section, key in [("train", "epochs"), ("model", "backbone"), ("synthesis", "foreground"), ("tensors", "size")]:
        lacking = copy.deepcopy(seen)
        del lacking[section][key]
        with pytest.raises(SettingsError, match=rf"{section}\.{key}: missing"):
            from_view(lacking, "train")
        del lacking[section]
        with pytest.raises(SettingsError, match=f"{section}.*: missing"):
            from_view(lacking, "train")


def test_settings_and_what_a_stage_sees_of_them_can_be_sent_to_another_process(params):
    settings = parse_settings(params)
    seen = from_view(view(settings, "train", "mvtec", "bottle", "patchcore"), "train")
    for one in (settings, settings.train, seen, seen.train, seen.methods):
        assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        pickle.loads(pickle.dumps(seen)).train.epochs


def test_how_a_job_runs_is_in_no_view_and_has_its_default(params):
    seen = view(parse_settings(params), "train", "mvtec", "bottle", "prn")
    assert "checkpoint_minutes" not in seen["train"]
    assert from_view(seen, "train").train.checkpoint_minutes == 5
    assert from_view(seen, "train", run_with={"train": {"checkpoint_minutes": 2}}).train.checkpoint_minutes == 2
    with pytest.raises(SettingsError, match=r"train\.checkpoint_minute: unknown key"):
        from_view(seen, "train", run_with={"train": {"checkpoint_minute": 2}})


def test_a_changed_copy_is_checked_and_leaves_the_original():
    train = Settings().train
    assert (train.changed(epochs=3).epochs, train.epochs) == (3, 700)
    for wrong in ({"epochs": 0}, {"epoch": 3}):
        with pytest.raises(ValidationError):
            train.changed(**wrong)
    with pytest.raises(ValidationError):
        train.epochs = 3
