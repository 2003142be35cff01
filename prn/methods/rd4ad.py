"""RD4AD (Deng and Li, CVPR 2022): a decoder that learns to give back the encoder's features of normal images only.

Bottleneck, decoder, loss and map are anomalib's; features, data, seeds and training are this project's. What differs
from its paper stands in `reports/deviations.md`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import Backbone
from prn.errors import PrnError
from prn.methods.geometry import on_common_grid
from prn.methods.interface import FitInputs, FitReport
from prn.methods.library import anomalib_module, batches, normalised_pixels, plain_state
from prn.methods.loop import train_on_normals
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.training import seed_everything

BETAS = (0.5, 0.999)  # Adam's, its paper, section 4.1


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
            raise PrnError("RD4AD needs backbone weights")
        self.settings, self.device = settings, device
        self.options = settings.methods.rd4ad
        self.teacher = Backbone(settings.model.backbone, backbone, train_layer4=False).to(device).eval()
        self.student = self._student()
        maps = anomalib_module("models.image.reverse_distillation.anomaly_map", "rd4ad")
        side = (self.options.size, self.options.size)
        self.map_generator = maps.AnomalyMapGenerator(side, mode=maps.AnomalyMapGenerationMode(self.options.maps))

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train bottleneck and decoder on normal images (its paper, equations 1 and 2)."""
        seed_everything(inputs.seed, self.settings.train.threads)
        self.student = self._student()
        library = anomalib_module("models.image.reverse_distillation.loss", "rd4ad")
        loss_of = library.ReverseDistillationLoss()
        optimizer = torch.optim.Adam(self.student.parameters(), lr=self.options.learning_rate, betas=BETAS)

        def step(number: int, positions: np.ndarray) -> Tensor:
            features = self._features(inputs.normals[positions])
            loss = loss_of(features, self.student(features))
            loss.backward()
            return loss

        return train_on_normals(
            "rd4ad", self.settings, self.options, inputs, trained=self.student, optimizer=optimizer, step=step
        )

    def tensors(self) -> dict[str, Tensor]:
        """Weights and BatchNorm statistics of bottleneck and decoder."""
        return plain_state(self.student)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a trained bottleneck and decoder."""
        self.student.load_state_dict(tensors)
        self.student.eval()

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`: the sum of three cosine distances, and its highest value."""
        maps, scores = [], []
        for batch in batches(images, self.options.batch):
            features = self._features(batch)
            found = self.map_generator(features, self.student(features))[:, 0]
            maps.append(on_common_grid(found, self.options.size, images.shape[1]).cpu())
            scores.append(found.amax(dim=(1, 2)).double().cpu())
        return torch.cat(maps).numpy(), torch.cat(scores).numpy()

    def _features(self, images: np.ndarray) -> list[Tensor]:
        size = self.options.size
        return list(self.teacher.frozen(normalised_pixels(images, size, size, self.device)))

    def _student(self) -> nn.Sequential:
        """Bottleneck and decoder with random weights."""
        name = self.settings.model.backbone
        bottlenecks = anomalib_module("models.image.reverse_distillation.components", "rd4ad")
        decoders = anomalib_module("models.components.backbone", "rd4ad")
        bottleneck = bottlenecks.get_bottleneck_layer(name)
        bottleneck.conv4 = bottleneck.bn4 = nn.Identity()  # never called, and a quarter of the weights
        return nn.Sequential(bottleneck, decoders.get_decoder(name)).to(self.device)
