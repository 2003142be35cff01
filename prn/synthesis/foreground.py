"""Where the object is: a threshold rule per category, computed once for the training normals.

Paper 3.4: target areas are part of the foreground for objects, part of the whole image for textures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from prn.errors import SettingsError
from prn.settings.sections import ForegroundSettings

# A rule whose mean coverage is outside of this share of the image has missed the object.
LEAST_COVERAGE, MOST_COVERAGE = 0.05, 0.98


@dataclass(frozen=True, slots=True)
class ForegroundRule:
    """`synthesis.foreground.<dataset>.<category>` with its defaults: which pixels of a normal image are the object's.

    method: 'whole' (textures, objects that fill the view) or 'threshold'; channel: what is compared with `threshold`
    (0..255); side: whether the object is darker or brighter than it; blur: side of the median filter before (odd, 1 is
    none); components: how many of the largest 8-connected regions are kept (0: all); fill_holes: whether what a region
    encloses belongs to it. key: where the rule stands in the settings, for error messages.
    """

    method: Literal["whole", "threshold"] = "whole"
    channel: Literal["grey", "red", "green", "blue", "saturation"] = "grey"
    threshold: int = 128
    side: Literal["dark", "bright"] = "bright"
    blur: int = 7
    components: int = 1
    fill_holes: bool = True
    key: str = "synthesis.foreground"


def foreground_rule(
    rules: Mapping[str, Mapping[str, ForegroundSettings]], dataset: str, category: str
) -> ForegroundRule | None:
    """The category's rule in `synthesis.foreground`; None where it has none: the whole image is the foreground."""
    rule = rules.get(dataset, {}).get(category)
    return None if rule is None else ForegroundRule(**rule, key=f"synthesis.foreground.{dataset}.{category}")


@dataclass(frozen=True, slots=True)
class Foreground:
    """Foregrounds of the training normals.

    masks: uint8 0/1 [N, H, W]; row_ends: number of foreground pixels up to and with each row, int32 [N, H];
    coverage: share of the image per normal, float [N]; not_found: how many normals had none and take the whole image.
    """

    masks: np.ndarray
    row_ends: np.ndarray
    coverage: np.ndarray
    not_found: int

    def pixel(self, index: int, uniform: float) -> tuple[int, int]:
        """A foreground pixel (y, x) of normal `index`, uniform over all of them for `uniform` in [0, 1)."""
        ends = self.row_ends[index]
        wanted = int(uniform * int(ends[-1]))
        row = int(np.searchsorted(ends, wanted, side="right"))
        before = int(ends[row - 1]) if row else 0
        return row, int(np.flatnonzero(self.masks[index, row])[wanted - before])


def _channel(image: np.ndarray, name: str) -> np.ndarray:
    if name == "grey":
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if name == "saturation":
        return image.max(axis=2) - image.min(axis=2)
    return np.ascontiguousarray(image[..., ("red", "green", "blue").index(name)])


def foreground_mask(image: np.ndarray, rule: ForegroundRule) -> np.ndarray:
    """The object in an image (uint8 [H, W, 3]) by the rule: uint8 0/1 [H, W], all 0 where nothing passes."""
    if rule.method == "whole":
        return np.ones(image.shape[:2], np.uint8)
    values = _channel(image, rule.channel)
    if rule.blur > 1:
        values = cv2.medianBlur(values, rule.blur)
    passed = values < rule.threshold if rule.side == "dark" else values > rule.threshold
    mask = passed.astype(np.uint8)
    if rule.components:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        kept = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[: rule.components]
        chosen = np.zeros(count, np.uint8)
        chosen[kept] = 1
        mask = chosen[labels]
    if rule.fill_holes:
        outside = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        cv2.floodFill(outside, None, (0, 0), 2)
        mask = (outside[1:-1, 1:-1] != 2).astype(np.uint8)
    return mask


def find_foregrounds(normals: np.ndarray, rule: ForegroundRule | None) -> Foreground | None:
    """The foregrounds of the normals (uint8 [N, H, W, 3]); None where the whole image is the foreground.

    Raises `SettingsError` naming the rule's key when the mean coverage is below 5 % or above 98 %.
    """
    if rule is None or rule.method == "whole":
        return None
    masks = np.stack([foreground_mask(image, rule) for image in normals])
    coverage = masks.mean(axis=(1, 2))
    if not LEAST_COVERAGE <= coverage.mean() <= MOST_COVERAGE:
        raise SettingsError(
            f"{rule.key}: the foreground covers {100 * coverage.mean():.1f} % of the normal images on average, expected"
            f" {100 * LEAST_COVERAGE:.0f} to {100 * MOST_COVERAGE:.0f} %; change threshold ({rule.threshold}), side"
            f" ({rule.side}) or channel ({rule.channel}), or set method: whole"
        )
    missing = coverage == 0
    masks[missing] = 1
    row_ends = np.cumsum(masks.sum(axis=2, dtype=np.int32), axis=1, dtype=np.int32)
    return Foreground(masks, row_ends, coverage, int(missing.sum()))
