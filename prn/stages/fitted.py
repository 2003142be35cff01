"""A fitted method from its checkpoint: what `train` wrote, read again to predict."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from prn import layout
from prn.devices import check_threads, torch_device
from prn.errors import SettingsError
from prn.methods.base import method_class
from prn.prototypes import Prototypes
from prn.provenance.sidecars import verify_artefact
from prn.settings.views import from_view
from prn.stages.job import Job


def fitted_method(job: Job) -> tuple[Any, list[Path]]:
    """The fitted method of a job's checkpoint, and the files that it is made of (checked against their hashes).

    Raises `DataMissing` where one is not there, `DataCorrupt` where one is not what it was, `SettingsError` where the
    training was at another working size than the settings name.
    """
    checkpoint = job.needed(layout.CHECKPOINT)
    verify_artefact(checkpoint)
    with safe_open(checkpoint, "pt") as file:
        metadata = json.loads(file.metadata()["prn"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a safetensors handle
    trained, asked = metadata["view"]["tensors"]["size"], job.view["tensors"]["size"]
    if trained != asked:
        raise SettingsError(
            f"tensors.size: found {asked}, but {checkpoint} was trained at {trained}; name the preset it was trained"
            " with, or train again"
        )
    frozen = {name: Path(value) for name, value in metadata["inputs"].items() if name in ("backbone", "prototypes")}
    for path in frozen.values():
        verify_artefact(path)
    settings = from_view({**job.view, **metadata["view"]}, "train", "predict")
    device = torch_device()
    if device.type == "cpu":
        check_threads(settings.predict.threads, "predict.threads")
    torch.set_num_threads(settings.predict.threads)
    backbone = load_file(frozen["backbone"]) if "backbone" in frozen else None
    prototypes = Prototypes.load(frozen["prototypes"]) if "prototypes" in frozen else None
    method = method_class(settings.method)(settings, backbone, prototypes, device)
    method.load(tensors)
    return method, [checkpoint, *frozen.values()]
