"""The categories of the miniature data sets: what the camera sees, and what goes wrong with it."""

from dataclasses import dataclass
from itertools import cycle, islice
from zlib import crc32

import numpy as np
from numpy.random import RandomState

from prn.tools.miniature.defects import changed_mask, draw_defect
from prn.tools.miniature.views import Scene, draw_view, finish

TRAIN_NORMAL, TEST_NORMAL, DEFECTIVE = 64, 24, 44


@dataclass(frozen=True, slots=True)
class Category:
    """One category: the scene and the kinds of defect, in turn."""

    name: str
    scene: Scene
    kinds: tuple[str, ...]

    def normal(self, role: str, number: int) -> np.ndarray:
        """A normal image, uint8 H x W x C (RGB or grey); a pure function of the category, the role and the number."""
        rng = self._random(role, number)
        return finish([draw_view(self.scene, rng)], self.scene, rng)[0]

    def defective(self, role: str, number: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """`normal(role, number)` with a defect, uint8 H x W x C, and the defect's exact mask, bool H x W."""
        rng = self._random(role, number)
        view = draw_view(self.scene, rng)
        damaged = draw_defect(view, kind, self.scene, self._random(f"{role}/{kind}", number))
        before, after = finish([view, damaged], self.scene, rng)
        return after, changed_mask(before, after)

    def kinds_for(self, count: int) -> list[str]:
        """`count` kinds of defect, each in turn."""
        return list(islice(cycle(self.kinds), count))

    def _random(self, role: str, number: int) -> RandomState:
        return RandomState(crc32(f"{self.name}/{role}/{number}".encode()))


CUP = Category(
    "cup",
    Scene("coffee.png", 128, 128, span=360, centre=(200, 300), shift=14, region=(0.36, 0.36)),
    ("dye", "misplaced", "stain", "foreign"),
)
BRICK = Category(
    "brick",
    Scene("brick.png", 128, 128, span=190, centre=(256, 256), shift=16, tint=(1.15, 0.95, 0.85), region=(0.4, 0.4)),
    ("foreign", "dye", "scratch", "stain"),
)
GRAVEL = Category(
    "Class1",
    Scene(
        "gravel.png",
        128,
        128,
        span=340,
        centre=(256, 256),
        shift=8,
        rotation=3,
        foreign=("brick.png", "motorcycle_left.png"),
        region=(0.4, 0.4),
    ),
    ("smear", "foreign", "stain"),
)
DISC = Category(
    "01",
    Scene("retina.jpg", 128, 128, span=1480, centre=(705, 705), shift=50, rotation=6, region=(0.3, 0.3)),
    ("foreign", "dye", "stain", "scratch"),
)
SURFACE = Category(
    "ksdd2",
    Scene(
        "moon.png",
        224,
        80,
        span=400,
        centre=(256, 256),
        shift=24,
        rotation=2,
        noise=1.5,
        tint=(1.05, 1.0, 0.92),
        region=(0.4, 0.4),
    ),
    ("dye", "stain", "foreign"),
)
LAWN = Category(
    "lawn",
    Scene(
        "grass.png",
        112,
        112,
        span=300,
        centre=(256, 256),
        shift=10,
        tint=(0.8, 1.1, 0.7),
        foreign=("brick.png", "motorcycle_left.png"),
        region=(0.4, 0.4),
    ),
    ("foreign", "smear", "dye"),
)
CATEGORIES = {"mvtec": (CUP, BRICK), "dagm": (GRAVEL,), "btad": (DISC,), "ksdd2": (SURFACE,), "garden": (LAWN,)}
