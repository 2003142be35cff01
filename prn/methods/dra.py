"""DRA (Ding et al., "Catching Both Gray and Black Swans", CVPR 2022) behind the methods' interface.

Seen anomalies, pseudo anomalies and latent residuals each have a head, normality a fourth; score maps are the input's
gradients, as PRN's authors made them (section 4.1). Written from the paper; what it leaves open stands in
`reports/deviations.md`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import normalise
from prn.errors import PrnError
from prn.methods.deviation import prior_scores
from prn.methods.dra_network import NORMAL, PSEUDO, SEEN, DRANetwork, dra_loss, mean_references
from prn.methods.fine_tuning import drawn, fine_tune, saved, seen_anomalies, step_decay
from prn.methods.geometry import resized_crop
from prn.methods.gradient_map import clipped_at_percentile, method_pixels, predict_by_gradient, smoothed
from prn.methods.interface import FitInputs, FitReport
from prn.methods.pseudo_anomaly import pseudo_anomaly, rotated
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
            raise PrnError("DRA needs backbone weights")
        self.settings, self.options, self.device = settings, settings.methods.dra, device
        self.backbone = backbone
        self.network: DRANetwork | None = None
        self.references: list[Tensor] = []

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train all heads at once; the last step's weights are the result, and fixed normals become the reference."""
        options = self.options
        seed_everything(inputs.seed, self.settings.train.threads)
        seen = seen_anomalies("DRA", self.settings, inputs)
        network = self.network = self._build()
        batch = options.batch
        kinds = torch.tensor([NORMAL] * batch.normal + [SEEN] * batch.seen + [PSEUDO] * batch.pseudo).to(self.device)

        def step(number: int) -> dict[str, Tensor | float]:
            images = training_images(inputs.normals, seen, options, np.random.default_rng([inputs.seed, number, 0]))
            pixels = normalise(resized_crop(torch.from_numpy(images).to(self.device), options.size, options.size))
            features = network.features(pixels)
            references = mean_references([feature[len(kinds) :] for feature in features])
            scores = network.scores([feature[: len(kinds)] for feature in features], references)
            prior = prior_scores(options.prior_draws, inputs.seed, number).to(self.device)
            parts = dra_loss(scores, kinds, prior, options.margin)
            loss = torch.stack(list(parts.values())).sum()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), options.gradient_clip)
            scalars = {name: value.detach() for name, value in parts.items()}
            return {"epoch": number // options.steps_per_epoch, "loss": loss.detach(), **scalars}

        report = fine_tune(
            "dra",
            self.settings,
            inputs,
            network,
            step,
            total=options.epochs * options.steps_per_epoch,
            images_per_step=len(kinds) + options.reference_images,
            rate=step_decay(options.learning_rate, options.decay_epochs * options.steps_per_epoch, options.decay),
        )
        report.epochs = options.epochs
        random = np.random.default_rng([inputs.seed, 2])
        self._refer_to(inputs.normals[drawn(random, len(inputs.normals), options.reference_images)])
        return report

    def tensors(self) -> dict[str, Tensor]:
        """All weights and BatchNorm statistics, and the reference normals' mean feature map at each scale."""
        maps = {f"reference.{scale}": value.cpu().contiguous() for scale, value in enumerate(self.references)}
        return {**saved(self._fitted()), **maps}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over trained weights and references."""
        self.network = self._build()
        self.network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("reference.")})
        self.network.eval()
        self.references = [tensors[f"reference.{scale}"].to(self.device) for scale in range(self.options.scales)]

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`; the image score is seen + pseudo + residual - normal."""
        options, network = self.options, self._fitted()

        def finish(gradient: np.ndarray) -> np.ndarray:
            return smoothed(clipped_at_percentile(gradient, options.clip_percentile), options.sigma)

        return predict_by_gradient(
            lambda pixels: network(pixels, self.references),
            finish,
            images,
            size=options.size,
            batch_size=options.batch_size,
            device=self.device,
        )

    @torch.no_grad()
    def _refer_to(self, normals: np.ndarray) -> None:
        network = self._fitted()
        batches = method_pixels(normals, self.options.size, self.options.batch_size, self.device)
        by_batch = [network.features(pixels) for pixels in batches]
        self.references = mean_references([torch.cat(maps) for maps in zip(*by_batch, strict=True)])

    def _build(self) -> DRANetwork:
        options = self.options
        network = DRANetwork(self.settings.model.backbone, self.backbone, options.top_share, options.scales)
        return network.to(self.device)

    def _fitted(self) -> DRANetwork:
        if self.network is None:
            raise PrnError("the method is neither fitted nor loaded")
        return self.network


def training_images(normals: np.ndarray, seen: np.ndarray, options: Any, random: np.random.Generator) -> np.ndarray:
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
