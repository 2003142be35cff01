"""Normal images: views of one photograph as an inspection camera would take them, each a little different."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import RandomState
from scipy import ndimage

from prn.tools.miniature.photographs import photograph


@dataclass(frozen=True, slots=True)
class Scene:
    """How the camera sees one category. Lengths are in pixels of the photograph, angles in degrees.

    For an object `centre` is where the camera looks and `shift` the pose jitter; for a texture `centre` is None and
    the view falls anywhere in the photograph.
    """

    photo: str
    height: int
    width: int
    span: float  # how many pixels of the photograph the view's height covers
    centre: tuple[float, float] | None = None
    shift: float = 0.0
    rotation: float = 4.0
    zoom: float = 0.02
    gain: float = 0.22
    gradient: float = 0.22
    noise: float = 2.0
    softness: float = 0.5
    foreign: tuple[str, ...] = ("grass.png", "motorcycle_left.png")  # photographs of other materials
    tint: tuple[float, float, float] | None = None  # colours a grey photograph: factors of red, green and blue
    region: tuple[float, float] = (0.5, 0.5)  # half axes of the ellipse that defects fall in, as parts of the view


def draw_view(scene: Scene, rng: RandomState) -> np.ndarray:
    """The scene in a random pose, float64 H x W x C in 0..255, before lighting and noise."""
    photo = photograph(scene.photo)
    angle = math.radians(rng.uniform(-scene.rotation, scene.rotation))
    scale = scene.span / scene.height * (1 + rng.uniform(-scene.zoom, scene.zoom))
    centre = _centre(scene, photo.shape, scale, angle, rng)
    matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([(scene.height - 1) / 2, (scene.width - 1) / 2])
    offset = centre - (matrix * middle).sum(1)
    softness = rng.uniform(0.0, scene.softness)
    channels = [
        ndimage.affine_transform(plane, matrix, offset, (scene.height, scene.width), order=1, mode="nearest")
        for plane in _softened(scene.photo, scene.span / scene.height)
    ]
    view = np.stack([ndimage.gaussian_filter(channel, softness) for channel in channels], axis=-1)
    return view if scene.tint is None else view.mean(-1, keepdims=True) * np.array(scene.tint)


def finish(images: list[np.ndarray], scene: Scene, rng: RandomState) -> list[np.ndarray]:
    """The same lighting and the same sensor noise on each of `images` (float64 H x W x C), then uint8."""
    rows, columns = np.mgrid[-1 : 1 : scene.height * 1j, -1 : 1 : scene.width * 1j]
    slope_y, slope_x = rng.uniform(-scene.gradient, scene.gradient, 2)
    light = (1 + rng.uniform(-scene.gain, scene.gain)) * (1 + slope_y * rows + slope_x * columns)
    noise = rng.normal(0.0, scene.noise, images[0].shape)
    return [np.clip(np.rint(image * light[..., None] + noise), 0, 255).astype(np.uint8) for image in images]


def _centre(scene: Scene, shape: tuple[int, ...], scale: float, angle: float, rng: RandomState) -> np.ndarray:
    """Where in the photograph the view is centred; a texture's view stays inside the photograph."""
    if scene.centre is not None:
        return np.array(scene.centre) + rng.uniform(-scene.shift, scene.shift, 2)
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    half_y = scale * (scene.height * cosine + scene.width * sine) / 2
    half_x = scale * (scene.width * cosine + scene.height * sine) / 2
    return np.array([rng.uniform(half_y, shape[0] - half_y), rng.uniform(half_x, shape[1] - half_x)])


@cache
def _softened(name: str, scale: float) -> tuple[np.ndarray, ...]:
    """The photograph's channels, blurred for a reduction by `scale` so that nothing aliases."""
    sigma = 0.4 * max(scale - 0.8, 0.0)
    photo = photograph(name)
    return tuple(ndimage.gaussian_filter(photo[..., channel], sigma) for channel in range(photo.shape[2]))
