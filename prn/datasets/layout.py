"""What the layouts share: an entry of a tree before it is decoded, listing a folder, matching masks by stem."""

import os
from dataclasses import dataclass
from pathlib import Path

from prn.errors import DataCorrupt, DataMissing

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
SHOWN = 10  # so many names in one message


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a tree: POSIX paths relative to the data set's root, its published split and type.

    label: 0 normal, 1 defect, None where only the mask tells (KolektorSDD2); mask: '' where there is none.
    """

    path: str
    split: str
    type: str
    label: int | None
    mask: str = ""


def shown(names: list[str]) -> str:
    """Names for a message: the first few and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def names_in(folder: Path) -> list[str]:
    """The names in a folder in one order on every file system; [] where there is no such folder."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def images_in(folder: Path) -> list[str]:
    """The names of the images in a folder, by suffix, in one order on every file system."""
    return [name for name in names_in(folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES]


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, in one order on every file system."""
    return [name for name in names_in(folder) if (folder / name).is_dir()]


def find_folder(root: Path, candidates: list[str], inside: str, expected: str) -> str:
    """The first of `candidates` (POSIX paths below `root`) that holds `inside`; DataMissing says what was expected."""
    for candidate in candidates:
        if (root / candidate / inside).is_dir():
            return candidate
    if not root.is_dir():
        raise DataMissing(f"{root}: no such folder; expected a data set with {expected}")
    found = shown(names_in(root)) or "nothing"
    raise DataMissing(
        f"{root}: expected {expected}, found {found}; is this the right archive or folder, and was it unpacked in full?"
    )


def masks_by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """Stem of the image -> name of its mask, for masks named <stem><ending>.<any image suffix>, endings tried in order.

    DataCorrupt where two masks claim one stem.
    """
    found: dict[str, str] = {}
    for name in images_in(folder):
        stem = Path(name).stem
        ending = next(ending for ending in (*endings, "") if stem.endswith(ending))
        stem = stem.removesuffix(ending)
        if stem in found:
            raise DataCorrupt(f"{folder}: two masks for one image, {found[stem]} and {name}; remove one")
        found[stem] = name
    return found


def defects(root: Path, images: str, masks: str, *, kind: str, endings: tuple[str, ...], complete: bool) -> list[Entry]:
    """The images of folder `images` as test defects of type `kind`, each with its mask from folder `masks` by stem.

    With `complete` (a published archive's tree) every image must have a mask and every mask an image; else a defect may
    stand without (mask '').
    """
    by_stem = masks_by_stem(root / masks, endings)
    names = images_in(root / images)
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(stems):
        twins = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise DataCorrupt(f"{root / images}: two images share a stem ({shown(twins)}); remove one, masks match by stem")
    if complete:
        without = [name for name, stem in zip(names, stems, strict=True) if stem not in by_stem]
        orphans = [by_stem[stem] for stem in sorted(set(by_stem) - set(stems))]
        if without:
            raise DataCorrupt(f"{root / images}: no mask in {masks} for {shown(without)}; extract the archive again")
        if orphans:
            raise DataCorrupt(f"{root / masks}: no image in {images} for {shown(orphans)}; extract the archive again")
    return [
        Entry(f"{images}/{name}", "test", kind, 1, f"{masks}/{by_stem[stem]}" if stem in by_stem else "")
        for name, stem in zip(names, stems, strict=True)
    ]


def normals(root: Path, images: str, split: str) -> list[Entry]:
    """The images of folder `images` as normal ones."""
    return [Entry(f"{images}/{name}", split, "good", 0) for name in images_in(root / images)]
