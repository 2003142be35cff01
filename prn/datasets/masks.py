"""Ground-truth masks: from a file's values to True (defect) and False, and in words how that was decided.

Two rules. `label_map`: everything that is not background is defect (masks of 0 and 255, class numbers, palettes).
`half`: a pixel is defect where it differs from the background by more than half of the mask's largest difference (soft
borders). `auto` takes the first for a mask of up to `FEW` levels in a format without loss, else the second. Background
is black; where alpha varies, it decides in place of the colours, and what is transparent is background.

Shapes: H and W as decoded, with the EXIF rotation applied.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prn.datasets.decoding import DEPTH_AS_STORED, Header, decode, palette_indices, read_bytes, read_header
from prn.datasets.layout import shown
from prn.errors import DataCorrupt

FEW = 32  # levels up to which a mask is a label map
NOISE = 16  # a difference below a sixteenth of the largest may be noise, as compression leaves it
LOSSY_NOISE = 4  # of JPEG
LEAST_LOSSY = 64  # grey levels: class numbers, which are less, do not survive a compression with loss
SHOWN_LEVELS = 6
WHICH = "; set index.mask_rule: label_map if all but background is defect, half if not"


@dataclass(frozen=True, slots=True)
class MaskRules:
    """How masks are read: rule `auto`, `label_map` or `half`; background: its grey level, None for black where it is.

    ask: whether a mask that can be read in two ways is refused (a user's own), or taken as published masks are meant.
    """

    rule: str = "auto"
    background: int | None = 0
    ask: bool = False


# Published masks hold 0 and one value, or soft borders (BTAD's); none of them is a map of classes.
PUBLISHED = MaskRules("half", 0)


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask as read: defect, bool H x W; how many levels it holds; the rule and the background that were used.

    orientation: of its EXIF tag, 1 without one; soft: its few levels look like those of soft borders, not of classes.
    """

    defect: NDArray[np.bool_]
    levels: int
    rule: str
    background: int
    orientation: int = 1
    soft: bool = False


def read_masks(files: list[Path], rules: MaskRules) -> tuple[Mask, str]:
    """The mask that several files make together, and the sha256 of their bytes (of one file: that of the file).

    Errors as `read_mask`; DataCorrupt also where the files differ in size or in the rule that reads them.
    """
    data = [read_bytes(file) for file in files]
    parts = [mask_from_bytes(one, file, rules) for one, file in zip(data, files, strict=True)]
    hashes = [hashlib.sha256(one).hexdigest() for one in data]
    first, digest = parts[0], joint_hash(files, hashes)
    if len(parts) == 1:
        return first, digest
    facts = {(part.defect.shape, part.rule, part.background, part.orientation) for part in parts}
    if len(facts) > 1:
        kinds = sorted(f"{width}x{height} read by {rule}" for (height, width), rule, *_ in facts)
        raise DataCorrupt(
            f"{files[0].parent}: its masks belong to one image and differ in size or kind: {shown(kinds)}"
        )
    union = np.logical_or.reduce([part.defect for part in parts])
    levels, soft = max(part.levels for part in parts), any(part.soft for part in parts)
    return Mask(union, levels, first.rule, first.background, first.orientation, soft), digest


def joint_hash(files: Sequence[Path], hashes: Sequence[str]) -> str:
    """What stands for the bytes of the files that make one mask: the sha256 of the only file, else one over all."""
    if len(files) == 1:
        return hashes[0]
    lines = (f"{digest} {file.name}\n" for file, digest in zip(files, hashes, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def mask_from_bytes(data: bytes, path: str | os.PathLike[str], rules: MaskRules) -> Mask:
    """Decode and binarise one file; `path` is named in the errors.

    DataCorrupt where it does not decode, is cut off, holds what is no mask, or can be read in two ways (`ask`).
    """
    head = read_header(data)
    values, from_alpha = _values(data, path, head)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataCorrupt(f"{path}: the mask holds values that are not finite; write it again with 0 and 255")
    background = 0 if from_alpha or rules.background is None else rules.background
    levels, lossy = _count_levels(values), head is not None and head.lossy
    rule = rules.rule if rules.rule != "auto" else "half" if lossy or levels > FEW else "label_map"
    distance = _distance(values, background)
    defect = distance > (distance.max() / 2 if rule == "half" else 0)
    if rules.ask and distance.any():
        doubt = _doubt_of_rule(distance, defect, rule, lossy) if rules.rule == "auto" else ""
        doubt = doubt or ("" if rules.background == 0 else _doubt_of_background(distance, rules.background, levels))
        if doubt:
            raise DataCorrupt(f"{path}: {doubt}")
    soft = rule == "label_map" and rules.rule == "auto" and _only_borders(distance)
    return Mask(defect, levels, rule, background, 1 if head is None else head.orientation, soft)


def _values(data: bytes, path: str | os.PathLike[str], head: Header | None) -> tuple[NDArray, bool]:
    """The values of a mask, H x W grey or H x W x 3 colours, and whether they are its alpha."""
    if head is not None and head.pages > 1:
        raise DataCorrupt(f"{path}: the mask holds {head.pages} pages; save one mask a file")
    pixels = decode(data, path, cv2.IMREAD_UNCHANGED)
    turned = head is not None and head.orientation != 1
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1]
        if alpha.min() != alpha.max():
            if turned:
                raise DataCorrupt(
                    f"{path}: the mask has both alpha and an EXIF rotation; save it upright without the tag"
                )
            return _opaque(pixels, path), True
        pixels = pixels[..., :-1]
    if turned:
        pixels = decode(data, path, DEPTH_AS_STORED)
    if head is not None and head.mode == "P" and not turned:
        indices = palette_indices(data)
        if _count_levels(indices) != _count_levels(_grey(pixels)):  # a palette that was never filled shows all as black
            return indices, False
    return _grey(pixels), False


def _grey(pixels: NDArray) -> NDArray:
    """One channel where all channels are the same."""
    if pixels.ndim == 2:
        return pixels
    first = pixels[..., 0]
    return first if all((pixels[..., i] == first).all() for i in range(1, pixels.shape[2])) else pixels


def _opaque(pixels: NDArray, path: str | os.PathLike[str]) -> NDArray:
    """Alpha as the mask; DataCorrupt where the colours under it speak of another background."""
    alpha = pixels[..., -1]
    black = (pixels[alpha == alpha.max()][:, :-1] == 0).all(axis=1)
    if black.any() and not black.all():
        raise DataCorrupt(
            f"{path}: the mask is partly transparent, and where it is opaque both black and coloured, so that either"
            " may be its background; save it without alpha"
        )
    return alpha


def _count_levels(values: NDArray) -> int:
    """How many distinct values, or colours, there are."""
    if values.ndim == 3:
        wide = values.astype(np.uint64)
        return len(np.unique(wide[..., 0] | wide[..., 1] << np.uint64(16) | wide[..., 2] << np.uint64(32)))
    if values.dtype in (np.uint8, np.uint16):
        return int(np.count_nonzero(np.bincount(values.reshape(-1))))
    return len(np.unique(values))


def _distance(values: NDArray, background: int) -> NDArray:
    """How far each pixel is from the background, H x W: of colours the channel that differs most."""
    apart = values
    if background or values.dtype.kind != "u":
        apart = np.abs(values.astype(np.float64 if values.dtype.kind == "f" else np.int64) - background)
    return apart if apart.ndim == 2 else apart.max(axis=2)


def _doubt_of_rule(distance: NDArray, defect: NDArray, rule: str, lossy: bool) -> str:
    """What the rule that was taken would lose, or take for a defect, in words; '' where nothing speaks against it."""
    top = float(distance.max())
    if lossy and top < LEAST_LOSSY:
        return (
            f"a mask of values up to {top:g} that was compressed with loss, which blurs class numbers; save it as PNG"
        )
    if rule == "label_map":
        kinds = np.unique(distance).astype(float)
        if (kinds[1:] <= top / NOISE).any() and ((kinds >= top - top / NOISE) & (kinds < top)).any():
            return (
                f"the mask has levels close to black and close to its brightest ({_named(kinds)}), as a compression"
                " with loss leaves them; set index.mask_rule: half if they are noise, label_map if they are classes"
            )
        return ""
    least = top / (LOSSY_NOISE if lossy else NOISE)
    seen = distance > least
    labels = cv2.connectedComponents(seen.astype(np.uint8), connectivity=8)[1]
    whole = np.setdiff1d(labels[seen], labels[defect])
    if len(whole):
        return f"{len(whole)} regions of the mask lie below half of its maximum{WHICH}"
    square = np.ones((3, 3), np.uint8)
    below, bright = seen & ~defect, distance.astype(np.float32)
    flat = cv2.erode(bright, square) == cv2.dilate(bright, square)
    count = int(flat[below].sum())
    if 4 * count > below.sum():
        return f"{count} pixels of the mask lie below half of its maximum and are no border, but flat{WHICH}"
    return ""


def _doubt_of_background(distance: NDArray, background: int | None, levels: int) -> str:
    """Why black (or the setting's grey level) may not be the background, in words; '' where nothing says so."""
    top = float(distance.max())
    if distance.min() > top / NOISE and background is None and levels > FEW:
        return (
            f"no mask, which is black but for the defects: it holds no black and {levels} levels, as a photograph does"
        )
    if distance.min() > top / NOISE:
        found = f"no black ({_named(np.unique(distance))})" if background is None else f"nothing of level {background}"
        unknown = "so what is background in it is not known; set index.mask_background to its grey level, or save"
        unknown += " the mask in black and white"
        return f"the mask holds {found}, {unknown}"
    marked = distance > top / NOISE
    edge = np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]])
    if marked.mean() <= 0.5 or edge.mean() <= 0.5:
        return ""
    return (
        f"the mask marks {100 * marked.mean():.0f} % of the image and {100 * edge.mean():.0f} % of its edge: is it"
        " inverted? Set index.mask_background: 255 (of 16 bits: 65535) where defects are black on white, 0 where masks"
        " are right as they are"
    )


def _only_borders(distance: NDArray) -> bool:
    """Whether all levels but the extremes lie between a lower and a higher one, as those of soft borders."""
    top = distance.max()
    between = (distance > 0) & (distance < top)
    if top not in (255, 65535, 1.0) or distance.dtype.kind == "i" or not between.any():
        return False
    square = np.ones((3, 3), np.uint8)
    inside = (cv2.erode(distance, square) < distance) & (cv2.dilate(distance, square) > distance)
    return bool(inside[between].mean() >= 0.9)


def _named(levels: NDArray) -> str:
    """The first levels for a message."""
    words = ", ".join(f"{value:g}" for value in levels[:SHOWN_LEVELS])
    return f"levels {words}{', ...' if len(levels) > SHOWN_LEVELS else ''}"
