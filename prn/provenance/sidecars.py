"""Provenance: every artefact carries what it was made from, by which code and with which settings.

`<artefact>.sha256` holds the artefact's hash (deterministic: it is a workflow input); `<artefact>.prov.json` holds the
stage, its settings and their digest, the digest of the code it imports, the hashes of its inputs, the seed, and, for
the record only, versions, device and commit. An artefact *matches* when settings, code, inputs and its own bytes do.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prn.errors import DataCorrupt, DataMissing
from prn.layout import digest_file, settings_digest, sidecar
from prn.provenance.environment import environment, peak_memory
from prn.provenance.files import sha256_file, write_json, write_text

SMALL = 1_000_000  # bytes


def finish(
    artefact: Path,
    stage: str,
    settings: Mapping[str, Any],
    inputs: Iterable[Path],
    code: str,
    *,
    listing: str = "",
    **record: Any,
) -> None:
    """Write the digest file and the provenance sidecar of a finished artefact.

    `settings` is the stage's view, `code` its code digest; `record` holds what is kept for the record (seed, seconds).
    Inputs are given by their paths relative to the work folder; a large one is identified by its digest file. With each
    input stand the digests of its own settings and code: where a cache was cleared, they say what it was made with.
    `listing` is the digest of the user's own images that were read (`prn.datasets.listing`), '' for published ones.
    """
    inputs = list(inputs)
    digest = sha256_file(artefact)
    write_text(digest_file(str(artefact)), f"{digest}  {artefact.name}\n")
    provenance = {
        "stage": stage,
        "output": digest,
        "settings": settings,
        "settings_digest": settings_digest(settings),
        "code": code,
        "inputs": {path.as_posix(): artefact_hash(path) for path in inputs},
        "made_with": {path.as_posix(): made_with for path in inputs if (made_with := _made_with(path))},
        "listing": listing,
        "record": {**record, **environment(), **peak_memory()},
    }
    write_json(sidecar(str(artefact)), provenance)


def stale_reason(
    artefact: Path,
    settings: Mapping[str, Any],
    code: str,
    root: Path | None = None,
    *,
    made_with: Iterable[tuple[str, tuple[str, str]]] = (),
    trust_large: bool = False,
    listing: str | None = None,
) -> str | None:
    """Why `artefact` does not belong to today's settings, code and inputs, or None when it does.

    An input that is absent is a cache that was cleared: its recorded hash stands. `made_with` pairs inputs with the
    digests of the settings and the code that they must have been made with; it is read last. With `trust_large` the
    bytes of a file above `SMALL` are not read: its digest file stands for them. `listing`: what the user's own folder
    lists today, None where nobody looked.
    """
    file = Path(sidecar(str(artefact)))
    if not artefact.is_file():
        return "the file is missing"
    if not file.is_file():
        return "it has no provenance sidecar"
    try:
        provenance = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return "its provenance sidecar is not readable"
    if provenance.get("settings_digest") != settings_digest(settings):
        return "the settings have changed since it was made"
    if provenance.get("code") != code:
        return "the code has changed since it was made"
    if listing is not None and provenance.get("listing", "") != listing:
        return "the images that it was made from are not those of today"
    trusted = trust_large and artefact.stat().st_size > SMALL
    if provenance.get("output") != (artefact_hash(artefact) if trusted else sha256_file(artefact)):
        return "the file was changed after it was made"
    return _changed_input(provenance, root or Path(), made_with)


def _changed_input(
    provenance: Mapping[str, Any], root: Path, made_with: Iterable[tuple[str, tuple[str, str]]]
) -> str | None:
    """Which input of an artefact is not the one that it was made from, None when all are."""
    for name, digests in made_with:
        if provenance.get("made_with", {}).get(name) != list(digests):
            return f"its input {name} was made with other settings or code"
    for name, digest in provenance.get("inputs", {}).items():
        current = root / name
        if current.is_file() and artefact_hash(current) != digest:
            return f"its input {name} has changed since it was made"
    return None


def _made_with(path: Path) -> list[str] | None:
    """The digests of the settings and the code that an artefact was made with, None where it has no provenance."""
    try:
        provenance = json.loads(Path(sidecar(str(path))).read_text(encoding="utf-8"))
        return [provenance["settings_digest"], provenance["code"]]
    except (OSError, ValueError, KeyError):
        return None


def recorded_listing(artefact: Path) -> str:
    """The digest of the user's own files that an artefact was made from; '' for none, also without provenance."""
    try:
        return str(json.loads(Path(sidecar(str(artefact))).read_text(encoding="utf-8")).get("listing", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def artefact_hash(path: Path) -> str:
    """The sha256 of an artefact, read from its digest file where it has one.

    Raises `DataMissing` when the file is not there.
    """
    small = Path(digest_file(str(path)))
    if small.is_file():
        return small.read_text(encoding="utf-8").split()[0]
    if not path.is_file():
        raise DataMissing(f"{path}: the file is missing; run the stage that makes it")
    return sha256_file(path)


def verify_artefact(path: Path) -> None:
    """Raise `DataCorrupt` when a file's bytes are not those of its digest file (a truncated or edited artefact)."""
    expected, found = artefact_hash(path), sha256_file(path)
    if expected != found:
        raise DataCorrupt(
            f"{path}: sha256 is {found}, its digest file says {expected}; delete it and run its stage again"
        )
