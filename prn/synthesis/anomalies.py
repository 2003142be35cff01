"""What is drawn for an extended or a simulated anomaly: a `Plan` of numbers and the mask.

`render` makes one image of a plan on the CPU, `device` makes batches of images on an accelerator.
Sources: paper 3.4 and equation 4 (extended), supplement A and its equation 1 (simulated).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from prn.synthesis.augment import AugmentRanges, Step, draw_steps
from prn.synthesis.materials import Materials, Strategy
from prn.synthesis.perlin import ROTATION_DEGREES, perlin_noise
from prn.synthesis.spatial import (
    Affine,
    Box,
    SpatialRanges,
    bounding_box,
    draw_cells,
    draw_transform,
    rotation,
    warp_mask,
)
from prn.synthesis.target_area import UNIFORMS, TargetArea, draw_target_area
from prn.synthesis.visible import Contrast, Site

if TYPE_CHECKING:
    from prn.settings.sections import SynthesisSettings

Uniform = Callable[[int], np.ndarray]
# How often a transform or a noise is drawn again before the fallback (paper: "until R has overlap").
TRIES = 50
# An overlap counts from this share of what the target area can hold of the region; slivers show no defect.
LEAST_OVERLAP = 0.2
# How often colours and opacity are drawn again for an anomaly that nobody would see.
COLOUR_TRIES = 10
# Opacities are whole 256ths, so that blending is exact on every machine.
OPACITY_UNITS = 256
CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is drawn for one sample.

    background, source: indices; operations: names of Aug_1's operations, steps: what they do; opacity: beta in 1/256;
    box, mask: where the anomaly is (uint8 0/1 inside the box, never empty); area: the target area before the anomaly;
    affine: Aug_2 (extended only); cells: the grid's order (homologous only); noise: lattice angles and rotation
    (simulated only); tries: draws until the overlap was found; fallback: true where TRIES draws found none;
    least_pixel_change: the sum over the channels from which a pixel's change is marked, in grey levels.
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
    least_pixel_change: int = 0


def _pick(uniform: float, count: int) -> int:
    return int(uniform * count)


def _opacity(uniform: float, bounds: Sequence[float]) -> int:
    return round(OPACITY_UNITS * (bounds[0] + uniform * (bounds[1] - bounds[0])))


def _draw_colours(
    materials: Materials, settings: "SynthesisSettings", site: Site, uniform: Uniform
) -> tuple[tuple[str, ...], tuple[Step, ...], int]:
    """Aug_1 of the source image and the opacity: names, steps and beta in 1/256.

    Both are drawn again while they change the background by less than `synthesis.least_change` grey levels; after
    `COLOUR_TRIES` the draw that changes most stays.
    """
    contrast = Contrast(materials, site) if settings.least_change else None
    best = None
    for _ in range(COLOUR_TRIES):
        names, steps = draw_steps(
            uniform(14),
            settings.augmentations,
            AugmentRanges(settings.gamma, settings.solarize, settings.posterize_bits, settings.sharpness),
            image=lambda: materials.source(site.strategy, site.source),
            counts=lambda: materials.counts(site.strategy, site.source),
        )
        opacity = _opacity(float(uniform(1)[0]), settings.opacity)
        change = contrast.change(steps, opacity) if contrast else math.inf
        if best is None or change > best[0]:
            best = change, names, steps, opacity
        if change >= settings.least_change:
            break
    assert best is not None
    return best[1:]


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
    that the region's middle pixel lies on the target area's centre. The mask is the transformed region's mask within
    the area, so black defects count; the renderer takes from it what changes by less than `least_pixel_change`.
    """
    picks = uniform(2)
    background, source = _pick(picks[0], len(materials.normals)), _pick(picks[1], len(materials.seen))
    area = _target_area(materials, settings, background, uniform)
    affine, box, mask, tries, fallback = _place_region(materials, settings, source, area, uniform)
    site = Site("extended", source, background, box, mask, affine)
    operations, steps, opacity = _draw_colours(materials, settings, site, uniform)
    return Plan(
        strategy="extended",
        background=background,
        source=source,
        operations=operations,
        steps=steps,
        opacity=opacity,
        area=area,
        box=box,
        mask=mask,
        affine=affine,
        tries=tries,
        fallback=fallback,
        least_pixel_change=math.ceil(CHANNELS * settings.least_pixel_change),
    )


