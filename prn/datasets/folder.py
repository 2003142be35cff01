"""A user's own data: <category>/{train/good,test/<type>,ground_truth/<type>}, or a CSV of images.

The CSV has the columns image,category,split,type,mask; split is train or test, type `good` or a defect's name, mask may
be empty; paths are relative to the CSV. Masks may be absent. Folders of a type may hold folders of their own.
"""

import csv
import difflib
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from prn.datasets.layout import (
    Entry,
    Listing,
    Unmatched,
    child,
    counted,
    files_below,
    find_folder,
    folders_in,
    images_in,
    is_image,
    name_key,
    shown,
)
from prn.datasets.matching import lookalikes, match, named_like
from prn.datasets.type_names import may_mean_good, means_good, type_key
from prn.errors import DataCorrupt, DataMissing

COLUMNS = ("image", "category", "split", "type", "mask")
APART = {";": "semicolons", "\t": "tabs"}
MASK_FOLDERS = (
    "ground_truth",
    "ground-truth",
    "ground truth",
    "groundtruth",
    "masks",
    "mask",
    "gt",
    "labels",
    "annotations",
)


def list_images(root: Path, category: str, complete: bool) -> Listing:
    """What a folder, or a CSV where `root` is a file, lists of a category. Errors: DataMissing, DataCorrupt."""
    return from_csv(root, category) if root.is_file() else from_tree(root, category)


def from_tree(root: Path, category: str, above: Sequence[str] = ("",)) -> Listing:
    """What a folder lists of a category, which lies in `root` or in a folder of it that `above` names."""
    expected = f"{category}/train/good, {category}/test/<type> and {category}/ground_truth/<type>"
    base = _category_folder(root, category, above, expected)
    train, test = (f"{base}/{child(root / base, name) or name}" for name in ("train", "test"))
    kinds = folders_in(root / test)
    masks_of, strays = _folders_of_masks(root, _mask_folder(root, base), test, kinds)
    parts = [_of_type(root, "train", f"{train}/{name}", "") for name in folders_in(root / train) if may_mean_good(name)]
    if not any(part.entries for part in parts):
        files = files_below(root / train)
        found = f" (but {counted(_counts(f'{train}/{path}' for path in files))})" if files else ""
        raise DataMissing(f"{root / base}/train/good: holds no image{found}; expected {expected}")
    if not kinds:
        raise DataMissing(f"{root / base}/test: holds no folder; expected {expected}")
    parts += [_of_type(root, "test", f"{test}/{kind}", masks_of.get(kind, "")) for kind in kinds]
    entries = [entry for part in parts for entry in part.entries]
    unmatched = [one for part in parts for one in part.unmatched] + strays
    alike = {name: other for part in parts for name, other in part.lookalikes.items()}
    return Listing(entries, True, unmatched, alike, _passed_over(root, base, entries, unmatched))


def _category_folder(root: Path, category: str, above: Sequence[str], expected: str) -> str:
    """The POSIX path of the category's folder; DataMissing where none has a folder for good training images."""
    for top in above:
        base = posixpath.join(top, child(root / top, category) or category)
        train = f"{base}/{child(root / base, 'train') or 'train'}"
        if any(may_mean_good(name) for name in folders_in(root / train)):
            return base
        if files := files_below(root / train):
            found = counted(_counts(f"{train}/{path}" for path in files))
            raise DataMissing(f"{root / train}/good: no such folder (but {found}); expected {expected}")
    return find_folder(root, [posixpath.join(top, category) for top in above], "train/good", expected)


def _mask_folder(root: Path, base: str) -> str:
    """The POSIX path of the folder of masks: `ground_truth`, or else one of the names that people use; '' for none."""
    for name in MASK_FOLDERS:
        found = child(root / base, name)
        if found and any(map(is_image, files_below(root / base / found))):
            return f"{base}/{found}"
    found = child(root / base, MASK_FOLDERS[0])
    return f"{base}/{found}" if found else ""


def _folders_of_masks(
    root: Path, truth: str, test: str, kinds: Sequence[str]
) -> tuple[dict[str, str], list[Unmatched]]:
    """Type of the test set -> its folder of masks, and the masks that lie in no type's folder."""
    there = folders_in(root / truth) if truth else []
    found = {name: f"{truth}/{name}" for name in there if name in kinds}
    strays = [Unmatched(test, truth, [], images_in(root / truth))] if truth and images_in(root / truth) else []
    for name in (name for name in there if name not in kinds):
        free = [kind for kind in kinds if kind not in found]
        owners = [kind for kind in free if type_key(kind) == type_key(name)]
        owners = owners or [kind for kind in free if means_good(kind) and means_good(name)]
        masks = [path for path in files_below(root / truth / name) if is_image(path)]
        if len(owners) == 1:
            found[owners[0]] = f"{truth}/{name}"
        elif masks:
            near = difflib.get_close_matches(name_key(name), [name_key(kind) for kind in kinds], n=1)
            kind = next((kind for kind in kinds if [name_key(kind)] == near), "")
            strays.append(Unmatched(posixpath.join(test, kind).rstrip("/"), f"{truth}/{name}", [], masks))
    return found, strays


