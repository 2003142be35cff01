"""PatchCore's settings and entry."""

from dataclasses import dataclass
from typing import Annotated

from prn.config import AtLeastOne
from prn.errors import SettingsError
from prn.methods.entry import MethodEntry
from prn.strict import Range


@dataclass(frozen=True, slots=True)
class PatchCoreSettings:
    """PatchCore (Roth et al., CVPR 2022) at its own size; its backbone is `model.backbone`."""

    resize: AtLeastOne = 256
    crop: AtLeastOne = 224
    coreset: Annotated[float, Range(0, 1, open_low=True)] = 0.1
    neighbours: AtLeastOne = 9
    batch_size: AtLeastOne = 8

    def check(self, path: str) -> None:
        """The crop is cut out of the resized image."""
        if self.crop > self.resize:
            raise SettingsError(f"{path}.crop: found {self.crop}, expected at most {path}.resize, {self.resize}")


METHODS = {
    "patchcore": MethodEntry(
        "prn.methods.patchcore",
        options=PatchCoreSettings,
        reads=("model.backbone", "train.threads"),
        backbone=True,
    )
}
