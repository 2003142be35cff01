"""Extended and simulated anomalies: what is drawn for a sample (a `Plan`), and how it becomes an image.

A plan holds the numbers and the mask of one sample; the CPU renders it here, the device path renders batches of plans.
Only the pixels of the mask's bounding box are ever computed, all others are the normal image's own.
Sources: paper 3.4 and equation 4 (extended), supplement A and its equation 1 (simulated).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from prn.synthesis.augment import AugmentRanges, Sharpness, Step, apply_steps, draw_steps, histogram
from prn.synthesis.foreground import Foreground
from prn.synthesis.perlin import ROTATION_DEGREES, perlin_noise
from prn.synthesis.spatial import (
    Affine,
    Box,
    anchored,
    bounding_box,
    draw_cells,
    draw_transform,
    landing_box,
    rearrange,
    rotation,
    warp_image,
    warp_mask,
)
from prn.synthesis.target_area import UNIFORMS, TargetArea, draw_target_area

if TYPE_CHECKING:
    from prn.config import SynthesisSettings

Strategy = Literal["extended", "heterologous", "homologous"]
Uniform = Callable[[int], np.ndarray]
# How often a transform or a noise is drawn again before the fallback (paper: "until R has overlap").
TRIES = 50
# An overlap counts from this share of what the target area can hold of the region; slivers show no defect.
LEAST_OVERLAP = 0.2
# Opacities are whole 256ths, so that blending is exact on every machine.
OPACITY_UNITS = 256


@dataclass(slots=True)
class Materials:
    """The images that anomalies are made of.

    normals, seen, textures: uint8 [.., H, W, 3]; seen_masks: uint8 0/1 [.., H, W], none of them empty; foreground: None
    where it is the whole image; grey: whether textures are turned grey, as all normals are.
    """

    normals: np.ndarray
    seen: np.ndarray
    seen_masks: np.ndarray
    textures: Sequence[np.ndarray]
    foreground: Foreground | None
    grey: bool
    seen_boxes: list[Box] = field(default_factory=list)
    histograms: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen_boxes = [bounding_box(mask) for mask in self.seen_masks]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.normals.shape[1], self.normals.shape[2]

    def source(self, strategy: Strategy, index: int) -> np.ndarray:
        """The image that an anomaly's colours come from: a seen anomaly, a texture or a normal."""
        if strategy == "extended":
            return self.seen[index]
        if strategy == "homologous":
            return self.normals[index]
        texture = self.textures[index]
        return cv2.merge([cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY)] * 3) if self.grey else texture

    def counts(self, strategy: Strategy, index: int) -> np.ndarray:
        """Histogram of that image, computed once."""
        key = (strategy, index)
        if key not in self.histograms:
            self.histograms[key] = histogram(self.source(strategy, index)).astype(np.int32)
        return self.histograms[key].astype(np.int64)

    def foreground_of(self, background: int, box: Box) -> np.ndarray:
        """The foreground of a normal inside the box, uint8 0/1."""
        if self.foreground is None:
            return np.ones((box.bottom - box.top, box.right - box.left), np.uint8)
        return self.foreground.masks[(background, *box.slices)]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is drawn for one sample.

    background, source: indices; operations: names of Aug_1's operations, steps: what they do; opacity: beta in 1/256;
    box, mask: where the anomaly is (uint8 0/1 inside the box, never empty); area: the target area before the anomaly;
    affine: Aug_2 (extended only); cells: the grid's order (homologous only); noise: lattice angles and rotation
    (simulated only); tries: draws until the overlap was found; fallback: true where TRIES draws found none.
    """

    strategy: Strategy
    background: int
    source: int
    operations: tuple[str, ...]
    steps: tuple[Step, ...]
    opacity: int
    area: TargetArea
    box: Box
    mask: np.ndarray
    affine: Affine | None = None
    cells: np.ndarray | None = None
    noise: tuple[np.ndarray, Affine] | None = None
    tries: int = 1
    fallback: bool = False


def _pick(uniform: float, count: int) -> int:
    return int(uniform * count)


def _opacity(uniform: float, bounds: Sequence[float]) -> int:
    return round(OPACITY_UNITS * (bounds[0] + uniform * (bounds[1] - bounds[0])))


def _ranges(settings: "SynthesisSettings") -> AugmentRanges:
    return AugmentRanges(settings.gamma, settings.solarize, settings.posterize_bits, settings.sharpness)


def _target_area(materials: Materials, settings: "SynthesisSettings", background: int, uniform: Uniform) -> TargetArea:
    """The target area of a sample, inside the foreground; the whole image where target areas are switched off."""
    height, width = materials.size
    numbers = uniform(2 + UNIFORMS)
    if materials.foreground is None or not settings.target_area:
        centre = (_pick(numbers[0], height), _pick(numbers[1], width))
    else:
        centre = materials.foreground.pixel(background, numbers[0])
    if not settings.target_area:
        return TargetArea("image", Box(0, 0, height, width), np.ones((height, width), np.uint8), centre)
    area = draw_target_area(numbers[2:], settings.target_area_size, centre, height, width)
    np.bitwise_and(area.mask, materials.foreground_of(background, area.box), out=area.mask)
    return area


def _tight(mask: np.ndarray, box: Box) -> tuple[Box, np.ndarray] | None:
    """The mask cut to its bounding box, None without a pixel."""
    inner = bounding_box(mask)
    if inner.empty:
        return None
    outer = Box(box.top + inner.top, box.left + inner.left, box.top + inner.bottom, box.left + inner.right)
    return outer, np.ascontiguousarray(mask[inner.slices])


def plan_extended(materials: Materials, settings: "SynthesisSettings", uniform: Uniform) -> Plan:
    """Draw an extended anomaly: Aug_1 and Aug_2 of a seen anomaly, clipped to a target area.

    Aug_2 is drawn again until the region overlaps by more than a sliver; after `TRIES` the last transform is shifted so
    that the region's middle pixel lies on the target area's centre. The mask is the transformed region's mask within the area, so black defects count.
    """
    height, width = materials.size
    picks = uniform(3)
    background, source = _pick(picks[0], len(materials.normals)), _pick(picks[1], len(materials.seen))
    operations, steps = draw_steps(
        uniform(14),
        settings.augmentations,
        _ranges(settings),
        materials.seen[source],
        lambda: materials.counts("extended", source),
    )
    area = _target_area(materials, settings, background, uniform)
    region, region_box = materials.seen_masks[source], materials.seen_boxes[source]
    least = LEAST_OVERLAP * min(int(region.sum()), int(area.mask.sum()))
    for tries in range(1, TRIES + 1):
        affine = draw_transform(
            uniform(5), settings.spatial, settings.rotate_degrees, settings.shear_degrees, settings.shift, height, width
        )
        found = _overlap(region, region_box, affine, area)
        fallback = found is None or found[1].sum() < least
        if not fallback:
            break
    if fallback:
        affine = anchored(affine, _middle_pixel(region), area.centre)
        found = _overlap(region, region_box, affine, area)
    if found is None:
        raise AssertionError("a pixel of the region lies on the target area's centre, so they overlap")
    box, mask = found
    opacity = _opacity(picks[2], settings.opacity)
    return Plan(
        "extended",
        background,
        source,
        operations,
        steps,
        opacity,
        area,
        box,
        mask,
        affine=affine,
        tries=tries,
        fallback=fallback,
    )


def _overlap(region: np.ndarray, region_box: Box, affine: Affine, area: TargetArea) -> tuple[Box, np.ndarray] | None:
    """Box and mask of the transformed region within the target area, None where they do not meet."""
    box = landing_box(affine, region_box).within(area.box)
    if box.empty:
        return None
    part = area.mask[
        box.top - area.box.top : box.bottom - area.box.top, box.left - area.box.left : box.right - area.box.left
    ]
    return _tight(warp_mask(region, affine, box) & part, box)


def _middle_pixel(region: np.ndarray) -> tuple[int, int]:
    """The region's pixel (y, x) that is nearest to its centroid."""
    rows, columns = np.nonzero(region)
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(distance.argmin())
    return int(rows[nearest]), int(columns[nearest])


