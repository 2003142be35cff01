"""CFA (Lee et al., IEEE Access 2022): a descriptor that pulls normal features into hyperspheres around their means.

Descriptor, loss and map are anomalib's; features, memory, data, seeds and training are this project's. What differs
from its paper stands in `reports/deviations.md`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prn.errors import SettingsError
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.library import anomalib_module
from prn.settings.methods.cfa import CFASettings

BACKBONES = ("resnet18", "wide_resnet50_2")  # those whose widths anomalib's descriptor knows


class Method(BaseMethod):
    """CFA; its network is the one layer of the descriptor that is used: anomalib's class has a second one."""

    title, section = "CFA", "cfa"
    options: CFASettings

    def _prepare(self) -> None:
        name = self.settings.model.backbone
        if name not in BACKBONES:
            raise SettingsError(f"model.backbone: found {name!r}, but CFA runs with {' or '.join(BACKBONES)}")
        self.encoder = self._encoder()
        self.memory = torch.zeros(0)
        maps = anomalib_module("models.image.cfa.anomaly_map", "cfa")
        self.map_generator = maps.AnomalyMapGenerator(num_nearest_neighbors=self.options.neighbours)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Fill the memory with the mean feature of each place, then train the descriptor (its paper, section III)."""
        options, network = self.options, self._seed_and_build(inputs)
        self.memory = self._mean_features(inputs.normals)
        library = anomalib_module("models.image.cfa.loss", "cfa")
        loss_of = library.CfaLoss(options.neighbours, options.neighbours, options.radius)
        loss_of.radius = torch.tensor([options.radius], device=self.device)  # fixed, as it is in anomalib in effect
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, amsgrad=True
        )

        def step(number: int, positions: np.ndarray) -> Tensor:
            loss = loss_of(self._distances(self._described(inputs.normals[positions])))
            loss.backward()
            return loss

        return self._train_on_normals(inputs, optimizer, step, steps=options.steps)

    def tensors(self) -> dict[str, Tensor]:
        """The descriptor's weights and the memory, P places x D channels."""
        return {**super().tensors(), "memory": self.memory.cpu().contiguous()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a trained descriptor and its memory."""
        weights = dict(tensors)
        self.memory = weights.pop("memory").to(self.device)
        super().load(weights)

    @torch.inference_mode()
    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Distance to the nearest places' means, and its highest value."""
        described = self._described(images)
        maps = self.map_generator(
            distance=self._distances(described), scale=described.shape[-2:], image_size=(self.options.crop,) * 2
        )[:, 0]
        return maps, maps.amax(dim=(1, 2))

    @property
    def _geometry(self) -> tuple[int, int]:
        return self.options.resize, self.options.crop

    def _build(self) -> nn.Module:
        library = anomalib_module("models.image.cfa.torch_model", "cfa")
        self.descriptor: Any = library.Descriptor(gamma_d=1, backbone=self.settings.model.backbone).to(self.device)
        return self.descriptor.layer.conv2d

    def _described(self, images: np.ndarray) -> Tensor:
        """Target-oriented features B x D x h x w."""
        self._fitted()
        return self.descriptor(list(self.encoder.frozen(self._normalised(images).contiguous())))

    @torch.no_grad()
    def _mean_features(self, normals: np.ndarray) -> Tensor:
        sums = [self._described(batch).sum(dim=0).double() for batch in self._batches(normals)]
        mean = torch.stack(sums).sum(dim=0) / len(normals)
        return mean.flatten(1).T.float().contiguous()

    def _distances(self, described: Tensor) -> Tensor:
        """Squared distances B x places x memory; clamped, since rounding may take them below 0."""
        places = described.flatten(2).transpose(1, 2)
        product = places @ self.memory.T
        squares = places.square().sum(dim=2, keepdim=True) + self.memory.square().sum(dim=1)
        return (squares - 2 * product).clamp(min=0)
