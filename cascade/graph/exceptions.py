"""What can be wrong with a workflow before it runs.

    CascadeGraphError
     +-- StaticGraphError      the graph breaks a rule that holds for every run
     +-- CycleError            (ValueError) a call needs its own result
     +-- UncacheableError      (TypeError) a call has no identity that another process could compute again

Each keeps its facts as attributes and survives pickling.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CascadeGraphError", "CycleError", "StaticGraphError", "UncacheableError"]

#: A cycle may be as long as the graph; the text names the ends of a long one, the attribute has all of it.
_SHOWN = 12


class CascadeGraphError(Exception):
    """Base of the errors found while an expression is turned into a graph and a plan."""


class StaticGraphError(CascadeGraphError):
    """The graph breaks a rule that holds for every run."""


class CycleError(CascadeGraphError, ValueError):
    """Calls that need their own results; ``tasks`` holds their names in order, each needing the one before it."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        super().__init__(self.tasks)

    def __str__(self) -> str:
        names = [repr(name) for name in (*self.tasks, *self.tasks[:1])]
        if len(names) > _SHOWN:
            hidden = len(names) - _SHOWN
            names[_SHOWN // 2 : -_SHOWN // 2] = [f"({hidden} more)"]
        return (
            f"Cycle detected: {' -> '.join(names)}. A call cannot need its own result: "
            "make a new call instead of passing one of these back into its own arguments"
        )


class UncacheableError(CascadeGraphError, TypeError):
    """A call that cannot be cached: ``path`` is the argument (or part of the function) that has no lasting identity."""

    def __init__(self, task: str, path: str, reason: str) -> None:
        self.task = task
        self.path = path
        self.reason = reason
        super().__init__(task, path, reason)

    def __str__(self) -> str:
        return (
            f"task {self.task!r} cannot be cached: {self.path} {self.reason}. Pass plain data (numbers, text, bytes, "
            "lists, dicts, dataclasses defined in a module), give the class an __eq__, or remove with_cache"
        )
