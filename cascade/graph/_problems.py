"""Errors that the kernel meets while it walks an expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cascade import _kernel
from cascade.graph.exceptions import CascadeGraphError, CycleError

__all__ = ["ContainerError", "UncalledTaskError"]


class UncalledTaskError(CascadeGraphError, TypeError):
    """A task stands where a call of it belongs: as ``argument`` of ``consumer``, or as its return value (None)."""

    def __init__(self, task: str, consumer: str, argument: str | None) -> None:
        self.task = task
        self.consumer = consumer
        self.argument = argument
        super().__init__(task, consumer, argument)

    def __str__(self) -> str:
        where = f"is argument {self.argument!r} of" if self.argument is not None else "is returned by"
        return (
            f"task {self.task!r} {where} task {self.consumer!r} without being called: "
            f"write {self.task}(...) to call it"
        )


class ContainerError(CascadeGraphError, TypeError):
    """A container with lazy results in it that cannot be rebuilt with their values."""

    def __init__(self, consumer: str, container: str, reason: str) -> None:
        self.consumer = consumer
        self.container = container
        self.reason = reason
        super().__init__(consumer, container, reason)

    def __str__(self) -> str:
        return f"an argument of task {self.consumer!r} is a {self.container} that holds lazy results and {self.reason}"


def _name(lazy: Any) -> str:
    source, _, _ = _kernel.call_of(lazy)
    return str(getattr(source, "name", None) or type(source).__name__)


def _cycle(entered: list[Any], again: Any) -> BaseException:
    start = next(i for i, lazy in enumerate(entered) if lazy is again)
    # Each lazy on the stack waits for the one above it, so what is needed first comes last.
    return CycleError([_name(lazy) for lazy in reversed(entered[start:])])


def _loop(consumer: str, container: Any) -> BaseException:
    return ContainerError(consumer, type(container).__name__, "contains itself: pass it without the lazy results")


def _target(lazy: Any) -> BaseException:
    return TypeError(f"a lazy result calls {lazy.task!r}, which is no task: decorate the function with @cascade.task")


def _override(consumer: str, key: Any) -> BaseException:
    return TypeError(f"the data of a Jump names no argument of {consumer!r} with {key!r}: its keys are their names")


def _route(key: Any, route: Any) -> BaseException:
    return TypeError(f"route {key!r} of select_jump is a {type(route).__name__}: give a call of a task or None")


def _unbound(name: str) -> BaseException:
    return RuntimeError(
        f"task {name!r} returned a Jump, and its call has no bound 'select_jump': "
        "write bind(call, select_jump({...})) before it runs"
    )


def _inputs(positional: int, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> BaseException:
    if len(args) > positional:
        return TypeError(f"a blueprint with {positional} positional inputs was given {len(args)}")
    unknown = next(name for name in kwargs if name not in names)
    return TypeError(f"a blueprint with the inputs {sorted(names)} was given {unknown!r}")


_PROBLEMS: dict[str, Callable[..., BaseException]] = {
    "cycle": _cycle,
    "inputs": _inputs,
    "loop": _loop,
    "override": _override,
    "passed": lambda where, task: UncalledTaskError(task.name, *where),
    "returned": lambda name, task: UncalledTaskError(task.name, name, None),
    "route": _route,
    "target": _target,
    "unbound": _unbound,
}


def problem(kind: str, *details: Any) -> BaseException:
    """Return the error for something the kernel met."""
    return _PROBLEMS[kind](*details)


_kernel.install(problem=problem)
