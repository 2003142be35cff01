"""PRN (Zhang et al., CVPR 2023): training on online anomalies, inference by score map."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from prn.acceleration import CudaGraphs, Forward, chosen, memory_format
from prn.backbone import Backbone, normalise
from prn.errors import PrnError, memory_errors
from prn.fitting import FitInputs, FitReport
from prn.methods.base import BaseMethod
from prn.methods.prn_batches import StepBatch, TrainingBatches
from prn.model.folding import fold_batch_norms
from prn.model.losses import prn_loss
from prn.model.network import PRN
from prn.model.precise_norm import recalibrate_statistics
from prn.training import BatchPlan, Run, learning_rate, make_optimizer, micro_batches, seed_everything, train


class Method(BaseMethod):
    """PRN for one category."""

    title, needs_backbone = "PRN", False
    network: PRN | None
    forward: Forward
    graphs: CudaGraphs | None = None
    folded = False

    def fit(self, inputs: FitInputs) -> FitReport:
        """Train for the settings' epochs or steps; the last step's weights are the result (no test image is seen)."""
        settings = self.settings.train
        seed_everything(inputs.seed, settings.threads)
        self.network = self._build(settings.channels_last)
        plan = self._plan(inputs)
        batches = TrainingBatches(self.settings, inputs, plan, self.device)
        run = self._run(inputs, self.network, batches)
        report = train(run)
        report.epochs = report.steps / plan.steps_per_epoch
        report.images_per_second = plan.images(report.steps) / max(run.seconds, 1e-9)
        report.precision = "bfloat16" if self._autocasts(settings.precision) else "float32"
        self.network.eval()
        self.forward, self.graphs = Forward(self.network), None
        return report

    def tensors(self) -> dict[str, torch.Tensor]:
        """Trainable weights and BatchNorm statistics; the frozen encoder and the prototypes stay in their own files.

        In half precision by `train.checkpoint_precision`, the statistics always in float32. Raises `PrnError` where a
        weight is too large for it, and for a method that was loaded (its network is folded).
        """
        if self.folded:
            raise PrnError("a PRN that was loaded only predicts; its checkpoint is the file it was loaded from")
        network: PRN = self._fitted()
        state = {name: value.detach().cpu().contiguous() for name, value in network.prediction_state().items()}
        if self.settings.train.checkpoint_precision == "float32":
            return state
        return {name: value if "running_" in name else _halved(name, value) for name, value in state.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Rebuild the network with trained weights, ready to predict: BatchNorm folded, and accelerated where asked."""
        options = self.settings.predict
        network = self._build(options.channels_last)
        network.load_prediction_state(tensors)
        fold_batch_norms(network)
        network.to(memory_format=memory_format(options.channels_last))
        self.network, self.folded = network, True
        kind = chosen(options.acceleration, self.device)
        self.forward = Forward(network, compiled=kind == "compile")
        self.graphs = CudaGraphs(self._scored, network, self.device) if kind == "cuda_graphs" else None

    @torch.inference_mode()
    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of an anomaly for each pixel, and the mean of the highest (paper 3.5)."""
        self._fitted()
        on_host = torch.from_numpy(images)
        self.forward.prove_once(len(images), lambda: self._scored(on_host))
        found = (self.graphs or self._scored)(on_host)
        return to_host(found["maps"]), to_host(found["scores"])

    def _scored(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The score maps and the image scores of uint8 images."""
        options = self.settings.predict
        pixels = self._pixels(images, options.channels_last)
        with self._autocast(options.precision):
            logits = self.forward(pixels)
        maps = torch.sigmoid(logits.float())[:, 0]
        highest = maps.flatten(1).topk(min(options.top_pixels, maps[0].numel()), sorted=False).values
        return {"maps": maps, "scores": highest.double().mean(dim=1)}

    def _build(self, channels_last: bool = True) -> PRN:
        model = self.settings.model
        backbone = Backbone(model.backbone, self.backbone_state, train_layer4=model.layer4 == "trainable")
        network = PRN(backbone, self.prototypes if model.prototypes else None, model)
        return network.to(self.device, memory_format=memory_format(channels_last))  # type: ignore[call-overload]

    def _pixels(self, images: torch.Tensor, channels_last: bool) -> torch.Tensor:
        pixels = normalise(images.to(self.device))
        return pixels.contiguous(memory_format=memory_format(channels_last))

    def _plan(self, inputs: FitInputs) -> BatchPlan:
        synthesis = self.settings.synthesis
        return BatchPlan(
            normals=len(inputs.normals),
            batch=self.settings.train.batch,
            seed=inputs.seed,
            extended_on=synthesis.extended,
            simulated_on=synthesis.heterologous or synthesis.homologous,
        )

    def _run(self, inputs: FitInputs, network: PRN, batches: TrainingBatches) -> Run:
        settings, plan = self.settings.train, batches.plan
        network.train()
        one_pass = settings.micro_batch is None
        kind = chosen(settings.acceleration, self.device, one_pass=one_pass, progress=inputs.progress)
        self.forward = Forward(
            network,
            compiled=kind == "compile",
            batch=plan.step(0).size if one_pass else None,
            progress=inputs.progress,
        )
        graphs = CudaGraphs(self._backward, network, self.device, inputs.progress) if kind == "cuda_graphs" else None

        def step(number: int) -> dict[str, torch.Tensor | float]:
            batch = batches.step(number)
            if one_pass:
                images, masks = batch.images, batch.masks
                self.forward.prove_once(len(images), lambda: self._backward(images, masks))
                found = (graphs or self._backward)(images, masks)
                scalars = {name: value.clone() for name, value in found.items()}
            else:
                scalars = self._backward_in_parts(batch)
            return {"epoch": batch.contents.batch.epoch, **scalars, **batch.scalars()}

        label, total = f"{inputs.label} seed {inputs.seed}", plan.total_steps(settings)
        return Run(
            label=label,
            total=total,
            optimizer=make_optimizer(list(network.trainable_parameters()), settings),
            rate=lambda number: learning_rate(number, total, settings),
            step=step,
            state=network.prediction_state,
            restore=network.load_prediction_state,
            images_per_step=settings.batch.normal + settings.batch.extended + settings.batch.simulated,
            finish=lambda: self._recalibrate(batches, total, label, inputs.progress),
            resume=inputs.resume,
            checkpoint_minutes=settings.checkpoint_minutes,
            progress=inputs.progress,
        )

    def _backward_in_parts(self, batch: StepBatch) -> dict[str, torch.Tensor]:
        """`_backward` of a whole step in micro-batches."""
        parts = micro_batches(batch.contents.batch, self.settings.train.micro_batch)
        self.forward.prove_once(len(parts[0]), lambda: self._backward(*batch.part(parts[0])))
        scalars = dict.fromkeys(("loss", "smooth_l1", "focal"), torch.zeros((), device=self.device))
        for part in parts:
            # Each loss is a mean over images of one size: the parts' means, by their shares, add up to the whole's.
            share = len(part) / len(batch.images)
            for name, value in self._backward(*batch.part(part), share).items():
                scalars[name] = scalars[name] + share * value
        return scalars

    def _recalibrate(self, batches: TrainingBatches, first: int, label: str, progress: Callable[[str], None]) -> None:
        """Replace BatchNorm's statistics by those of the batches from step `first` on, the one after the last."""
        settings = self.settings.train
        count = settings.precise_norm_batches

        def parts() -> Iterator[torch.Tensor]:
            for number in range(first, first + count):
                batch = batches.step(number)
                for part in micro_batches(batch.contents.batch, settings.micro_batch):
                    yield self._pixels(batch.part(part)[0], settings.channels_last)

        if count:
            progress(f"{label}: recalibrating BatchNorm's statistics from {count} batches")
            memory = memory_errors(f"{label}: BatchNorm's statistics", "train.micro_batch")
            with memory, self._autocast(settings.precision):
                recalibrate_statistics(self._fitted(), parts())

    def _backward(self, images: torch.Tensor, masks: torch.Tensor, share: float = 1.0) -> dict[str, torch.Tensor]:
        """Add `share` times the loss' gradient to the network's; the loss and its two terms, without the share."""
        settings = self.settings.train
        pixels = self._pixels(images, settings.channels_last)
        target = masks.to(self.device)[:, None].float()
        with self._autocast(settings.precision):
            logits = self.forward(pixels)
        loss, smooth_l1, focal = prn_loss(
            logits.float(),
            target,
            focal_weight=settings.focal_weight,
            focal_alpha=settings.focal_alpha,
            focal_gamma=settings.focal_gamma,
            smooth_l1_beta=settings.smooth_l1_beta,
        )
        (share * loss).backward()
        return {"loss": loss.detach(), "smooth_l1": smooth_l1.detach(), "focal": focal.detach()}

    def _autocasts(self, precision: str) -> bool:
        return precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda")

    def _autocast(self, precision: str) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self._autocasts(precision) else nullcontext()


def to_host(values: torch.Tensor) -> np.ndarray:
    """The values in host memory; those of a GPU go into pinned memory, to which a copy is several times as fast."""
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda).copy_(values).numpy()


def _halved(name: str, value: torch.Tensor) -> torch.Tensor:
    """The values in half precision, integers as they are. Raises `PrnError` where one is beyond its range."""
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise PrnError(f"{name}: a weight is beyond half precision; set train.checkpoint_precision: float32")
    return half
