"""What a user's source of a data set names: an address, a path, and there an archive or a tree as it is."""

import os
import urllib.parse
import urllib.request
from pathlib import Path

from prn.datasets import registry
from prn.errors import DataMissing

# The folder that an archive (or a user's copy of its tree) may put around the layout.
_AROUND = {
    "mvtec": "mvtec_anomaly_detection",
    "dagm": "DAGM2007",
    "btad": "BTech_Dataset_transformed",
    "ksdd2": "KolektorSDD2",
    "dtd": "dtd",
}


def is_address(source: str) -> bool:
    """Whether a source is an address (scheme://...), not a path."""
    return "://" in source


def is_remote(source: str) -> bool:
    """Whether a source is an address on another machine."""
    return is_address(source) and not source.startswith("file:")


def local_path(source: str | os.PathLike[str]) -> Path | None:
    """The path that a source names: itself (`~` is the home folder), or that of a file: address; None for another.

    `file:<path>` without slashes is relative to the current folder.
    """
    text = os.fspath(source)
    if not is_address(text):
        return Path(text.removeprefix("file:")).expanduser()
    parts = urllib.parse.urlsplit(text)
    return Path(urllib.request.url2pathname(parts.path)) if parts.scheme == "file" else None


def tree_root(dataset: str, folder: Path) -> Path:
    """The folder that the paths of an index start from: `folder`, or the one that an archive puts around the layout.

    DataMissing where there is no such folder.
    """
    if not folder.is_dir():
        raise DataMissing(f"{folder}: no such folder; expected the tree of {dataset}")
    around = _AROUND.get(dataset)
    return folder / around if around and (folder / around).is_dir() else folder


def is_tree(dataset: str, path: Path, known: bool) -> bool:
    """Whether a user's path is data as it is (a folder of images, a CSV), not an archive or a folder of archives."""
    if not path.exists():
        expected = f"an archive or the extracted folder of {dataset}" if known else "a folder of images or a CSV"
        raise DataMissing(
            f"{path.absolute()}: no such file or folder, though the settings name it; expected {expected}"
        )
    if path.is_file():
        return not known or path.suffix.lower() == ".csv"
    return not known or not any((path / archive.name).is_file() for archive in registry.find(dataset).archives)
