"""Message texts and the message bus."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cascade.common.messaging as messaging
from cascade.common.messaging import MessageBus, MessageStore
from cascade.common.messaging import bus as global_bus

DATA = {
    "run.started": "target_tasks",
    "run.started_with_params": "params",
    "run.finished_success": "duration",
    "run.finished_failure": "duration, error",
    "task.started": "task_name",
    "task.finished_success": "task_name, duration",
    "task.finished_failure": "task_name, duration, error",
    "task.skipped": "task_name, reason",
    "task.retrying": "task_name, attempt, max_attempts, delay, error",
    "graph.analysis.warning": "task_name, warning_code, message",
    "engine.connector.connected": "",
    "engine.connector.disconnected": "",
    "localbus.callback_error": "topic, error",
    "localbus.retained_callback_error": "topic, error",
    "constraint.parse.error": "constraint_type, raw_value, error",
    "controller.connecting": "backend, hostname, port",
    "controller.connected": "",
    "controller.publishing": "scope, topic",
    "controller.publish_success": "",
    "controller.publishing_limit": "scope, topic, limit",
    "controller.publishing_rate": "scope, topic, rate",
    "controller.publish_limit_success": "",
    "controller.scope_unknown": "scope",
    "controller.resuming": "scope, topic",
    "controller.resume_success": "",
    "controller.error": "error",
    "observer.startup.watching": "project, hostname, port",
    "observer.startup.watching_uds": "path",
    "observer.startup.connected": "",
    "observer.startup.connected_uds": "",
    "observer.startup.error": "hostname, port, error",
    "observer.startup.uds_not_found": "path",
    "observer.startup.uds_conn_refused": "path",
    "observer.shutdown": "",
    "observer.shutdown_uds_disconnected": "",
    "observer.error_uds": "error",
    "observer.error_uds_unsupported": "",
    "observer.error_invalid_backend": "backend",
    "observer.status.malformed": "topic, error",
    "observer.status.database_error": "path, error",
    "observer.telemetry.run_header": "run_id",
    "observer.telemetry.lifecycle.ENGINE_STARTED": "",
    "observer.telemetry.lifecycle.ENGINE_STOPPED": "",
    "observer.telemetry.task_state.RUNNING": "task_name, duration_ms, error",
    "observer.telemetry.task_state.COMPLETED": "task_name, duration_ms, error",
    "observer.telemetry.task_state.FAILED": "task_name, duration_ms, error",
    "observer.telemetry.task_state.SKIPPED": "task_name, duration_ms, error",
    "observer.telemetry.task_state.BLOCKED": "task_name, duration_ms, error",
    "observer.telemetry.unknown_event": "type",
}
NUMBERS = ("duration", "duration_ms", "delay")


def sample(placeholders):
    names = [name for name in placeholders.split(", ") if name]
    return {name: 1.25 if name in NUMBERS else f"<{name}>" for name in names}


@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "run / task")
@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "local bus")
@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "constraints")
@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "controller")
@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "observer")
@pytest.mark.row("05-events-and-messages", "Message ids that must exist, with their placeholders", "telemetry view")
@pytest.mark.parametrize("msg_id, placeholders", DATA.items())
def test_every_message_exists_and_takes_its_data(msg_id, placeholders):
    """A message of the published table can be shown with exactly the data that it is sent with."""
    text = MessageStore().get(msg_id, **sample(placeholders))

    assert text
    assert "Formatting error" not in text
    assert text != f"<{msg_id}>"


def test_every_text_is_checked():
    """No text is there that the table above does not know, and none is empty."""
    assert set(MessageStore()._messages) == {*DATA, "run.finished_cancelled"}


def test_texts_have_the_signs_that_people_look_for():
    """Failures show a cross and the error, successes a tick, starts the target, parameters their values."""
    store = MessageStore()

    assert "▶️" in store.get("run.started", target_tasks=["etl"])
    assert "etl" in store.get("run.started", target_tasks=["etl"])
    assert "'p': 42" in store.get("run.started_with_params", params={"p": 42})
    for group in ("run", "task"):
        failure = store.get(f"{group}.finished_failure", task_name="t", duration=1.0, error="E: boom")
        assert "❌" in failure
        assert "E: boom" in failure
        assert "✅" in store.get(f"{group}.finished_success", task_name="t", duration=1.0)


def test_an_unknown_id_gives_the_default_or_itself():
    """A missing text is visible, not fatal."""
    assert MessageStore().get("no.such", "fallback") == "fallback"
    assert MessageStore().get("no.such") == "<no.such>"


def test_missing_data_gives_a_text_that_says_so():
    """A message must not end a run."""
    assert MessageStore().get("task.started") == "<Formatting error for 'task.started': missing key 'task_name'>"
    assert (
        MessageStore()
        .get("run.finished_success", duration=None)
        .startswith("<Formatting error for 'run.finished_success'")
    )


def test_messages_may_be_added_and_replaced():
    """The texts are a plain dictionary that belongs to one store."""
    store = MessageStore()
    store._messages["mine"] = "hello {who}"

    assert type(store._messages) is dict
    assert store.get("mine", who="you") == "hello you"
    assert MessageStore().get("mine") == "<mine>"

    store._messages = {"only": "this"}
    assert store.get("only") == "this"


def test_an_unknown_locale_has_no_messages():
    """Asking for a language nobody wrote is no error."""
    store = MessageStore("xx")

    assert store.locale == "xx"
    assert store._messages == {}


class Recorder:
    """A renderer that notes everything."""

    def __init__(self):
        self.seen = []

    def render(self, msg_id, level, **data):
        self.seen.append((msg_id, level, data))


def test_the_bus_hands_messages_to_its_renderer_and_is_silent_without():
    """Level by level, with the data untouched."""
    bus, recorder = MessageBus(MessageStore()), Recorder()
    bus.error("lost")
    bus.set_renderer(recorder)
    bus.info("a", x=1)
    bus.warning("b")
    bus.error("c", error="e")
    bus.set_renderer(None)
    bus.info("lost")

    assert recorder.seen == [("a", "info", {"x": 1}), ("b", "warning", {}), ("c", "error", {"error": "e"})]


def test_there_is_one_global_bus_with_a_store():
    """Package and module export the same object."""
    assert messaging.bus is global_bus
    assert isinstance(global_bus, MessageBus)
    assert isinstance(global_bus.store, MessageStore)


def test_importing_loads_neither_json_nor_logging():
    """Texts are read when the first one is needed, not by importing the engine."""
    script = (
        "import sys; import cascade.common.messaging, cascade.common.renderers, cascade.runtime.subscribers\n"
        "before = 'json' in sys.modules\n"
        "cascade.common.messaging.bus.store.get('run.started', target_tasks=[])\n"
        "sys.exit(before or 'json' not in sys.modules)"
    )
    probe = "import sys, asyncio, inspect, dataclasses, typing; sys.exit('json' in sys.modules)"
    if subprocess.run([sys.executable, "-c", probe], timeout=60).returncode:
        pytest.skip("this Python loads json by itself")
    done = subprocess.run([sys.executable, "-c", script], timeout=60)

    assert done.returncode == 0
