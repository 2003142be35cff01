"""anomalib as a library of models: imported only when such a method runs, given this project's weights and images."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prn.backbone import normalise
from prn.errors import DataCorrupt, PrnError
from prn.methods.geometry import resized_crop


def anomalib_module(name: str, method: str) -> Any:
    """The module `anomalib.<name>`.

    Raises `PrnError` naming the extra to install where anomalib or something that it needs is not there.
    """
    try:
        return importlib.import_module(f"anomalib.{name}")
    except ImportError as error:
        raise PrnError(
            f"{method} needs anomalib, which cannot be imported ({error}); install it with `pip install prn[compare]`"
        ) from error


def load_backbone(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Put a backbone file's weights into anomalib's encoder, whose entries have torchvision's names.

    The encoder may hold fewer layers than the file. Raises DataCorrupt where the file lacks an entry or has another
    shape.
    """
    expected = network.state_dict()
    unfit = sorted(key for key, value in expected.items() if key not in state or state[key].shape != value.shape)
    if unfit:
        raise DataCorrupt(
            f"backbone weights do not fit {name}: {len(unfit)} entries are missing or have another shape (first:"
            f" {unfit[0]!r}); use the ImageNet weights of {name}"
        )
    network.load_state_dict({key: state[key] for key in expected})


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The images in order, at most `size` at once."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def normalised_pixels(images: np.ndarray, resize: int, crop: int, device: torch.device) -> Tensor:
    """uint8 images B x S x S x 3 at a method's own size and crop C: B x 3 x C x C, ImageNet-normalised, contiguous."""
    return normalise(resized_crop(torch.from_numpy(images).to(device), resize, crop)).contiguous()


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state as a checkpoint holds it."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
