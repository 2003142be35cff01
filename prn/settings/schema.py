"""What is made from the models: `params.schema.json` for editors, and the table of all settings, `docs/settings.md`.

`python -m prn.settings.schema` writes both; a test holds them to the models.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from prn.settings.fields import NAME_RULE, Section
from prn.settings.sections import VARIANT_SECTIONS, Settings
from prn.settings.validation import allowed, node_at

PROJECT = Path(__file__).resolve().parents[2]
SCHEMA, TABLE = "params.schema.json", "docs/settings.md"
INTRODUCTION = f"""# Settings

Every key of `params.yaml` with its default, what it may be, and what it means. This page is made from
`prn/settings/` by `python -m prn.settings.schema`, as is `params.schema.json`, by which an editor completes and checks
`params.yaml` and the presets. A misspelt key or a wrong value is refused before any job runs, with its path.

Names of data sets, categories and variants become parts of paths. Each is
{NAME_RULE}.
A data set cannot be called like a page of the report.
"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `params.yaml` and of presets, which hold parts of it: no key is required."""
    schema = _without(Settings.model_json_schema(), "title", "required")
    overrides = {name: schema["properties"][name] for name in VARIANT_SECTIONS}
    schema["properties"]["variants"]["additionalProperties"] = {
        "type": "object",
        "properties": overrides,
        "additionalProperties": False,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "params.yaml of prn", **schema}


def _without(node: Any, *keywords: str) -> Any:
    """A schema without some keywords; a property of such a name, whose value is a schema, stays."""
    if isinstance(node, list):
        return [_without(item, *keywords) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _without(value, *keywords) for key, value in node.items() if key not in keywords or isinstance(value, dict)
    }


def table() -> str:
    """`docs/settings.md`: a heading and a table for each section."""
    schema = json_schema()
    parts = [INTRODUCTION]
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        about = inspect.getdoc(kind) if isinstance(kind, type) and issubclass(kind, Section) else None
        parts.append(f"## {name}\n\n{about or _sentence(field.description or '')}\n")
        rows = ["| key | default | allowed | meaning |", "|---|---|---|---|", *_rows(schema, (name,))]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _rows(schema: dict[str, Any], place: tuple[str, ...]) -> Iterator[str]:
    """The rows of what stands at a place and below."""
    *above, last = place
    node = node_at(schema, place)
    own = node_at(schema, above).get("properties", {}).get(last, {})
    inner = node.get("properties", {})
    entries = node.get("additionalProperties")
    if own and not inner:
        default = f"`{_yaml(own['default'])}`" if "default" in own else ""
        cells = [f"`{'.'.join(place)}`", default, _escaped(allowed(own)), _escaped(own.get("description", ""))]
        yield f"| {' | '.join(cells)} |"
    if place[0] == "variants":
        return
    for key in inner:
        yield from _rows(schema, (*place, key))
    if isinstance(entries, dict) and ("$ref" in entries or entries.get("type") == "object"):
        yield from _rows(schema, (*place, "<name>"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _yaml(value: Any) -> str:
    """A value as one writes it in `params.yaml`."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]


def _escaped(text: str) -> str:
    """A text for a cell of a Markdown table."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("<", "&lt;")


def main() -> None:
    """Write both files."""
    (PROJECT / SCHEMA).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    (PROJECT / TABLE).write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
