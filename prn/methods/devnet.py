"""DevNet for images (Pang et al., "Explainable Deep Few-shot Anomaly Detection with Deviation Networks", 2021).

A ResNet whose patch scores are trained by the deviation loss on batches of normal images and seen anomalies; score
maps are the input's gradients. Written from the paper; what it leaves open stands in `reports/deviations.md`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import BACKBONE_CHANNELS, normalise
from prn.errors import PrnError
from prn.methods.deviation import PatchHead, deviation_loss, prior_scores, trainable_encoder
from prn.methods.fine_tuning import drawn, fine_tune, saved, seen_anomalies
from prn.methods.geometry import resized_crop
from prn.methods.gradient_map import clipped_at_percentile, predict_by_gradient, smoothed
from prn.methods.interface import FitInputs, FitReport
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.training import seed_everything


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
            raise PrnError("DevNet needs backbone weights")
        self.settings, self.options, self.device = settings, settings.methods.devnet, device
        self.backbone = backbone
        self.network: nn.Module | None = None

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train on half normal images, half seen anomalies a step; the last step's weights are the result."""
        options = self.options
        seed_everything(inputs.seed, self.settings.train.threads)
        seen = seen_anomalies("DevNet", self.settings, inputs)
        network = self.network = self._build()
        labels = torch.cat([torch.zeros(options.batch.normal), torch.ones(options.batch.seen)]).to(self.device)

        def step(number: int) -> dict[str, Tensor | float]:
            random = np.random.default_rng([inputs.seed, number, 0])
            normal = inputs.normals[drawn(random, len(inputs.normals), options.batch.normal)]
            anomalous = seen[drawn(random, len(seen), options.batch.seen)]
            images = torch.from_numpy(np.concatenate([normal, anomalous])).to(self.device)
            scores = network(normalise(resized_crop(images, options.size, options.size)))
            prior = prior_scores(options.prior_draws, inputs.seed, number).to(self.device)
            loss = deviation_loss(scores, labels, prior, options.margin)
            loss.backward()
            return {"epoch": number // options.steps_per_epoch, "loss": loss.detach()}

        report = fine_tune(
            "devnet",
            self.settings,
            inputs,
            network,
            step,
            total=options.epochs * options.steps_per_epoch,
            images_per_step=options.batch.normal + options.batch.seen,
        )
        report.epochs = options.epochs
        return report

    def tensors(self) -> dict[str, Tensor]:
        """All weights and BatchNorm statistics: the encoder is trained as well."""
        return saved(self._fitted())

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over trained weights."""
        self.network = self._build()
        self.network.load_state_dict(tensors)
        self.network.eval()

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`; the image score is the mean of the highest patch scores."""
        options = self.options

        def finish(gradient: np.ndarray) -> np.ndarray:
            return smoothed(clipped_at_percentile(gradient, options.clip_percentile), options.sigma)

        return predict_by_gradient(
            self._fitted(), finish, images, size=options.size, batch_size=options.batch_size, device=self.device
        )

    def _build(self) -> nn.Module:
        name = self.settings.model.backbone
        encoder = trainable_encoder(name, self.backbone)
        return nn.Sequential(encoder, PatchHead(BACKBONE_CHANNELS[name][3], self.options.top_share)).to(self.device)

    def _fitted(self) -> nn.Module:
        if self.network is None:
            raise PrnError("the method is neither fitted nor loaded")
        return self.network
