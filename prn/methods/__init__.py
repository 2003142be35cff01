"""One interface for PRN and every comparison method: fit on a split, predict score maps and image scores.

To add a method: write a module with a class that follows `prn.methods.interface.Method`, add an entry to
`METHODS`, and name it in a variant of `params.yaml` (`my-variant: {method: my_method}`). Workflow, evaluation and
reports know only this interface.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodEntry:
    """Where a method lives, which settings its training reads, and what it needs besides the images."""

    module: str
    name: str = "Method"
    reads: tuple[str, ...] = ()
    backbone: bool = False
    prototypes: bool = False
    textures: bool = False
    masks: bool = False


METHODS = {
    "prn": MethodEntry(
        "prn.methods.prn",
        reads=("model", "prototypes", "synthesis", "train"),
        backbone=True,
        prototypes=True,
        textures=True,
        masks=True,
    ),
    "untrained": MethodEntry(
        "prn.methods.untrained", reads=("model.backbone", "prototypes"), backbone=True, prototypes=True
    ),
    "patchcore": MethodEntry(
        "prn.methods.patchcore", reads=("model.backbone", "patchcore", "train.threads"), backbone=True
    ),
    "mean_image": MethodEntry("prn.methods.naive", "MeanImage"),
    "colour_threshold": MethodEntry("prn.methods.naive", "ColourThreshold"),
}
