"""A miniature category for the methods that this project trains itself: stripes, with a piece turned by 90 degrees."""

from typing import Any

import numpy as np
import torch

from prn.fitting import FitInputs, FitReport
from prn.methods.base import method_class
from prn.resume import ResumeFile
from prn.settings.sections import Settings
from prn.settings.validation import validated

SIZE = 64


def settings(method: str, options: dict[str, Any], backbone: str = "resnet18", **train: Any) -> Settings:
    """A method at the miniature's size."""
    return validated(
        Settings,
        {
            "method": method,
            "tensors": {"size": SIZE},
            "model": {"backbone": backbone},
            "methods": {method: options},
            "train": {"threads": 1, **train},
        },
    )


def stripes(count: int, seed: int) -> np.ndarray:
    """Diagonal stripes of varied contrast, brightness and phase, with a little noise: count x S x S x 3 uint8."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    images = []
    for _ in range(count):
        wave = np.sin((row + column) / 2 + random.uniform(0, 6.3)) * random.uniform(55, 65) + random.uniform(100, 150)
        images.append(np.repeat((wave + random.normal(0, 4, wave.shape))[..., None], 3, axis=2))
    return np.clip(images, 0, 255).astype(np.uint8)


def defective(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes with a piece of 24 x 24 pixels turned by 90 degrees, and the masks (0 or 1)."""
    images, random = stripes(count, seed), np.random.default_rng(seed)
    masks = np.zeros(images.shape[:3], np.uint8)
    for image, mask in zip(images, masks, strict=True):
        top, left = random.integers(SIZE - 24, size=2)
        image[top : top + 24, left : left + 24] = np.rot90(image[top : top + 24, left : left + 24])
        mask[top : top + 24, left : left + 24] = 1
    return images, masks


def scored_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twelve normals, twelve anomalies: images, labels, masks."""
    anomalous, masks = defective(12, seed=2)
    images = np.concatenate([stripes(12, seed=1), anomalous])
    return images, np.arange(24) >= 12, np.concatenate([np.zeros_like(masks), masks])


def inputs(seed: int = 3, resume: ResumeFile | None = None) -> FitInputs:
    """Twenty-four normals and ten seen anomalies."""
    seen, masks = defective(10, seed=4)
    return FitInputs(
        dataset="mvtec",
        category="bottle",
        seed=seed,
        normals=stripes(24, seed=0),
        seen=seen,
        seen_masks=masks,
        resume=resume,
        progress=lambda line: None,
    )


def fitted(chosen: Settings, weights: dict[str, torch.Tensor], data: FitInputs) -> tuple[Any, FitReport]:
    """A method trained on the miniature, and its report."""
    method = method_class(chosen.method)(chosen, weights, None, torch.device("cpu"))
    return method, method.fit(data)
