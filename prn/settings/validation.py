"""Plain data (YAML, JSON) to typed settings: a wrong value is told by its key's path, what was found and expected."""

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prn.errors import SettingsError
from prn.settings.fields import WrongValue

M = TypeVar("M", bound=BaseModel)
UNKNOWN_KEY = ("extra_forbidden", "invalid_key")  # pydantic's names of such errors


def merged(base: Mapping[str, Any], *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with each of `overrides` laid over it, section by section; lists and scalars are replaced."""
    result = copy.deepcopy(dict(base))
    for override in overrides:
        for key, value in override.items():
            if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
                result[key] = merged(result[key], value)
            else:
                result[key] = copy.deepcopy(value)
    return result


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, else all of them."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}"


def validated(model: type[M], data: Any, path: str = "") -> M:
    """`data` as `model`; `path` is where it stands in the settings.

    Raises `SettingsError` about one wrong key, an unknown one first: its misspelling may explain the others.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = sorted(error.errors(include_url=False), key=lambda one: one["type"] not in UNKNOWN_KEY)
        raise SettingsError(_text(details[0], path, model.model_json_schema())) from None


def _text(error: Mapping[str, Any], path: str, schema: dict[str, Any]) -> str:
    """What an error of pydantic says in this project's words; `schema` is the JSON Schema of the whole model."""
    kind, found, place = error["type"], error["input"], error["loc"]
    if place and place[-1] == "[key]":  # of a mapping: what stands before is the key itself
        reason = _own_words(error)
        if reason:
            return f"{joined(path, *place[:-2])}: {reason}"
        return f"{joined(path, *place[:-2], str(found))}: the key {found!r} is not a text; put it into quotes"
    if kind in UNKNOWN_KEY:
        known = node_at(schema, place[:-1]).get("properties", {})
        return f"{joined(path, *place[:-1], str(place[-1]))}: unknown key; {suggestion(str(place[-1]), known)}"
    where = joined(path, *place)
    if kind == "missing":
        return f"{where}: missing"
    if kind == "value_error":
        key = getattr(error["ctx"]["error"], "key", "")
        return f"{joined(where, key) if key else where or 'settings'}: {_own_words(error)}"
    node = node_at(schema, place)
    if kind == "literal_error":
        return f"{where}: found {found!r}; {suggestion(str(found), node['enum'])}"
    if kind == "float_type" and isinstance(found, str):
        return f"{where}: found the text {found!r}, expected a number (YAML wants 1.0e-4, not 1e-4)"
    words = f"a multiple of {node['multipleOf']}" if kind == "multiple_of" else allowed(node)
    if kind == "finite_number":
        words = words.replace("a number", "a finite number")
    return f"{where or 'settings'}: found {found!r}, expected {words}"


def _own_words(error: Mapping[str, Any]) -> str:
    """The text of a check of ours, '' for one of pydantic's own."""
    reason = error.get("ctx", {}).get("error")
    return str(reason) if isinstance(reason, WrongValue) else ""


def joined(*parts: str | int) -> str:
    """Keys as a path, `benchmark.seeds[0]`; one with signs that no terminal prints stands in quotes."""
    path = ""
    for part in parts:
        key = str(part) if str(part).isprintable() else repr(part)
        path += f"[{part}]" if isinstance(part, int) else f".{key}" if path else key
    return path


def node_at(schema: Mapping[str, Any], place: Iterable[str | int]) -> dict[str, Any]:
    """The part of a JSON Schema that describes the value at `place`, its references followed."""
    node = _resolved(schema, dict(schema))
    for part in place:
        inner = node["items"] if isinstance(part, int) else node.get("properties", {}).get(part)
        node = _resolved(schema, inner or node["additionalProperties"])
    return node


def _resolved(schema: Mapping[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return _resolved(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    return node


def allowed(node: Mapping[str, Any]) -> str:
    """What a value may be, in words, from its part of a JSON Schema."""
    if "anyOf" in node:
        (other,) = [one for one in node["anyOf"] if one.get("type") != "null"]
        return f"{allowed(other)}, or null"
    if "enum" in node:
        return " or ".join(filter(None, [", ".join(node["enum"][:-1]), node["enum"][-1]]))
    kind = node.get("type")
    if kind == "array":
        return _list(node)
    if kind in ("integer", "number"):
        return _number(node)
    return {"boolean": "true or false", "string": "a text", None: "any value"}.get(kind, "a section with keys")


def _list(node: Mapping[str, Any]) -> str:
    each = allowed(node["items"])
    if node.get("maxItems") == 2:
        return f"a list of two numbers, the lower first, each {each}"
    return f"a list, {'not empty, ' if node.get('minItems') else ''}each {each}"


def _number(node: Mapping[str, Any]) -> str:
    bounds = [
        f"{words} {node[key]:.10g}"
        for key, words in (("exclusiveMinimum", "above"), ("minimum", "at least"), ("maximum", "at most"))
        if key in node
    ]
    words = " ".join(["a whole number" if node["type"] == "integer" else "a number", " and ".join(bounds)]).strip()
    if "multipleOf" in node:
        words += f" and a multiple of {node['multipleOf']}"
    return f"{words}, odd" if "not" in node else words
