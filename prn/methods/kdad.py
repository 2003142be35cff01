"""KDAD (Salehi et al., "Multiresolution Knowledge Distillation for Anomaly Detection", CVPR 2021).

A small cloner learns to reproduce what VGG-16 makes of normal images at several depths; where it fails, an image is
anomalous. Score maps are the gradients of that loss by the input. Written from the paper; what it leaves open stands
in `reports/deviations.md`.

Shape suffixes: B batch, 3 colour channels, H and W height and width.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prn.errors import memory_errors
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.gradient_map import score_by_gradient, smoothed
from prn.settings.methods.kdad import KDADSettings
from prn.vgg import BLOCKS, block_outputs, vgg16


def cloner(width: int) -> nn.Sequential:
    """The cloner: VGG-16's blocks with `width` channels inside and the teacher's channels at the end of each block."""
    layers: list[nn.Module] = []
    before = 3
    for convolutions, channels in BLOCKS:
        for number in range(convolutions):
            after = channels if number + 1 == convolutions else width
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def distillation_loss(teacher: Sequence[Tensor], student: Sequence[Tensor], direction_weight: float) -> Tensor:
    """The loss of each image [B]: over the layers, mean squared difference plus weighted cosine distance (eq. 1-3)."""
    total = torch.zeros(len(teacher[0]), device=teacher[0].device)
    for expected, found in zip(teacher, student, strict=True):
        expected_flat, found_flat = expected.flatten(1), found.flatten(1)
        value = (expected_flat - found_flat).square().mean(dim=1)
        direction = 1 - F.cosine_similarity(expected_flat, found_flat, dim=1)
        total = total + value + direction_weight * direction
    return total


class Method(BaseMethod):
    """KDAD; its network is the cloner."""

    title, section, batch_option = "KDAD", "kdad", "batch_size"
    options: KDADSettings

    def _prepare(self) -> None:
        self.teacher = vgg16(self.backbone_state).to(self.device)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train the cloner on the normals; the last step's weights are the result."""
        options, network = self.options, self._seed_and_build(inputs)
        with memory_errors(f"{inputs.label} kdad: the teacher's features", "methods.kdad.size"):
            targets = self._teacher_features(inputs.normals)

        optimizer = torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )

        def step(number: int, positions: np.ndarray) -> Tensor:
            expected = [target[torch.from_numpy(positions)].to(self.device) for target in targets]
            found = block_outputs(network, self._normalised(inputs.normals[positions]), options.layers_train)
            loss = distillation_loss(expected, found, options.direction_weight).mean()
            loss.backward()
            return loss

        return self._train_on_normals(inputs, optimizer, step)

    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """The gradient, smoothed and opened, and the loss over the deepest layers."""
        options = self.options

        def finish(gradient: np.ndarray) -> np.ndarray:
            return opened(smoothed(gradient, options.sigma), options.opening)

        return score_by_gradient(self._score, finish, self._normalised(images))

    def _build(self) -> nn.Sequential:
        return cloner(self.options.cloner_width).to(self.device)

    def _score(self, pixels_B3HW: Tensor) -> Tensor:
        options = self.options
        expected = block_outputs(self.teacher, pixels_B3HW, options.layers_test)
        found = block_outputs(self._fitted(), pixels_B3HW, options.layers_test)
        return distillation_loss(expected, found, options.direction_weight)

    @torch.no_grad()
    def _teacher_features(self, normals: np.ndarray) -> list[Tensor]:
        """The teacher's outputs for all normals, kept in main memory: they are the same in every epoch."""
        options = self.options
        found = [
            [output.cpu() for output in block_outputs(self.teacher, self._normalised(batch), options.layers_train)]
            for batch in self._batches(normals)
        ]
        return [torch.cat(outputs) for outputs in zip(*found, strict=True)]


def opened(score_map: np.ndarray, diameter: int) -> np.ndarray:
    """Morphological opening of [H, W] by an ellipse, which removes what is brighter and narrower; 1 changes nothing."""
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return cv2.morphologyEx(score_map, cv2.MORPH_OPEN, element)
