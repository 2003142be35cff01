"""CFA (Lee et al., IEEE Access 2022): a descriptor that pulls normal features into hyperspheres around their means.

Descriptor, loss and map are anomalib's; features, memory, data, seeds and training are this project's. What differs
from its paper stands in `reports/deviations.md`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import Backbone
from prn.errors import PrnError, SettingsError
from prn.methods.geometry import on_common_grid
from prn.methods.interface import FitInputs, FitReport
from prn.methods.library import anomalib_module, batches, normalised_pixels, plain_state
from prn.methods.loop import train_on_normals
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.training import seed_everything

BACKBONES = ("resnet18", "wide_resnet50_2")  # those whose widths anomalib's descriptor knows


class Method:
    """See `prn.methods.interface.Method`."""

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None:
        name = settings.model.backbone
        if backbone is None:
            raise PrnError("CFA needs backbone weights")
        if name not in BACKBONES:
            raise SettingsError(f"model.backbone: found {name!r}, but CFA runs with {' or '.join(BACKBONES)}")
        self.settings, self.device = settings, device
        self.options = settings.methods.cfa
        self.backbone = Backbone(name, backbone, train_layer4=False).to(device).eval()
        self.descriptor = self._descriptor()
        self.memory = torch.zeros(0)
        maps = anomalib_module("models.image.cfa.anomaly_map", "cfa")
        self.map_generator = maps.AnomalyMapGenerator(num_nearest_neighbors=self.options.neighbours)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Fill the memory with the mean feature of each place, then train the descriptor (its paper, section III)."""
        seed_everything(inputs.seed, self.settings.train.threads)
        options = self.options
        self.descriptor = self._descriptor()
        self.memory = self._mean_features(inputs.normals)
        library = anomalib_module("models.image.cfa.loss", "cfa")
        loss_of = library.CfaLoss(options.neighbours, options.neighbours, options.radius)
        loss_of.radius = torch.tensor([options.radius], device=self.device)  # fixed, as it is in anomalib in effect
        optimizer = torch.optim.AdamW(
            self._trained.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, amsgrad=True
        )

        def step(number: int, positions: np.ndarray) -> Tensor:
            loss = loss_of(self._distances(self._described(inputs.normals[positions])))
            loss.backward()
            return loss

        return train_on_normals(
            "cfa", self.settings, options, inputs, trained=self._trained, optimizer=optimizer, step=step
        )

    def tensors(self) -> dict[str, Tensor]:
        """The descriptor's weights and the memory, P places x D channels."""
        return {**plain_state(self._trained), "memory": self.memory.cpu().contiguous()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a trained descriptor and its memory."""
        weights = dict(tensors)
        self.memory = weights.pop("memory").to(self.device)
        self._trained.load_state_dict(weights)

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`: distance to the nearest places' means, and its highest value."""
        options = self.options
        maps, scores = [], []
        for batch in batches(images, options.batch):
            described = self._described(batch)
            found = self.map_generator(
                distance=self._distances(described), scale=described.shape[-2:], image_size=(options.crop,) * 2
            )[:, 0]
            maps.append(on_common_grid(found, options.resize, images.shape[1]).cpu())
            scores.append(found.amax(dim=(1, 2)).double().cpu())
        return torch.cat(maps).numpy(), torch.cat(scores).numpy()

    @property
    def _trained(self) -> nn.Module:
        """The one layer of the descriptor that is used; anomalib's class carries a second one that never is."""
        return self.descriptor.layer.conv2d

    def _descriptor(self) -> Any:
        library = anomalib_module("models.image.cfa.torch_model", "cfa")
        return library.Descriptor(gamma_d=1, backbone=self.settings.model.backbone).to(self.device)

    def _described(self, images: np.ndarray) -> Tensor:
        """Target-oriented features B x D x h x w."""
        options = self.options
        pixels = normalised_pixels(images, options.resize, options.crop, self.device)
        return self.descriptor(list(self.backbone.frozen(pixels)))

    @torch.no_grad()
    def _mean_features(self, normals: np.ndarray) -> Tensor:
        sums = [self._described(batch).sum(dim=0).double() for batch in batches(normals, self.options.batch)]
        mean = torch.stack(sums).sum(dim=0) / len(normals)
        return mean.flatten(1).T.float().contiguous()

    def _distances(self, described: Tensor) -> Tensor:
        """Squared distances B x places x memory; clamped, since rounding may take them below 0."""
        places = described.flatten(2).transpose(1, 2)
        product = places @ self.memory.T
        squares = places.square().sum(dim=2, keepdim=True) + self.memory.square().sum(dim=1)
        return (squares - 2 * product).clamp(min=0)
