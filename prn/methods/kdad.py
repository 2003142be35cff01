"""KDAD (Salehi et al., "Multiresolution Knowledge Distillation for Anomaly Detection", CVPR 2021).

A small cloner learns to reproduce what VGG-16 makes of normal images at several depths; where it fails, an image is
anomalous. Score maps are the gradients of that loss by the input. Written from the paper; what it leaves open stands
in `reports/deviations.md`.

Shape suffixes: B batch, 3 colour channels, H and W height and width.
"""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prn.backbone import normalise
from prn.errors import PrnError, memory_errors
from prn.methods.fine_tuning import fine_tune, saved
from prn.methods.geometry import resized_crop
from prn.methods.gradient_map import method_pixels, predict_by_gradient, smoothed
from prn.methods.interface import FitInputs, FitReport
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.training import seed_everything
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


class Method:
    """See `prn.methods.interface.Method`."""

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None:
        if backbone is None:
            raise PrnError("KDAD needs backbone weights")
        self.settings, self.options, self.device = settings, settings.methods.kdad, device
        self.teacher = vgg16(backbone).to(device)
        self.network: nn.Sequential | None = None

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train the cloner on the normals; the last step's weights are the result."""
        options = self.options
        seed_everything(inputs.seed, self.settings.train.threads)
        network = self.network = cloner(options.cloner_width).to(self.device)
        count = len(inputs.normals)
        steps_per_epoch = math.ceil(count / options.batch)
        with memory_errors(f"{inputs.dataset}/{inputs.category} kdad: the teacher's features", "methods.kdad.size"):
            targets = self._teacher_features(inputs.normals)

        def step(number: int) -> dict[str, Tensor | float]:
            epoch, position = divmod(number, steps_per_epoch)
            order = np.random.default_rng([inputs.seed, epoch]).permutation(count)
            chosen = order[position * options.batch : (position + 1) * options.batch]
            images = torch.from_numpy(inputs.normals[chosen]).to(self.device)
            pixels = normalise(resized_crop(images, options.size, options.size))
            expected = [target[torch.from_numpy(chosen)].to(self.device) for target in targets]
            found = block_outputs(network, pixels, options.layers_train)
            loss = distillation_loss(expected, found, options.direction_weight).mean()
            loss.backward()
            return {"epoch": epoch, "loss": loss.detach()}

        report = fine_tune(
            "kdad",
            self.settings,
            inputs,
            network,
            step,
            total=options.epochs * steps_per_epoch,
            images_per_step=options.batch,
        )
        report.epochs = options.epochs
        return report

    def tensors(self) -> dict[str, Tensor]:
        """The cloner; the teacher stays in its own file."""
        return saved(self._fitted())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a trained cloner."""
        self.network = cloner(self.options.cloner_width).to(self.device)
        self.network.load_state_dict(tensors)
        self.network.eval()

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`; the image score is the loss over the deepest layers."""
        options = self.options
        return predict_by_gradient(
            self._score,
            lambda gradient: opened(smoothed(gradient, options.sigma), options.opening),
            images,
            size=options.size,
            batch_size=options.batch_size,
            device=self.device,
        )

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
            [output.cpu() for output in block_outputs(self.teacher, pixels, options.layers_train)]
            for pixels in method_pixels(normals, options.size, options.batch_size, self.device)
        ]
        return [torch.cat(outputs) for outputs in zip(*found, strict=True)]

    def _fitted(self) -> nn.Sequential:
        if self.network is None:
            raise PrnError("the method is neither fitted nor loaded")
        return self.network


def opened(score_map: np.ndarray, diameter: int) -> np.ndarray:
    """Morphological opening of [H, W] by an ellipse, which removes what is brighter and narrower; 1 changes nothing."""
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return cv2.morphologyEx(score_map, cv2.MORPH_OPEN, element)
