"""Stock subscribers: messages for people, telemetry for connectors."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import FrozenInstanceError
from datetime import datetime
from types import SimpleNamespace

import pytest

from cascade.common.renderers import rank_of
from cascade.runtime import subscribers
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import (
    ConnectorConnected,
    ConnectorDisconnected,
    Event,
    LoopProgress,
    ResourceAcquired,
    RunFinished,
    RunStarted,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber
from cascade.spec.telemetry import ResourceEvent, TaskStateEvent, TelemetryHeader, message


class MessageRecorder:
    """Stands for the message bus and notes level, id and data."""

    def __init__(self):
        self.seen = []

    def info(self, msg_id, **data):
        self.seen.append(("info", msg_id, data))

    def warning(self, msg_id, **data):
        self.seen.append(("warning", msg_id, data))

    def error(self, msg_id, **data):
        self.seen.append(("error", msg_id, data))


#: Each event, with the level, id and data of the messages that it becomes.
MESSAGES = [
    (RunStarted(target_tasks=["t"]), [("info", "run.started", {"target_tasks": ["t"]})]),
    (
        RunStarted(target_tasks=["t"], params={"p": 1}),
        [
            ("info", "run.started", {"target_tasks": ["t"]}),
            ("info", "run.started_with_params", {"params": {"p": 1}}),
        ],
    ),
    (RunFinished(status="Succeeded", duration=1.5), [("info", "run.finished_success", {"duration": 1.5})]),
    (
        RunFinished(status="Failed", duration=1.5, error="E: x"),
        [("error", "run.finished_failure", {"duration": 1.5, "error": "E: x"})],
    ),
    (RunFinished(status="Cancelled", duration=1.5), [("warning", "run.finished_cancelled", {"duration": 1.5})]),
    (TaskExecutionStarted(task_name="t"), [("info", "task.started", {"task_name": "t"})]),
    (
        TaskExecutionFinished(task_name="t", status="Succeeded", duration=2.0),
        [("info", "task.finished_success", {"task_name": "t", "duration": 2.0})],
    ),
    (
        TaskExecutionFinished(task_name="t", status="Failed", duration=2.0, error="E: x"),
        [("error", "task.finished_failure", {"task_name": "t", "duration": 2.0, "error": "E: x"})],
    ),
    (TaskSkipped(task_name="t", reason="r"), [("info", "task.skipped", {"task_name": "t", "reason": "r"})]),
    (
        TaskRetrying(task_name="t", attempt=1, max_attempts=3, delay=0.5, error="x"),
        [
            (
                "warning",
                "task.retrying",
                {"task_name": "t", "attempt": 1, "max_attempts": 3, "delay": 0.5, "error": "x"},
            )
        ],
    ),
    (
        StaticAnalysisWarning(task_name="t", warning_code="CS-W001", message="m"),
        [("warning", "graph.analysis.warning", {"task_name": "t", "warning_code": "CS-W001", "message": "m"})],
    ),
    (ConnectorConnected(), [("info", "engine.connector.connected", {})]),
    (ConnectorDisconnected(), [("info", "engine.connector.disconnected", {})]),
    (TaskBlocked(task_name="t"), []),
    (ResourceAcquired(resource_name="r"), []),
    (LoopProgress(task_name="t"), []),
]


@pytest.mark.row("05-events-and-messages", "Subscribers", "RunStarted")
@pytest.mark.row("05-events-and-messages", "Subscribers", "RunStarted with params")
@pytest.mark.row("05-events-and-messages", "Subscribers", "RunFinished ok / failed")
@pytest.mark.row("05-events-and-messages", "Subscribers", "TaskExecutionStarted")
@pytest.mark.row("05-events-and-messages", "Subscribers", "TaskExecutionFinished ok / failed")
@pytest.mark.row("05-events-and-messages", "Subscribers", "TaskSkipped")
@pytest.mark.row("05-events-and-messages", "Subscribers", "TaskRetrying")
@pytest.mark.row("05-events-and-messages", "Subscribers", "StaticAnalysisWarning")
@pytest.mark.row("05-events-and-messages", "Subscribers", "ConnectorConnected / Disconnected")
@pytest.mark.row("05-events-and-messages", "Subscribers", "TaskBlocked")
@pytest.mark.parametrize("event, messages", MESSAGES)
def test_events_become_messages(monkeypatch, event, messages):
    """Each event has the level, id and data that the table of messages gives it."""
    recorder = MessageRecorder()
    monkeypatch.setattr(subscribers, "bus", recorder)
    event_bus = MessageBus()
    HumanReadableLogSubscriber(event_bus)

    event_bus.publish(event)

    assert recorder.seen == messages


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "error", "unknown"])
def test_only_messages_of_the_level_are_made(monkeypatch, level):
    """What would not be shown is not even asked for, but for the end of the run; nothing that would be is missing."""
    recorder = MessageRecorder()
    monkeypatch.setattr(subscribers, "bus", recorder)
    event_bus = MessageBus()
    HumanReadableLogSubscriber(event_bus, level)

    for event, _ in MESSAGES:
        event_bus.publish(event)

    made = [one for _, messages in MESSAGES for one in messages]
    is_shown = {one[1] for one in made if rank_of(one[0]) >= rank_of(level) or one[1].startswith("run.finished")}
    assert recorder.seen == [one for one in made if one[1] in is_shown]
    is_quiet = rank_of(level) > rank_of("INFO")
    wanted = [event_bus.wants_successes(one) for one in (TaskExecutionStarted, TaskExecutionFinished, TaskSkipped)]
    assert wanted == [not is_quiet] * 3


def test_a_subclass_that_overrides_a_handler_is_heard():
    """What a user overrides is called, also for events that the stock class passes over."""
    blocked = []

    class Mine(HumanReadableLogSubscriber):
        def on_task_blocked(self, event):
            blocked.append(event.task_name)

    event_bus = MessageBus()
    Mine(event_bus)
    event_bus.publish(TaskBlocked(task_name="t"))

    assert blocked == ["t"]


class FakeConnector:
    """Keeps what is published, each time giving others a turn first; refuses the topics it is told to."""

    def __init__(self, refused=()):
        self.sent = []
        self.calls = 0
        self.refused = refused
        self.gate = None

    async def publish(self, topic, payload, qos=0, retain=False):
        if self.gate is not None:
            await self.gate.wait()
        self.calls += 1
        for _ in range(10 - self.calls):  # earlier messages take longer than later ones
            await asyncio.sleep(0)
        if topic in self.refused:
            raise ConnectionError("gone")
        self.sent.append((topic, payload))


def send(*events, connector=None):
    """Publish events inside a loop, shut down, and return what the connector got."""
    connector = connector or FakeConnector()

    async def main():
        event_bus = MessageBus()
        subscriber = TelemetrySubscriber(event_bus, connector)
        for event in events:
            event_bus.publish(event)
        await subscriber.shutdown()
        assert not subscriber._pending_tasks

    asyncio.run(main())
    return connector.sent


@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "v")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "ts")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "run_id")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "org_id")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "project_id")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "source")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "body")
def test_a_telemetry_message_has_the_published_form(monkeypatch):
    """Topic, header and body follow schema 1.0."""
    monkeypatch.setenv("CASCADE_ORG_ID", "acme")
    monkeypatch.delenv("CASCADE_PROJECT_ID", raising=False)

    ((topic, payload),) = send(RunStarted(run_id="r1", timestamp=0.5))

    assert topic == "cascade/telemetry/acme/default/r1/events"
    assert datetime.fromisoformat(payload.pop("ts")).timestamp() == 0.5
    assert payload == {
        "v": "1.0",
        "run_id": "r1",
        "org_id": "acme",
        "project_id": "default",
        "source": f"{socket.gethostname()}-{os.getpid()}",
        "body": {"type": "LifecycleEvent", "event": "ENGINE_STARTED"},
    }


@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "LifecycleEvent")
@pytest.mark.parametrize(
    "event, told",
    [(RunStarted, "ENGINE_STARTED"), (lambda **kw: RunFinished(status="Failed", **kw), "ENGINE_STOPPED")],
)
def test_a_run_begins_and_ends_an_engines_life(event, told):
    """The body of a run's events has a type and the event, however the run ends."""
    ((_, payload),) = send(event(run_id="r"))

    assert payload["body"] == {"type": "LifecycleEvent", "event": told}


