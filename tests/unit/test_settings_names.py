"""Names become parts of paths and wildcards: one stated pattern for all of them; and YAML that says a thing twice."""

import os
import subprocess
import sys

import pytest

from prn.cli import main
from prn.errors import SettingsError
from prn.layout import PAGES
from prn.settings.fields import NAME_RULE
from prn.settings.loading import load_settings, parse_settings, read_yaml
from prn.settings.validation import merged
from prn.stages.cells import check_spelling

GOOD = [
    "m3",
    "metal_nut",
    "03",
    "screws (v2)+",
    "eigene Schräubchen",
    "Schra\u0308ubchen",
    "A&B",
    "v1.2",
    "螺丝",
    "x" * 70,
    "ж" * 35,
    "स्क्रू",
]
BAD = [
    "../../escaped",
    "..",
    "a/b",
    "a\\b",
    "/abs",
    "{x}",
    ".hidden",
    "-x",
    " a",
    "a ",
    "a.",
    "",
    "a\nb",
    "a\x00b",
    "a\u202eb",
    "a\u200bb",
    "a*",
    "a?",
    "[a]",
    "a|b",
    "a$b",
    "a'b",
    'a"b',
    "a`b",
    "<b>",
    "c:x",
    "a;b",
    "=cmd",
    "a,b",
    "a%b",
    "a#b",
    "a~b",
    "x" * 71,
    "ж" * 36,
]


@pytest.fixture(scope="module")
def params(project) -> dict:
    return read_yaml(project / "params.yaml")


def of_dataset(name: str) -> dict:
    run = {"categories": ["m3"], "variants": ["prn"]}
    return {"benchmark": {"datasets": {name: run}}, "download": {"sources": {name: "/somewhere"}}}


def of_category(name: str) -> dict:
    return merged(of_dataset("own"), {"benchmark": {"datasets": {"own": {"categories": [name]}}}})


def of_variant(name: str) -> dict:
    return merged(of_dataset("own"), {"variants": {name: {}}, "benchmark": {"datasets": {"own": {"variants": [name]}}}})


PLACES = {
    of_dataset: "benchmark.datasets: ",
    of_category: "benchmark.datasets.own.categories[0]: ",
    of_variant: "benchmark.datasets.own.variants[0]: ",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", GOOD)
def test_names_of_all_alphabets_are_taken(params, place, name):
    parse_settings(merged(params, place(name)))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_no_plain_part_of_a_path_is_refused(params, place, name):
    with pytest.raises(SettingsError) as caught:
        parse_settings(merged(params, place(name)))
    assert str(caught.value) == f"{PLACES[place]}found {name!r}, expected {NAME_RULE}"


@pytest.mark.parametrize("name", BAD)
def test_a_variant_that_nobody_runs_and_a_source_have_such_names_too(params, name):
    for change, where in [
        ({"variants": {name: {}}}, "variants"),
        ({"download": {"sources": {name: "/somewhere"}}}, "download.sources"),
    ]:
        with pytest.raises(SettingsError) as caught:
            parse_settings(merged(params, change))
        assert str(caught.value) == f"{where}: found {name!r}, expected {NAME_RULE}"


def test_bytes_of_a_command_line_that_are_no_text_are_refused():
    with pytest.raises(SettingsError, match=r"--category: found '\\udcff', expected a name"):
        check_spelling({"category": "\udcff"})


@pytest.mark.parametrize("name", [*PAGES, "readme", "Cost"])
def test_a_data_set_is_not_called_like_a_page(params, name):
    with pytest.raises(SettingsError, match=r"^benchmark\.datasets: found .* name of a page of the report"):
        parse_settings(merged(params, of_dataset(name)))
    parse_settings(merged(params, of_category(name)))  # a category has no page of its own


@pytest.mark.parametrize("option", ["--dataset", "--category", "--variant"])
@pytest.mark.parametrize("handed", [[], ["--settings", '{"split": {}}']])
def test_the_command_line_refuses_such_names_before_anything_is_made(project, tmp_path, option, handed):
    """By hand, and with the settings that the workflow hands over."""
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    names = {"--dataset": "mvtec", "--category": "bottle", "--variant": "prn", option: "../../escaped"}
    command = [sys.executable, "-m", "prn", "train", *(part for pair in names.items() for part in pair)]
    command += ["--seed", "42", "--params", str(project / "params.yaml"), "--root", str(work), *handed]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"prn train: {option}: found '../../escaped', expected {NAME_RULE}"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("handed", "words"),
    [
        ("3", "--settings, --execution: found 3, expected sections with keys"),
        ("{", "--settings, --execution: not valid JSON"),
        ("{}", "split: missing"),
        ('{"split": {"seen_anomalies": 10}}', "split.ksdd2_train_anomalies: missing"),
        ('{"split": {"seen_anomalies": 0, "ksdd2_train_anomalies": "drop"}}', "split.seen_anomalies: found 0"),
        ('{"split": {"seen_anomalies": 10, "ksdd2_train_anomalies": "drop"}, "train": {}}', "train: unknown key"),
    ],
)
def test_settings_that_are_handed_over_are_checked(tmp_path, capsys, handed, words):
    command = ["split", "--dataset", "mvtec", "--category", "bottle", "--seed", "1", "--root", str(tmp_path)]
    assert main([*command, "--settings", handed]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("method", ['"nope"', "[1]", "null"])
def test_a_method_that_is_handed_over_is_checked(tmp_path, capsys, method):
    command = ["train", "--dataset", "mvtec", "--category", "bottle", "--seed", "1", "--root", str(tmp_path)]
    assert main([*command, "--settings", f'{{"method": {method}, "tensors": {{"size": 32}}}}']) == 2
    assert "method: found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "train: {epochs: 1}\nmodel: {fusion: true}\ntrain: {epochs: 2}\n",
            "line 3: train stands here a second time, first on line 1",
        ),
        ("train:\n  batch:\n    normal: 1\n    extended: 1\n    normal: 2\n", "line 5: train.batch.normal"),
        ("train: {epochs: 1, epochs: 1}\n", "line 1: train.epochs"),
        ("train:\n  epochs: 1\n  'epochs': 2\n", "line 3: train.epochs"),
        ("a:\n- b: 1\n  b: 2\n", "line 3: a[0].b"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(tmp_path, text, words):
    file = tmp_path / "twice.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_yaml(file)
    assert f"{file}, {words}" in str(caught.value)


def test_an_anchor_may_be_used_again_and_overridden(project, tmp_path):
    preset = tmp_path / "anchors.yaml"
    preset.write_text(
        "variants:\n  a: &a {train: {epochs: 3}}\n  b: *a\n  c: {<<: *a, train: {epochs: 4}}\n  d: {<<: *a}\n",
        encoding="utf-8",
    )
    found = load_settings(project / "params.yaml", preset).variants
    assert [found[name]["train"]["epochs"] for name in "abcd"] == [3, 3, 4, 3]


@pytest.mark.parametrize("content", [b"a: \xff\n", b"a: [1,\n", b"a: \x00\n", b"a: 1\n---\nb: 2\n"])
def test_what_is_no_yaml_is_named(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.yaml: not valid YAML"):
        read_yaml(file)
