"""Stock listeners of the event bus: one tells people what happens, one sends telemetry through a connector."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Any

from cascade.common.messaging import bus
from cascade.common.renderers import LOG_LEVELS, rank_of
from cascade.runtime.bus import MessageBus, for_failures
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
from cascade.spec.telemetry import LifecycleEvent, TaskStateEvent, TelemetryHeader, message

__all__ = ["HumanReadableLogSubscriber", "TelemetrySubscriber"]


class HumanReadableLogSubscriber:
    """Turns events into messages on the global message bus (``bus`` of this module).

    Args:
        event_bus: where the events are published.
        min_level: of the messages that will be shown (DEBUG, INFO, WARNING, ERROR). Events that mean nothing above it
            are not asked for, so that an engine need not publish them.
    """

    def __init__(self, event_bus: MessageBus, min_level: str = "INFO") -> None:
        event_bus.subscribe(RunFinished, self.on_run_finished)
        event_bus.subscribe(TaskBlocked, self.on_task_blocked)
        rank = rank_of(min_level)
        if rank <= LOG_LEVELS["WARNING"]:
            event_bus.subscribe(TaskRetrying, self.on_task_retrying)
            event_bus.subscribe(StaticAnalysisWarning, self.on_static_analysis_warning)
        if rank > LOG_LEVELS["INFO"]:
            event_bus.subscribe(TaskExecutionFinished, self._on_task_failed)
            return
        event_bus.subscribe(TaskExecutionFinished, self.on_task_finished)
        event_bus.subscribe(TaskExecutionStarted, self.on_task_started)
        event_bus.subscribe(TaskSkipped, self.on_task_skipped)
        event_bus.subscribe(RunStarted, self.on_run_started)
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

    @for_failures
    def _on_task_failed(self, event: TaskExecutionFinished) -> None:
        if event.status != "Succeeded":
            self.on_task_finished(event)

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
    bus must not wait for a network. A message that the connector refuses is logged and given up. A connector that can
    make sure of delivery says so by ``telemetry_qos``, the quality of service that it is then asked for.
    """

    def __init__(self, event_bus: MessageBus, connector: Connector) -> None:
        self._connector = connector
        self._source_id = _source_id()
        qos = getattr(connector, "telemetry_qos", None)
        self._options: dict[str, Any] = {"qos": qos} if isinstance(qos, int) else {}
        #: Topic and payload of the messages not handed over yet, oldest first, and marks of those who wait.
        self._queue: deque[tuple[str, dict[str, Any]] | asyncio.Future[None]] = deque()
        #: The background task that empties the queue; at most one that is not done.
        self._pending_tasks: set[asyncio.Task[None]] = set()
        event_bus.subscribe(Event, self.on_event)

    def on_event(self, event: Event) -> None:
        """Build the event's message, if it has one, and see to it that it is sent."""
        body = _body(event)
        if body is None or event.run_id is None:
            return
        header = TelemetryHeader(
            ts=_iso_utc(event.timestamp),
            run_id=event.run_id,
            org_id=os.environ.get("CASCADE_ORG_ID", "local"),
            project_id=os.environ.get("CASCADE_PROJECT_ID", "default"),
            source=self._source_id,
        )
        topic = f"cascade/telemetry/{header.org_id}/{header.project_id}/{header.run_id}/events"
        self._queue.append((topic, message(header, body)))
        self._start_sender()

    async def shutdown(self) -> None:
        """Wait until what was built so far is handed to the connector; other runs may go on adding to it."""
        if not self._queue and not self._pending_tasks:
            return
        mark = asyncio.get_running_loop().create_future()
        self._queue.append(mark)
        while not mark.done():
            self._start_sender()
            await asyncio.wait({mark, *self._pending_tasks}, return_when=asyncio.FIRST_COMPLETED)
        self._pending_tasks = {task for task in self._pending_tasks if not task.done()}

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
            entry = self._queue.popleft()
            if isinstance(entry, asyncio.Future):
                if not entry.done():
                    entry.set_result(None)
                continue
            topic, payload = entry
            try:
                await self._connector.publish(topic, payload, **self._options)
            except Exception as error:
                _report(topic, error)


#: State of a task after an event, except for the end of its execution.
_STATES: dict[type[TaskEvent], str] = {
    TaskExecutionStarted: "RUNNING",
    TaskSkipped: "SKIPPED",
    TaskBlocked: "BLOCKED",
}


def _body(event: Event) -> LifecycleEvent | TaskStateEvent | None:
    """Return the body of the event's message, or None for events that are not sent."""
    if isinstance(event, RunStarted):
        return LifecycleEvent("ENGINE_STARTED")
    if isinstance(event, RunFinished):
        return LifecycleEvent("ENGINE_STOPPED")
    if isinstance(event, TaskExecutionFinished):
        state = "COMPLETED" if event.status == "Succeeded" else "FAILED"
        return TaskStateEvent(event.task_id, event.task_name, state, event.duration * 1000.0, event.error or "")
    for event_type, state in _STATES.items():
        if isinstance(event, event_type):
            return TaskStateEvent(event.task_id, event.task_name, state)
    return None


def _iso_utc(timestamp: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def _source_id() -> str:
    import socket

    return f"{socket.gethostname()}-{os.getpid()}"


def _report(topic: str, error: Exception) -> None:
    import logging

    logging.getLogger(__name__).error("telemetry to %s was not sent: %s: %s", topic, type(error).__name__, error)
