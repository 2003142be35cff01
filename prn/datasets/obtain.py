"""From a data set's name, or the user's own source, to a tree on disk: the receipt says where and from which bytes."""

from pathlib import Path
from typing import Any


def obtain(dataset: str, source: str | None, archives: Path, tree: Path) -> dict[str, Any]:
    """The receipt of a data set: {"root": folder or CSV, "complete": from a published archive, "archives": {name: sha256}}.

    `source` is an extracted folder, a CSV, a folder or address of archives, or None for the registry's addresses.
    """
    if source is not None and "://" not in source and Path(source).exists():
        return {"root": Path(source).as_posix(), "complete": False, "archives": {}}
    raise NotImplementedError
