"""Combining calls: one after the other, or one into the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from cascade.spec.lazy_types import LazyResult, MappedLazyResult

__all__ = ["pipeline", "sequence"]

_LAZY = (LazyResult, MappedLazyResult)


def sequence(tasks: Iterable[LazyResult[Any]]) -> LazyResult[Any]:
    """Let each call run after the one before it, and return the last one; results are not passed on.

    The calls are extended in place, as by ``after``. A failure ends the run, and what comes after a skipped call is
    skipped.

    Raises:
        ValueError: there are no calls.
        TypeError: one of them is not a call of a task.
    """
    if isinstance(tasks, _LAZY) or not isinstance(tasks, Iterable):
        raise TypeError(f"sequence takes a list of calls of tasks, not {tasks!r}")
    calls = list(tasks)
    if not calls:
        raise ValueError("sequence requires at least one task")
    for index, call in enumerate(calls):
        if not isinstance(call, _LAZY):
            raise TypeError(
                f"sequence takes calls of tasks, but item {index} is a {type(call).__name__}: {call!r}. "
                "Call a task to get one"
            )
    for before, call in pairwise(calls):
        call.after(before)
    return calls[-1]


def pipeline(initial: Any, steps: Iterable[Callable[[Any], Any]]) -> Any:
    """Call each step with what the step before it returned, beginning with ``initial``; return what the last returns.

    A step is a task or any other callable. Without steps, ``initial`` is returned.

    Raises:
        TypeError: a step cannot be called.
    """
    if not isinstance(steps, Iterable):
        raise TypeError(f"pipeline takes a list of steps, not {steps!r}")
    current = initial
    for index, step in enumerate(steps):
        if isinstance(step, _LAZY):
            raise TypeError(
                f"Pipeline steps must be callables, but step {index} is a call already: {step!r}. "
                "Pass the task itself, or a function that makes the call"
            )
        if not callable(step):
            raise TypeError(
                f"Invalid pipeline step type {type(step).__name__} at step {index}: pass a task or a function"
            )
        current = step(current)
    return current
