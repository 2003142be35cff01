"""The few-shot split: which anomalies are seen in training, which normals train, what is left to test.

DRA's general setting as the PRN paper uses it (supplement B.1): ten anomalies drawn over all types of the test set and
taken out of it; fewer shots are prefixes of the ten and share the test set. DAGM first moves its training anomalies to
the test set; KolektorSDD2's are dropped (or pooled). DRA shuffles an unsorted listing, so its own draws cannot be
repeated; here paths are sorted first, and the draw is the same on every machine and file system.
"""

import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from prn.datasets.rows import IndexRow
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.provenance.files import atomic_write

ALGORITHM = "sorted POSIX paths, numpy RandomState(seed).shuffle, first with a mask"
VERSION = 1


@dataclass(frozen=True)
class Split:
    """The split of one data set, category and seed; every list holds paths as in the index.

    seen: the seen anomalies in their drawn order (a prefix is the split with fewer shots); train_normal, test: sorted;
    hashes: path -> sha256 of every image named; dropped: path -> why an image is in no list;
    moved: training anomalies that were moved to the test set before the draw; note: '' or what a user must know.
    """

    dataset: str
    category: str
    seed: int
    train_normal: list[str]
    seen: list[str]
    test: list[str]
    hashes: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    note: str = ""
    algorithm: str = ALGORITHM
    version: int = VERSION

    @property
    def digest(self) -> str:
        """Hex sha256 over everything in the split."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def path_key(path: str) -> str:
    """What paths are sorted by: the POSIX string in Unicode's composed form (file systems differ there)."""
    return unicodedata.normalize("NFC", path)


def make_split(
    rows: Sequence[IndexRow],
    dataset: str,
    category: str,
    seed: int,
    seen_anomalies: int = 10,
    *,
    ksdd2_train_anomalies: Literal["drop", "pool"] = "drop",
) -> Split:
    """Draw the split of one category from its index.

    An anomaly without a mask, or with an empty one, is never drawn as seen. Where no anomaly has a mask, `seen` is
    empty and `note` says so (pixel metrics and methods that need masks are out of reach, image AUROC is not). By
    content hash no image stands in two lists: a training image that is also in the test set is dropped, and so is a
    twin of a seen anomaly.
    Errors: DataMissing (no training normal, or too few anomalies for the shots and at least one to test).
    """
    ordered = sorted(rows, key=lambda row: path_key(row.path))
    train = [row for row in ordered if row.split == "train" and row.label == 0]
    test = [row for row in ordered if row.split == "test"]
    anomalies = [row for row in ordered if row.split == "train" and row.label == 1]
    dropped: dict[str, str] = {}
    moved: list[IndexRow] = []
    if dataset == "ksdd2" and ksdd2_train_anomalies == "drop":
        dropped |= {row.path: "a training anomaly of KolektorSDD2" for row in anomalies}
    else:
        moved = anomalies
        test = sorted(test + moved, key=lambda row: path_key(row.path))

    seen, note = _draw(test, f"{dataset}/{category}", seed, seen_anomalies)
    taken, drawn = {row.path for row in seen}, {row.sha256 for row in seen}
    twins = [row for row in test if row.sha256 in drawn and row.path not in taken]
    dropped |= {row.path: "the same bytes as a seen anomaly" for row in twins}
    known = {row.sha256 for row in test}
    dropped |= {row.path: "the same bytes as a test image" for row in train if row.sha256 in known}
    train = [row for row in train if row.path not in dropped]
    test = [row for row in test if row.path not in taken and row.path not in dropped]

    if not train:
        raise DataMissing(f"{dataset}/{category}: no normal image left to train on; expected train/good to hold some")
    if seen and not any(row.label for row in test):
        raise DataMissing(
            f"{dataset}/{category}: all anomalies were drawn as seen, none is left to test; lower split.seen_anomalies"
        )
    return Split(
        dataset=dataset,
        category=category,
        seed=seed,
        train_normal=[row.path for row in train],
        seen=[row.path for row in seen],
        test=[row.path for row in test],
        hashes={row.path: row.sha256 for row in (*train, *seen, *test)},
        dropped=dict(sorted(dropped.items())),
        moved=[row.path for row in moved],
        note=note,
    )


def _draw(test: Sequence[IndexRow], name: str, seed: int, count: int) -> tuple[list[IndexRow], str]:
    """The seen anomalies in drawn order and a note; `test` is sorted by path."""
    candidates = [row for row in test if row.label == 1]
    if len(candidates) < count:
        raise DataMissing(
            f"{name}: {count} seen anomalies are asked for, the test set has {len(candidates)}; "
            "lower split.seen_anomalies"
        )
    if count and not any(row.mask for row in candidates):
        return [], "no anomaly has a mask: none is drawn as seen, and pixel metrics are n/a"
    # the list is shuffled by the legacy generator, which NumPy keeps the same for ever
    shuffled = list(range(len(candidates)))
    np.random.RandomState(seed).shuffle(shuffled)
    seen: list[IndexRow] = []
    hashes: set[str] = set()
    for row in (candidates[i] for i in shuffled):
        if len(seen) == count:
            break
        if row.mask and row.mask_area != 0 and row.sha256 not in hashes:
            seen.append(row)
            hashes.add(row.sha256)
    if len(seen) < count:
        raise DataMissing(
            f"{name}: {count} seen anomalies are asked for, only {len(seen)} different ones of {len(candidates)} have "
            "a mask that is not empty; lower split.seen_anomalies or add masks"
        )
    without = sum(not row.mask for row in candidates)
    return seen, f"{without} of {len(candidates)} anomalies have no mask: pixel metrics are n/a" if without else ""


def shots(split: Split, count: int) -> list[str]:
    """The first `count` seen anomalies. SettingsError where the split holds fewer."""
    if count > len(split.seen):
        why = f" ({split.note})" if split.note else ""
        name = f"{split.dataset}/{split.category}"
        raise SettingsError(f"{name}: {count} seen anomalies are asked for, the split holds {len(split.seen)}{why}")
    return split.seen[:count]


def save_split(split: Split, path: str | os.PathLike[str]) -> None:
    """Write the split as JSON, whole or not at all; the same split gives the same bytes."""
    with atomic_write(path) as temporary:
        text = json.dumps(asdict(split), indent=1, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", newline="\n")


def load_split(path: str | os.PathLike[str]) -> Split:
    """Read and check a split. Errors: DataMissing (no file), DataCorrupt (not a split of this version, or it leaks)."""
    try:
        split = Split(**json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise DataMissing(f"{path}: cannot be read ({error.strerror}); run the split stage") from error
    except (ValueError, TypeError) as error:
        raise DataCorrupt(f"{path}: not a split ({error}); delete it and run the split stage") from error
    if split.version != VERSION:
        raise DataCorrupt(
            f"{path}: split version {split.version}, expected {VERSION}; delete it and run the split stage"
        )
    lists = (split.train_normal, split.seen, split.test)
    try:
        parts = [{split.hashes[name] for name in names} for names in lists]
    except KeyError as error:
        raise DataCorrupt(f"{path}: no hash for {error.args[0]}; delete it and run the split stage") from None
    if parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2] or len(set(split.seen)) != len(split.seen):
        raise DataCorrupt(f"{path}: an image stands in two parts of the split; delete it and run the split stage")
    return split
