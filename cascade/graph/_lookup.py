"""Finding objects by dotted name without running anything: no import, no property, no ``__getattr__``."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["MISSING", "find", "static_member"]

#: Stands for "no such member", because None is a value that a name may have.
MISSING: Any = object()


def static_member(owner: Any, name: str) -> Any:
    """Return what is stored under ``name`` in a module, a class or an instance, or :data:`MISSING`.

    Static and class methods are unwrapped to their function; other descriptors are returned as they are.
    """
    # type(x) and not isinstance: a proxy may compute its __class__.
    kind = type(owner)
    if issubclass(kind, type):
        found = _inherited(owner, name)
    else:
        found = _stored(owner, name)
        if found is MISSING and not issubclass(kind, ModuleType):
            found = _inherited(kind, name)
    return found.__func__ if type(found) in (staticmethod, classmethod) else found


def _stored(owner: Any, name: str) -> Any:
    try:
        members = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return MISSING
    return members.get(name, MISSING) if type(members) is dict else MISSING


def _inherited(owner: type, name: str) -> Any:
    for base in type.mro(owner):
        members = type.__getattribute__(base, "__dict__")
        if name in members:
            return members[name]
    return MISSING


def find(module: str | None, qualname: str | None) -> Any:
    """Return the object of that name in a module that is already imported, or :data:`MISSING`.

    Every step of ``qualname`` but the last must lead to a class.
    """
    found: Any = sys.modules.get(module) if module else None
    if found is None or not qualname:
        return MISSING
    first, *steps = qualname.split(".")
    found = static_member(found, first)
    for step in steps:
        if not issubclass(type(found), type):
            return MISSING
        found = static_member(found, step)
    return found
