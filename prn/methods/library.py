"""anomalib as a library of models: imported only when such a method runs, given this project's weights and images."""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from prn.errors import DataCorrupt, PrnError


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
