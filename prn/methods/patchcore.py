"""PatchCore (Roth et al., CVPR 2022) with anomalib's model: distance to a coreset of normal patch features.

anomalib's `PatchcoreModel` gives features, neighbours, map and image score; data, weights, seeds, threads, crop and
grid are this project's. The differences from its paper stand in `reports/deviations.md`.
"""

import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from prn.backbone import normalise
from prn.errors import PrnError, memory_errors
from prn.methods.geometry import on_common_grid, resized_crop
from prn.methods.interface import FitInputs, FitReport
from prn.methods.library import anomalib_module, load_backbone
from prn.prototypes import Prototypes
from prn.settings.sections import Settings
from prn.training import peak_memory_mb, seed_everything

LAYERS = ("layer2", "layer3")  # its paper, section 4.1


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
            raise PrnError("PatchCore needs backbone weights")
        self.settings, self.device = settings, device
        self.options = settings.methods.patchcore
        name = settings.model.backbone
        library = anomalib_module("models.image.patchcore.torch_model", "patchcore")
        self.model = library.PatchcoreModel(
            layers=LAYERS, backbone=name, pre_trained=False, num_neighbors=self.options.neighbours
        )
        load_backbone(self.model.feature_extractor.feature_extractor, backbone, name)
        self.model.to(device).eval()

    @torch.no_grad()
    def fit(self, inputs: FitInputs) -> FitReport:
        """Gather the normals' patch features and keep the coreset (its paper, algorithm 1)."""
        started = time.monotonic()
        seed_everything(inputs.seed, self.settings.train.threads)
        label = f"{inputs.dataset}/{inputs.category} patchcore"
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
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `prn.methods.interface.Method.predict`; the image score is PatchCore's own (its paper, equation 7)."""
        maps, scores = [], []
        for batch in self._batches(images):
            found = self.model(batch)
            maps.append(on_common_grid(found.anomaly_map[:, 0], self.options.resize, images.shape[1]).cpu())
            scores.append(found.pred_score.cpu())
        return torch.cat(maps).numpy(), torch.cat(scores).double().numpy()

    def _patches(self, images: np.ndarray) -> Tensor:
        self.model.train()  # anomalib's forward then returns the patches, and keeps them as well
        self.model.feature_extractor.eval()
        try:
            found = [self.model(batch) for batch in self._batches(images)]
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

    def _batches(self, images: np.ndarray) -> Iterator[Tensor]:
        """Normalised crops B x 3 x C x C, made one batch at a time."""
        options = self.options
        for start in range(0, len(images), options.batch_size):
            batch = torch.from_numpy(images[start : start + options.batch_size]).to(self.device)
            yield normalise(resized_crop(batch, options.resize, options.crop))
