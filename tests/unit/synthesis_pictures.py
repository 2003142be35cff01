"""A small category made by whole-number formulas, and its synthesizer, for the tests of the synthesis."""

import cv2
import numpy as np

from prn.settings.sections import SynthesisSettings
from prn.synthesis import ForegroundRule, Synthesizer

HEIGHT, WIDTH = 40, 56
RULE = ForegroundRule("threshold", threshold=60, blur=1)


def pictures(count: int, seed: int, grey: bool = False, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Bright discs with a pattern on a dark ground, made with whole numbers only."""
    y, x = np.mgrid[:height, :width]
    images = []
    for number in range(count):
        step = 7 + 5 * number + seed
        pattern = np.stack([(x * step + y * (channel + 3)) % 120 + 90 for channel in range(3)], axis=-1)
        inside = (y - height // 2) ** 2 + (x - width // 2 - number) ** 2 < (min(height, width) * 2 // 5) ** 2
        image = np.where(inside[..., None], pattern, 20 + number).astype(np.uint8)
        images.append(np.repeat(image[..., :1], 3, axis=2) if grey else image)
    return np.stack(images)


def regions(count: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    masks = np.zeros((count, height, width), np.uint8)
    for number, mask in enumerate(masks):
        cv2.ellipse(mask, (width // 2 + 3 * number, height // 2), (9, 4 + number), 30 * number, 0, 360, 1, -1)
    return masks


def make(
    synthesis: SynthesisSettings | None = None,
    seed: int = 7,
    rule: ForegroundRule | None = RULE,
    grey: bool = False,
    seen: int = 2,
    textures: int = 4,
    **overrides,
) -> Synthesizer:
    given_settings = synthesis or SynthesisSettings()
    return Synthesizer(
        pictures(3, 0, grey),
        pictures(seen, 50, grey) if seen else np.zeros((0, HEIGHT, WIDTH, 3), np.uint8),
        regions(seen),
        pictures(textures, 100)[:, :, ::-1].copy() if textures else [],
        settings=given_settings.changed(**overrides),
        seed=seed,
        foreground=rule,
    )