def plan_simulated(materials: Materials, settings: "SynthesisSettings", uniform: Uniform) -> Plan:
    """Draw a simulated anomaly: Perlin noise above a threshold, within a target area, filled from a source image.

    The noise is drawn again until it meets the target area; after `TRIES` the area is the whole foreground, and where
    the last noise misses even that, the pixel with the highest noise is the anomaly.
    """
    picks = uniform(4)
    background = _pick(picks[0], len(materials.normals))
    share = settings.heterologous_share if settings.homologous else 1.0
    strategy: Strategy = "heterologous" if settings.heterologous and picks[3] < share else "homologous"
    cells = None
    if strategy == "heterologous":
        source = _pick(picks[1], len(materials.textures))
    else:
        source = background if settings.homologous_source == "same" else _pick(picks[1], len(materials.normals))
        cells = draw_cells(uniform(settings.grid**2), settings.grid, settings.homologous_shuffle)
    operations, steps = draw_steps(
        uniform(14),
        settings.augmentations,
        _ranges(settings),
        materials.source(strategy, source),
        lambda: materials.counts(strategy, source),
    )
    area = _target_area(materials, settings, background, uniform)
    found, noise, tries = None, None, 0
    while found is None and tries < TRIES:
        tries += 1
        noise = _draw_noise(settings, materials.size, uniform)
        found = _tight(noise_mask(noise, materials.size, settings.perlin_threshold, area.box) & area.mask, area.box)
    fallback = found is None
    if noise is None or found is None:
        area, found = _last_resort(materials, settings, background, area, noise)
    opacity = _opacity(picks[2], settings.opacity)
    box, mask = found
    return Plan(
        strategy,
        background,
        source,
        operations,
        steps,
        opacity,
        area,
        box,
        mask,
        cells=cells,
        noise=noise,
        tries=tries,
        fallback=fallback,
    )


