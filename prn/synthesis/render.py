"""From a plan to an image, on the CPU: the anomaly's colours inside the mask's bounding box, blended into the normal.

Sources: paper 3.4 and equation 4 (extended), supplement A and its equation 1 (simulated).
"""

from collections.abc import Sequence

import numpy as np

from prn.synthesis.anomalies import OPACITY_UNITS, Plan
from prn.synthesis.augment import Sharpness, Step, apply_steps
from prn.synthesis.materials import Materials
from prn.synthesis.spatial import Box, rearrange, warp_image


def anomaly_colours(materials: Materials, plan: Plan, box: Box) -> np.ndarray:
    """The anomaly's own colours (A of the simulated, R of the extended) inside the box, uint8 [h, w, 3]."""
    source = materials.source(plan.strategy, plan.source)
    if plan.affine is not None:
        crop = plan.affine.source_box(box).within(Box(0, 0, *materials.size))
        return warp_image(_augmented_window(source, plan.steps, crop), plan.affine.from_crop(crop), box)
    if plan.cells is not None:
        if any(isinstance(step, Sharpness) for step in plan.steps):
            return rearrange(apply_steps(source, plan.steps), plan.cells, box)
        return apply_steps(rearrange(source, plan.cells, box), plan.steps)
    return _augmented_window(source, plan.steps, box)


def _augmented_window(source: np.ndarray, steps: Sequence[Step], box: Box) -> np.ndarray:
    """The augmented image inside the box; a margin of one pixel serves sharpness."""
    height, width = source.shape[:2]
    outer = Box(box.top - 1, box.left - 1, box.bottom + 1, box.right + 1).within(Box(0, 0, height, width))
    augmented = apply_steps(source[outer.slices], steps)
    inner = Box(box.top - outer.top, box.left - outer.left, box.bottom - outer.top, box.right - outer.left)
    return augmented[inner.slices]


def blend(normal: np.ndarray, anomaly: np.ndarray, mask: np.ndarray, opacity: int) -> np.ndarray:
    """Equations 4 and 1: outside the mask the normal, inside (1 - beta) anomaly + beta normal; uint8 [h, w, 3]."""
    mixed = anomaly.astype(np.uint16) * (OPACITY_UNITS - opacity)
    mixed += normal.astype(np.uint16) * opacity + OPACITY_UNITS // 2
    return np.where(mask[..., None] > 0, (mixed // OPACITY_UNITS).astype(np.uint8), normal)


def changed_pixels(normal: np.ndarray, blended: np.ndarray, mask: np.ndarray, least: int) -> np.ndarray:
    """The mask's pixels (uint8 0/1 [h, w]) whose channels' changes add up to `least` grey levels; all where none do."""
    if not least:
        return mask
    change = np.abs(blended.astype(np.int16) - normal).sum(axis=2)
    kept = mask * (change >= least)
    return kept if kept.any() else mask


def render(materials: Materials, plan: Plan, image: np.ndarray, mask: np.ndarray) -> None:
    """Write the synthetic image and its mask into `image` (uint8 [H, W, 3]) and `mask` (uint8 [H, W], 0/1)."""
    image[:] = materials.normals[plan.background]
    mask[:] = 0
    window = plan.box.slices
    normal = image[window]
    blended = blend(normal, anomaly_colours(materials, plan, plan.box), plan.mask, plan.opacity)
    mask[window] = changed_pixels(normal, blended, plan.mask, plan.least_pixel_change)
    image[window] = blended