def _of_type(root: Path, split: str, folder: str, masks: str) -> Listing:
    """The images below a type's folder, each with its mask from below the folder of masks ('' for none)."""
    name = posixpath.basename(folder)
    kind, good = unicodedata.normalize("NFC", name).strip(), means_good(name)
    images = [path for path in files_below(root / folder) if is_image(path)]
    stems = Counter(posixpath.splitext(path)[0] for path in images)
    twins = sorted(stem for stem, count in stems.items() if count > 1)
    if twins and not good:
        raise DataCorrupt(f"{root / folder}: two images share a stem ({shown(twins)}); remove one, masks match by stem")
    beside = files_below(root / masks) if masks else []
    matched = match(images, list(filter(is_image, beside)), str(root / masks))
    mask_of = {image: f"{masks}/{mask}" for image, mask in matched.mask_of.items()}
    entries = [Entry(f"{folder}/{path}", split, kind, int(not good), mask_of.get(path, "")) for path in images]
    without = [] if good else matched.images
    unreadable = named_like(without, [path for path in beside if not is_image(path)])
    unmatched = [Unmatched(folder, masks, without, matched.masks, unreadable)] if without or matched.masks else []
    alike = {
        f"{folder}/{image}": f"{folder}/{other}"
        for image, other in lookalikes(images).items()
        if not (image in mask_of and other in mask_of)
    }
    return Listing(entries, True, unmatched, alike)


def _passed_over(
    root: Path, base: str, entries: Sequence[Entry], unmatched: Sequence[Unmatched]
) -> dict[tuple[str, str], int]:
    """How many files of each folder and ending are no part of the category, a text beside its folders aside."""
    taken = {entry.path for entry in entries} | {entry.mask for entry in entries}
    taken |= {f"{one.masks}/{name}" for one in unmatched for name in one.without_image}
    files = [f"{base}/{path}" for path in files_below(root / base)]
    left = [path for path in files if path not in taken and posixpath.dirname(path) not in taken]
    return _counts(path for path in left if is_image(path) or posixpath.dirname(path) != base)


def _counts(paths: Iterable[str]) -> dict[tuple[str, str], int]:
    return dict(Counter((posixpath.dirname(path), _what(path)) for path in paths))


def _what(path: str) -> str:
    """A file's kind for a message: image, or its ending."""
    ending = posixpath.splitext(path)[1].lower()
    return "image" if is_image(path) else ending or "without an ending"


def from_csv(path: Path, category: str) -> Listing:
    """What a CSV lists of a category."""
    found = path.stat()
    tables = _read_csv(path, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
    if category not in tables:
        raise DataMissing(f"{path}: no row of category {category!r}; it has {shown(sorted(tables)) or 'no rows'}")
    entries = [_entry(path, line, row) for line, row in tables[category]]
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            raise DataCorrupt(f"{path}: {entry.path} stands in category {category!r} twice; keep one row")
        seen.add(entry.path)
    without = [entry.path for entry in entries if entry.label and not entry.mask]
    return Listing(entries, True, [Unmatched(path.name, path.name, without, [])] if without else [])


@lru_cache(maxsize=4)
def _read_csv(path: Path, state: tuple[int, ...]) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """Category -> (line, fields) of its rows, blanks around the fields stripped; `state` changes with the file.

    Kept, so that a table of many categories is read once, not once a category.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().casefold() for name in next(reader, [])]
            if missing := [column for column in COLUMNS if column not in header]:
                words = next((word for sign, word in APART.items() if sign in "".join(header)), "")
                apart = f"; its columns are separated by {words}, not by commas" if words else ""
                raise DataCorrupt(
                    f"{path}: no column {shown(missing)}; expected the columns {','.join(COLUMNS)}{apart}"
                )
            found: dict[str, list[tuple[int, dict[str, str]]]] = {}
            line = reader.line_num + 1
            for fields in reader:
                row = dict.fromkeys(COLUMNS, "") | dict(zip(header, map(str.strip, fields), strict=False))
                if fields:
                    found.setdefault(row["category"], []).append((line, {name: row[name] for name in COLUMNS}))
                line = reader.line_num + 1
            return found
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataCorrupt(f"{path}: not a CSV in UTF-8 ({error}); expected the columns {','.join(COLUMNS)}") from error


def _entry(path: Path, line: int, row: dict[str, str]) -> Entry:
    """One row of the CSV; DataCorrupt names the line."""
    image, mask = (_relative(path, line, row[column]) for column in ("image", "mask"))
    split = row["split"].casefold()
    if split not in ("train", "test") or not row["type"] or not image:
        raise DataCorrupt(
            f"{path}: line {line} has image {row['image']!r}, split {row['split']!r}, type {row['type']!r}; "
            "expected an image, split train or test, type good or a defect's name"
        )
    if image == mask:
        raise DataCorrupt(f"{path}: line {line} names {image} as its own mask; name the mask's file or leave it empty")
    return Entry(image, split, row["type"], int(not means_good(row["type"])), mask)


def _relative(path: Path, line: int, name: str) -> str:
    """A normalised POSIX path relative to the CSV's folder ('' stays ''), in the Unicode form that the disk has."""
    if not name:
        return ""
    posix = name.replace("\\", "/")
    if posix.startswith("/") or posix[1:3] == ":/":
        raise DataCorrupt(f"{path}: line {line}: {name} is an absolute path; expected one relative to the CSV's folder")
    posix = posixpath.normpath(posix)
    if posix.isascii() or (path.parent / posix).exists():
        return posix
    forms = (unicodedata.normalize(form, posix) for form in ("NFC", "NFD"))
    return next((form for form in forms if (path.parent / form).exists()), posix)
