"""CFLOW-AD (Gudovskiy et al., WACV 2022): the likelihood of each feature vector under a flow that knows its place.

The flows and the encoding of a place are anomalib's; features, data, seeds, training and the joining of the scales are
this project's. What differs from its paper stands in `reports/deviations.md`.

Shape suffixes: N feature vectors ("fibers"), C channels, P the condition's length, B batch, H and W of a scale.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prn.backbone import BACKBONE_CHANNELS
from prn.errors import DataMissing
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.library import anomalib_module
from prn.settings.methods.cflow import CFLOWSettings

LOWEST_RATE = 1e-3  # share of the learning rate at the end of its cosine


class Method(BaseMethod):
    """CFLOW; its network is a flow for each of layer2, layer3 and layer4."""

    title, section = "CFLOW", "cflow"
    options: CFLOWSettings

    def _prepare(self) -> None:
        name = self.settings.model.backbone
        if not any(key.startswith("layer4.") for key in self.backbone_state):
            raise DataMissing(
                f"CFLOW reads layer2 to layer4 of {name}, but the weights end before layer4; set weights.path to the"
                f" whole {name}"
            )
        self.encoder = self._encoder()
        self.library = anomalib_module("models.image.cflow.utils", "cflow")
        self.peaks = torch.zeros(0)

    def fit(self, inputs: FitInputs) -> FitReport:
        """Maximise the likelihood of the normals' feature vectors, all scales of a batch in turn (its paper, 3.3)."""
        flows = self._seed_and_build(inputs)
        learnt = [parameter for parameter in flows.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(learnt, lr=self.options.learning_rate)

        def step(number: int, positions: np.ndarray) -> Tensor:
            losses = []
            for flow, (fibers_NC, places_NP, _) in zip(flows, self._scales(inputs.normals[positions]), strict=True):
                for part in torch.randperm(len(fibers_NC)).to(self.device).split(self.options.fibers):
                    optimizer.zero_grad(set_to_none=True)
                    loss = -F.logsigmoid(self._likelihood(flow, fibers_NC[part], places_NP[part])).mean()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
            optimizer.zero_grad(set_to_none=True)  # so that the engine's own step changes nothing more
            return torch.stack(losses).mean()

        def find_peaks() -> None:
            self.peaks = self._highest(inputs.normals)

        steps = self.options.steps
        return self._train_on_normals(inputs, optimizer, step, steps=steps, rate=self._rate, finish=find_peaks)

    def tensors(self) -> dict[str, Tensor]:
        """The flows and the highest likelihood of each scale on the normals; a permutation as its indices."""
        state = {name: value for name, value in super().tensors().items() if not name.endswith("w_perm_inv")}
        for name in [name for name in state if name.endswith("w_perm")]:
            state[name] = state[name].argmax(dim=1)
        return {**state, "peaks": self.peaks.cpu()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over trained flows."""
        state = dict(tensors)
        self.peaks = state.pop("peaks").to(self.device)
        for name in [name for name in state if name.endswith("w_perm")]:
            state[name] = F.one_hot(state[name], len(state[name])).float()
            state[f"{name}_inv"] = state[name].T.contiguous()
        super().load(state)

    @torch.inference_mode()
    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Minus the log of the scales' summed likelihoods, and its highest value.

        A scale's likelihood is relative to the highest that a normal training image has there (its paper: on the test
        images), so that a map depends on no other image. The logarithm keeps the order, and small steps apart in the
        half precision of a predictions file.
        """
        size = self.options.size
        likely = torch.zeros(len(images), size, size, device=self.device)
        for peak, values_BHW in zip(self.peaks, self._likelihoods(images), strict=True):
            likely += F.interpolate(
                (values_BHW - peak).exp()[:, None], size=(size, size), mode="bilinear", align_corners=True
            )[:, 0]
        maps = -likely.clamp(min=torch.finfo(torch.float32).tiny).log()
        return maps, maps.amax(dim=(1, 2))

    def _build(self) -> nn.ModuleList:
        options = self.options
        heads = [
            self.library.cflow_head(options.condition, options.blocks, options.clamp, channels)
            for channels in BACKBONE_CHANNELS[self.settings.model.backbone][1:]
        ]
        return nn.ModuleList(heads).to(self.device)

    def _rate(self, progress: float) -> float:
        """Linear warm-up from a tenth, then a cosine."""
        warmup = self.options.warmup_epochs / self.options.epochs
        if progress < warmup:
            return 0.1 + 0.9 * progress / warmup
        cosine = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
        return LOWEST_RATE + (1 - LOWEST_RATE) * cosine

    @torch.no_grad()
    def _scales(self, images: np.ndarray) -> Iterator[tuple[Tensor, Tensor, tuple[int, ...]]]:
        """Of each scale the feature vectors N x C, their places' encodings N x P, and (B, H, W)."""
        frozen = self.encoder.frozen(self._normalised(images).contiguous())
        for map_BCHW in (*frozen[1:], self.encoder.layer4(frozen[2])):
            count, channels, height, width = map_BCHW.shape
            place_PHW = self.library.positional_encoding_2d(self.options.condition, height, width).to(self.device)
            fibers_NC = map_BCHW.permute(0, 2, 3, 1).reshape(-1, channels)
            yield fibers_NC, place_PHW.flatten(1).T.repeat(count, 1), (count, height, width)

    def _likelihood(self, flow: nn.Module, fibers_NC: Tensor, places_NP: Tensor) -> Tensor:
        """Log-likelihood of each feature vector, divided by its length: N."""
        channels = fibers_NC.shape[1]
        hidden, jacobian = flow(fibers_NC, [places_NP])
        return self.library.get_logp(channels, hidden, jacobian) / channels

    def _likelihoods(self, images: np.ndarray) -> Iterator[Tensor]:
        """Of each scale the log-likelihoods B x H x W."""
        for flow, (fibers_NC, places_NP, shape) in zip(self._fitted(), self._scales(images), strict=True):
            parts = zip(fibers_NC.split(4096), places_NP.split(4096), strict=True)  # bounds memory
            yield torch.cat([self._likelihood(flow, fibers, places) for fibers, places in parts]).reshape(shape)

    @torch.no_grad()
    def _highest(self, normals: np.ndarray) -> Tensor:
        rows = [torch.stack([values.max() for values in self._likelihoods(batch)]) for batch in self._batches(normals)]
        return torch.stack(rows).amax(dim=0)
