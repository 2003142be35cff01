"""A network's forward pass as fast as the device allows: compiled or as CUDA graphs by setting, else as it is.

Compiling needs what a machine may lack (a C++ compiler, a GPU that Triton knows, CUDA). Whatever fails is said in one
line, and the plain network takes over; it computes the same up to rounding.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prn.methods.interface import say

Acceleration = Literal["none", "compile", "cuda_graphs"]
MODES = {"compile": "default", "cuda_graphs": "reduce-overhead"}


def memory_format(channels_last: bool) -> torch.memory_format:
    """The layout of images and weights: channels last is the faster one for convolutions on CPUs and GPUs alike."""
    return torch.channels_last if channels_last else torch.contiguous_format


class Forward:
    """The network's forward pass. `kind` none: the network itself; compile: `torch.compile`; cuda_graphs: with CUDA
    graphs, which need CUDA and one pass a step (no `train.micro_batch`). With `batch` only batches of that many images
    are accelerated: compiling once more for an epoch's smaller last step takes longer than it saves.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: Acceleration,
        device: torch.device,
        *,
        one_pass: bool = True,
        progress: Callable[[str], None] = say,
        batch: int | None = None,
    ) -> None:
        self.network, self.progress, self.batch = network, progress, batch
        self.compiled: Callable[..., Tensor] | None = None
        self.proven = False
        if kind == "cuda_graphs" and device.type != "cuda":
            self._fall_back("CUDA graphs need a GPU")
        elif kind == "cuda_graphs" and not one_pass:
            self._fall_back("CUDA graphs need one pass a step; unset train.micro_batch")
        elif kind != "none":
            # A program for each batch size: one for all would be slower.
            self.compiled = torch.compile(network, mode=MODES[kind], dynamic=False)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        if self.compiled is None or not self._takes(len(images)):
            return self.network(images)
        return self.compiled(images)

    def prove_once(self, images: int, call: Callable[[], Any]) -> None:
        """At the first time run `call`, a pass of so many images; where it fails, go on with the plain network.

        Gradients are gone and buffers (BatchNorm's statistics) as before afterwards, so that a training does not depend
        on the trial.
        """
        if self.compiled is None or self.proven or not self._takes(images):
            return
        self.proven = True
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        generator = torch.get_rng_state()
        try:
            call()
        except Exception as error:  # any of a compiler's own exceptions
            self._fall_back(f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        torch.set_rng_state(generator)
        self.network.zero_grad(set_to_none=True)

    def _takes(self, images: int) -> bool:
        return self.batch is None or images == self.batch

    def _fall_back(self, reason: str) -> None:
        self.compiled = None
        self.progress(f"not accelerated, the plain network is used ({reason.rstrip('. ')})")
