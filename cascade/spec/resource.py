"""Resources: generator functions that set something up, yield it, and tear it down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from cascade._kernel import Inject

__all__ = ["Inject", "ResourceDefinition", "inject", "resource"]

T = TypeVar("T")
Provider = Callable[..., Generator[T, Any, Any]]


@dataclass
class ResourceDefinition(Generic[T]):
    """A named provider; ``scope`` is ``"run"`` (one instance a run) or ``"task"`` (one a step)."""

    func: Provider[T]
    name: str
    scope: str = "run"


def inject(resource_name: str) -> Any:
    """Mark a parameter default or an argument to be replaced by the resource of that name."""
    return Inject(resource_name)


@overload
def resource(func: Provider[T]) -> ResourceDefinition[T]: ...


@overload
def resource(
    func: None = None, *, name: str | None = None, scope: Literal["run", "task"] = "run"
) -> Callable[[Provider[T]], ResourceDefinition[T]]: ...


def resource(func: Provider[T] | None = None, *, name: str | None = None, scope: str = "run") -> Any:
    """Declare a generator function with exactly one ``yield`` as a resource.

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
        return ResourceDefinition(provider, name or provider.__name__, scope)

    return declare if func is None else declare(func)
