"""KolektorSDD2's layout: {train,test}/NNNNN.png with NNNNN_GT.png; an image is a defect where its mask is not empty.

The archive also holds stray copies (train/10301 (copy).png and its mask) and pickled splits: names outside the pattern
are left alone and nothing is unpickled. Source: https://www.vicos.si/resources/kolektorsdd2/.
"""

import re
from pathlib import Path

from prn.datasets.layout import Entry, Listing, find_folder, images_in, shown
from prn.errors import DataCorrupt, DataMissing

CATEGORY = "ksdd2"
NAME = re.compile(r"\d{5}(_GT)?\.png")


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """The entries of the whole set (its only category is `ksdd2`); labels come with the masks. Errors: DataMissing,
    DataCorrupt.
    """
    expected = "train/ and test/ with NNNNN.png and NNNNN_GT.png"
    if category != CATEGORY:
        raise DataMissing(f"{root}: KolektorSDD2 has the one category {CATEGORY!r}, not {category!r}")
    base = find_folder(root, [".", "KolektorSDD2"], "train", expected)
    prefix = "" if base == "." else f"{base}/"
    entries: list[Entry] = []
    for split in ("train", "test"):
        folder = f"{prefix}{split}"
        names = [name for name in images_in(root / folder) if NAME.fullmatch(name)]
        images = [name for name in names if not name.endswith("_GT.png")]
        masks = {name.removesuffix("_GT.png") for name in names if name.endswith("_GT.png")}
        if not images:
            raise DataMissing(f"{root / folder}: holds no image; expected {expected}")
        stems = {name.removesuffix(".png") for name in images}
        if odd := sorted(stems ^ masks):
            raise DataCorrupt(
                f"{root / folder}: image or mask (_GT) missing for {shown(odd)}; extract the archive again"
            )
        entries += [
            Entry(f"{folder}/{name}", split, "defect", None, f"{folder}/{name.removesuffix('.png')}_GT.png")
            for name in images
        ]
    return Listing(entries)
