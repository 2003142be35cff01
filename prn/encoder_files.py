"""Where the ImageNet weights of an encoder are found, and which file that is by its content."""

import re
from pathlib import Path

from prn import layout
from prn.provenance.hashes import FileHashes


def find_weights(backbone: str, path: str | None) -> Path | None:
    """The file of an encoder's weights: `path`, or the fitting file in that folder or in data/weights; else None."""
    folder = Path(layout.WEIGHTS_FOLDER)
    if path:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            return folder
    candidates = sorted([*folder.glob(f"{backbone}[-_.]*.safetensors"), *folder.glob(f"{backbone}[-_.]*.pth")])
    candidates += sorted([*folder.glob(f"{backbone}.safetensors"), *folder.glob(f"{backbone}.pth")])
    return candidates[0] if candidates else None


def weights_digest(backbone: str, path: str | None, hashes: FileHashes) -> str | None:
    """The sha256 of a user's own file of weights, None where none is here.

    '' for torchvision's file, whose name holds the hash: its download changes nothing for the next plan.
    """
    file = find_weights(backbone, path)
    if file is None or not file.is_file():
        return None
    digest = hashes.sha256(file)
    named = re.fullmatch(rf"{re.escape(backbone)}-([0-9a-f]{{8}})\.pth", file.name)
    return "" if named and digest.startswith(named[1]) else digest
