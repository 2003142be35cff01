"""Defects drawn into a view: their regions, what they do to the pixels, and the mask of what they changed.

Every defect keeps the colours and the contrast of its surroundings, so that neither a colour threshold nor the distance
to the mean image finds it: what is wrong is the structure.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import RandomState
from scipy import ndimage

from prn.tools.miniature.photographs import photograph
from prn.tools.miniature.views import Scene

Operation = Callable[[np.ndarray, np.ndarray, Scene, RandomState], np.ndarray]


def draw_defect(view: np.ndarray, kind: str, scene: Scene, rng: RandomState) -> np.ndarray:
    """`view` (float64 H x W x C) with one to three defects of `kind`; the more there are, the smaller they are."""
    number = rng.choice([1, 1, 1, 2, 3])
    size = math.sqrt(scene.height * scene.width / number)
    image = view
    for _ in range(number):
        image = _draw_visible(image, kind, scene, size, rng)
    return image


def _draw_visible(image: np.ndarray, kind: str, scene: Scene, size: float, rng: RandomState) -> np.ndarray:
    """`image` with one defect that can be seen: the first of twelve tries that can, or else the most visible one."""
    best, most = image, -1.0
    darkest, brightest = np.percentile(image, (1, 99))
    for _ in range(12):
        weight = _REGIONS[kind](scene, size, rng)
        drawn = _OPERATIONS[kind](image, weight, scene, rng)
        if kind != "dye":  # nothing darker or brighter than the view itself: no threshold on brightness finds it
            drawn = np.clip(drawn, darkest, brightest)
        changed = image + weight[..., None] * (drawn - image)
        seen = float((np.abs(changed - image).mean(-1) * weight).sum() / weight.sum())
        if seen > most:
            best, most = changed, seen
        if most >= VISIBLE:
            break
    return best


def changed_mask(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bool H x W: the pixels in which two uint8 images differ, single unchanged pixels within closed."""
    return ndimage.binary_fill_holes((before != after).any(-1))


# Mean change, in grey levels over its region, below which a person would not see the defect.
VISIBLE = 34.0


def _blob(scene: Scene, size: float, rng: RandomState) -> np.ndarray:
    """Weights in 0..1 of a closed shape of random outline, its radius a tenth to a fifth of `size`."""
    y, x = _centre(scene, rng)
    radius = size * rng.uniform(0.16, 0.26)
    stretch, turn = rng.uniform(1.0, 1.8), rng.uniform(0, math.pi)
    rows, columns = np.mgrid[: scene.height, : scene.width] - np.array([y, x])[:, None, None]
    along = (columns * math.cos(turn) + rows * math.sin(turn)) / math.sqrt(stretch)
    across = (rows * math.cos(turn) - columns * math.sin(turn)) * math.sqrt(stretch)
    angle = np.arctan2(across, along)
    outline = np.ones_like(angle)
    for order in range(2, 6):
        outline += rng.uniform(0, 0.28 / order * 2) * np.cos(order * angle + rng.uniform(0, 2 * math.pi))
    return np.clip(radius * outline - np.hypot(along, across) + 0.5, 0, 1)


def _stroke(scene: Scene, size: float, rng: RandomState) -> np.ndarray:
    """Weights in 0..1 of a bent line, 5 to 9 hundredths of `size` wide."""
    start = np.array(_centre(scene, rng))
    heading, length = rng.uniform(0, 2 * math.pi), size * rng.uniform(0.35, 0.75)
    bend = rng.uniform(-1.2, 1.2)
    steps = np.linspace(0, 1, 40)
    headings = heading + bend * steps
    path = start + np.cumsum(np.stack([np.sin(headings), np.cos(headings)], -1) * length / 40, 0)
    rows, columns = np.mgrid[: scene.height, : scene.width]
    distance = np.full((scene.height, scene.width), np.inf)
    for point in path:
        distance = np.minimum(distance, np.hypot(rows - point[0], columns - point[1]))
    return np.clip(size * rng.uniform(0.04, 0.06) - distance + 0.5, 0, 1)


def _centre(scene: Scene, rng: RandomState) -> tuple[float, float]:
    """A random place in the part of the view that defects fall in (an ellipse around its middle)."""
    while True:
        y, x = rng.uniform(-1, 1, 2)
        if y * y + x * x <= 1 or scene.centre is None:
            break
    margin = 0.86 if scene.centre is None else 1.0
    return (
        scene.height * (0.5 + margin * scene.region[0] * y),
        scene.width * (0.5 + margin * scene.region[1] * x),
    )


