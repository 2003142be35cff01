"""Which mask belongs to which image, by the forms that people and labelling tools give to names.

From the strictest to the loosest: the same path without its ending; the same but for case, blanks around and Unicode
form; the mask's name with a word for mask before or after it, or with two endings (`mask_000`, `000-mask`, `000_GT`,
`000.png.png`); the image's name with such a word for image (`img_000` and `mask_000`); a folder an image that holds one
or more masks (`000/000.png`, as MVTec LOCO); the name alone, where only one side has sub-folders. The first form that
an image has decides.
"""

import difflib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prn.datasets.layout import IMAGE_SUFFIXES, SHOWN, Entry, Listing, Unmatched, images_in, name_key, shown
from prn.errors import DataCorrupt

_MASK = r"(?:ground[-_ ]?truths?|segmentations?|annotations?|labels?|masks?|segm?|anno|gt)"
_IMAGE = r"(?:images?|img|photos?|pictures?|pic|rgb|original|orig|raw|frame)"
_BETWEEN = r"[-_ .]*"
_SUFFIX = re.compile("(?:" + "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES)) + ")$")


@dataclass(frozen=True, slots=True)
class Matched:
    """mask_of: an image's path -> its mask's, a folder where several masks are parts of one; and who has no partner."""

    mask_of: dict[str, str]
    images: list[str]
    masks: list[str]


def match(images: Sequence[str], masks: Sequence[str], folder: str) -> Matched:
    """Find each mask its image; paths are POSIX, relative to the folder of the images and to that of the masks.

    DataCorrupt, naming the masks' `folder`, where two images fit one mask or two masks one image.
    """
    known = _ImageNames(images)
    direct: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    orphans = []
    for mask in masks:
        image, in_folder = known.find(mask, folder)
        if image is None:
            orphans.append(mask)
        elif in_folder:
            parts.setdefault(image, []).append(mask)
        elif image in direct:
            raise DataCorrupt(f"{folder}: two masks for one image, {direct[image]} and {mask}; remove one")
        else:
            direct[image] = mask
    for image, names in parts.items():
        folders = {posixpath.dirname(name) for name in names}
        if image in direct or len(folders) > 1:
            other = direct.get(image) or names[-1]
            raise DataCorrupt(f"{folder}: two masks for one image, {names[0]} and {other}; remove one")
        direct[image] = names[0] if len(names) == 1 else folders.pop()
    return Matched(direct, [image for image in images if image not in direct], orphans)


def named_like(images: Sequence[str], files: Sequence[str]) -> list[str]:
    """The files that would be masks of the images by their names, whatever their endings."""
    known = _ImageNames(images)
    return [file for file in files if any(table.get(form) for table, form, _ in known.forms(file))]


def defects(root: Path, images: str, masks: str, kind: str, complete: bool) -> Listing:
    """The images of folder `images` as test defects of type `kind`, each with its mask from folder `masks`.

    With `complete` (a published archive's tree) every image must have a mask and every mask an image; else a defect may
    stand without (mask '').
    """
    names, found = images_in(root / images), images_in(root / masks)
    stems = [posixpath.splitext(name)[0] for name in names]
    if twins := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise DataCorrupt(f"{root / images}: two images share a stem ({shown(twins)}); remove one, masks match by stem")
    matched = match(names, found, str(root / masks))
    if complete and matched.images:
        raise DataCorrupt(f"{root / images}: no mask in {masks} for {shown(matched.images)}; extract the archive again")
    if complete and matched.masks:
        raise DataCorrupt(f"{root / masks}: no image in {images} for {shown(matched.masks)}; extract the archive again")
    entries = [
        Entry(
            f"{images}/{name}", "test", kind, 1, f"{masks}/{matched.mask_of[name]}" if name in matched.mask_of else ""
        )
        for name in names
    ]
    partnerless = matched.images or matched.masks
    return Listing(entries, unmatched=[Unmatched(images, masks, matched.images, matched.masks)] if partnerless else [])


def lookalikes(images: Sequence[str]) -> dict[str, str]:
    """Images that are named like the mask of another one, by a word in the name or a folder's: path -> the other's."""
    by_key = {name_key(_stem(image)): image for image in images}
    found = {}
    for image in images:
        *folders, name = name_key(_stem(image)).split("/")
        beside = "/".join([*(folder for folder in folders if not re.fullmatch(_MASK, folder)), name])
        other = next((by_key[form] for form in _without(_MASK, beside) if by_key.get(form, image) != image), None)
        if other:
            found[image] = other
    return found


