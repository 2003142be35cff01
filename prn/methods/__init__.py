"""One interface for PRN and every comparison method: fit on a split, predict score maps and image scores.

To add a method: write a module with a class that follows `prn.methods.interface.Method`, add an entry to
`METHODS`, and name it in a variant of `params.yaml` (`my-variant: {method: my_method}`). Workflow, evaluation and
reports know only this interface.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodEntry:
    """Where a method lives and what its training needs besides the images."""

    module: str
    name: str = "Method"
    backbone: bool = False
    prototypes: bool = False
    textures: bool = False
    trained: bool = True


METHODS = {
    "prn": MethodEntry("prn.methods.prn", backbone=True, prototypes=True, textures=True),
    "untrained": MethodEntry("prn.methods.untrained", backbone=True, prototypes=True, trained=False),
    "mean_image": MethodEntry("prn.methods.naive", "MeanImage", trained=False),
    "colour_threshold": MethodEntry("prn.methods.naive", "ColourThreshold", trained=False),
}
