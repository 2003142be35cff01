"""Strict loading of plain data (YAML, JSON) into typed dataclasses: an unknown key or a wrong value names its path."""

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from prn.errors import SettingsError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number, both included unless `open_low`: used as `Annotated[float, Range(0, 1)]`."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def check(self, value: float, path: str) -> None:
        """Raise `SettingsError` when `value` is outside the bounds."""
        if value > self.high or value < self.low or (self.open_low and value == self.low) or math.isnan(value):
            left = "above" if self.open_low else "at least"
            bound = (
                f"{left} {self.low:g}" if self.high == math.inf else f"{left} {self.low:g} and at most {self.high:g}"
            )
            raise SettingsError(f"{path}: found {value!r}, expected a number {bound}")


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, else all of them."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}"


def from_plain(kind: type[T], data: Any, path: str = "", partial: bool = False) -> T:
    """Build the dataclass `kind` from a mapping.

    With `partial`, keys may be absent: such a field is left unset, so that reading it raises `AttributeError`
    (a stage can only read what it declared); without, an absent key takes the dataclass's default.

    Raises `SettingsError` with the key's path, what was found and what was expected.
    """
    if not isinstance(data, Mapping):
        raise SettingsError(f"{path or 'settings'}: found {data!r}, expected a section with keys")
    hints, fields = _declared(typing.cast(type, kind))
    for key in data:
        if key not in fields:
            raise SettingsError(f"{_join(path, key)}: unknown key; {suggestion(str(key), fields)}")
    values = {name: _value(hints[name], data[name], _join(path, name), partial) for name in fields if name in data}
    if partial:
        section = object.__new__(kind)
        for name, value in values.items():
            object.__setattr__(section, name, value)
        return section
    missing = [name for name, field in fields.items() if name not in values and not _has_default(field)]
    if missing:
        raise SettingsError(f"{_join(path, missing[0])}: missing")
    section = kind(**values)
    check = getattr(section, "check", None)
    if check is not None:
        check(path)
    return section


def to_plain(value: Any) -> Any:
    """Dataclasses, also partial ones, as plain dicts and lists that JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def with_fields(section: T, **values: Any) -> T:
    """A copy of a dataclass with other values in some fields; what a partial one leaves unset stays so."""
    names = [field.name for field in dataclasses.fields(typing.cast(Any, section))]
    kept = {name: getattr(section, name) for name in names if hasattr(section, name)}
    copy = object.__new__(type(section))
    for name, value in {**kept, **values}.items():
        object.__setattr__(copy, name, value)
    return copy


@functools.cache
def _declared(kind: type) -> tuple[dict[str, Any], dict[str, dataclasses.Field]]:
    """A dataclass's types and fields by name; working the types out costs most of the time of a loading."""
    return typing.get_type_hints(kind, include_extras=True), {field.name: field for field in dataclasses.fields(kind)}


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _value(hint: Any, value: Any, path: str, partial: bool) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *checks = get_args(hint)
        result = _value(inner, value, path, partial)
        for check in checks:
            if result is not None:
                check.check(result, path)
        return result
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (inner,) = [option for option in get_args(hint) if option is not type(None)]
        return _value(inner, value, path, partial)
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in get_args(hint)):
            raise SettingsError(f"{path}: found {value!r}; {suggestion(str(value), map(str, get_args(hint)))}")
        return value
    if origin is list:
        if not isinstance(value, list):
            raise SettingsError(f"{path}: found {value!r}, expected a list")
        return [_value(get_args(hint)[0], item, f"{path}[{i}]", partial) for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{path}: found {value!r}, expected a section with keys")
        return {
            _key(key, path): _value(get_args(hint)[1], item, _join(path, key), partial) for key, item in value.items()
        }
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value, path, partial)
    return _scalar(hint, value, path, partial)


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise SettingsError(f"{path}.{key}: the key {key!r} is not a text; put it into quotes")
    return key


def _scalar(hint: Any, value: Any, path: str, partial: bool) -> Any:
    if hint is Any:
        return value
    if hasattr(hint, "from_plain"):  # a class that says itself how it is read
        return hint.from_plain(value, path, partial)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        raise SettingsError(f"{path}: found the text {value!r}, expected a number (YAML wants 1.0e-4, not 1e-4)")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise SettingsError(f"{path}: found {value!r}, expected {names.get(hint, hint.__name__)}")
    return value
