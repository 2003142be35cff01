"""What each stage sees of the settings: its *view*, resolved for one data set, category and variant.

The view is what Snakemake compares, what the command line hands over and what the provenance records; a stage that
reads a setting outside its view fails at once.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from prn.config import Settings, merged, resolve_variant
from prn.strict import from_plain, to_plain

# `train` adds what the variant's method reads (`prn.methods.METHODS`). Variants that agree in the view of `prototypes`
# share a file.
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
    "report": (
        "benchmark",
        "split",
        "tensors",
        "prototypes",
        "model",
        "synthesis",
        "train",
        "predict",
        "methods",
        "evaluate",
        "report",
        "method",
        "variants",
    ),
}
# Settings that cannot change a result stand in no view: a change of theirs reruns nothing. `execution` holds them.
EXECUTION = ("train.checkpoint_minutes",)


def view(settings: Settings, stage: str, dataset: str = "", category: str = "", variant: str = "") -> dict[str, Any]:
    """The settings that `stage` reads for one data set, category and variant, as plain data.

    Entries that concern other data sets or categories (sources, foreground rules) are left out, so that adding a
    category changes no other category's view; without a data set (the report) all are in it.
    """
    resolved = resolve_variant(settings, variant) if variant else settings
    keys = (*VIEWS[stage], *(_method_keys(resolved) if stage == "train" else ()))
    plain = _plain_sections(resolved, keys)
    result: dict[str, Any] = {}
    for key in keys:
        _copy_leaf(plain, result, key)
    if "download" in result and dataset:
        sources = result["download"]["sources"]
        result["download"]["sources"] = {name: sources[name] for name in [dataset] if name in sources}
    if "synthesis" in result and dataset:
        rules = result["synthesis"]["foreground"].get(dataset, {})
        result["synthesis"]["foreground"] = {dataset: {category: rules[category]}} if category in rules else {}
    for key in EXECUTION:
        section, _, leaf = key.partition(".")
        result.get(section, {}).pop(leaf, None)
    return result


def execution(settings: Settings, variant: str = "") -> dict[str, Any]:
    """The settings of `EXECUTION`, resolved for a variant: how a job runs, not what comes out."""
    plain = _plain_sections(resolve_variant(settings, variant) if variant else settings, EXECUTION)
    result: dict[str, Any] = {}
    for key in EXECUTION:
        _copy_leaf(plain, result, key)
    return result


def view_of_prototypes(train_view: Mapping[str, Any]) -> dict[str, Any]:
    """The view of the stage `prototypes` within that of `train`: what a variant's prototypes depend on."""
    result: dict[str, Any] = {}
    for key in VIEWS["prototypes"]:
        _copy_leaf(train_view, result, key)
    return result


def view_of_tensors(any_view: Mapping[str, Any]) -> dict[str, Any]:
    """The view of the stage `tensors` within that of a stage that reads tensors."""
    result: dict[str, Any] = {}
    for key in VIEWS["tensors"]:
        _copy_leaf(any_view, result, key)
    return result


def from_view(data: str | Mapping[str, Any], run_with: Mapping[str, Any] | None = None) -> Settings:
    """A stage's settings from its view (plain data or JSON); reading what is not in it raises `AttributeError`.

    `run_with` holds settings of `EXECUTION`; one that it does not hold has its default.
    """
    plain = json.loads(data) if isinstance(data, str) else data
    beside = merged(execution(Settings()), run_with or {})
    known = {section: values for section, values in beside.items() if section in plain}
    return from_plain(Settings, merged(known, plain), partial=True)


def _method_keys(settings: Settings) -> tuple[str, ...]:
    """What the training of a resolved variant reads: its method's settings, without `prototypes` where it uses none."""
    from prn.methods import METHODS

    entry = METHODS[settings.method]
    own = () if entry.options is None else (f"methods.{settings.method}",)
    keys = (*entry.reads, *own)
    return tuple(key for key in keys if key != "prototypes" or entry.needs("prototypes", settings))


def _plain_sections(settings: Settings, keys: Iterable[str]) -> dict[str, Any]:
    """The sections that `keys` name, as plain data."""
    return {section: to_plain(getattr(settings, section)) for section in {key.partition(".")[0] for key in keys}}


def _copy_leaf(source: Mapping[str, Any], target: dict[str, Any], key: str) -> None:
    section, _, leaf = key.partition(".")
    if leaf:
        target.setdefault(section, {})[leaf] = copy.deepcopy(source[section][leaf])
    else:
        target[section] = copy.deepcopy(source[section])
