"""The names of a cell on a command line: what is left out is filled in, what nobody knows is refused."""

from collections.abc import Mapping
from typing import Any

from prn import layout
from prn.datasets.registry import category_names, dataset_names
from prn.errors import SettingsError
from prn.settings.fields import WrongValue, check_name
from prn.settings.sections import Settings
from prn.settings.validation import suggestion


def check_spelling(cell: Mapping[str, Any]) -> None:
    """Raise `SettingsError` for a name that no data set, category or variant may have: they become parts of paths."""
    for name in ("dataset", "category", "variant"):
        if name in cell:
            try:
                check_name(cell[name])
            except WrongValue as error:
                raise SettingsError(f"--{name}: {error}") from None


def completed(cell: Mapping[str, Any], names: tuple[str, ...], settings: Settings) -> dict[str, Any]:
    """The names that a command takes: the data set of a category and the first seed filled in.

    Raises `SettingsError` with a suggestion for a name that neither the settings nor the registry know.
    """
    found: dict[str, Any] = {name: cell.get(name) for name in names}
    if found.get("category") and not found["dataset"]:
        found["dataset"] = _owner(found["category"], settings)
    if "dataset" in names:
        _check_names(found["dataset"], found.get("category"), settings)
    if "seed" in names and found["seed"] is None:
        found["seed"] = settings.benchmark.seeds[0]
    return found


def _owner(category: str, settings: Settings) -> str:
    """The data set that a category of the settings belongs to."""
    runs = settings.benchmark.datasets
    owners = [name for name, run in runs.items() if category in run.categories]
    if len(owners) > 1:
        raise SettingsError(f"--category {category}: stands in {' and '.join(owners)}; name its --dataset too")
    if not owners:
        known = [name for run in runs.values() for name in run.categories]
        hint = suggestion(category, known)
        raise SettingsError(f"--category {category}: not in benchmark.datasets; {hint} (or name its --dataset too)")
    return owners[0]


def _check_names(dataset: str | None, category: str | None, settings: Settings) -> None:
    """Refuse a data set that nobody knows, and a category that its published archive does not hold."""
    published = dataset_names()
    known = list(dict.fromkeys([*published, *settings.benchmark.datasets]))
    if not dataset:
        raise SettingsError(f"--dataset: missing; known: {', '.join(known)}")
    if dataset not in known:
        hint = suggestion(dataset, known)
        raise SettingsError(
            f"--dataset {dataset}: unknown; {hint} (one of your own stands in benchmark.datasets and download.sources)"
        )
    own = dataset not in published or dataset in settings.download.sources or dataset == layout.TEXTURES["dataset"]
    if category and not own and category not in category_names(dataset):
        hint = suggestion(category, category_names(dataset))
        raise SettingsError(f"--category {category}: {dataset} has no such category; {hint}")
