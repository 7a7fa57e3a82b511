"""What happens during a run, as frozen values that an event bus delivers.

Every field has a default. Times are Unix seconds, durations seconds. All events of a run carry its ``run_id``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import count
from time import time
from typing import Any

__all__ = [
    "ConnectorConnected",
    "ConnectorDisconnected",
    "Event",
    "LoopProgress",
    "ResourceAcquired",
    "ResourceEvent",
    "ResourceReleased",
    "RunFinished",
    "RunStarted",
    "StaticAnalysisWarning",
    "TaskBlocked",
    "TaskEvent",
    "TaskExecutionFinished",
    "TaskExecutionStarted",
    "TaskRetrying",
    "TaskSkipped",
]

#: A random part that tells processes apart, and a counter that tells the events of one process apart: building
#: a random UUID for every event would cost more than delivering it.
_prefix = os.urandom(8).hex()
_counter = count(1)


def _new_event_id() -> str:
    return f"{_prefix}-{next(_counter)}"


def _renew_prefix() -> None:
    global _prefix
    _prefix = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):  # a forked child continues the counter of its parent
    os.register_at_fork(after_in_child=_renew_prefix)


@dataclass(frozen=True)
class Event:
    """Base of all events; subscribing to it delivers every event."""

    event_id: str = field(default_factory=_new_event_id)
    timestamp: float = field(default_factory=time)
    run_id: str | None = None


@dataclass(frozen=True)
class RunStarted(Event):
    """A run starts; the connector, if any, is connected."""

    target_tasks: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFinished(Event):
    """A run ended and its resources are torn down; ``status`` is Succeeded, Failed or Cancelled.

    ``error`` is ``"<Type>: <text>"``; ``stats`` is the run's :class:`~cascade.runtime.stats.RunStats`.
    """

    status: str = "Unknown"
    duration: float = 0.0
    error: str | None = None
    stats: Any = None


@dataclass(frozen=True)
class LoopProgress(Event):
    """How far a hot loop has come; ``final`` is set on the last one of a loop."""

    task_name: str = ""
    steps: int = 0
    nodes: int = 0
    steps_per_second: float = 0.0
    elapsed: float = 0.0
    final: bool = False


@dataclass(frozen=True)
class TaskEvent(Event):
    """Base of the events of one node: ``task_id`` is its structural id, ``task_name`` its name."""

    task_id: str = ""
    task_name: str = ""


@dataclass(frozen=True)
class TaskExecutionStarted(TaskEvent):
    """The first attempt of a node begins."""


@dataclass(frozen=True)
class TaskExecutionFinished(TaskEvent):
    """The last attempt of a node ended; ``duration`` covers all attempts and the delays between them.

    ``result_preview`` is the start of the result's ``repr``, ``error`` is ``"<Type>: <text>"``.
    """

    status: str = "Unknown"
    duration: float = 0.0
    result_preview: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class TaskSkipped(TaskEvent):
    """A node does not run: a condition, a route, a skipped input or a cache hit, as ``reason`` says."""

    reason: str = "Unknown"


@dataclass(frozen=True)
class TaskRetrying(TaskEvent):
    """Attempt ``attempt`` of ``max_attempts`` failed with the text ``error``; the next one starts after ``delay``."""

    attempt: int = 0
    max_attempts: int = 0
    delay: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class TaskBlocked(TaskEvent):
    """A node has to wait for a constraint or a resource, as ``reason`` says."""

    reason: str = "Unknown"


@dataclass(frozen=True)
class StaticAnalysisWarning(TaskEvent):
    """Reading a task's source found something worth knowing; it changes nothing in the run."""

    warning_code: str = ""
    message: str = ""


@dataclass(frozen=True)
class ResourceEvent(Event):
    """Base of the events of one injected resource."""

    resource_name: str = ""


@dataclass(frozen=True)
class ResourceAcquired(ResourceEvent):
    """A resource is set up."""


@dataclass(frozen=True)
class ResourceReleased(ResourceEvent):
    """A resource is torn down, whether or not its teardown succeeded."""


@dataclass(frozen=True)
class ConnectorConnected(Event):
    """The connector of a run is connected."""


@dataclass(frozen=True)
class ConnectorDisconnected(Event):
    """The connector of a run is disconnected; nothing follows in that run."""
