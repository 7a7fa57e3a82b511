"""What people look at: pictures, plans, transcriptions and command lines of workflows, and the gate's measuring."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not late like the others: importing the module of that name later would put the module in the function's place.
from cascade.tools.visualize import visualize

if TYPE_CHECKING:
    from cascade.tools.cli import create_cli
    from cascade.tools.lisp import to_lisp
    from cascade.tools.preview import dry_run

__all__ = ["create_cli", "dry_run", "to_lisp", "visualize"]

_HOMES = {"create_cli": "cli", "dry_run": "preview", "to_lisp": "lisp"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
