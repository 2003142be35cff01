"""What the planner knows of a method: where its class is, which settings it reads, which files it needs."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

Need = Literal["backbone", "prototypes", "textures", "masks"]


@dataclass(frozen=True)
class MethodEntry:
    """A method's declaration.

    module, name: where its class is; imported only when the method runs.
    reads: the settings that its training reads besides its own section, by paths (`model.backbone`, `train.threads`).
    backbone, prototypes, textures: whether its training needs those files; masks: whether it needs seen anomalies with
    masks. A text names the switch among the settings that decides (`model.prototypes`).
    """

    module: str
    name: str = "Method"
    reads: tuple[str, ...] = ()
    backbone: bool | str = False
    prototypes: bool | str = False
    textures: bool | str = False
    masks: bool | str = False

    def needs(self, what: Need, settings: Any) -> bool:
        """Whether the training with these (resolved) settings needs them."""
        needed = getattr(self, what)
        return bool(attrgetter(needed)(settings)) if isinstance(needed, str) else needed

    def files(self, settings: Any) -> list[Need]:
        """The files that the training needs beside the split's images."""
        kinds: tuple[Need, ...] = ("backbone", "prototypes", "textures")
        return [what for what in kinds if self.needs(what, settings)]
