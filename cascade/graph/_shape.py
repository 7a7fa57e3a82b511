"""The shape of an argument: its containers and dependencies, with one placeholder for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cascade.graph._canonical import Composite, Frame, Walk, leaf, sequence
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.routing import Router

__all__ = ["shape"]

_PLACEHOLDER = leaf(b"_")
_LAZY = (LazyResult, MappedLazyResult)
_SEARCHED = (list, tuple, dict, Router, *_LAZY)


class _ShapeWalk(Walk):
    """Encodes containers that hold dependencies; a container without any is a placeholder like other literals."""

    def __init__(self, id_of: Callable[[str], str | None]) -> None:
        super().__init__()
        self._id_of = id_of
        self._holding: list[bool] = []  # for each open container whether a dependency was found in it

    def enter(self, value: Any) -> bytes | None:
        if not issubclass(type(value), _SEARCHED):
            return _PLACEHOLDER
        token = super().enter(value)
        self._note(token)
        return token

    def describe(self, value: Any) -> bytes | Composite:
        kind = type(value)
        if issubclass(kind, _LAZY):
            return leaf(b"D", (self._id_of(value._uuid) or "").encode())
        if issubclass(kind, Router):
            return sequence(b"router", (value.selector, *value.routes.values()))
        if issubclass(kind, dict):
            return sequence(b"dict", list(value.values()))
        return sequence(b"list" if issubclass(kind, list) else b"tuple", value)

    def again(self, token: bytes | None) -> bytes:
        return _PLACEHOLDER if token is None else token  # plain data may contain itself

    def open(self, value: Any, composite: Composite) -> None:
        self._holding.append(False)
        super().open(value, composite)

    def leave(self, frame: Frame) -> bytes:
        token = super().leave(frame)
        if not self._holding.pop():
            token = _PLACEHOLDER
            self.met[id(frame.value)] = (frame.value, token)
        self._note(token)
        return token

    def _note(self, token: bytes | None) -> None:
        if token is not None and token is not _PLACEHOLDER and self._holding:
            self._holding[-1] = True


def shape(value: Any, id_of: Callable[[str], str | None]) -> bytes:
    """Return the token of an argument's shape; ``id_of`` maps the ``_uuid`` of a dependency to its id."""
    return _ShapeWalk(id_of).token(value)
