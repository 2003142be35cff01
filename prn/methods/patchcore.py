"""PatchCore (Roth et al., CVPR 2022) with anomalib's model: distance to a coreset of normal patch features.

anomalib's `PatchcoreModel` gives features, neighbours, map and image score; data, weights, seeds, threads, crop and
grid are this project's. The differences from its paper stand in `reports/deviations.md`.
"""

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from prn.errors import memory_errors
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.library import anomalib_module, load_backbone
from prn.provenance.environment import peak_memory_mb
from prn.settings.methods.patchcore import PatchCoreSettings
from prn.training import seed_everything

LAYERS = ("layer2", "layer3")  # its paper, section 4.1


class Method(BaseMethod):
    """PatchCore; nothing of its network is trained, the coreset is all that it keeps."""

    title, section, batch_option = "PatchCore", "patchcore", "batch_size"
    options: PatchCoreSettings

    def _prepare(self) -> None:
        name = self.settings.model.backbone
        library = anomalib_module("models.image.patchcore.torch_model", "patchcore")
        self.model = library.PatchcoreModel(
            layers=LAYERS, backbone=name, pre_trained=False, num_neighbors=self.options.neighbours
        )
        load_backbone(self.model.feature_extractor.feature_extractor, self.backbone_state, name)
        self.model.to(self.device).eval()

    @torch.no_grad()
    def fit(self, inputs: FitInputs) -> FitReport:
        """Gather the normals' patch features and keep the coreset (its paper, algorithm 1)."""
        started = time.monotonic()
        seed_everything(inputs.seed, self.settings.train.threads)
        label = f"{inputs.label} patchcore"
        count = len(inputs.normals)
        with memory_errors(label, "methods.patchcore.coreset"):
            patches = self._patches(inputs.normals)
            inputs.progress(f"{label}: {len(patches)} patches of {count} images, keeping {self.options.coreset:.0%}")
            self.model.memory_bank = self._coreset(patches, inputs.seed)
        seconds = time.monotonic() - started
        inputs.progress(f"{label}: {len(self.model.memory_bank)} patches kept after {seconds:.0f} s")
        return FitReport(
            epochs=1.0, seconds=seconds, images_per_second=count / seconds, peak_memory_mb=peak_memory_mb()
        )

    def tensors(self) -> dict[str, Tensor]:
        """The coreset: M x D patch features."""
        return {"memory_bank": self.model.memory_bank.contiguous()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a coreset."""
        self.model.memory_bank = tensors["memory_bank"].to(self.device)

    @torch.inference_mode()
    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """The distance to the nearest patches, and PatchCore's own image score (its paper, equation 7)."""
        found = self.model(self._normalised(images))
        return found.anomaly_map[:, 0], found.pred_score

    @property
    def _geometry(self) -> tuple[int, int]:
        return self.options.resize, self.options.crop

    def _patches(self, images: np.ndarray) -> Tensor:
        self.model.train()  # anomalib's forward then returns the patches, and keeps them as well
        self.model.feature_extractor.eval()
        try:
            found = [self.model(self._normalised(batch)) for batch in self._batches(images)]
        finally:
            self.model.embedding_store.clear()
            self.model.eval()
        return torch.cat(found)

    def _coreset(self, patches: Tensor, seed: int) -> Tensor:
        sampling = anomalib_module("models.components.sampling", "patchcore")
        # At least one patch, for which anomalib would stop.
        ratio = max(self.options.coreset, 1.0 / len(patches))
        sampler = sampling.KCenterGreedy(embedding=patches, sampling_ratio=ratio)
        # Else the random projection differs from run to run; a plain number would give every row the same columns.
        sampler.model.random_state = np.random.RandomState(seed)
        return sampler.sample_coreset()
