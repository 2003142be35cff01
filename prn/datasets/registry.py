"""The registry of published data sets: addresses, checksums, licences and counts, read from registry.yaml."""

import difflib
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from prn.errors import SettingsError

FILE = Path(__file__).with_name("registry.yaml")


@dataclass(frozen=True, slots=True)
class Archive:
    """One published file: its name, addresses in the order they are tried, and what is known about its bytes.

    top: the folder the archive should hold ('' where it holds several); connections: ranged requests side by side.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    top: str = ""
    connections: int = 1


@dataclass(frozen=True, slots=True)
class DataSet:
    """One published data set; `counts` maps a category to its published numbers of images (see `check_counts`)."""

    key: str
    title: str
    home: str
    licence: str
    citation: str
    note: str
    unpacked_bytes: int
    archives: tuple[Archive, ...]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


@functools.cache
def registry(path: Path = FILE) -> dict[str, DataSet]:
    """Every published data set by its key (mvtec, dagm, btad, ksdd2, dtd)."""
    with path.open(encoding="utf-8") as file:
        return {key: _data_set(key, entry) for key, entry in yaml.safe_load(file).items()}


def _data_set(key: str, entry: dict[str, Any]) -> DataSet:
    """One entry of the file."""
    archives = tuple(Archive(**{**archive, "urls": tuple(archive["urls"])}) for archive in entry["archives"])
    facts = {name: value for name, value in entry.items() if name not in ("archives", "categories")}
    return DataSet(key=key, **facts, archives=archives, counts=entry["categories"])


def dataset_names() -> list[str]:
    """The keys of the published data sets, in the registry's order."""
    return list(registry())


def category_names(dataset: str) -> list[str]:
    """The published categories of a data set, in the registry's order. SettingsError for an unknown data set."""
    return list(find(dataset).counts)


def find(dataset: str) -> DataSet:
    """A data set by its key; SettingsError with a suggestion where there is none."""
    known = registry()
    if dataset in known:
        return known[dataset]
    close = difflib.get_close_matches(dataset, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise SettingsError(f"{dataset!r} is not a published data set; {hint} (a set of your own needs its folder)")


def notice(dataset: str) -> str:
    """What a user must know before the first download: licence, citation, home page and remarks."""
    facts = find(dataset)
    lines = [f"{facts.title}: {facts.licence} ({facts.home})", f"Please cite: {facts.citation}"]
    return "\n".join([*lines, f"Note: {facts.note}"] if facts.note else lines)


def check_counts(dataset: str, category: str, counts: dict[str, int]) -> list[str]:
    """Where a category's counts differ from the published ones, in words; [] where they agree or nothing is published.

    counts: train and test (all images of the published split), good and defective of the test set.
    """
    published = dict(find(dataset).counts.get(category, {}))
    found = dict(counts)
    if "test" in published:  # DAGM: the defects of both halves together are published, not how they fall
        found["defective"] = counts["all_defective"]
    return [
        f"{name}: {found[name]} images, published are {number}"
        for name, number in published.items()
        if found[name] != number
    ]
