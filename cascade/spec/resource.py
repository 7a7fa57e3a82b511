"""Resources: generator functions that set something up, yield it, and tear it down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from cascade._kernel import Inject

__all__ = ["Inject", "ResourceDefinition", "inject", "resource"]

T = TypeVar("T")
#: A generator function; type checkers let it declare an iterator too.
Provider = Callable[..., Iterator[T]]


@dataclass
class ResourceDefinition(Generic[T]):
    """A named provider; ``scope`` is ``"run"`` (one instance a run) or ``"task"`` (one a step)."""

    func: Provider[T]
    name: str
    scope: str = "run"


def inject(resource_name: str) -> Any:
    """Mark a parameter default or an argument to be replaced by the resource of that name.

    Raises:
        TypeError: the name is no text; a resource is injected by its name.
    """
    return Inject(_named(resource_name))


def _named(name: Any) -> str:
    if isinstance(name, str):
        return name
    known = f": write {name.name!r}" if isinstance(name, ResourceDefinition) else ""
    raise TypeError(f"the name of a resource is a text, not {name!r}{known}")


class _Declare(Protocol):
    """What ``resource(...)`` with options returns; a class, so that type checkers keep the type of the value."""

    def __call__(self, func: Provider[T], /) -> ResourceDefinition[T]: ...


@overload
def resource(func: Provider[T]) -> ResourceDefinition[T]: ...


@overload
def resource(func: None = None, *, name: str | None = None, scope: Literal["run", "task"] = "run") -> _Declare: ...


def resource(func: Provider[T] | None = None, *, name: str | None = None, scope: str = "run") -> Any:
    """Declare a generator function with exactly one ``yield`` as a resource.

    What ends the run or the step early is raised at the ``yield`` if a ``try`` or ``with`` is around it, so that the
    resource can roll back. Code after a ``yield`` without either runs in any case.

    Raises:
        TypeError: ``func`` is not a generator function.
        ValueError: ``scope`` is neither ``"run"`` nor ``"task"``.
    """
    if scope not in ("run", "task"):
        raise ValueError(f"resource scope must be 'run' or 'task', not {scope!r}")

    def declare(provider: Provider[T]) -> ResourceDefinition[T]:
        if not inspect.isgeneratorfunction(provider):
            shown = getattr(provider, "__name__", repr(provider))
            raise TypeError(
                f"resource {shown!r} must be a generator function: yield the value once, "
                "put set-up before the yield and teardown after it"
            )
        return ResourceDefinition(provider, _named(name or provider.__name__), scope)

    return declare if func is None else declare(func)
