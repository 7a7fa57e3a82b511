"""Parts of an engine that several of its collaborators hold too."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

__all__ = ["Part"]

T = TypeVar("T")


class Part(Generic[T]):
    """An attribute whose value, when it is set, is handed to the collaborators that hold it under the same name.

    So ``engine.executor = other`` takes effect for every node that starts afterwards.
    """

    def __init__(self, *holders: str) -> None:
        self.holders = holders

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, engine: None, owner: type[Any] | None = None) -> Part[T]: ...

    @overload
    def __get__(self, engine: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, engine: Any, owner: type[Any] | None = None) -> Part[T] | T:
        if engine is None:
            return self
        try:
            found: T = engine.__dict__[self.name]
            return found
        except KeyError:
            raise AttributeError(f"{type(engine).__name__!r} object has no attribute {self.name!r}") from None

    def __set__(self, engine: Any, value: T) -> None:
        attributes = engine.__dict__
        attributes[self.name] = value
        for name in self.holders:
            holder = attributes.get(name)
            if hasattr(holder, self.name):
                setattr(holder, self.name, value)