def _place_region(
    materials: Materials, settings: "SynthesisSettings", source: int, area: TargetArea, uniform: Uniform
) -> tuple[Affine, Box, np.ndarray, int, bool]:
    """Aug_2 and what of the region lies in the target area: transform, box, mask, tries, whether it is the fallback."""
    region, region_box = materials.seen_masks[source], materials.seen_boxes[source]
    ranges = SpatialRanges(settings.spatial, settings.rotate_degrees, settings.shear_degrees, settings.shift)
    least = LEAST_OVERLAP * min(materials.seen_pixels[source], int(area.mask.sum()))
    tries = 0
    while tries < TRIES:
        tries += 1
        affine = draw_transform(uniform(5), ranges, *materials.size)
        found = _overlap(region, region_box, affine, area)
        if found is not None and found[1].sum() >= least:
            return affine, *found, tries, False
    affine = affine.anchored(_middle_pixel(region), area.centre)
    found = _overlap(region, region_box, affine, area)
    if found is None:
        raise AssertionError("a pixel of the region lies on the target area's centre, so they overlap")
    return affine, *found, tries, True


def _overlap(region: np.ndarray, region_box: Box, affine: Affine, area: TargetArea) -> tuple[Box, np.ndarray] | None:
    """Box and mask of the transformed region within the target area, None where they do not meet."""
    box = affine.landing_box(region_box).within(area.box)
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

    The noise is drawn again until it meets the target area in more than a speck; after `TRIES` the largest speck stays.
    Without any the area is the whole foreground, and where the last noise misses even that, the pixel with the highest
    noise is the anomaly.
    """
    picks = uniform(3)
    background = _pick(picks[0], len(materials.normals))
    share = settings.heterologous_share if settings.homologous else 1.0
    strategy: Strategy = "heterologous" if settings.heterologous and picks[2] < share else "homologous"
    cells = None
    if strategy == "heterologous":
        source = _pick(picks[1], len(materials.textures))
    else:
        source = background if settings.homologous_source == "same" else _pick(picks[1], len(materials.normals))
        cells = draw_cells(uniform(settings.grid * (settings.grid + 1)), settings.grid, settings.homologous_shuffle)
    area = _target_area(materials, settings, background, uniform)
    noise, found, tries = _draw_mask(materials, settings, area, uniform)
    fallback = found is None
    if found is None:
        area, found = _last_resort(materials, settings, background, area, noise)
    box, mask = found
    site = Site(strategy, source, background, box, mask, cells)
    operations, steps, opacity = _draw_colours(materials, settings, site, uniform)
    return Plan(
        strategy=strategy,
        background=background,
        source=source,
        operations=operations,
        steps=steps,
        opacity=opacity,
        area=area,
        box=box,
        mask=mask,
        cells=cells,
        noise=noise,
        tries=tries,
        fallback=fallback,
    )


def _draw_mask(
    materials: Materials, settings: "SynthesisSettings", area: TargetArea, uniform: Uniform
) -> tuple[tuple[np.ndarray, Affine], tuple[Box, np.ndarray] | None, int]:
    """Noise that meets the target area, the box and mask where it does (None where none of `TRIES` did), the tries.

    A mask counts from `synthesis.least_mask` of the image, or from a tenth of a small target area.
    """
    height, width = materials.size
    least = max(1, min(round(settings.least_mask * height * width), int(area.mask.sum()) // 10))
    largest, found, kept, tries = 0, None, None, 0
    while tries < TRIES and largest < least:
        tries += 1
        noise = _draw_noise(settings, materials.size, uniform)
        part = _tight(noise_mask(noise, materials.size, settings.perlin_threshold, area.box) & area.mask, area.box)
        pixels = 0 if part is None else int(part[1].sum())
        if kept is None or pixels > largest or not largest:
            largest, found, kept = pixels, part, noise
    assert kept is not None
    return kept, found, tries


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
    read = turn.source_box(box)
    rows, columns = _mirrored_range(read.top, read.bottom, size[0]), _mirrored_range(read.left, read.right, size[1])
    crop = Box(rows.start, columns.start, rows.stop, columns.stop)
    above = (perlin_noise(angles, *size, rows, columns) > threshold).view(np.uint8)
    return warp_mask(above, turn.from_crop(crop), box, cv2.BORDER_REFLECT_101)


def _mirrored_range(start: int, stop: int, size: int) -> slice:
    """The pixels that reading start..stop needs where 0..size is mirrored at both ends."""
    low, high = start, stop
    if start < 0:
        high = max(high, 1 - start)
    if stop > size:
        low = min(low, 2 * size - 1 - stop)
    return slice(max(low, 0), min(high, size))


def _last_resort(
    materials: Materials,
    settings: "SynthesisSettings",
    background: int,
    area: TargetArea,
    noise: tuple[np.ndarray, Affine],
) -> tuple[TargetArea, tuple[Box, np.ndarray]]:
    """Noise that never met the target area: the whole foreground, then the pixel with the highest noise in it."""
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
