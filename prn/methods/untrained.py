"""The control: distance to the nearest prototypes over the three scales, no network and no training.

It shows what the ImageNet features and the prototypes alone achieve, so that a reader sees what training adds.
"""

import functools
from collections.abc import Mapping

import numpy as np
import torch

from prn.backbone import Backbone, normalise
from prn.errors import PrnError
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod, top_mean
from prn.prototypes import Prototypes, untrained_score_map


class Method(BaseMethod):
    """The untrained control."""

    needs_backbone = False
    prototypes: Prototypes

    def _prepare(self) -> None:
        if self.prototypes is None:
            raise PrnError("the untrained control needs prototypes")
        self.prototypes = self.prototypes.to(self.device)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Nothing is learnt beyond the prototypes."""
        return FitReport()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Nothing besides the prototypes."""
        return {}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Nothing to take over."""

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The norm of F - P* over channels, averaged over the three scales at the input size."""
        pixels = normalise(torch.from_numpy(images).to(self.device))
        maps_BSS = untrained_score_map(self._features.frozen(pixels), self.prototypes, images.shape[1:3])
        maps = maps_BSS.cpu().numpy()
        return maps, top_mean(maps, self.settings.predict.top_pixels)

    @functools.cached_property
    def _features(self) -> Backbone:
        """Built when images come: fitting does not need it."""
        return self._encoder()
