"""Stage `weights`: the encoder's ImageNet weights from a path, a folder or torchvision, in one safetensors file."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from prn import layout
from prn.backbone import load_weights, random_weights
from prn.encoder_files import find_weights, weights_digest
from prn.errors import DataMissing
from prn.provenance.files import atomic_write, sha256_file
from prn.provenance.hashes import FileHashes
from prn.settings.sections import WeightsSettings
from prn.stages.job import Job

CLASSIFIERS = ("fc.", "classifier.")  # torchvision's names of the layers that no method uses


def run(job: Job) -> None:
    """Write the backbone file; its metadata say whether the weights are ImageNet's or random."""
    settings, backbone = job.settings.weights, job.settings.model.backbone
    source = find_weights(backbone, settings.path) or _downloaded(backbone, settings)
    if source is None and not settings.allow_random:
        raise DataMissing(
            f"ImageNet weights of {backbone}: none found. Set weights.path in params.yaml; or put"
            f" {backbone}*.safetensors or torchvision's {backbone}-*.pth into {layout.WEIGHTS_FOLDER}/; or use a"
            " machine with a network (weights.download: true)"
        )
    state = load_weights(source) if source else random_weights(backbone, seed=0)
    state = {name: value.contiguous() for name, value in state.items() if not name.startswith(CLASSIFIERS)}
    kind = "imagenet" if source else "random"
    path = job.artefact
    with atomic_write(path) as temporary:
        save_file(state, temporary, metadata={"kind": kind})
    origin = {"source": source.name, "source_sha256": sha256_file(source)} if source else {"source": "random"}
    hashes = FileHashes(job.path(layout.WEIGHTS_HASHES))
    listing = weights_digest(backbone, settings.path, hashes)
    hashes.save()
    job.finish([], listing=listing or "", **origin)
    print(f"{path}: {backbone}, {kind} weights" + (f" from {source}" if source else ""))


def _downloaded(backbone: str, settings: WeightsSettings) -> Path | None:
    """Torchvision's own file for the backbone, checked by the hash in its name; None where it cannot be had."""
    if not settings.download:
        return None
    folder = Path(layout.WEIGHTS_FOLDER)
    from torchvision.models import get_model_weights  # takes seconds to import: only for those who download

    address = get_model_weights(backbone).IMAGENET1K_V1.url
    target = folder / address.rsplit("/", 1)[1]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_write(target) as temporary:
            torch.hub.download_url_to_file(
                address, str(temporary), hash_prefix=target.stem.rsplit("-", 1)[1], progress=False
            )
    except (OSError, RuntimeError) as error:
        print(f"{backbone}: torchvision's download failed ({type(error).__name__}: {error})", flush=True)
        return None
    return target
