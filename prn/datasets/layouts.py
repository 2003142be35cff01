"""Which layout a data set's tree has: the function that lists a category of it."""

from collections.abc import Callable
from pathlib import Path

from prn.datasets import btad, dagm, dtd, folder, ksdd2, mvtec
from prn.datasets.layout import Listing

LAYOUTS: dict[str, Callable[[Path, str, bool], Listing]] = {
    "mvtec": mvtec.list_images,
    "dagm": dagm.list_images,
    "btad": btad.list_images,
    "ksdd2": ksdd2.list_images,
    "dtd": dtd.list_images,
}


def layout_of(dataset: str, root: Path) -> Callable[[Path, str, bool], Listing]:
    """The function that lists a category of `dataset`; any other name is a custom folder or CSV, and so is any CSV."""
    return folder.list_images if root.is_file() else LAYOUTS.get(dataset, folder.list_images)
