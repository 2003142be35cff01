"""What the layouts share: an entry of a tree before it is decoded, a category's listing, the names in a folder."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prn.errors import DataCorrupt, DataMissing

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
# What systems and network drives leave behind, in lower case; so is all that starts with a point.
LEFT_BEHIND = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found"}
    | {"@eadir", "@recycle", "#recycle", "#snapshot", "@recently-snapshot"}
)
SHOWN = 10  # so many names in one message


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a tree: POSIX paths relative to the data set's root, its published split and type.

    label: 0 normal, 1 defect, None where only the mask tells (KolektorSDD2); mask: '' where there is none, a folder
    where several files make one image's mask.
    """

    path: str
    split: str
    type: str
    label: int | None
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A folder of images and one of masks (POSIX paths), and the names on both sides that found no partner.

    unreadable: files among the masks that have the name of an image without one, and an ending that is no image's.
    """

    images: str
    masks: str
    without_mask: list[str]
    without_image: list[str]
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a tree lists of a category.

    own: it is a user's own, so names and masks may mean more than one thing; unmatched: where images and masks did not
    find each other; lookalikes: images named like the mask of another image beside them (path -> that image's name);
    passed_over: files of the category's folder that are no part of it ((folder, what they are) -> how many).
    """

    entries: list[Entry]
    own: bool = False
    unmatched: list[Unmatched] = field(default_factory=list)
    lookalikes: dict[str, str] = field(default_factory=dict)
    passed_over: dict[tuple[str, str], int] = field(default_factory=dict)


def shown(names: list[str]) -> str:
    """Names for a message: the first few and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def name_key(name: str) -> str:
    """What two names share that a person takes for the same: case, blanks around and the Unicode form do not count."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by its ending."""
    return Path(name.strip()).suffix.lower() in IMAGE_SUFFIXES


def is_utf8(name: str) -> bool:
    """Whether a name of the file system can be written into a table or page: Python marks bytes that are no UTF-8."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, in one order on every file system, without what systems leave behind.

    [] where there is no such folder. DataCorrupt for a name that is not UTF-8: no table or page can hold it.
    """
    try:
        found = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataMissing(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in found:
        if not is_utf8(entry.name):
            name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            raise DataCorrupt(f"{folder}: the name {name!r} is not UTF-8; rename it")
    kept = (e for e in found if not e.name.startswith(".") and e.name.casefold() not in LEFT_BEHIND)
    return sorted(kept, key=lambda entry: entry.name)


def counted(files: Mapping[tuple[str, str], int]) -> str:
    """Files counted by folder and kind, in words."""
    found = sorted(files.items())
    parts = [f"{count} {kind + 's' * (kind == 'image' and count > 1)} in {folder}" for (folder, kind), count in found]
    return shown(parts)


def names_in(folder: Path) -> list[str]:
    """The names in a folder in one order on every file system; [] where there is no such folder."""
    return [entry.name for entry in _scan(folder)]


def images_in(folder: Path) -> list[str]:
    """The names of the images in a folder, by suffix, in one order on every file system."""
    return [entry.name for entry in _scan(folder) if is_image(entry.name) and not entry.is_dir()]


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, in one order on every file system."""
    return [entry.name for entry in _scan(folder) if entry.is_dir()]


def files_below(folder: Path) -> list[str]:
    """The POSIX paths of all files below a folder, sorted; links to folders are followed, but not in a circle."""
    return sorted(_below(folder, "", ()))


def _below(folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in _scan(folder):
        if entry.is_dir():
            yield from _below(folder / entry.name, f"{prefix}{entry.name}/", (*above, real))
        else:
            yield f"{prefix}{entry.name}"


def child(folder: Path, *names: str) -> str:
    """The folder in `folder` with one of `names`, or else the only one that a person takes for it; '' for none."""
    there = folders_in(folder)
    for name in names:
        if name in there:
            return name
    for name in names:
        alike = [other for other in there if name_key(other) == name_key(name)]
        if len(alike) == 1:
            return alike[0]
    return ""


def mask_files(path: Path) -> list[Path]:
    """The files that make one mask: the file, or the images of a folder."""
    return [path / name for name in images_in(path)] or [path]


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


def normals(root: Path, images: str, split: str) -> list[Entry]:
    """The images of folder `images` as normal ones."""
    return [Entry(f"{images}/{name}", split, "good", 0) for name in images_in(root / images)]
