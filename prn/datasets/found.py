"""What is found of one image of a category and its mask: the row of the index, and what a user must know beside it."""

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from prn.datasets.decoding import (
    DEPTH_AS_STORED,
    check_depth,
    check_memory_for,
    decode,
    read_bytes,
    read_header,
)
from prn.datasets.layout import Entry, mask_files
from prn.datasets.masks import FEW, PUBLISHED, Mask, MaskRules, read_masks
from prn.datasets.matching import named_like
from prn.datasets.rows import IndexRow
from prn.errors import DataCorrupt, PrnError
from prn.settings.sections import IndexSettings


@dataclass(frozen=True, slots=True)
class Found:
    """An image as found. top: its highest value; transparent: whether it has pixels that do not cover fully.

    orientation: of its EXIF tag (1: none), mask_orientation likewise; profile: its colour profile, '' for sRGB or none;
    soft_mask: its mask has few levels, but as soft borders have them; mask_files: of how many files it is made.
    """

    row: IndexRow
    top: int
    orientation: int
    profile: str
    transparent: bool
    mask_orientation: int = 1
    soft_mask: bool = False
    mask_files: int = 0


def find(
    base: Path, entry: Entry, settings: IndexSettings, ask: bool, lookalikes: Mapping[str, str]
) -> Found | PrnError:
    """Read, hash and decode an entry's image and mask (paths relative to `base`); a fault is returned, not raised.

    ask: its masks may mean more than one thing (`MaskRules`); lookalikes: as in `Listing`.
    """
    try:
        found = _of_image(base, entry, settings, lookalikes.get(entry.path, ""))
        rules = MaskRules(settings.mask_rule, settings.mask_background, ask=True) if ask else PUBLISHED
        return _with_mask(base, found, entry, rules) if entry.mask else found
    except PrnError as error:
        return error


def _of_image(base: Path, entry: Entry, settings: IndexSettings, mask_of: str) -> Found:
    """What is found of the image; `mask_of` names the image whose mask it may be by its name."""
    path = base / entry.path
    data = read_bytes(path)
    head = read_header(data)
    check_memory_for(data, head, path)
    pixels = decode(data, path, DEPTH_AS_STORED)
    check_depth(pixels, path, settings.image_bits)
    if head and head.pages > 1:
        raise DataCorrupt(f"{path}: holds {head.pages} pages of one size; save one image a file")
    if mask_of and (levels := len(np.unique(pixels))) <= FEW:
        raise DataCorrupt(
            f"{path}: is named like the mask of {mask_of}, has {levels} levels and lies among the images; move masks to"
            " ground_truth/<type>"
        )
    row = IndexRow(
        path=entry.path,
        split=entry.split,
        type=entry.type,
        label=entry.label or 0,
        mask=entry.mask,
        width=pixels.shape[1],
        height=pixels.shape[0],
        sha256=hashlib.sha256(data).hexdigest(),
        mask_area=0,
        bits=8 if pixels.dtype == np.uint8 else settings.image_bits or 16,
    )
    return Found(
        row=row,
        top=int(pixels.max()),
        orientation=1 if head is None else head.orientation,
        profile="" if head is None else head.profile,
        transparent=head is not None and head.alpha and _is_transparent(data, path),
    )


def _is_transparent(data: bytes, path: Path) -> bool:
    """Whether an image has pixels that do not cover fully."""
    pixels = decode(data, path, cv2.IMREAD_UNCHANGED)
    return pixels.ndim == 3 and pixels.shape[2] in (2, 4) and bool(pixels[..., -1].min() < np.iinfo(pixels.dtype).max)


def _with_mask(base: Path, found: Found, entry: Entry, rules: MaskRules) -> Found:
    """The same with what the entry's mask says."""
    files = mask_files(base / entry.mask)
    image, folder = posixpath.basename(entry.path), posixpath.basename(entry.mask)
    if (base / entry.mask).is_dir() and not named_like([image], [f"{folder}/-.png"]):
        raise DataCorrupt(
            f"{base / entry.mask}: is a folder and not named like its image {entry.path}, so that it may hold the masks"
            " of others; name the mask's file"
        )
    mask, digest = read_masks(files, rules)
    _check_size(base / entry.mask, mask, found)
    area = int(mask.defect.sum())
    if entry.label == 0 and area:
        raise DataCorrupt(
            f"{base / entry.path}: is good, but its mask {entry.mask} marks {area} pixels; correct the one or the other"
        )
    label = int(area > 0) if entry.label is None else entry.label
    row = replace(
        found.row,
        label=label,
        type=entry.type if label else "good",
        mask_sha256=digest,
        mask_area=area,
        mask_levels=mask.levels,
        mask_rule=mask.rule,
        mask_background=mask.background,
    )
    return replace(found, row=row, mask_orientation=mask.orientation, soft_mask=mask.soft, mask_files=len(files))


def _check_size(path: Path, mask: Mask, found: Found) -> None:
    """DataCorrupt where a mask is not of its image's size; an EXIF rotation that only one of them has is named."""
    row, (height, width) = found.row, mask.defect.shape
    if (width, height) == (row.width, row.height):
        return
    size = f"{row.width}x{row.height}"
    text = f"{path}: the mask is {width}x{height} pixels, its image {row.path} {size}; restore the right mask"
    if found.orientation != mask.orientation:
        text += f" (EXIF turns the image by the tag {found.orientation}, the mask by {mask.orientation}; 1 is none)"
    raise DataCorrupt(text)
