"""Naive baselines that show how hard a category is: where one of them succeeds, the defects are trivial."""

from collections.abc import Mapping

import numpy as np
import torch

from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod, top_mean


class MeanImage(BaseMethod):
    """Score map: Euclidean distance in RGB to the mean of the normal training images, pixel by pixel."""

    needs_backbone = False
    axes: tuple[int, ...] = (0,)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Take the mean of the normals."""
        self.mean = inputs.normals.mean(axis=self.axes, dtype=np.float64).astype(np.float32)
        return FitReport()

    def tensors(self) -> dict[str, torch.Tensor]:
        """The mean, in grey levels: S x S x 3, or 3 for one colour."""
        return {"mean": torch.from_numpy(self.mean)}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over a mean."""
        self.mean = tensors["mean"].numpy()

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distance of each pixel, and the mean of the highest."""
        maps = np.linalg.norm(images.astype(np.float32) - self.mean, axis=-1)
        return maps, top_mean(maps, self.settings.predict.top_pixels)


class ColourThreshold(MeanImage):
    """Score map: Euclidean distance in RGB to the mean colour of all normal pixels."""

    axes = (0, 1, 2)
