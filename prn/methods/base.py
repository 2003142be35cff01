"""What every method is, and what they share: frozen encoder, training on the engine, checkpoint, batches of score maps.

Shape suffixes: B batch, N images, S the stage's side, C the side that the method sees.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prn.backbone import Backbone, normalise
from prn.errors import PrnError
from prn.fitting import FitInputs, FitReport
from prn.methods.geometry import on_common_grid, resized_crop
from prn.prototypes import Prototypes
from prn.settings.methods import METHODS
from prn.settings.sections import BatchSettings, Settings
from prn.training import BatchPlan, Run, seed_everything, train

Step = Callable[[int], Mapping[str, Tensor | float]]


class BaseMethod:
    """A method for one category: fitted on a split's training images, then asked for score maps and image scores.

    A subclass names itself and writes `fit`; `_build` and `_score_batch`, or `tensors`, `load` and `predict` in their
    place.
    title: its name in messages; section: of the settings, `methods.<section>`, whose values are `options`;
    needs_backbone: whether it needs backbone weights; batch_option: the option with the images that are scored at once.
    network: what is trained, None before `fit` and `load`.
    """

    title = ""
    section = ""
    needs_backbone = True
    batch_option = "batch"
    options: Any
    backbone_state: Any
    network: Any

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, Tensor] | None,
        prototypes: Prototypes | None,
        device: torch.device,
    ) -> None:
        if self.needs_backbone and backbone is None:
            raise PrnError(f"{self.title} needs backbone weights")
        self.settings, self.device = settings, device
        self.backbone_state, self.prototypes = backbone, prototypes
        self.options = getattr(settings.methods, self.section) if self.section else None
        self.network = None
        self._prepare()

    def fit(self, inputs: FitInputs) -> FitReport:
        """Learn from the training images; the last step is the result (no test image is seen)."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """What `load` needs to predict again, besides backbone and prototypes: weights and BatchNorm statistics."""
        state = self._fitted().state_dict()
        return {name: value.detach().cpu().contiguous() for name, value in state.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Become the method that wrote `tensors`."""
        self.network = self._build()
        self.network.load_state_dict(tensors)
        self.network.eval()

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score maps (N x S x S float32, higher is more anomalous) and image scores (N float64) of uint8 N x S x S x 3.

        An image's map and score depend on no other image.
        """
        maps, scores = [], []
        for batch in self._batches(images):
            found, values = self._score_batch(batch)
            maps.append(on_common_grid(found, self._geometry[0], images.shape[1]).cpu())
            scores.append(values.double().cpu())
        return torch.cat(maps).numpy(), torch.cat(scores).numpy()

    def _prepare(self) -> None:
        """Check the settings and build what is never trained."""

    def _build(self) -> nn.Module:
        """What is trained, with its first weights."""
        raise NotImplementedError

    def _score_batch(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """Score maps [B, C, C] and image scores [B] of uint8 images B x S x S x 3."""
        raise NotImplementedError

    def _fitted(self) -> Any:
        if self.network is None:
            raise PrnError("the method is neither fitted nor loaded")
        return self.network

    def _encoder(self) -> Backbone:
        """The frozen encoder of `model.backbone`."""
        name = self.settings.model.backbone
        return Backbone(name, self.backbone_state, train_layer4=False).to(self.device).eval()

    @property
    def _geometry(self) -> tuple[int, int]:
        """The side that images are resized to, and that of the centre which the method sees of them."""
        return self.options.size, self.options.size

    def _normalised(self, images: np.ndarray) -> Tensor:
        """uint8 images B x S x S x 3 as the method sees them: B x 3 x C x C, ImageNet-normalised."""
        return normalise(resized_crop(torch.from_numpy(images).to(self.device), *self._geometry))

    def _batches(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """The images in order, at most as many as are scored at once."""
        size = getattr(self.options, self.batch_option)
        for start in range(0, len(images), size):
            yield images[start : start + size]

    def _seed_and_build(self, inputs: FitInputs) -> Any:
        """Fix the random state and build the network, whose first weights follow from it."""
        seed_everything(inputs.seed, self.settings.train.threads)
        self.network = self._build()
        return self.network

    def _train(
        self,
        inputs: FitInputs,
        optimizer: Optimizer,
        step: Step,
        *,
        total: int,
        steps_per_epoch: int,
        images_per_step: int,
        rate: Callable[[int], float] | None = None,
        finish: Callable[[], object] | None = None,
    ) -> FitReport:
        """Train the network for `total` steps and leave it in evaluation mode.

        step(i): forward and backward of step `i`, a function of `i` and the seed alone; returns detached scalars,
        `loss` among them. rate(i): the learning rate, by default the settings'. finish: what follows the last step.
        Raises as `prn.training.train` does.
        """
        network = self._fitted()

        def evaluating() -> None:
            network.eval()
            if finish is not None:
                finish()

        network.train()
        report = train(
            Run(
                label=f"{inputs.label} {self.section} seed {inputs.seed}",
                total=total,
                optimizer=optimizer,
                rate=rate or (lambda number: self.options.learning_rate),
                step=lambda number: {"epoch": number // steps_per_epoch, **step(number)},
                state=network.state_dict,
                restore=network.load_state_dict,
                images_per_step=images_per_step,
                finish=evaluating,
                resume=inputs.resume,
                checkpoint_minutes=self.settings.train.checkpoint_minutes,
                progress=inputs.progress,
                section=f"methods.{self.section}",
            )
        )
        report.epochs = total / steps_per_epoch
        return report

    def _train_on_normals(
        self,
        inputs: FitInputs,
        optimizer: Optimizer,
        step: Callable[[int, np.ndarray], Tensor],
        *,
        steps: int | None = None,
        rate: Callable[[float], float] | None = None,
        finish: Callable[[], object] | None = None,
    ) -> FitReport:
        """`_train` in passes over the normal images, one an epoch; `steps` stands in place of the settings' epochs.

        step(i, positions): forward and backward of a step on the normals at these positions; returns the loss.
        rate(progress): what the learning rate is multiplied with after this share of the steps, 0 to below 1.
        """
        options = self.options
        batch = BatchSettings(normal=options.batch, extended=0, simulated=0)
        plan = BatchPlan(len(inputs.normals), batch, inputs.seed)
        total = steps or options.epochs * plan.steps_per_epoch

        def scaled(number: int) -> float:
            return options.learning_rate * (rate(number / total) if rate else 1.0)

        return self._train(
            inputs,
            optimizer,
            lambda number: {"loss": step(number, plan.step(number).normal).detach()},
            total=total,
            steps_per_epoch=plan.steps_per_epoch,
            images_per_step=options.batch,
            rate=scaled,
            finish=finish,
        )


def method_class(name: str) -> type[Any]:
    """The class of a method of `METHODS`; its module is imported now."""
    return getattr(importlib.import_module(METHODS[name].module), METHODS[name].name)


def top_mean(score_maps: np.ndarray, pixels: int) -> np.ndarray:
    """Mean of each map's highest `pixels` scores (paper 3.5, K = 100): B x H x W to B float64."""
    flat = score_maps.reshape(len(score_maps), -1).astype(np.float64)
    count = min(pixels, flat.shape[1])
    return np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1)
