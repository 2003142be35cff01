"""Settings from `params.yaml` and the presets laid over it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prn.errors import DataMissing, SettingsError
from prn.settings.sections import Settings
from prn.settings.validation import joined, merged, validated
from prn.settings.variants import check_settings

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where PyYAML was built with libyaml


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as plain data.

    Raises `DataMissing` when it is not there, `SettingsError` when it is not YAML, no mapping, or holds a key twice.
    """
    file = Path(path)
    if not file.is_file():
        raise DataMissing(f"{file}: no such settings file")
    try:
        loader = LOADER(file.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        _refuse_repeated_keys(root, file)
        data = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"{file}: found {type(data).__name__}, expected sections with keys")
    return data


def _refuse_repeated_keys(root: yaml.Node | None, file: Path) -> None:
    """YAML forbids a key that stands twice in a mapping, yet its readers take the last one silently."""
    todo: list[tuple[yaml.Node | None, str]] = [(root, "")]
    visited: set[int] = set()  # an alias leads to the node of its anchor
    while todo:
        node, path = todo.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += [(item, f"{path}[{number}]") for number, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                place, line = joined(path, str(key.value)), key.start_mark.line + 1
                if place in lines:
                    raise SettingsError(
                        f"{file}, line {line}: {place} stands here a second time, first on line {lines[place]}"
                    )
                lines[place] = line
                todo.append((value, place))


def load_settings(*paths: str | Path) -> Settings:
    """Settings from `params.yaml` and presets laid over it in order, checked as a whole (see `check_settings`)."""
    return parse_settings(merged({}, *(read_yaml(path) for path in paths)))


def parse_settings(data: Mapping[str, Any]) -> Settings:
    """Typed settings from plain data.

    Raises `SettingsError` with the key's path for an unknown key, a wrong type or range, an unknown data set,
    category, method or variant, or a variant whose overrides are not valid.
    """
    settings = validated(Settings, data)
    check_settings(settings)
    return settings