@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "TaskStateEvent")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "TaskExecutionStarted")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "TaskExecutionFinished")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "TaskSkipped")
@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "TaskBlocked")
@pytest.mark.parametrize(
    "event, state, duration_ms, error",
    [
        (TaskExecutionStarted, "RUNNING", 0.0, ""),
        (TaskSkipped, "SKIPPED", 0.0, ""),
        (TaskBlocked, "BLOCKED", 0.0, ""),
        (lambda **kw: TaskExecutionFinished(status="Succeeded", duration=0.5, **kw), "COMPLETED", 500.0, ""),
        (
            lambda **kw: TaskExecutionFinished(status="Failed", duration=0.5, error="E: x", **kw),
            "FAILED",
            500.0,
            "E: x",
        ),
    ],
)
def test_task_events_become_states(event, state, duration_ms, error):
    """Each task event has its state; durations are milliseconds."""
    ((_, payload),) = send(event(run_id="r", task_id="id", task_name="t"))

    assert payload["body"] == {
        "type": "TaskStateEvent",
        "task_id": "id",
        "task_name": "t",
        "state": state,
        "duration_ms": duration_ms,
        "error": error,
    }


@pytest.mark.row("07-connectors-and-telemetry", "Telemetry message", "LifecycleEvent")
@pytest.mark.parametrize("event, name", [(RunStarted, "ENGINE_STARTED"), (RunFinished, "ENGINE_STOPPED")])
def test_run_events_become_lifecycle_messages(event, name):
    """The engine's start and stop, whatever the run's status."""
    ((_, payload),) = send(event(run_id="r"))

    assert payload["body"] == {"type": "LifecycleEvent", "event": name}


