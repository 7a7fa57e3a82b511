"""Whether a part of the engine is what it says it is, or has been replaced by its user."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stock"]


def is_stock(part: Any, flag: str, *methods: str) -> bool:
    """Whether a class attribute ``flag`` is true and the methods declared beside it are the ones in effect.

    A subclass that overrides a method, or an instance with one of its own, must be called for every node.
    """
    for cls in type(part).__mro__:
        if flag in vars(cls):
            return bool(vars(cls)[flag]) and all(_in_effect(part, cls, method) for method in methods)
    return False


def _in_effect(part: Any, cls: type, method: str) -> bool:
    own = getattr(part, "__dict__", {})
    return method not in own and flag_free(own) and getattr(type(part), method, None) is vars(cls).get(method)


def flag_free(own: dict[str, Any]) -> bool:
    """Whether an instance leaves the flags of its class alone."""
    return not ({"inline", "transient", "stock"} & own.keys())
