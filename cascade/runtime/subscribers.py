"""Stock listeners of the event bus: one tells people what happens, one sends telemetry through a connector."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Any

from cascade.common.messaging import bus
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import (
    ConnectorConnected,
    ConnectorDisconnected,
    Event,
    RunFinished,
    RunStarted,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.spec.protocols import Connector

__all__ = ["HumanReadableLogSubscriber", "TelemetrySubscriber"]


class HumanReadableLogSubscriber:
    """Turns events into messages on the global message bus (``bus`` of this module)."""

    def __init__(self, event_bus: MessageBus) -> None:
        event_bus.subscribe(RunStarted, self.on_run_started)
        event_bus.subscribe(RunFinished, self.on_run_finished)
        event_bus.subscribe(TaskExecutionStarted, self.on_task_started)
        event_bus.subscribe(TaskExecutionFinished, self.on_task_finished)
        event_bus.subscribe(TaskSkipped, self.on_task_skipped)
        event_bus.subscribe(TaskRetrying, self.on_task_retrying)
        event_bus.subscribe(TaskBlocked, self.on_task_blocked)
        event_bus.subscribe(StaticAnalysisWarning, self.on_static_analysis_warning)
        event_bus.subscribe(ConnectorConnected, self.on_connector_connected)
        event_bus.subscribe(ConnectorDisconnected, self.on_connector_disconnected)

    def on_run_started(self, event: RunStarted) -> None:
        """Name the target, then the parameters if there are any."""
        bus.info("run.started", target_tasks=event.target_tasks)
        if event.params:
            bus.info("run.started_with_params", params=event.params)

    def on_run_finished(self, event: RunFinished) -> None:
        """Tell how the run ended."""
        if event.status == "Succeeded":
            bus.info("run.finished_success", duration=event.duration)
        elif event.status == "Cancelled":
            bus.warning("run.finished_cancelled", duration=event.duration)
        else:
            bus.error("run.finished_failure", duration=event.duration, error=event.error)

    def on_task_started(self, event: TaskExecutionStarted) -> None:
        """Name the task."""
        bus.info("task.started", task_name=event.task_name)

    def on_task_finished(self, event: TaskExecutionFinished) -> None:
        """Tell how the task ended."""
        if event.status == "Succeeded":
            bus.info("task.finished_success", task_name=event.task_name, duration=event.duration)
        else:
            bus.error("task.finished_failure", task_name=event.task_name, duration=event.duration, error=event.error)

    def on_task_skipped(self, event: TaskSkipped) -> None:
        """Tell why the task does not run."""
        bus.info("task.skipped", task_name=event.task_name, reason=event.reason)

    def on_task_retrying(self, event: TaskRetrying) -> None:
        """Tell what failed and when it is tried again."""
        bus.warning(
            "task.retrying",
            task_name=event.task_name,
            attempt=event.attempt,
            max_attempts=event.max_attempts,
            delay=event.delay,
            error=event.error,
        )

    def on_task_blocked(self, event: TaskBlocked) -> None:
        """Say nothing: waiting is ordinary. Subclasses may."""

    def on_static_analysis_warning(self, event: StaticAnalysisWarning) -> None:
        """Pass the warning on."""
        bus.warning(
            "graph.analysis.warning",
            task_name=event.task_name,
            warning_code=event.warning_code,
            message=event.message,
        )

    def on_connector_connected(self, event: ConnectorConnected) -> None:
        """Say so."""
        bus.info("engine.connector.connected")

    def on_connector_disconnected(self, event: ConnectorDisconnected) -> None:
        """Say so."""
        bus.info("engine.connector.disconnected")


class TelemetrySubscriber:
    """Sends run and task events as telemetry messages, in the order of the events.

    A message is built when its event happens and handed to the connector by one background task, because the event
    bus must not wait for a network. A message that the connector refuses is logged and given up.
    """

    def __init__(self, event_bus: MessageBus, connector: Connector) -> None:
        self._connector = connector
        self._source_id = _source_id()
        #: Topic and payload of the messages not handed over yet, oldest first.
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        #: The background task that empties the queue; at most one that is not done.
        self._pending_tasks: set[asyncio.Task[None]] = set()
        event_bus.subscribe(Event, self.on_event)

    def on_event(self, event: Event) -> None:
        """Build the event's message, if it has one, and see to it that it is sent."""
        body = _body(event)
        if body is None or event.run_id is None:
            return
        self._queue.append(self._message(event, event.run_id, body))
        self._start_sender()

    async def shutdown(self) -> None:
        """Wait until every message is handed to the connector."""
        while self._queue or self._pending_tasks:
            self._start_sender()
            if self._pending_tasks:  # wait, unlike gather, leaves the sender alone when this is cancelled
                await asyncio.wait(self._pending_tasks)

    def _message(self, event: Event, run_id: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        org_id = os.environ.get("CASCADE_ORG_ID", "local")
        project_id = os.environ.get("CASCADE_PROJECT_ID", "default")
        payload = {
            "v": "1.0",
            "ts": _iso_utc(event.timestamp),
            "run_id": run_id,
            "org_id": org_id,
            "project_id": project_id,
            "source": self._source_id,
            "body": body,
        }
        return f"cascade/telemetry/{org_id}/{project_id}/{run_id}/events", payload

    def _start_sender(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nobody can send now; the next event inside a loop, or shutdown, will
        # A sender that died with its event loop must not hold up those that come after it.
        self._pending_tasks = {t for t in self._pending_tasks if not t.done() and t.get_loop() is loop}
        if self._queue and not self._pending_tasks:
            self._pending_tasks.add(loop.create_task(self._send_all()))

    async def _send_all(self) -> None:
        while self._queue:
            topic, payload = self._queue.popleft()
            try:
                await self._connector.publish(topic, payload)
            except Exception as error:
                _report(topic, error)


#: State of a task after an event, except for the end of its execution.
_STATES: dict[type[TaskEvent], str] = {
    TaskExecutionStarted: "RUNNING",
    TaskSkipped: "SKIPPED",
    TaskBlocked: "BLOCKED",
}


def _body(event: Event) -> dict[str, Any] | None:
    """Return the body of the event's message, or None for events that are not sent."""
    if isinstance(event, RunStarted):
        return {"type": "LifecycleEvent", "event": "ENGINE_STARTED"}
    if isinstance(event, RunFinished):
        return {"type": "LifecycleEvent", "event": "ENGINE_STOPPED"}
    if isinstance(event, TaskExecutionFinished):
        state = "COMPLETED" if event.status == "Succeeded" else "FAILED"
        return _task_state(event, state, event.duration * 1000.0, event.error or "")
    for event_type, state in _STATES.items():
        if isinstance(event, event_type):
            return _task_state(event, state)
    return None


def _task_state(event: TaskEvent, state: str, duration_ms: float = 0.0, error: str = "") -> dict[str, Any]:
    return {
        "type": "TaskStateEvent",
        "task_id": event.task_id,
        "task_name": event.task_name,
        "state": state,
        "duration_ms": duration_ms,
        "error": error,
    }


def _iso_utc(timestamp: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def _source_id() -> str:
    import socket

    return f"{socket.gethostname()}-{os.getpid()}"


def _report(topic: str, error: Exception) -> None:
    import logging

    logging.getLogger(__name__).error("telemetry to %s was not sent: %s: %s", topic, type(error).__name__, error)