def _draw_noise(settings: "SynthesisSettings", size: tuple[int, int], uniform: Uniform) -> tuple[np.ndarray, Affine]:
    """Lattice angles and rotation of a noise image; its cells are at least one pixel."""
    low, high = settings.perlin_scale_exponents
    numbers = uniform(3)
    exponents = [low + _pick(number, max(1, high - low)) for number in numbers[:2]]
    scales = [min(2**exponent, side) for exponent, side in zip(exponents, size, strict=True)]
    angles = 2 * math.pi * uniform((scales[0] + 1) * (scales[1] + 1)).reshape(scales[0] + 1, scales[1] + 1)
    return angles, rotation((2 * numbers[2] - 1) * ROTATION_DEGREES, *size)


def noise_mask(noise: tuple[np.ndarray, Affine], size: tuple[int, int], threshold: float, box: Box) -> np.ndarray:
    """Where the rotated noise is above the threshold, uint8 0/1 inside the box; beyond its edges it is mirrored."""
    angles, turn = noise
    above = (perlin_noise(angles, *size) > threshold).view(np.uint8)
    return warp_mask(above, turn, box, cv2.BORDER_REFLECT_101)


def _last_resort(
    materials: Materials,
    settings: "SynthesisSettings",
    background: int,
    area: TargetArea,
    noise: tuple[np.ndarray, Affine] | None,
) -> tuple[TargetArea, tuple[Box, np.ndarray]]:
    """Noise that never met the target area: the whole foreground, then the pixel with the highest noise in it."""
    if noise is None:
        raise AssertionError("the noise is drawn at least once")
    height, width = materials.size
    whole = Box(0, 0, height, width)
    foreground = materials.foreground_of(background, whole) if settings.target_area else area.mask
    area = TargetArea("foreground", whole, foreground, area.centre)
    found = _tight(noise_mask(noise, materials.size, settings.perlin_threshold, whole) & foreground, whole)
    if found is None:
        values = np.where(foreground > 0, perlin_noise(noise[0], height, width), -np.inf)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        found = Box(int(row), int(column), int(row) + 1, int(column) + 1), np.ones((1, 1), np.uint8)
    return area, found


def anomaly_colours(materials: Materials, plan: Plan, box: Box) -> np.ndarray:
    """The anomaly's own colours (A of the simulated, R of the extended) inside the box, uint8 [h, w, 3]."""
    source = materials.source(plan.strategy, plan.source)
    if plan.affine is not None:
        return warp_image(apply_steps(source, plan.steps), plan.affine, box)
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


def render(materials: Materials, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The synthetic image uint8 [H, W, 3] and its mask uint8 0/1 [H, W]."""
    image = materials.normals[plan.background].copy()
    mask = np.zeros(materials.size, np.uint8)
    window = plan.box.slices
    image[window] = blend(image[window], anomaly_colours(materials, plan, plan.box), plan.mask, plan.opacity)
    mask[window] = plan.mask
    return image, mask
