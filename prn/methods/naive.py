"""Naive baselines that show how hard a category is: where one of them succeeds, the defects are trivial."""

from collections.abc import Mapping

import numpy as np
import torch

from prn.methods.interface import FitInputs, FitReport, top_mean
from prn.prototypes import Prototypes
from prn.settings.sections import Settings


class MeanImage:
    """Score map: Euclidean distance in RGB to the mean of the normal training images, pixel by pixel."""

    axes: tuple[int, ...] = (0,)

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, torch.Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None:
        self.settings = settings

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
        """See `prn.methods.interface.Method.predict`."""
        maps = np.linalg.norm(images.astype(np.float32) - self.mean, axis=-1)
        return maps, top_mean(maps, self.settings.predict.top_pixels)


class ColourThreshold(MeanImage):
    """Score map: Euclidean distance in RGB to the mean colour of all normal pixels."""

    axes = (0, 1, 2)
