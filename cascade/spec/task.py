"""The ``task`` decorator."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, ParamSpec, TypeVar, overload

from cascade._kernel import Task
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.lazy_types import LazyResult, MappedLazyResult, RetryPolicy

__all__ = ["LazyResult", "MappedLazyResult", "ResourceConstraint", "RetryPolicy", "Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")
Mode = Literal["blocking", "compute"]


class _Decorator:
    """What ``task(...)`` with options returns; written out so that type checkers keep the function's signature."""

    def __init__(self, name: str | None, pure: bool, mode: str | None) -> None:
        self._options = (name, pure, mode)

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, R]: ...

    @overload
    def __call__(self, func: Callable[P, R]) -> Task[P, R]: ...

    def __call__(self, func: Callable[..., Any]) -> Any:
        return Task(func, *self._options)


@overload
def task(
    func: Callable[P, Coroutine[Any, Any, R]], *, name: str | None = None, pure: bool = False, mode: Mode | None = None
) -> Task[P, R]: ...


@overload
def task(
    func: Callable[P, R], *, name: str | None = None, pure: bool = False, mode: Mode | None = None
) -> Task[P, R]: ...


@overload
def task(func: None = None, *, name: str | None = None, pure: bool = False, mode: Mode | None = None) -> _Decorator: ...


def task(
    func: Callable[..., Any] | None = None, *, name: str | None = None, pure: bool = False, mode: Mode | None = None
) -> Any:
    """Make the calls of a function lazy.

    Args:
        func: a function or coroutine function; given by the decorator form without parentheses.
        name: shown in events and errors; the function's name by default.
        pure: equal calls within one expression are one call.
        mode: where a synchronous function runs: None on the event loop's thread, ``"blocking"`` in a thread,
            ``"compute"`` in a process.

    Raises:
        ValueError: unknown ``mode``.
    """
    decorate = _Decorator(name, pure, mode)
    return decorate if func is None else decorate(func)
