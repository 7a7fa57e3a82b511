"""Explicit jumps: a task returns a ``Jump``, and the selector bound to its call says where that leads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade.spec.jump import JumpSelector
from cascade.spec.lazy_types import LazyResult, MappedLazyResult

__all__ = ["bind", "select_jump"]


def select_jump(routes: Mapping[Any, LazyResult[Any] | None]) -> JumpSelector:
    """Return a selector from jump keys to the calls that continue; None as a route ends the run with the jump's data.

    Raises:
        TypeError: a route is neither a call of a task nor None, or the routes are no mapping.
    """
    if not isinstance(routes, Mapping):
        raise TypeError(f"select_jump takes routes by key, {{key: call}}, not {routes!r}")
    for key, route in routes.items():
        if route is not None and not isinstance(route, (LazyResult, MappedLazyResult)):
            raise TypeError(f"route {key!r} of select_jump is a {type(route).__name__}: give a call of a task or None")
    return JumpSelector(routes)


def bind(source: LazyResult[Any], target: Any) -> None:
    """Let the jumps that the call ``source`` returns be interpreted by a selector; a later ``bind`` replaces it.

    The routes may name ``source`` itself, which is why this is a step of its own.

    Raises:
        TypeError: ``source`` is not a call of a task, or ``target`` is not a selector.
    """
    if not isinstance(source, LazyResult):
        raise TypeError(
            f"bind takes a call of a task, not {type(source).__name__}: only a single call can return a Jump"
        )
    if not isinstance(target, JumpSelector):
        raise TypeError(f"bind takes what select_jump returns, not {type(target).__name__}")
    source._jump_selector = target