def test_other_events_and_events_without_a_run_are_not_sent():
    """Telemetry speaks of runs and tasks only."""
    assert send(Event(run_id="r"), ResourceAcquired(run_id="r"), TaskRetrying(run_id="r"), RunStarted()) == []


def test_messages_leave_in_the_order_of_their_events():
    """A connector that takes longer over early messages does not reorder them."""
    events = [TaskExecutionStarted(run_id="r", task_name=str(i)) for i in range(20)]

    sent = send(RunStarted(run_id="r"), *events, RunFinished(run_id="r"))
    bodies = [payload["body"] for _, payload in sent]

    assert [body.get("task_name", body.get("event")) for body in bodies] == [
        "ENGINE_STARTED",
        *(str(i) for i in range(20)),
        "ENGINE_STOPPED",
    ]


def test_the_message_is_built_at_once_and_sent_in_the_background():
    """The bus does not wait for the connector, and later changes of the environment do not matter."""
    connector = FakeConnector()

    async def main():
        connector.gate = asyncio.Event()
        event_bus = MessageBus()
        subscriber = TelemetrySubscriber(event_bus, connector)
        event_bus.publish(RunStarted(run_id="r"))
        assert connector.sent == []
        os.environ["CASCADE_ORG_ID"] = "later"
        try:
            connector.gate.set()
            await subscriber.shutdown()
        finally:
            del os.environ["CASCADE_ORG_ID"]

    asyncio.run(main())

    assert [payload["org_id"] for _, payload in connector.sent] == ["local"]


def test_events_published_outside_a_loop_leave_at_shutdown():
    """Nothing is lost because nobody could send it at the moment."""
    connector = FakeConnector()
    event_bus = MessageBus()
    subscriber = TelemetrySubscriber(event_bus, connector)
    event_bus.publish(RunStarted(run_id="r"))

    asyncio.run(subscriber.shutdown())

    assert len(connector.sent) == 1


def test_a_refused_message_is_logged_and_the_rest_is_sent(caplog):
    """Telemetry must not end a run, and one lost message not the telemetry."""
    connector = FakeConnector(refused={"cascade/telemetry/local/default/bad/events"})
    with caplog.at_level(logging.ERROR):
        sent = send(RunStarted(run_id="bad"), RunStarted(run_id="good"), connector=connector)

    assert [payload["run_id"] for _, payload in sent] == ["good"]
    assert "gone" in caplog.text


