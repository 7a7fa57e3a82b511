"""What people look at: pictures, plans, transcriptions and command lines of workflows, and the gate's measuring."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cascade.tools.cli import create_cli
    from cascade.tools.lisp import to_lisp
    from cascade.tools.preview import dry_run
    from cascade.tools.visualize import visualize

__all__ = ["create_cli", "dry_run", "to_lisp", "visualize"]

#: Where the functions live, which are loaded when they are first asked for.
_HOMES = {"create_cli": "cli", "dry_run": "preview", "to_lisp": "lisp", "visualize": "visualize"}


class _Tools(ModuleType):
    """The package. Importing ``cascade.tools.visualize`` leaves the function in it, not the module of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "visualize" and isinstance(value, ModuleType):
            value = value.visualize
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Tools


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
