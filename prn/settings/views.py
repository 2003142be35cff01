"""What each stage reads of the settings: its *view*, resolved for one data set, category and variant.

The view is what Snakemake compares, what the command line hands over and what the provenance records; a stage that
reads a setting outside its view fails at once.
"""

import copy
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, cast

from pydantic import Field, create_model

from prn.datasets.sources import is_remote
from prn.errors import SettingsError
from prn.settings.fields import Section
from prn.settings.methods import METHODS, MethodSections
from prn.settings.sections import Settings
from prn.settings.validation import joined, merged, suggestion, validated
from prn.settings.variants import resolve_variant

# By stage the paths of the settings that it reads, a whole section or a key of one. `train` reads besides what its
# method declares (`METHODS`). Variants that agree in the view of `prototypes` share a file.
VIEWS: dict[str, tuple[str, ...]] = {
    "download": ("download",),
    "index": ("index",),
    "weights": ("weights", "model.backbone"),
    "split": ("split",),
    "tensors": ("tensors.size",),
    "prototypes": ("model.backbone", "prototypes", "tensors.size"),
    "train": ("method", "tensors.size"),
    "predict": ("method", "predict", "tensors.size", "index.image_bits"),
    "evaluate": ("evaluate", "tensors.size"),
    "report": tuple(name for name in Settings.model_fields if name not in ("download", "weights")),
}
# Settings that cannot change a result stand in no view: a change of theirs reruns nothing. `execution` holds them.
# So does the place of a user's own files: what they hold is compared itself (`prn.datasets.own_sources`).
EXECUTION = ("train.checkpoint_minutes", "download.sources", "weights.path")


def view(settings: Settings, stage: str, dataset: str = "", category: str = "", variant: str = "") -> dict[str, Any]:
    """The settings that `stage` reads for one data set, category and variant, as plain data.

    Entries that concern other data sets or categories (foreground rules) are left out, so that adding a category
    changes no other category's view; without a data set (the report) all are in it. Of the sources only an address on
    another machine is in it.
    """
    resolved = resolve_variant(settings, variant) if variant else settings
    uses_prototypes = METHODS[resolved.method].needs("prototypes", resolved)
    result = _dumped(resolved, _paths([stage], resolved.method, uses_prototypes))
    if "synthesis" in result and dataset:
        rules = result["synthesis"]["foreground"].get(dataset, {})
        result["synthesis"]["foreground"] = {dataset: {category: rules[category]}} if category in rules else {}
    for path in EXECUTION:
        section, _, key = path.partition(".")
        result.get(section, {}).pop(key, None)
    source = resolved.download.sources.get(dataset, "")
    if stage == "download" and is_remote(source):
        result["download"]["sources"] = {dataset: source}
    return result


def execution(settings: Settings, variant: str = "") -> dict[str, Any]:
    """The settings of `EXECUTION`, resolved for a variant: how a job runs, not what comes out."""
    resolved = resolve_variant(settings, variant) if variant else settings
    return _dumped(resolved, EXECUTION)


def view_of_prototypes(train_view: Mapping[str, Any]) -> dict[str, Any]:
    """The view of the stage `prototypes` within that of `train`: what a variant's prototypes depend on."""
    return _picked(train_view, VIEWS["prototypes"])


def view_of_tensors(any_view: Mapping[str, Any]) -> dict[str, Any]:
    """The view of the stage `tensors` within that of a stage that reads tensors."""
    return _picked(any_view, VIEWS["tensors"])


def from_view(data: Mapping[str, Any], *stages: str, run_with: Mapping[str, Any] | None = None) -> Settings:
    """Typed settings from the view of a stage, or of several together; `run_with` are settings of `EXECUTION`.

    What the stages do not declare cannot be read (`AttributeError`). Raises `SettingsError` for a view that lacks a
    setting or holds another one.
    """
    paths = _paths(stages, data.get("method"), _uses_prototypes(data))
    beside = validated(_part(Settings, EXECUTION), run_with or {}).model_dump()
    whole = merged(_picked(beside, [path for path in EXECUTION if _covered(path, paths)]), data)
    settings = validated(_part(Settings, tuple(paths)), whole)
    missing = _first_missing(settings.model_dump(), whole)
    if missing:
        raise SettingsError(f"{missing}: missing")
    return cast(Settings, settings)


def _paths(stages: Iterable[str], method: Any, uses_prototypes: bool) -> list[str]:
    """What the stages read; a method that uses no prototypes does not read their section."""
    paths = [path for stage in stages for path in VIEWS[stage]]
    if "train" in stages:
        if not isinstance(method, str) or method not in METHODS:
            raise SettingsError(f"method: found {method!r}; {suggestion(str(method), METHODS)}")
        own = [f"methods.{method}"] if method in MethodSections.model_fields else []
        paths += [path for path in (*METHODS[method].reads, *own) if path != "prototypes" or uses_prototypes]
    return list(dict.fromkeys(paths))


def _uses_prototypes(view_of_train: Mapping[str, Any]) -> bool:
    """Whether the view's method uses prototypes; where the switch is missing, that is what will be told."""
    entry = METHODS.get(str(view_of_train.get("method")))
    needed = entry.prototypes if entry else False
    if not isinstance(needed, str):
        return needed
    value: Any = view_of_train
    for key in needed.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value is not False


def _covered(path: str, paths: Iterable[str]) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in paths)


def _dumped(settings: Settings, paths: Iterable[str]) -> dict[str, Any]:
    """What stands at the paths, as plain data."""
    return _picked(settings.model_dump(include={path.partition(".")[0] for path in paths}), paths)


def _picked(plain: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """A copy of what stands at the paths."""
    result: dict[str, Any] = {}
    for path in paths:
        section, _, key = path.partition(".")
        if key:
            result.setdefault(section, {})[key] = copy.deepcopy(plain[section][key])
        else:
            result[section] = copy.deepcopy(plain[section])
    return result


class _Part(Section):
    """Settings with some of their fields only; pickled by what it is made from, since its class has no module."""

    made_from: ClassVar[tuple[type[Section], tuple[str, ...]]]

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (*self.made_from, self.model_dump())


def _restored(model: type[Section], paths: tuple[str, ...], plain: dict[str, Any]) -> Section:
    return _part(model, paths).model_validate(plain)


@cache
def _part(model: type[Section], paths: tuple[str, ...]) -> type[_Part]:
    """The model with exactly the fields at the paths."""
    inner: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        inner.setdefault(name, []).append(rest)
    fields: dict[str, Any] = {}
    for name, keys in inner.items():
        field = model.model_fields[name]
        kind: Any = field.annotation
        if "" in keys:
            fields[name] = (kind, field)
        else:
            kind = _part(kind, tuple(keys))
            fields[name] = (kind, Field(default_factory=kind))
    part = create_model(f"Part{model.__name__}", __base__=_Part, **fields)
    part.made_from = (model, paths)
    return part


def _first_missing(whole: Any, given: Any, *path: str) -> str:
    """The path of the first setting that stands in `whole` alone, '' where none does."""
    if isinstance(whole, Mapping) and isinstance(given, Mapping):
        for key, value in whole.items():
            found = joined(*path, key) if key not in given else _first_missing(value, given[key], *path, key)
            if found:
                return found
    return ""
