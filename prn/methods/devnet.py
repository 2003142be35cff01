"""DevNet for images (Pang et al., "Explainable Deep Few-shot Anomaly Detection with Deviation Networks", 2021).

A ResNet whose patch scores are trained by the deviation loss on batches of normal images and seen anomalies; score
maps are the input's gradients. Written from the paper; what it leaves open stands in `reports/deviations.md`.
"""

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import BACKBONE_CHANNELS
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.deviation import PatchHead, deviation_loss, drawn, prior_scores, seen_anomalies, trainable_encoder
from prn.methods.gradient_map import clipped_and_smoothed, score_by_gradient
from prn.settings.methods.devnet import DevNetSettings


class Method(BaseMethod):
    """DevNet; all of its network is trained, the encoder too."""

    title, section, batch_option = "DevNet", "devnet", "batch_size"
    options: DevNetSettings

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train on half normal images, half seen anomalies per step; the last step's weights are the result."""
        options, network = self.options, self._seed_and_build(inputs)
        seen = seen_anomalies(self.title, inputs, self.settings.train.shots)
        labels = torch.cat([torch.zeros(options.batch.normal), torch.ones(options.batch.seen)]).to(self.device)

        optimizer = torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )

        def step(number: int) -> dict[str, Tensor | float]:
            random = np.random.default_rng([inputs.seed, number, 0])
            normal = inputs.normals[drawn(random, len(inputs.normals), options.batch.normal)]
            anomalous = seen[drawn(random, len(seen), options.batch.seen)]
            scores = network(self._normalised(np.concatenate([normal, anomalous])))
            prior = prior_scores(options.prior_draws, inputs.seed, number).to(self.device)
            loss = deviation_loss(scores, labels, prior, options.margin)
            loss.backward()
            return {"loss": loss.detach()}

        return self._train(
            inputs,
            optimizer,
            step,
            total=options.epochs * options.steps_per_epoch,
            steps_per_epoch=options.steps_per_epoch,
            images_per_step=options.batch.normal + options.batch.seen,
        )

    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """The gradient, clipped and smoothed, and the mean of the highest patch scores."""
        finish = clipped_and_smoothed(self.options.clip_percentile, self.options.sigma)
        return score_by_gradient(self._fitted(), finish, self._normalised(images))

    def _build(self) -> nn.Module:
        name = self.settings.model.backbone
        encoder = trainable_encoder(name, self.backbone_state)
        return nn.Sequential(encoder, PatchHead(BACKBONE_CHANNELS[name][3], self.options.top_share)).to(self.device)
