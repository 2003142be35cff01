"""DRAEM (Zavrtanik et al., ICCV 2021): one network paints anomalies out, another compares; SSPCAB adds its block.

Networks and reconstruction losses are anomalib's; anomalies come from `prn.synthesis` with DRAEM's settings; focal
loss, data, seeds and training are this project's. Images are not ImageNet-normalised. What differs from the papers
stands in `reports/deviations.md`.
"""

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prn.errors import PrnError
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.geometry import resized_crop
from prn.methods.library import anomalib_module
from prn.settings.methods.draem import DRAEMSettings
from prn.settings.sections import SynthesisSettings
from prn.synthesis import synthesizer_of

FOCUS = 2.0  # the focal loss's exponent
# Perlin noise as in its paper; the ranges of the colour operations are those of `synthesis`.
PAINT: dict[str, Any] = {
    "perlin_scale_exponents": [0, 6],
    "perlin_threshold": 0.5,
    "gamma": [0.5, 2.0],
    "solarize": [32, 128],
    "posterize_bits": [2, 6],
    "sharpness": [0.5, 2.0],
}


class Method(BaseMethod):
    """DRAEM; its network is the reconstructive and the discriminative one together."""

    title, section = "DRAEM", "draem"
    needs_backbone = False
    options: DRAEMSettings

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train both networks on normals with painted anomalies (its paper, equations 1 to 4)."""
        if inputs.textures is None:
            raise PrnError("DRAEM needs textures")
        options, networks = self.options, self._seed_and_build(inputs)
        samples = TrainingSamples(options, inputs)
        optimizer = torch.optim.Adam(networks.parameters(), lr=options.learning_rate)
        losses = anomalib_module("models.image.draem.loss", "draem").DraemLoss()

        def step(number: int, positions: np.ndarray) -> Tensor:
            originals, images, masks = samples.batch(number, len(positions))
            clean, shown = self._pixels(originals), self._pixels(images)
            restored, logits, block_loss = self._forward(shown)
            loss = losses.l2_loss(restored, clean) + 2 * losses.ssim_loss(restored, clean)
            loss = loss + focal_loss(logits, self._labels(masks))
            loss = loss + options.sspcab_weight * block_loss
            loss.backward()
            return loss

        def rate(progress: float) -> float:
            return options.decay ** sum(progress * options.epochs >= epoch for epoch in options.decay_epochs)

        return self._train_on_normals(inputs, optimizer, step, steps=options.steps, rate=rate)

    @torch.inference_mode()
    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Probability of an anomaly, and the highest of its local means."""
        maps = torch.softmax(self._forward(self._pixels(images))[1], dim=1)[:, 1]
        window = self.options.score_window
        means = F.avg_pool2d(maps[:, None], window, stride=1, padding=window // 2)
        return maps, means.amax(dim=(1, 2, 3))

    def _build(self) -> nn.ModuleDict:
        options = self.options
        library = anomalib_module("models.image.draem.torch_model", "draem")
        restoring = library.ReconstructiveSubNetwork(base_width=options.reconstructive_width)
        if options.sspcab:
            restoring.encoder.block5[0] = predictive_block(8 * options.reconstructive_width)
        comparing = library.DiscriminativeSubNetwork(6, 2, base_width=options.discriminative_width)
        return nn.ModuleDict({"reconstructive": restoring, "discriminative": comparing}).to(self.device)

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The restored image, two logits a pixel, and SSPCAB's loss (0 without it)."""
        networks = self._fitted()
        seen: list[Tensor] = []
        hook: Any = None
        if self.options.sspcab:
            hook = (
                networks["reconstructive"]
                .encoder.block5[0]
                .register_forward_hook(lambda _, given, made: seen.append(F.mse_loss(made, given[0])))
            )
        restored = networks["reconstructive"](pixels)
        if hook is not None:
            hook.remove()
        logits = networks["discriminative"](torch.cat([pixels, restored], dim=1))
        return restored, logits, seen[0] if seen else torch.zeros((), device=self.device)

    def _labels(self, masks: np.ndarray) -> Tensor:
        """B x S x S, 0 or 1, of masks at the stage's size."""
        labels = torch.from_numpy(masks).to(self.device)[:, None].float()
        return F.interpolate(labels, size=(self.options.size,) * 2, mode="nearest-exact")[:, 0].long()

    def _pixels(self, images: np.ndarray) -> Tensor:
        """B x 3 x S x S between 0 and 1."""
        size = self.options.size
        resized = resized_crop(torch.from_numpy(images).to(self.device), size, size)
        return (resized / 255).permute(0, 3, 1, 2).contiguous()


class TrainingSamples:
    """Normals of which a share is painted with a texture under Perlin noise; a function of seed and step."""

    def __init__(self, options: DRAEMSettings, inputs: FitInputs) -> None:
        self.options, self.inputs = options, inputs
        settings = SynthesisSettings(
            extended=False,
            homologous=False,
            target_area=False,
            opacity=options.opacity,
            least_change=0.0,
            least_mask=0.0,
            augmentations=options.augmentations,
            **PAINT,
        )
        self.synthesizer = synthesizer_of(inputs, settings, shots=0)

    def batch(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Originals and images, uint8 B x S x S x 3, and masks, 0 or 1, B x S x S, of one step."""
        samples = [self._sample(step, index) for index in range(count)]
        originals, images, masks = (np.stack(parts) for parts in zip(*samples, strict=True))
        return originals, images, masks

    def _sample(self, step: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        options, normals = self.options, self.inputs.normals
        draw = np.random.default_rng([self.inputs.seed, step, index, 11])
        painted = self.synthesizer.sample("simulated", step, index)
        original, image, mask = normals[painted.plan.background], painted.image, painted.mask
        if draw.random() >= options.anomalous_share:
            image, mask = original, np.zeros_like(mask)
        if draw.random() < options.rotated_share:
            angle = options.rotate_degrees * draw.uniform(-1, 1)
            original, image, mask = (_rotated(part, angle) for part in (original, image, mask))
        return original, image, mask


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of -(1 - p)^2 log p over pixels, p the softmax probability of the true class: B x 2 x H x W, B x H x W.

    anomalib asks kornia for a weight of 1 for defects, which there is a weight of 0 for all that is normal.
    """
    log_probability = F.log_softmax(logits, dim=1).gather(1, target[:, None])[:, 0]
    return -((1 - log_probability.exp()) ** FOCUS * log_probability).mean()


def predictive_block(channels: int) -> nn.Module:
    """SSPCAB (Ristea et al., section 3): four dilated corner kernels around a masked centre, ReLU, channel attention.

    anomalib's block, between whose convolutions and attention the ReLU is missing, with it.
    """
    block = anomalib_module("models.components.layers", "draem").SSPCAB(channels)
    block.attention_module = nn.Sequential(nn.ReLU(), block.attention_module)
    return block


def _rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """The image turned about its centre; what comes in at the corners is mirrored, a mask stays 0 or 1."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    smooth = cv2.INTER_LINEAR if image.ndim == 3 else cv2.INTER_NEAREST
    return cv2.warpAffine(image, matrix, (width, height), flags=smooth, borderMode=cv2.BORDER_REFLECT_101)
