"""RD4AD (Deng and Li, CVPR 2022): a decoder that learns to give back the encoder's features of normal images only.

Bottleneck, decoder, loss and map are anomalib's; features, data, seeds and training are this project's. What differs
from its paper stands in `reports/deviations.md`.
"""

import numpy as np
import torch
from torch import Tensor, nn

from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.library import anomalib_module
from prn.settings.methods.rd4ad import RD4ADSettings

BETAS = (0.5, 0.999)  # Adam's, its paper, section 4.1


class Method(BaseMethod):
    """RD4AD; its network, the student, is bottleneck and decoder."""

    title, section = "RD4AD", "rd4ad"
    options: RD4ADSettings

    def _prepare(self) -> None:
        self.teacher = self._encoder()
        maps = anomalib_module("models.image.reverse_distillation.anomaly_map", "rd4ad")
        side = (self.options.size, self.options.size)
        self.map_generator = maps.AnomalyMapGenerator(side, mode=maps.AnomalyMapGenerationMode(self.options.maps))

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train bottleneck and decoder on normal images (its paper, equations 1 and 2)."""
        student = self._seed_and_build(inputs)
        library = anomalib_module("models.image.reverse_distillation.loss", "rd4ad")
        loss_of = library.ReverseDistillationLoss()
        optimizer = torch.optim.Adam(student.parameters(), lr=self.options.learning_rate, betas=BETAS)

        def step(number: int, positions: np.ndarray) -> Tensor:
            features = self._features(inputs.normals[positions])
            loss = loss_of(features, student(features))
            loss.backward()
            return loss

        return self._train_on_normals(inputs, optimizer, step, steps=self.options.steps)

    @torch.inference_mode()
    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """The sum of three cosine distances, and its highest value."""
        features = self._features(images)
        maps = self.map_generator(features, self._fitted()(features))[:, 0]
        return maps, maps.amax(dim=(1, 2))

    def _features(self, images: np.ndarray) -> list[Tensor]:
        return list(self.teacher.frozen(self._normalised(images).contiguous()))

    def _build(self) -> nn.Sequential:
        name = self.settings.model.backbone
        bottlenecks = anomalib_module("models.image.reverse_distillation.components", "rd4ad")
        decoders = anomalib_module("models.components.backbone", "rd4ad")
        bottleneck = bottlenecks.get_bottleneck_layer(name)
        bottleneck.conv4 = bottleneck.bn4 = nn.Identity()  # never called, and a quarter of the weights
        return nn.Sequential(bottleneck, decoders.get_decoder(name)).to(self.device)
