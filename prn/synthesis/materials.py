"""The images that synthetic anomalies are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from prn.synthesis.augment import histogram
from prn.synthesis.foreground import Foreground
from prn.synthesis.spatial import Box, bounding_box

Strategy = Literal["extended", "heterologous", "homologous"]


@dataclass(slots=True)
class Materials:
    """The images that anomalies are made of.

    normals, seen, textures: uint8 [.., H, W, 3]; seen_masks: uint8 0/1 [.., H, W], none of them empty; foreground: None
    where it is the whole image; grey: whether textures are turned grey, as all normals are.
    """

    normals: np.ndarray
    seen: np.ndarray
    seen_masks: np.ndarray
    textures: Sequence[np.ndarray] | np.ndarray
    foreground: Foreground | None
    grey: bool
    seen_boxes: list[Box] = field(init=False)
    seen_pixels: list[int] = field(init=False)
    histograms: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    latest: tuple[int, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.seen_boxes = [bounding_box(mask) for mask in self.seen_masks]
        self.seen_pixels = [int(mask.sum()) for mask in self.seen_masks]

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
        return self._texture(index)

    def _texture(self, index: int) -> np.ndarray:
        """A texture, grey where the category is; the latest is kept, for textures that are decoded when asked."""
        latest = self.latest
        if latest is None or latest[0] != index:
            texture = self.textures[index]
            if self.grey:
                texture = cv2.merge([cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY)] * 3)
            self.latest = latest = (index, texture)
        return latest[1]

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
