"""From a data set's name, or the user's own source, to a tree on disk: the receipt says where and from which bytes."""

import sys
from pathlib import Path
from typing import Any

from prn.datasets import registry
from prn.datasets.download import fetch
from prn.datasets.extract import check_whole, extract, origin
from prn.datasets.registry import DataSet
from prn.datasets.sources import is_address, is_tree, local_path, tree_root
from prn.errors import DataCorrupt, DataMissing, SettingsError
from prn.provenance.files import sha256_file


def obtain(dataset: str, source: str | None, archives: Path, tree: Path, progress: bool = True) -> dict[str, Any]:
    """Make a data set's tree available; returns its receipt.

    source: None (the registry's addresses), an address, an archive or a folder of archives (see `fetch`; they are
    unpacked into `tree`), or a folder with the extracted data set, or for a set of one's own a folder or a CSV (nothing
    is downloaded or unpacked). `archives`: where downloads are kept.
    Published archives that were deleted after they were unpacked are not fetched again while their tree is whole.
    The receipt: root (the folder or CSV that the index is built on), complete (it came from archives), published (and
    those are the registry's), archives (name -> sha256), title, licence, citation, home, note ('' for a user's own).

    Errors: those of `fetch` and `extract`; DataMissing where a path is not there, SettingsError for a set that is
    neither published nor a folder.
    """
    known = dataset in registry.dataset_names()
    path = None if source is None else local_path(source)
    if source is not None and path is not None and not is_address(source) and is_tree(dataset, path, known):
        return _receipt(dataset, path if path.is_file() else tree_root(dataset, path), {}, published=False)
    if not known:
        raise SettingsError(f"{source!r} as the source of {dataset!r}: a data set of your own is a folder or a CSV")
    facts = registry.find(dataset)
    if source is None and (hashes := _unpacked(facts, archives, tree)):
        print(f"{tree}: unpacked from the published archives, which are not kept", file=sys.stderr)
        return _receipt(dataset, tree_root(dataset, tree), hashes, published=True)
    reserve = 0 if origin(tree) else facts.unpacked_bytes if source is None else 0
    files = fetch(dataset, archives, source, progress, reserve=reserve)
    hashes = {file.name: sha256_file(file) for file in files}
    extract(
        files,
        tree,
        tops={archive.name: archive.top for archive in facts.archives},
        facts={"dataset": dataset, "published": _published(facts, hashes, source)},
        unpacked=facts.unpacked_bytes if source is None else 0,
        progress=progress,
    )
    record = origin(tree) or {}
    return _receipt(dataset, tree_root(dataset, tree), hashes, published=bool(record.get("published")))


def restore(receipt: dict[str, Any], archives: Path, tree: Path, progress: bool = True) -> None:
    """Unpack a tree that was cleared once more, from the archives of its receipt.

    DataMissing where they are not in `archives` (they came from elsewhere), DataCorrupt where they are others.
    """
    dataset, hashes = receipt["dataset"], receipt["archives"]
    files = [archives / name for name in hashes]
    again = f"`python -m prn download --dataset {dataset}` brings it back"
    missing = [file.as_posix() for file in files if not file.is_file()]
    if missing or not files:
        raise DataMissing(f"{tree}: the tree of {dataset} is gone, and {', '.join(missing) or 'no archive'}: {again}")
    for file in files:
        if sha256_file(file) != hashes[file.name]:
            raise DataCorrupt(f"{file}: not the archive that {dataset} was made from; delete it, then {again}")
    tops = {archive.name: archive.top for archive in registry.find(dataset).archives}
    facts = {"dataset": dataset, "published": receipt["published"]}
    extract(files, tree, tops=tops, facts=facts, progress=progress)


def _unpacked(facts: DataSet, archives: Path, tree: Path) -> dict[str, str]:
    """The hashes of the registry's archives where they were unpacked and then deleted, else {}.

    DataCorrupt where the tree has lost files.
    """
    record = origin(tree) or {}
    if not record.get("published") or any((archives / archive.name).exists() for archive in facts.archives):
        return {}
    hashes = {entry["name"]: entry["sha256"] for entry in record["archives"]}
    if not _published(facts, hashes, None):
        return {}
    check_whole(tree)
    return hashes


def _published(facts: DataSet, hashes: dict[str, str], source: str | None) -> bool:
    """Whether these archives are all of the registry's own: by hash, or by address where no hash is published."""
    wanted = {archive.name: archive.sha256 for archive in facts.archives}
    return hashes.keys() == wanted.keys() and all(
        digest == wanted[name] or (wanted[name] is None and source is None) for name, digest in hashes.items()
    )


def _receipt(dataset: str, root: Path, hashes: dict[str, str], published: bool) -> dict[str, Any]:
    """Where the data are and what is known about them."""
    facts = registry.find(dataset) if dataset in registry.dataset_names() else None
    return {
        "dataset": dataset,
        "root": root.as_posix(),
        "complete": bool(hashes),
        "published": published,
        "archives": hashes,
        **{key: getattr(facts, key, "") for key in ("title", "licence", "citation", "home", "note")},
    }
