"""DRA (Ding et al., "Catching Both Gray and Black Swans", CVPR 2022).

Seen anomalies, pseudo anomalies and latent residuals each have a head, normality a fourth; score maps are the input's
gradients, as PRN's authors made them (section 4.1). Written from the paper; what it leaves open stands in
`reports/deviations.md`.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.deviation import drawn, prior_scores, seen_anomalies, step_decay
from prn.methods.dra_network import NORMAL, PSEUDO, SEEN, DRANetwork, dra_loss, mean_references
from prn.methods.gradient_map import clipped_and_smoothed, score_by_gradient
from prn.methods.pseudo_anomaly import pseudo_anomaly, rotated
from prn.settings.methods.dra import DRASettings


class Method(BaseMethod):
    """DRA; all of its network is trained, the encoder too."""

    title, section, batch_option = "DRA", "dra", "batch_size"
    options: DRASettings

    def _prepare(self) -> None:
        self.references: list[Tensor] = []

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train all heads at once; the last step's weights are the result, and fixed normals become the reference."""
        options, network = self.options, self._seed_and_build(inputs)
        seen = seen_anomalies(self.title, inputs, self.settings.train.shots)
        batch = options.batch
        kinds = torch.tensor([NORMAL] * batch.normal + [SEEN] * batch.seen + [PSEUDO] * batch.pseudo).to(self.device)

        optimizer = torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )

        def step(number: int) -> dict[str, Tensor | float]:
            images = training_images(inputs.normals, seen, options, np.random.default_rng([inputs.seed, number, 0]))
            features = network.features(self._normalised(images))
            references = mean_references([feature[len(kinds) :] for feature in features])
            scores = network.scores([feature[: len(kinds)] for feature in features], references)
            prior = prior_scores(options.prior_draws, inputs.seed, number).to(self.device)
            parts = dra_loss(scores, kinds, prior, options.margin)
            loss = torch.stack(list(parts.values())).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), options.gradient_clip)
            return {"loss": loss.detach(), **{name: value.detach() for name, value in parts.items()}}

        def refer() -> None:
            random = np.random.default_rng([inputs.seed, 2])
            self._refer_to(inputs.normals[drawn(random, len(inputs.normals), options.reference_images)])

        return self._train(
            inputs,
            optimizer,
            step,
            total=options.epochs * options.steps_per_epoch,
            steps_per_epoch=options.steps_per_epoch,
            images_per_step=len(kinds) + options.reference_images,
            rate=step_decay(options.learning_rate, options.decay_epochs * options.steps_per_epoch, options.decay),
            finish=refer,
        )

    def tensors(self) -> dict[str, Tensor]:
        """All weights and BatchNorm statistics, and the reference normals' mean feature map at each scale."""
        maps = {f"reference.{scale}": value.cpu().contiguous() for scale, value in enumerate(self.references)}
        return {**super().tensors(), **maps}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over trained weights and references."""
        super().load({name: value for name, value in tensors.items() if not name.startswith("reference.")})
        self.references = [tensors[f"reference.{scale}"].to(self.device) for scale in range(self.options.scales)]

    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """The gradient, clipped and smoothed, and seen + pseudo + residual - normal."""
        options, network = self.options, self._fitted()
        finish = clipped_and_smoothed(options.clip_percentile, options.sigma)
        return score_by_gradient(lambda pixels: network(pixels, self.references), finish, self._normalised(images))

    @torch.no_grad()
    def _refer_to(self, normals: np.ndarray) -> None:
        network = self._fitted()
        by_batch = [network.features(self._normalised(batch)) for batch in self._batches(normals)]
        self.references = mean_references([torch.cat(maps) for maps in zip(*by_batch, strict=True)])

    def _build(self) -> DRANetwork:
        options = self.options
        network = DRANetwork(self.settings.model.backbone, self.backbone_state, options.top_share, options.scales)
        return network.to(self.device)


def training_images(
    normals: np.ndarray, seen: np.ndarray, options: DRASettings, random: np.random.Generator
) -> np.ndarray:
    """A step's uint8 images: normals, seen anomalies, pseudo anomalies, then reference normals, each one rotated."""
    batch = options.batch
    pairs = zip(drawn(random, len(normals), batch.pseudo), drawn(random, len(normals), batch.pseudo), strict=True)
    chosen = [
        *normals[drawn(random, len(normals), batch.normal)],
        *seen[drawn(random, len(seen), batch.seen)],
        *(pseudo_anomaly(normals[source], normals[target], random) for source, target in pairs),
        *normals[drawn(random, len(normals), options.reference_images)],
    ]
    return np.stack([rotated(image, options.rotation_degrees, random) for image in chosen])