def test_shutdown_waits_for_its_own_messages_only():
    """Another run that goes on adding events does not hold up the end of this one."""
    connector = FakeConnector()

    async def main():
        event_bus = MessageBus()
        subscriber = TelemetrySubscriber(event_bus, connector)

        async def publish(topic, payload):
            await asyncio.sleep(0)
            connector.sent.append(payload["run_id"])
            event_bus.publish(RunStarted(run_id="endless"))

        connector.publish = publish
        event_bus.publish(RunStarted(run_id="mine"))
        await asyncio.wait_for(subscriber.shutdown(), 60)
        (sender,) = subscriber._pending_tasks
        sender.cancel()

    asyncio.run(main())

    assert connector.sent[0] == "mine"


def test_shutdown_that_is_cancelled_leaves_the_rest_to_the_next():
    """The sender goes on; nothing is lost and nothing sent twice."""
    connector = FakeConnector()

    async def main():
        connector.gate = asyncio.Event()
        event_bus = MessageBus()
        subscriber = TelemetrySubscriber(event_bus, connector)
        event_bus.publish(RunStarted(run_id="1"))
        event_bus.publish(RunFinished(run_id="1"))
        waiting = asyncio.create_task(subscriber.shutdown())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        connector.gate.set()
        await subscriber.shutdown()

    asyncio.run(main())

    assert [payload["body"]["event"] for _, payload in connector.sent] == ["ENGINE_STARTED", "ENGINE_STOPPED"]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_connector_that_can_make_sure_of_delivery_is_asked_to(qos):
    """It says which quality of service; one that says nothing is not asked."""
    seen = []

    class Sure:
        telemetry_qos = qos

        async def publish(self, topic, payload, **options):
            seen.append(options)

    send(RunStarted(run_id="r"), connector=SimpleNamespace(publish=Sure().publish, sent=[]))
    send(RunStarted(run_id="r"), connector=with_sent(Sure()))

    assert seen == [{}, {"qos": qos}]


def with_sent(connector):
    connector.sent = []
    return connector


def test_messages_are_made_of_the_schema():
    """Fields of the dataclasses as they are; empty metadata is left out."""
    header = TelemetryHeader(ts="t", run_id="r", source="s")

    assert message(header, ResourceEvent("gpu", "acquired", {"gpu": 1.0})) == {
        "v": "1.0",
        "ts": "t",
        "run_id": "r",
        "org_id": "local",
        "project_id": "default",
        "source": "s",
        "body": {"type": "ResourceEvent", "resource_name": "gpu", "action": "acquired", "current_usage": {"gpu": 1.0}},
    }
    assert message(header, TaskStateEvent("i", "n", "RUNNING", metadata={"a": 1}))["body"] == {
        "type": "TaskStateEvent",
        "task_id": "i",
        "task_name": "n",
        "state": "RUNNING",
        "duration_ms": 0.0,
        "error": "",
        "metadata": {"a": 1},
    }
    with pytest.raises(FrozenInstanceError):
        header.v = "2"


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_subscriber_serves_successive_event_loops(is_cancelled):
    """A sender that died with its loop does not hold up the next run, even if nobody cancelled it."""
    connector = FakeConnector()
    event_bus = MessageBus()
    subscriber = TelemetrySubscriber(event_bus, connector)

    async def hang():
        connector.gate = asyncio.Event()
        event_bus.publish(RunStarted(run_id="1"))
        await asyncio.sleep(0)  # the sender now hangs in the connector, and dies with this loop

    async def proceed():
        connector.gate = None
        event_bus.publish(RunStarted(run_id="2"))
        await subscriber.shutdown()

    if is_cancelled:
        asyncio.run(hang())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(hang())
        loop.close()
        for task in subscriber._pending_tasks:
            task._log_destroy_pending = False  # it is destroyed on purpose
    asyncio.run(proceed())

    assert [payload["run_id"] for _, payload in connector.sent] == ["2"]
