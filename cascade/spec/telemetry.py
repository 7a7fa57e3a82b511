"""Header and bodies of the telemetry messages that a connector carries.

{"v": "1.0", "ts": ..., "run_id": ..., "org_id": ..., "project_id": ..., "source": ..., "body": {"type": ..., ...}}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["LifecycleEvent", "ResourceEvent", "TaskStateEvent", "TelemetryHeader", "message"]


@dataclass(frozen=True)
class TelemetryHeader:
    """What every message carries: schema version, ISO 8601 UTC time, run, owner and sending process."""

    v: str = "1.0"
    ts: str = ""
    run_id: str = ""
    org_id: str = "local"
    project_id: str = "default"
    source: str = ""


@dataclass(frozen=True)
class LifecycleEvent:
    """``ENGINE_STARTED`` or ``ENGINE_STOPPED``."""

    event: str


@dataclass(frozen=True)
class TaskStateEvent:
    """A task reached ``RUNNING``, ``COMPLETED``, ``FAILED``, ``SKIPPED`` or ``BLOCKED``."""

    task_id: str
    task_name: str
    state: str
    duration_ms: float = 0.0
    error: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceEvent:
    """A system resource was acquired or released; ``current_usage`` maps names to amounts in use."""

    resource_name: str
    action: str
    current_usage: dict[str, float] = field(default_factory=dict)


def message(header: TelemetryHeader, body: LifecycleEvent | TaskStateEvent | ResourceEvent) -> dict[str, Any]:
    """Return the message as it is sent. Only ``metadata`` is left out where it is empty."""
    fields = {name: value for name, value in vars(body).items() if name != "metadata" or value}
    return {**vars(header), "body": {"type": type(body).__name__, **fields}}
