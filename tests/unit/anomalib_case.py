"""A miniature category for the comparison methods: diagonal stripes; a defect is a piece that is turned."""

import numpy as np

from prn.fitting import FitInputs

SIZE = 64


def stripes(count: int, seed: int) -> np.ndarray:
    """Diagonal stripes of varied brightness and phase, with a little noise."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    images = []
    for _ in range(count):
        wave = np.sin((row + column) / 2 + random.uniform(0, 6.3)) * 60 + random.uniform(100, 150)
        images.append(np.repeat((wave + random.normal(0, 4, wave.shape))[..., None], 3, axis=2))
    return np.clip(images, 0, 255).astype(np.uint8)


def scored_images(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten normals and ten with a piece turned by 90 degrees, its colours unchanged: images, labels, masks."""
    images = stripes(20, seed)
    masks = np.zeros(images.shape[:3], bool)
    for number in range(10, 20):
        top, left = 10 + number, 34 - number
        piece = images[number, top : top + 20, left : left + 20]
        images[number, top : top + 20, left : left + 20] = np.rot90(piece)
        masks[number, top : top + 20, left : left + 20] = True
    return images, np.arange(20) >= 10, masks


def textures(count: int = 6, seed: int = 9) -> np.ndarray:
    """Coloured tiles of 8 x 8 pixels."""
    tiles = np.random.default_rng(seed).integers(0, 256, (count, SIZE // 8, SIZE // 8, 3))
    return tiles.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


def inputs(normals: np.ndarray, seed: int = 3, **more) -> FitInputs:
    """The training side of a split without a seen anomaly."""
    values = {"progress": lambda line: None, "textures": textures(), **more}
    return FitInputs(
        dataset="mvtec",
        category="bottle",
        seed=seed,
        normals=normals,
        seen=normals[:0],
        seen_masks=np.zeros((0, SIZE, SIZE), np.uint8),
        **values,
    )
