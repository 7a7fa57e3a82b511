"""Whether a part of the engine is what it says it is, or has been replaced by its user."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stock"]

_FLAGS = frozenset({"inline", "stock", "transient"})

def is_stock(part: Any, flag: str, *methods: str) -> bool:
    """Whether a class attribute ``flag`` is true and the methods declared beside it are the ones in effect.

    A subclass that overrides a method, or an instance with one of its own, must be called for every node.
    """
    kind = type(part)
    for base in kind.__mro__:
        declared = base.__dict__
        if flag in declared:
            break
    else:
        return False
    if not declared[flag]:
        return False
    for method in methods:
        if getattr(kind, method, None) is not declared.get(method):
            return False
    own = getattr(part, "__dict__", None)
    return not own or (_FLAGS.isdisjoint(own) and own.keys().isdisjoint(methods))
