"""What the models say stands in the same words in `params.yaml`, and what is generated from them is up to date."""

import copy
import json
import re
from collections.abc import Iterator

import jsonschema  # Snakemake needs it, so a checkout with the workflow has it
import pytest
import yaml

from prn.errors import SettingsError
from prn.settings import schema
from prn.settings.fields import Section
from prn.settings.loading import parse_settings
from prn.settings.sections import DatasetRun, Settings
from prn.settings.validation import merged


def described(model: type[Section], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Each field's path and description, in whole sections; what lies in mappings with free keys is left out."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from described(field.annotation, f"{prefix}{name}.")


def comments(text: str) -> dict[str, str]:
    """By path the comment behind each key that begins a line ('' where there is none)."""
    found, above = {}, []
    for line in text.splitlines():
        key = re.match(r"( *)([\w-]+):", line)
        if key:
            indent = len(key[1])
            above = [*(one for one in above if one[0] < indent), (indent, key[2])]
            comment = re.search(r"\s# (.*)$", line)
            found[".".join(name for _, name in above)] = comment[1] if comment else ""
    return found


def test_a_comment_of_params_yaml_is_the_description_of_its_field(project):
    written = comments((project / "params.yaml").read_text(encoding="utf-8"))
    fields = dict(described(Settings))
    compared = fields.keys() & written.keys()
    assert {path: written[path] for path in compared} == {path: fields[path] for path in compared}
    # The rest stands inside of braces, or is the variants' alone.
    assert {path.rpartition(".")[0] for path in fields.keys() - compared} == {
        "",
        "train.batch",
        "methods.devnet.batch",
        "methods.dra.batch",
    }
    assert fields.keys() - compared - {path for path in fields if ".batch." in path} == {"method"}


def test_every_field_is_described():
    fields = [*described(Settings), *described(DatasetRun)]
    assert not [path for path, words in fields if not words]
    assert len(fields) > 150


def test_the_generated_files_are_those_of_the_models(project):
    again = "run `python -m prn.settings.schema`"
    assert json.loads((project / schema.SCHEMA).read_text(encoding="utf-8")) == schema.json_schema(), again
    assert (project / schema.TABLE).read_text(encoding="utf-8") == schema.table(), again


@pytest.fixture(scope="module")
def editor(project) -> jsonschema.Draft202012Validator:
    """What an editor knows: the committed schema."""
    document = json.loads((project / schema.SCHEMA).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_an_editor_accepts_params_yaml_and_the_presets(project, editor):
    presets = sorted((project / "workflow/presets").glob("*.yaml"))
    for file in [project / "params.yaml", *presets]:
        text = file.read_text(encoding="utf-8")
        assert [error.message for error in editor.iter_errors(yaml.safe_load(text))] == [], file
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert named and (file.parent / named[1]).resolve() == project / schema.SCHEMA


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainn": {}},
        {"train": {"epoch": 3}},
        {"train": {"epochs": "3"}},
        {"train": {"optimizer": "lion"}},
        {"tensors": {"size": 100}},
        {"synthesis": {"opacity": [0.1]}},
        {"synthesis": {"foreground": {"mvtec": {"bottle": {"treshold": 3}}}}},
        {"synthesis": {"foreground": {"mvtec": {"bottle": {"blur": 4}}}}},
        {"benchmark": {"seeds": []}},
        {"benchmark": {"seeds": [1, 1]}},
        {"variants": {"prn": {"model": {"fusoin": False}}}},
        {"variants": {"prn": {"split": {"seen_anomalies": 3}}}},
    ],
)
def test_an_editor_and_the_program_refuse_the_same(project, editor, wrong):
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    assert list(editor.iter_errors(wrong))
    with pytest.raises(SettingsError):
        parse_settings(merged(params, wrong))


def test_the_bounds_of_the_schema_are_those_of_the_program(project, editor):
    """Each number of `params.yaml` a little outside of what the schema allows: both refuse it, at its path."""
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["variants"], params["benchmark"]["datasets"] = {}, {}
    tried = 0
    for path, number in numbers(params):
        for outside in (-1, 2**40):
            wrong = copy.deepcopy(params)
            section = wrong
            for key in path[:-1]:
                section = section[key]
            section[path[-1]] = type(number)(outside)
            errors = {".".join(map(str, error.absolute_path)) for error in editor.iter_errors(wrong)}
            if errors:
                tried += 1
                assert errors == {".".join(path)}
                with pytest.raises(SettingsError, match=f"^{re.escape('.'.join(path))}: found"):
                    parse_settings(wrong)
    assert tried > 100


def numbers(data: dict, *above: str) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from numbers(value, *above, key)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield (*above, key), value


def test_the_table_names_every_key(project):
    text = (project / schema.TABLE).read_text(encoding="utf-8")
    leaves = [
        path
        for path, _ in described(Settings)
        if not any(other.startswith(f"{path}.") for other, _ in described(Settings))
    ]
    assert not [path for path in leaves if f"| `{path}` |" not in text]
    assert "| `train.learning_rate` | `0.0001` | a number above 0 | of the optimizer |" in text
    assert "| `train.steps` | `null` | a whole number at least 1, or null |" in text
