"""One interface for PRN and every comparison method: fit on a split, predict score maps and image scores.

`docs/methods.md` tells how to add a method. Workflow, evaluation and reports know only the interface
(`prn.methods.base.BaseMethod`) and the entries that the modules of `prn.methods.settings` declare.
"""

import importlib
import pkgutil
from typing import Any

from prn.methods import settings
from prn.methods.entry import MethodEntry


def _declared() -> dict[str, MethodEntry]:
    """The `METHODS` of every module of `prn.methods.settings`; those import neither torch nor a method."""
    found: dict[str, MethodEntry] = {}
    for module in pkgutil.iter_modules(settings.__path__):
        found.update(importlib.import_module(f"{settings.__name__}.{module.name}").METHODS)
    return found


METHODS = _declared()


def method_class(name: str) -> type[Any]:
    """The class of a method of `METHODS`, a `prn.methods.base.BaseMethod`; its module is imported now."""
    return getattr(importlib.import_module(METHODS[name].module), METHODS[name].name)
