"""A network's work as fast as the device allows: recorded as CUDA graphs or compiled by setting, else as it is.

Recording needs a GPU, compiling what a machine may lack (a C++ compiler, a GPU that Triton knows). Whatever fails is
said in one line, and the plain network takes over; it computes the same up to rounding.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prn.fitting import say

Acceleration = Literal["auto", "none", "compile", "cuda_graphs"]
WARM_UPS = 3  # passes before a recording: libraries choose their algorithms and take their memory in them


def memory_format(channels_last: bool) -> torch.memory_format:
    """The layout of images and weights: channels last is the faster one for convolutions on CPUs and GPUs alike."""
    return torch.channels_last if channels_last else torch.contiguous_format


def chosen(
    kind: Acceleration, device: torch.device, *, one_pass: bool = True, progress: Callable[[str], None] = say
) -> Literal["none", "compile", "cuda_graphs"]:
    """What a setting means here: auto is CUDA graphs on a GPU and none elsewhere, or where a step has several passes.

    A setting that cannot be followed is said to `progress`, and nothing is accelerated.
    """
    if kind == "auto":
        return "cuda_graphs" if device.type == "cuda" and one_pass else "none"
    if kind == "cuda_graphs" and device.type != "cuda":
        progress(_plain("CUDA graphs need a GPU"))
        return "none"
    if kind == "cuda_graphs" and not one_pass:
        progress(_plain("CUDA graphs need one pass a step; unset train.micro_batch"))
        return "none"
    return kind


class Forward:
    """The network's forward pass, compiled where asked.

    With `batch` only batches of that many images are: compiling once more for an epoch's smaller last step takes longer
    than it saves.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        compiled: bool = False,
        batch: int | None = None,
        progress: Callable[[str], None] = say,
    ) -> None:
        self.network, self.progress, self.batch = network, progress, batch
        # A program for each batch size: one for all would be slower.
        self.compiled: Callable[..., Tensor] | None = torch.compile(network, dynamic=False) if compiled else None
        self.proven = False

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        if self.compiled is None or not self._takes(len(images)):
            return self.network(images)
        return self.compiled(images)

    def prove_once(self, images: int, call: Callable[[], Any]) -> None:
        """At the first time run `call`, a pass of so many images; where it fails, go on with the plain network.

        A training does not depend on the trial: see `_unchanged`.
        """
        if self.compiled is None or self.proven or not self._takes(images):
            return
        self.proven = True
        with _unchanged(self.network):
            try:
                call()
            except Exception as error:  # any of a compiler's own exceptions
                self.compiled = None
                self.progress(_plain(error))

    def _takes(self, images: int) -> bool:
        return self.batch is None or images == self.batch


@dataclass(frozen=True)
class Recording:
    """Work of fixed shapes: replaying reads `inputs` and leaves its results in `outputs` and `gradients`."""

    graph: Any
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, Tensor]
    gradients: tuple[tuple[nn.Parameter, Tensor], ...]


class CudaGraphs:
    """Work on a GPU in one launch: recorded once for each shape of its inputs, replayed from then on.

    `work` takes tensors on the device and gives a mapping of tensors; it may also leave gradients at the network's
    parameters, which hold none before. What comes back is overwritten by the next call. Python's own time for some two
    thousand kernels, longer than a GPU's for them, is thus spent once.
    """

    def __init__(
        self,
        work: Callable[..., Mapping[str, Tensor]],
        network: nn.Module,
        device: torch.device,
        progress: Callable[[str], None] = say,
    ) -> None:
        self.work, self.network, self.device, self.progress = work, network, device, progress
        self.recordings: dict[tuple[torch.Size, ...], Recording] = {}
        self.failed = False

    def __call__(self, *inputs: Tensor) -> Mapping[str, Tensor]:
        """What `work` gives for these inputs, which may lie in host memory."""
        shapes = tuple(each.shape for each in inputs)
        if shapes not in self.recordings and not self.failed:
            self._try_to_record(inputs, shapes)
        if self.failed:
            return self.work(*(each.to(self.device) for each in inputs))
        recording = self.recordings[shapes]
        for place, given in zip(recording.inputs, inputs, strict=True):
            place.copy_(given)
        recording.graph.replay()
        for parameter, gradient in recording.gradients:
            parameter.grad = gradient
        return recording.outputs

    def _try_to_record(self, inputs: tuple[Tensor, ...], shapes: tuple[torch.Size, ...]) -> None:
        places = tuple(torch.empty_like(each, device=self.device).copy_(each) for each in inputs)
        with _unchanged(self.network):
            try:
                graph, outputs = record(lambda: self.work(*places), self.network)
                gradients = tuple((each, each.grad) for each in self.network.parameters() if each.grad is not None)
                self.recordings[shapes] = Recording(graph, places, outputs, gradients)
            except Exception as error:  # what cannot be recorded, or not enough memory for it
                self.failed = True
                self.recordings.clear()
                self.progress(_plain(error))


def record(work: Callable[[], Mapping[str, Tensor]], network: nn.Module) -> tuple[Any, Mapping[str, Tensor]]:
    """A CUDA graph of `work`, and the tensors that a replay writes; the network's gradients are such as well."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            network.zero_grad(set_to_none=True)
            work()
    torch.cuda.current_stream().wait_stream(stream)
    network.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return graph, outputs


@contextlib.contextmanager
def _unchanged(network: nn.Module) -> Iterator[None]:
    """Passes in this block leave no trace: afterwards gradients are gone, buffers (BatchNorm's statistics) and the
    random state as before."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    generator = torch.get_rng_state()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        torch.set_rng_state(generator)
        network.zero_grad(set_to_none=True)


def _plain(reason: str | Exception) -> str:
    if isinstance(reason, Exception):
        text = str(reason).strip()
        reason = f"{type(reason).__name__}: {text.splitlines()[0] if text else ''}"
    return f"not accelerated, the plain network is used ({reason.rstrip('. ')})"
