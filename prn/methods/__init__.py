"""One interface for PRN and every comparison method: fit on a split, predict score maps and image scores.

`docs/methods.md` tells how to add a method. Workflow, evaluation and reports know only the interface
(`prn.methods.interface`) and the entries that the modules of `prn.methods.settings` declare.
"""

import importlib
import pkgutil

from prn.methods import settings
from prn.methods.entry import MethodEntry


def _declared() -> dict[str, MethodEntry]:
    """The `METHODS` of every module of `prn.methods.settings`; those import neither torch nor a method."""
    found: dict[str, MethodEntry] = {}
    for module in pkgutil.iter_modules(settings.__path__):
        found.update(importlib.import_module(f"{settings.__name__}.{module.name}").METHODS)
    return found


METHODS = _declared()