def in_words(unmatched: Unmatched) -> str:
    """Both sides that found no partner, each name with the nearest one on the other side."""
    masks, images = unmatched.without_image, unmatched.without_mask
    sides = []
    if masks:
        what = "mask without an image" if len(masks) == 1 else "masks without an image"
        place = "" if images else f" in {unmatched.images}"
        sides.append(f"{unmatched.masks}: {len(masks)} {what}{place}: {_with_nearest(masks, images)}")
    if unmatched.unreadable:
        names = shown(unmatched.unreadable)
        sides.append(f"{unmatched.masks}: masks that cannot be read, for their ending is no image's: {names}")
    if images:
        what = "image without a mask" if len(images) == 1 else "images without a mask"
        sides.append(f"{unmatched.images}: {len(images)} {what}: {_with_nearest(images, masks)}")
    return "; ".join(sides)


def _with_nearest(names: Sequence[str], others: Sequence[str]) -> str:
    """Names for a message, each with the one on the other side that is most like it."""
    return shown([f"{name}{_nearest(name, others)}" for name in names[:SHOWN]] + list(names[SHOWN:]))


class _ImageNames:
    """The images by each form of their names."""

    def __init__(self, images: Sequence[str]) -> None:
        self.exact: dict[str, list[str]] = {}
        self.folded: dict[str, list[str]] = {}
        self.bare: dict[str, list[str]] = {}
        self.alone: dict[str, list[str]] = {}
        self.flat = not any("/" in image for image in images)
        for image in images:
            stem = _stem(image)
            self.exact.setdefault(stem, []).append(image)
            self.folded.setdefault(name_key(stem), []).append(image)
            for form in set(_without(_IMAGE, name_key(stem))):
                self.bare.setdefault(form, []).append(image)
            self.alone.setdefault(posixpath.basename(name_key(stem)), []).append(image)

    def find(self, mask: str, folder: str) -> tuple[str | None, bool]:
        """The image of a mask, and whether the mask's own folder stands for it; None where no form fits.

        DataCorrupt where the first form that fits has two images.
        """
        for table, form, in_folder in self.forms(mask):
            images = table.get(form, [])
            if len(images) > 1:
                raise DataCorrupt(f"{folder}: {mask} fits two images, {images[0]} and {images[1]}; rename one of them")
            if images:
                return images[0], in_folder
        return None, False

    def forms(self, mask: str) -> Iterator[tuple[dict[str, list[str]], str, bool]]:
        """Where to look for a mask's image: a table, the name in it, and whether that is the mask's folder's."""
        stem = _stem(mask)
        key = name_key(stem)
        forms = list(_without(_MASK, key))
        yield self.exact, stem, False
        yield from ((self.folded, form, False) for form in forms)
        yield from ((self.bare, form, False) for form in forms)
        parent = posixpath.dirname(key)
        if parent:
            yield from ((self.folded, form, True) for form in _without(_MASK, parent))
        if self.flat != ("/" not in mask):
            yield from ((self.alone, posixpath.basename(form), False) for form in forms)


def _stem(path: str) -> str:
    """A path without its last ending."""
    return posixpath.splitext(path)[0]


def _without(words: str, key: str) -> Iterator[str]:
    """A name's forms, the least changed first: as it is, then without a second ending and without words at its ends."""
    folder, _, name = key.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    forms = [name]
    for form in forms:  # grows while it is read
        yield prefix + form
        shorter = (
            _SUFFIX.sub("", form),
            re.sub(f"{_BETWEEN}{words}$", "", form),
            re.sub(f"^{words}{_BETWEEN}", "", form),
        )
        forms += [one.strip() for one in shorter if one.strip() and one.strip() not in forms]


def _nearest(name: str, others: Sequence[str]) -> str:
    """The name on the other side that is most like this one, in brackets; '' where none is."""
    stems = {list(_without(_MASK, name_key(_stem(other))))[-1]: other for other in others}
    own = list(_without(_MASK, name_key(_stem(name))))[-1]
    near = difflib.get_close_matches(own, list(stems), n=1, cutoff=0.6)
    return f" (nearest: {stems[near[0]]})" if near else ""
