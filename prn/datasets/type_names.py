"""Which type of images is good and which a defect: its name says it, or else the setting `index.types`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from prn.datasets.layout import Entry, name_key, shown
from prn.errors import DataCorrupt

# Compared without case, blanks, dashes, underscores and points.
_GOOD = """
    good goods ok okay normal normals nodefect nodefects defectfree nondefective faultfree anomalyfree noanomaly
    nonanomalous
"""
# They may mean good, in some shop or language, or a defect or a part's name: asked about.
_OPEN = """
    0 accept accepted acceptable clean conforming conform conforme correct fine flawless golden healthy intact negative
    neg nominal pass passed perfect positive reference regular standard undamaged unbroken gut io inordnung gutteil
    gutteile fehlerfrei bon bonne bons buono buona buoni bueno buena bom boa goed dobry 良品 良 正常 合格 好
"""
GOOD, OPEN = frozenset(_GOOD.split()), frozenset(_OPEN.split())


def type_key(name: str) -> str:
    """What two names of a type share that mean the same."""
    return re.sub(r"[-_ .]+", "", name_key(name))


def means_good(name: str) -> bool:
    """Whether a type's name says that its images are good."""
    return type_key(name) in GOOD


def may_mean_good(name: str) -> bool:
    """Whether a type's name says, or leaves open, that its images are good."""
    return type_key(name) in GOOD | OPEN


def labelled(entries: Sequence[Entry], answers: Mapping[str, str]) -> list[Entry]:
    """The entries with their labels, good ones under the type `good`; `answers`: a type's name -> good or defect.

    DataCorrupt names a type that leaves it open and is not among the answers.
    """
    known = {type_key(name): answer for name, answer in answers.items()}
    open_names = {entry.type for entry in entries if type_key(entry.type) in OPEN - known.keys()}
    if open_names:
        example = sorted(open_names)[0]
        raise DataCorrupt(
            f"does the type {shown(sorted(map(repr, open_names)))} mean good images or a defect? Set index.types:"
            f" {{{example}: good}} or {{{example}: defect}}, or rename it to good or to the defect"
        )
    return [_with_label(entry, known.get(type_key(entry.type))) for entry in entries]


def _with_label(entry: Entry, answer: str | None) -> Entry:
    if entry.label is None:
        return entry
    good = means_good(entry.type) if answer is None else answer == "good"
    return replace(entry, type="good" if good else entry.type, label=0 if good else 1)
