"""The images and masks of every step of PRN's training: normals, then extended, then simulated anomalies.

What a step contains is drawn on the CPU and is a function of (seed, step) alone. On a CPU its images are then rendered
one by one; on an accelerator images, masks and textures stay on the device as uint8, a batch is rendered there, and a
thread draws the next step's contents in the meantime. Shapes: B images, S x S pixels.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from prn.fitting import FitInputs
from prn.settings.sections import Settings
from prn.synthesis import KINDS, synthesizer_of
from prn.synthesis.anomalies import Plan
from prn.synthesis.batch import Kind
from prn.synthesis.device import DeviceSynthesizer
from prn.synthesis.render import render
from prn.training import Batch, BatchPlan

# The kinds of image in a batch; `seen` is a seen anomaly as it is (setting `train.raw_seen_share`).
IMAGE_KINDS = ("normal", "seen", "extended", "heterologous", "homologous")


@dataclass(frozen=True)
class StepContents:
    """What a step contains, before a pixel is touched: an anomaly is a plan, or the number of a seen image as it is."""

    batch: Batch
    anomalies: list[Plan | int]

    def shares(self) -> dict[str, float]:
        """The share of each of `IMAGE_KINDS` among the step's images, as `<kind>_share`."""
        kinds = ["normal"] * len(self.batch.normal)
        kinds += ["seen" if isinstance(item, int) else item.strategy for item in self.anomalies]
        return {f"{kind}_share": kinds.count(kind) / len(kinds) for kind in IMAGE_KINDS}


@dataclass(frozen=True)
class StepBatch:
    """Images uint8 [B, S, S, 3] and masks uint8 0/1 [B, S, S] on the training's device, and what they show."""

    images: torch.Tensor
    masks: torch.Tensor
    contents: StepContents

    def part(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and masks at these positions."""
        if len(positions) == len(self.images) and (np.diff(positions) == 1).all():
            return self.images, self.masks
        chosen = torch.from_numpy(positions).to(self.images.device)
        return self.images[chosen], self.masks[chosen]

    def scalars(self) -> dict[str, torch.Tensor | float]:
        """For the log: the share of each kind of image, and `positive_share`, the share of defect pixels."""
        return {**self.contents.shares(), "positive_share": self.masks.double().mean()}


class TrainingBatches:
    """The batches of one training; `step` gives the same values on every device."""

    def __init__(
        self,
        settings: Settings,
        inputs: FitInputs,
        plan: BatchPlan,
        device: torch.device,
        *,
        on_device: bool | None = None,
    ) -> None:
        """Find the foregrounds and, for an accelerator, copy the images to it.

        on_device: whether batches are rendered by torch on `device`; by default where it is not a CPU.
        Raises what `Synthesizer` raises.
        """
        shots = settings.train.shots
        self.plan, self.inputs, self.device = plan, inputs, device
        self.seen, self.seen_masks = inputs.seen[:shots], inputs.seen_masks[:shots]
        self.raw_share, self.seed = settings.train.raw_seen_share, inputs.seed
        self.synthesizer = synthesizer_of(inputs, settings.synthesis, shots)
        rendered_there = device.type != "cpu" if on_device is None else on_device
        self._renderer = DeviceSynthesizer(self.synthesizer, device) if rendered_there else None
        self._thread = ThreadPoolExecutor(1, "synthesis")
        self._ahead: tuple[int, Future[StepContents]] | None = None

    def step(self, number: int) -> StepBatch:
        """The batch of step `number`, counted from 0."""
        if self._renderer is None:
            return self._rendered_here(self.contents(number))
        contents = self._contents_ahead(number)
        return StepBatch(*self._rendered_there(self._renderer, contents), contents)

    def contents(self, number: int) -> StepContents:
        """What step `number` contains."""
        batch = self.plan.step(number)
        indices: tuple[tuple[Kind, range], ...] = tuple(zip(KINDS, (batch.extended, batch.simulated), strict=True))
        return StepContents(
            batch, [self._anomaly(kind, batch.epoch, index) for kind, chosen in indices for index in chosen]
        )

    def _anomaly(self, kind: Kind, epoch: int, index: int) -> Plan | int:
        if kind == "extended" and self.raw_share > 0:
            draw = np.random.default_rng([self.seed, epoch, index, 7])
            if draw.random() < self.raw_share:
                return int(draw.integers(len(self.seen)))
        return self.synthesizer.plan(kind, epoch, index)

    def _contents_ahead(self, number: int) -> StepContents:
        """What step `number` contains, drawn while the step before was computed; sets the thread to the next one."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != number:
            ahead = (number, self._thread.submit(self.contents, number))
        contents = ahead[1].result()
        self._ahead = (number + 1, self._thread.submit(self.contents, number + 1))
        return contents

    def _rendered_here(self, contents: StepContents) -> StepBatch:
        """On the CPU, image by image."""
        normals = self.inputs.normals[contents.batch.normal]
        count = len(normals) + len(contents.anomalies)
        images = np.empty((count, *normals.shape[1:]), np.uint8)
        masks = np.zeros((count, *normals.shape[1:3]), np.uint8)
        images[: len(normals)] = normals
        for position, item in enumerate(contents.anomalies, len(normals)):
            if isinstance(item, int):
                images[position], masks[position] = self.seen[item], self.seen_masks[item]
            else:
                render(self.synthesizer.materials, item, images[position], masks[position])
        return StepBatch(torch.from_numpy(images), torch.from_numpy(masks), contents)

    @staticmethod
    def _rendered_there(renderer: DeviceSynthesizer, contents: StepContents) -> tuple[torch.Tensor, torch.Tensor]:
        """On the device, all images of a kind at once; images and masks in the order of the contents."""
        normal_BHWC = renderer.normals(contents.batch.normal)
        raw = [item for item in contents.anomalies if isinstance(item, int)]
        plans = [item for item in contents.anomalies if not isinstance(item, int)]
        parts = [(normal_BHWC, torch.zeros(normal_BHWC.shape[:3], dtype=torch.uint8, device=renderer.device))]
        if raw:
            parts.append(renderer.seen(raw))
        if plans:
            parts.append(renderer.render(plans))
        images, masks = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if not raw or not plans:
            return images, masks
        is_plan = [not isinstance(item, int) for item in contents.anomalies]
        places = [*range(len(normal_BHWC)), *(len(normal_BHWC) + np.argsort(is_plan, kind="stable"))]
        order = renderer.indices(np.argsort(places))
        return images[order], masks[order]
