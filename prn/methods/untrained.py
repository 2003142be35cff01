"""The control: distance to the nearest prototypes over the three scales, no network and no training.

It shows what the ImageNet features and the prototypes alone achieve, so that a reader sees what training adds.
"""

import functools
from collections.abc import Mapping

import numpy as np
import torch

from prn.backbone import Backbone, normalise
from prn.errors import PrnError
from prn.methods.interface import FitInputs, FitReport, top_mean
from prn.prototypes import Prototypes, untrained_score_map
from prn.settings.sections import Settings


class Method:
    """See `prn.methods.interface.Method`."""

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, torch.Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None:
        if prototypes is None:
            raise PrnError("the untrained control needs prototypes")
        self.settings, self.device = settings, device
        self.backbone_state, self.prototypes = backbone, prototypes.to(device)

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
        features = self._backbone.frozen(pixels)
        maps = untrained_score_map(features, self.prototypes, images.shape[1:3]).cpu().numpy()
        return maps, top_mean(maps, self.settings.predict.top_pixels)

    @functools.cached_property
    def _backbone(self) -> Backbone:
        """Built when images come: fitting does not need it."""
        name = self.settings.model.backbone
        return Backbone(name, self.backbone_state, train_layer4=False).to(self.device).eval()