def _matched(patch: np.ndarray, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`patch` with the mean and the spread that `image` has where `weight` lies, channel by channel."""
    inside = weight > 0
    source, target = patch[inside], image[inside]
    spread = np.maximum(target.std(0), 14.0) / np.maximum(source.std(0), 5.0)
    return np.clip((patch - source.mean(0)) * spread + target.mean(0), 0, 255)


def _foreign(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """Another material in the colours of this one."""
    photo = photograph(scene.foreign[rng.randint(len(scene.foreign))])
    height, width = image.shape[:2]
    top, left = rng.randint(photo.shape[0] - height + 1), rng.randint(photo.shape[1] - width + 1)
    grey = photo[top : top + height, left : left + width].mean(-1, keepdims=True)
    return _matched(np.repeat(grey, image.shape[2], -1), image, weight)


def _misplaced(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """A piece of the same view from another place, turned by a quarter, in the local colours."""
    rows, columns = np.nonzero(weight)
    top, left = rows.min(), columns.min()
    side = min(max(rows.max() - top, columns.max() - left) + 1, *image.shape[:2])
    from_y, from_x = rng.randint(image.shape[0] - side + 1), rng.randint(image.shape[1] - side + 1)
    piece = np.rot90(image[from_y : from_y + side, from_x : from_x + side], rng.choice([1, 3]))
    result = image.copy()
    spot = result[top : top + side, left : left + side]
    spot[:] = piece[: spot.shape[0], : spot.shape[1]]
    return _matched(result, image, weight)


def _smear(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """The surface dragged along one direction."""
    length, angle = min(image.shape[:2]) * rng.uniform(0.12, 0.22), rng.uniform(0, math.pi)
    steps = [(length * t * math.sin(angle), length * t * math.cos(angle), 0) for t in np.linspace(-0.5, 0.5, 15)]
    return np.mean([ndimage.shift(image, step, order=1, mode="mirror") for step in steps], axis=0)


def _warp(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """The surface pressed in and swirled around the region's middle."""
    y, x = ndimage.center_of_mass(weight)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
    reach = max(math.sqrt(float(weight.sum()) / math.pi), 1.0)
    distance = np.hypot(rows - y, columns - x) / reach
    fall = np.clip(1.4 - distance, 0, 1)
    angle = rng.choice([-1, 1]) * rng.uniform(0.7, 1.2) * fall
    zoom = 1 + rng.uniform(-0.3, 0.3) * fall
    source_y = y + zoom * ((rows - y) * np.cos(angle) - (columns - x) * np.sin(angle))
    source_x = x + zoom * ((rows - y) * np.sin(angle) + (columns - x) * np.cos(angle))
    return np.stack(
        [
            ndimage.map_coordinates(image[..., c], [source_y, source_x], order=1, mode="mirror")
            for c in range(image.shape[2])
        ],
        -1,
    )


def _shuffled(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """Broken structure: small cells of the region change places."""
    cell = max(min(image.shape[:2]) // 14, 4)
    height, width = image.shape[0] // cell * cell, image.shape[1] // cell * cell
    cells = image[:height, :width].reshape(height // cell, cell, width // cell, cell, -1).swapaxes(1, 2)
    inside = np.argwhere(weight[cell // 2 : height : cell, cell // 2 : width : cell] > 0)
    mixed = cells.copy()
    source = inside[rng.permutation(len(inside))]
    mixed[inside[:, 0], inside[:, 1]] = np.rot90(cells[source[:, 0], source[:, 1]], 1, axes=(1, 2))
    result = image.copy()
    result[:height, :width] = mixed.swapaxes(1, 2).reshape(height, width, -1)
    return result


def _scratch(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """A groove: the surface bare of its texture, lighter or darker than the surroundings."""
    plain = ndimage.gaussian_filter(image, (4, 4, 0))
    return np.clip(plain + rng.choice([-1, 1]) * rng.uniform(45, 65), 0, 255)


def _stain(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """A blotch: uneven, its contrast against the surroundings kept within what the photograph has anyway."""
    blotch = ndimage.gaussian_filter(rng.normal(0, 1, image.shape[:2]), 2.5)
    blotch *= rng.uniform(36, 48) / blotch.std()
    plain = ndimage.gaussian_filter(image, (3, 3, 0))
    return np.clip(plain + blotch[..., None], 0, 255)


def _dye(image: np.ndarray, weight: np.ndarray, scene: Scene, rng: RandomState) -> np.ndarray:
    """A fluid that has soaked in: another hue at the same brightness."""
    green = np.array([-0.55, 0.45, -0.65])  # leaves the grey value (Rec. 601 weights) within a hundredth
    return np.clip(image + green * rng.uniform(55, 75), 0, 255)


_OPERATIONS: dict[str, Operation] = {
    "foreign": _foreign,
    "misplaced": _misplaced,
    "smear": _smear,
    "warp": _warp,
    "shuffled": _shuffled,
    "scratch": _scratch,
    "stain": _stain,
    "dye": _dye,
}
_REGIONS = dict.fromkeys(_OPERATIONS, _blob) | {"scratch": _stroke}
DEFECTS = tuple(_OPERATIONS)
