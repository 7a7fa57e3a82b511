"""Errors of a run.

    Exception
     +-- CascadeGraphError            the workflow is wrong (cascade.graph.exceptions)
     |    +-- StaticGraphError, CycleError, UncacheableError, UncalledTaskError, ContainerError
     +-- CascadeRuntimeError          something is missing or failed while running
     |    +-- DependencyMissingError      a value that a call needs was skipped or never made
     |    +-- ResourceNotFoundError       an injected resource is not there
     |    +-- ResourceCycleError          (ValueError) resources need each other in a circle
     |    +-- TaskArgumentError           (TypeError) a call does not fit the function's parameters
     |    +-- SerializationError          (TypeError) a value cannot be stored (cascade.adapters.serializers)
     |    +-- DeserializationError        (ValueError) stored bytes are not what was written (there, too)
     +-- CascadeInternalError         Cascade itself is wrong; please report it

What a task raises reaches the caller as it is. Each error keeps its facts as attributes and survives pickling.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CascadeInternalError",
    "CascadeRuntimeError",
    "DependencyMissingError",
    "ResourceCycleError",
    "ResourceNotFoundError",
    "TaskArgumentError",
]


class CascadeRuntimeError(Exception):
    """Base of the errors that the engine itself raises while running."""


class CascadeInternalError(Exception):
    """An invariant of the engine does not hold."""


class DependencyMissingError(CascadeRuntimeError):
    """The result of ``dependency_id``, which ``task_id`` needs as ``arg_name``, is not there.

    The ids are those of nodes; ``task_name`` is what people call the task, and ``what`` describes the dependency with
    the reason why it has no result, where these are known.
    """

    def __init__(
        self, task_id: str, arg_name: str, dependency_id: str, task_name: str = "", what: str = ""
    ) -> None:
        self.task_id = task_id
        self.arg_name = arg_name
        self.dependency_id = dependency_id
        self.task_name = task_name
        self.what = what
        super().__init__(task_id, arg_name, dependency_id, task_name, what)

    def __str__(self) -> str:
        return (
            f"Task '{self.task_name or self.task_id}' is missing input for argument '{self.arg_name}': "
            f"dependency {self.what or repr(self.dependency_id)} has no result"
        )


class ResourceNotFoundError(CascadeRuntimeError):
    """``consumer_name`` needs the injected resource ``resource_name``, which is not there."""

    def __init__(self, resource_name: str, consumer_name: str = "unknown") -> None:
        self.resource_name = resource_name
        self.consumer_name = consumer_name
        super().__init__(resource_name, consumer_name)

    def __str__(self) -> str:
        return (
            f"Resource '{self.resource_name}' required by '{self.consumer_name}' was not found: "
            "register it with engine.register(...)"
        )


class ResourceCycleError(CascadeRuntimeError, ValueError):
    """Resources need each other in a circle, so none of them can be set up first; ``cycle`` lists their names."""

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(
            f"Resources need each other in a circle: {' -> '.join((*cycle, cycle[0]))}. "
            "Remove one of these inject(...) defaults"
        )
        self.cycle = cycle

    def __reduce__(self) -> tuple[type[ResourceCycleError], tuple[tuple[str, ...]]]:
        return type(self), (self.cycle,)


class TaskArgumentError(CascadeRuntimeError, TypeError):
    """A call of ``task`` does not fit the parameters of its function: ``problem`` as Python states it."""

    def __init__(self, task: str, problem: str, parameters: str = "(...)") -> None:
        self.task = task
        self.problem = problem
        self.parameters = parameters
        super().__init__(task, problem, parameters)

    def __str__(self) -> str:
        return f"{self.problem}; task {self.task!r} is defined as {self.task}{self.parameters}"


def argument_error(name: str, func: Any, args: Any, kwargs: Any, error: TypeError) -> TaskArgumentError | None:
    """Return the error to raise if ``error`` means that arguments do not fit ``func``; None if its body raised it."""
    if error.__traceback__ is not None and _entered(error, func):
        return None
    import inspect

    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return TaskArgumentError(name, str(error), str(signature))
    return None


def _entered(error: BaseException, func: Any) -> bool:
    """Whether the function had started when the error was raised: its frame, if it has any, is in the traceback.

    For a callable without code of its own that is so if the traceback goes beyond the engine's modules. Frames of an
    executor of the user's own, through which the call went, are no sign of it where there is a better one.
    """
    code = getattr(func, "__code__", None)
    entry = error.__traceback__
    while entry is not None:
        frame = entry.tb_frame
        if frame.f_code is code:
            return True
        if code is None and not str(frame.f_globals.get("__name__", "")).startswith("cascade."):
            return True
        entry = entry.tb_next
    return False
