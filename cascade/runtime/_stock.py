"""Whether a part of the engine is what it says it is, or has been replaced by its user."""

from __future__ import annotations

from typing import Any

__all__ = ["is_stock"]

_REMEMBERED = 256  # classes

#: Methods with the functions that are declared beside a flag, by class, flag and methods.
_functions: dict[tuple[type[Any], str, tuple[str, ...]], tuple[tuple[str, Any], ...]] = {}


def is_stock(part: Any, flag: str, *methods: str) -> bool:
    """Whether a class attribute ``flag`` is true and the methods declared beside it are the ones in effect.

    A subclass that overrides a method, or a class or an instance on which one was replaced, must be called for every
    node.
    """
    kind = type(part)
    found = _functions.get((kind, flag, methods))
    if found is None:
        found = _find(kind, flag, methods)
    if found is None or not getattr(kind, flag, False):
        return False
    own = getattr(part, "__dict__", ())
    if flag in own:
        return False
    for method, function in found:  # noqa: SIM110 - a generator would cost as much as the rest, at each start of a run
        if getattr(kind, method, None) is not function or method in own:
            return False
    return True


def _find(kind: type[Any], flag: str, methods: tuple[str, ...]) -> tuple[tuple[str, Any], ...] | None:
    """Return the functions that a class declares beside a flag, and remember them; None if they were replaced."""
    declared = next((base for base in kind.__mro__ if flag in base.__dict__), None)
    if declared is None:
        return None
    pairs = tuple((method, declared.__dict__.get(method)) for method in methods)
    if not all(_is_own(function, method) for method, function in pairs):
        return None
    if len(_functions) >= _REMEMBERED:
        _functions.clear()
    _functions[kind, flag, methods] = pairs
    return pairs


def _is_own(function: Any, method: str) -> bool:
    """Whether a function was written in the body of a class; None stands for a method that is not there."""
    if function is None:
        return True
    owner, _, name = getattr(function, "__qualname__", "").rpartition(".")
    replaced = not owner or owner.endswith("<locals>") or "__wrapped__" in getattr(function, "__dict__", ())
    return name == method and not replaced
