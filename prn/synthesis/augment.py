"""Aug_1 of the paper (Fig. 5): colour operations on 8-bit images, in integer arithmetic.

All but sharpness are look-up tables, so a chain of operations is composed on 256 entries and applied once, and the
histogram that equalize and autocontrast need is that of the source pushed through the tables before them.
The same parameters act on all three channels: a grey image stays grey.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

OPERATIONS = ("equalize", "solarize", "posterize", "sharpness", "autocontrast", "invert", "gamma")

_IDENTITY = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class AugmentRanges:
    """Ranges of the parameters that the paper leaves open (settings `synthesis.gamma` and following)."""

    gamma: Sequence[float]
    solarize: Sequence[int]
    posterize_bits: Sequence[int]
    sharpness: Sequence[float]


@dataclass(frozen=True, slots=True)
class Table:
    """One look-up table per channel, uint8 [256, 3]."""

    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Blend of an image with its 3x3 smoothing; `factor` in 1/256: 0 smoothed, 256 unchanged, more sharpens."""

    factor: int


Step = Table | Sharpness


def histogram(image: np.ndarray) -> np.ndarray:
    """Counts int64 [256, 3] of a uint8 image [H, W, 3]."""
    channels = [cv2.calcHist([image], [channel], None, [256], [0, 256]).reshape(256) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.int64)


def equalize_table(counts: np.ndarray) -> np.ndarray:
    """Histogram equalisation of one channel, the table of Pillow's ImageOps.equalize; counts int64 [256]."""
    used = np.flatnonzero(counts)
    step = (int(counts.sum()) - int(counts[used[-1]])) // 255 if len(used) else 0
    if step == 0:
        return _IDENTITY
    below = np.concatenate(([0], np.cumsum(counts)[:-1]))
    return np.minimum((step // 2 + below) // step, 255).astype(np.uint8)


def autocontrast_table(counts: np.ndarray) -> np.ndarray:
    """Linear stretch of one channel's used range to 0..255; counts int64 [256]."""
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return _IDENTITY
    low, high = int(used[0]), int(used[-1])
    stretched = (255 * (np.arange(256) - low) + (high - low) // 2) // (high - low)
    return np.clip(stretched, 0, 255).astype(np.uint8)


def gamma_table(gamma: float) -> np.ndarray:
    """255 (v / 255)^gamma, rounded."""
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def solarize_table(threshold: int) -> np.ndarray:
    """Values from the threshold on are inverted."""
    return np.where(np.arange(256) < threshold, _IDENTITY, 255 - _IDENTITY).astype(np.uint8)


def posterize_table(bits: int) -> np.ndarray:
    """Only the `bits` highest bits of a value are kept."""
    return (_IDENTITY & (256 - (1 << (8 - bits)))).astype(np.uint8)


def sharpen(image: np.ndarray, factor: int) -> np.ndarray:
    """Pillow's sharpness on uint8 [H, W, 3]: degenerate + factor / 256 (image - degenerate), borders replicated.

    The degenerate image is the 3x3 smoothing [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13.
    """
    total = cv2.boxFilter(image, cv2.CV_32S, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    smooth: np.ndarray = np.asarray(total, np.int32)
    smooth += 4 * image.astype(np.int32)
    smooth += 6
    smooth //= 13
    change: np.ndarray = image - smooth
    change *= factor
    change += 128
    change >>= 8
    change += smooth
    return np.clip(change, 0, 255, out=change).astype(np.uint8)


def apply_steps(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """The augmented copy of a uint8 image [H, W, 3]."""
    for step in steps:
        if isinstance(step, Table):
            image = cv2.LUT(image, step.values.reshape(1, 256, 3))
        else:
            image = sharpen(image, step.factor)
    return image


def _between(uniform: float, bounds: Sequence[float]) -> float:
    return bounds[0] + uniform * (bounds[1] - bounds[0])


def _whole_between(uniform: float, bounds: Sequence[int]) -> int:
    """A whole number from bounds[0] to bounds[1], both included."""
    return int(bounds[0]) + int(uniform * (int(bounds[1]) - int(bounds[0]) + 1))


def draw_steps(
    uniforms: np.ndarray,
    count: int,
    ranges: AugmentRanges,
    image: Callable[[], np.ndarray],
    counts: Callable[[], np.ndarray],
) -> tuple[tuple[str, ...], tuple[Step, ...]]:
    """`count` different operations in random order with random parameters, adjacent tables merged into one.

    uniforms: 14 numbers in [0, 1): seven that order the operations, seven parameters.
    image gives the source, uint8 [H, W, 3], and counts its histogram; called only where an operation needs them.
    Returns the names in the order of application, and the steps for `apply_steps`.
    """
    chosen = np.argsort(uniforms[:7], kind="stable")[:count]
    names = tuple(OPERATIONS[i] for i in chosen)
    steps: list[Step] = []
    for name, operation in zip(names, chosen, strict=True):
        parameter = float(uniforms[7 + operation])
        if name == "sharpness":
            steps.append(Sharpness(round(256 * _between(parameter, ranges.sharpness))))
            continue
        if name in ("equalize", "autocontrast"):
            builder = equalize_table if name == "equalize" else autocontrast_table
            seen = _pushed(steps, image, counts)
            values = np.stack([builder(seen[:, channel]) for channel in range(3)], axis=1)
        else:
            values = np.repeat(_plain_table(name, parameter, ranges)[:, None], 3, axis=1)
        if steps and isinstance(steps[-1], Table):
            before = steps.pop()
            values = np.take_along_axis(values, before.values.astype(np.intp), axis=0)  # type: ignore[union-attr]
        steps.append(Table(np.ascontiguousarray(values)))
    return names, tuple(steps)


def _plain_table(name: str, parameter: float, ranges: AugmentRanges) -> np.ndarray:
    if name == "solarize":
        return solarize_table(_whole_between(parameter, ranges.solarize))
    if name == "posterize":
        return posterize_table(_whole_between(parameter, ranges.posterize_bits))
    if name == "gamma":
        return gamma_table(_between(parameter, ranges.gamma))
    return 255 - _IDENTITY


def _pushed(steps: Sequence[Step], image: Callable[[], np.ndarray], counts: Callable[[], np.ndarray]) -> np.ndarray:
    """Histogram of the image after the steps; a single table moves counts, sharpness needs the pixels."""
    if not steps:
        return counts()
    if len(steps) > 1 or not isinstance(steps[0], Table):
        return histogram(apply_steps(image(), steps))
    source, values = counts(), steps[0].values
    moved = np.zeros_like(source)
    for channel in range(3):
        np.add.at(moved[:, channel], values[:, channel], source[:, channel])
    return moved
