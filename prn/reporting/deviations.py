"""`deviations.md`: every difference from the paper, its reason and measured effect; what this run's settings are."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from prn import layout
from prn.reporting.ablations import effect_text
from prn.reporting.document import Block, Heading, Page, Table
from prn.reporting.results import Results, Run
from prn.reporting.wording import generated_title, listing, plural
from prn.settings.sections import Settings

FILE = Path(__file__).with_name("deviations.yaml")
KINDS = {
    "departs": "Where the paper says otherwise",
    "open": "Where the paper is silent",
    "protocol": "Data and evaluation",
}
LIMITS = ("train.threads", "train.checkpoint_minutes")
COMPARED = ("tensors", "prototypes", "model", "synthesis", "train")


@cache
def known_deviations() -> tuple[dict[str, str], ...]:
    """The entries of `deviations.yaml`."""
    return tuple(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def deviations_page(root: Path, settings: Settings, results: Results) -> Page:
    """This run's settings against the paper's, then the choices that hold for every run."""
    page = Page("deviations.md", generated_title("Deviations from the paper", settings))
    page.add(Heading("Settings of this run"), *_settings(root, settings, results))
    for kind, title in KINDS.items():
        entries = [entry for entry in known_deviations() if entry["kind"] == kind]
        rows = [
            [entry["part"], entry["paper"], _ours(entry), entry["why"], _effect(entry, results)] for entry in entries
        ]
        page.add(Heading(title), Table(["Part", "Paper", "Here", "Why", "Measured effect"], rows, left=5))
    page.add(
        "A measured effect is the alternative minus `prn` in points, on the categories and seeds that both have;"
        " *not measured* means that the variant that would show it was not part of this run."
    )
    return page


def _ours(entry: Mapping[str, str]) -> str:
    return f"{entry['ours']} (`{entry['setting']}`)" if "setting" in entry else entry["ours"]


def _effect(entry: Mapping[str, str], results: Results) -> str:
    variant = entry.get("variant")
    text = effect_text(results, variant) if variant else ""
    return f"`{variant}`: {text}" if text else "not measured"


def _settings(root: Path, settings: Settings, results: Results) -> list[Block]:
    """What the trainings of PRN really used, from their run cards, where it is not the paper's value."""
    runs = [run for run in results.plan if run.variant == "prn" and run in results.done]
    paper = flat(Settings().model_dump())
    found: dict[str, set[str]] = {}
    used = 0
    for run in runs:
        view = _card_settings(root, run)
        used += bool(view)
        for key, value in flat(view).items():
            if key in paper and paper[key] != value and key not in LIMITS:
                found.setdefault(key, set()).add(json.dumps(value))
    size = getattr(getattr(settings, "tensors", None), "size", None)
    if size is not None and size != paper["tensors.size"]:
        found["tensors.size"] = {json.dumps(size)}
    weights = sorted({row.weights for row in results.rows if row.run in runs and row.weights not in ("", "imagenet")})
    if weights:
        found["weights"] = {json.dumps(name) for name in weights}
    if not used:
        return ["No run card of a PRN training is at hand, so this run's settings cannot be compared."]
    if not found:
        return [f"{plural(used, 'training')} of `prn`: every setting is the paper's."]
    rows = [
        [f"`{key}`", json.dumps(paper.get(key, "imagenet")), listing(sorted(values))]
        for key, values in sorted(found.items())
    ]
    words = f"From the run cards of {plural(used, 'training')} of `prn`; every other setting is the paper's."
    return [words, Table(["Setting", "Paper", "This run"], rows, left=3)]


def changed_settings(settings: Settings) -> list[str]:
    """The settings of training and image size, by their keys, that are not the paper's."""
    paper = flat(Settings().model_dump())
    sections = {name: part for name, part in settings.model_dump().items() if name in COMPARED}
    return [
        f"`{key}`" for key, value in sorted(flat(sections).items()) if key not in LIMITS and paper.get(key) != value
    ]


def _card_settings(root: Path, run: Run) -> dict[str, Any]:
    file = run.file(root, layout.RUN_CARD)
    if not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8")).get("settings") or {}


def flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as `a.b.c: value`; the foreground rules stay out (they concern single categories)."""
    result: dict[str, Any] = {}
    for key, value in section.items():
        if key == "foreground":
            continue
        if isinstance(value, Mapping):
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[f"{prefix}{key}"] = value
    return result
