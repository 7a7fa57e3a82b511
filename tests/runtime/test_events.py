"""Event classes: fields, defaults, ids."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import time

import pytest

from cascade.runtime import events
from cascade.runtime.events import Event, LoopProgress, RunFinished, TaskExecutionFinished

CLASSES = [getattr(events, name) for name in events.__all__]


@pytest.mark.parametrize("event_class", CLASSES)
def test_every_event_can_be_made_of_defaults_and_not_be_changed(event_class):
    """Every field of every event has a default, and no field can be set later."""
    event = event_class(run_id="r")

    assert event.run_id == "r"
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.run_id = "other"


@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "RunStarted",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "RunFinished",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskEvent",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskExecutionStarted",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskExecutionFinished",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskSkipped",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskRetrying",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "TaskBlocked",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "StaticAnalysisWarning",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "ResourceEvent",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "ResourceAcquired, ResourceReleased",
)
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "ConnectorConnected, ConnectorDisconnected",
)
@pytest.mark.parametrize(
    "name, base, fields",
    [
        ("RunStarted", "Event", {"target_tasks": [], "params": {}}),
        ("RunFinished", "Event", {"status": "Unknown", "duration": 0.0, "error": None}),
        ("TaskEvent", "Event", {"task_id": "", "task_name": ""}),
        ("TaskExecutionStarted", "TaskEvent", {}),
        (
            "TaskExecutionFinished",
            "TaskEvent",
            {"status": "Unknown", "duration": 0.0, "result_preview": None, "error": None},
        ),
        ("TaskSkipped", "TaskEvent", {"reason": "Unknown"}),
        ("TaskRetrying", "TaskEvent", {"attempt": 0, "max_attempts": 0, "delay": 0.0, "error": None}),
        ("TaskBlocked", "TaskEvent", {"reason": "Unknown"}),
        ("StaticAnalysisWarning", "TaskEvent", {"warning_code": "", "message": ""}),
        ("ResourceEvent", "Event", {"resource_name": ""}),
        ("ResourceAcquired", "ResourceEvent", {}),
        ("ResourceReleased", "ResourceEvent", {}),
        ("ConnectorConnected", "Event", {}),
        ("ConnectorDisconnected", "Event", {}),
    ],
)
def test_classes_have_base_fields_and_defaults_of_the_table(name, base, fields):
    """Own fields come after those of the base, in their order; fields of ours may follow."""
    event_class, base_class = getattr(events, name), getattr(events, base)
    inherited = [field.name for field in dataclasses.fields(base_class)]
    own = [field.name for field in dataclasses.fields(event_class)][len(inherited) :]
    event = event_class()

    assert event_class.__bases__ == (base_class,)
    assert own[: len(fields)] == list(fields)
    assert set(own) <= {*fields, "stats"}
    assert {field: getattr(event, field) for field in fields} == fields
    assert (event.run_id, Event.__dataclass_params__.frozen) == (None, True)


def test_defaults_are_not_shared():
    """Two events never share a list or dict made by default."""
    first, second = events.RunStarted(), events.RunStarted()

    assert first.target_tasks is not second.target_tasks
    assert first.params is not second.params


def test_event_ids_are_unique_text_and_timestamps_are_unix_seconds():
    """A thousand events have a thousand ids, and the moment of their making."""
    before = time.time()
    made = [Event() for _ in range(1000)]

    assert len({event.event_id for event in made}) == 1000
    assert all(isinstance(event.event_id, str) for event in made)
    assert before <= made[0].timestamp <= made[-1].timestamp <= time.time()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_other_ids():
    """Parent and child continue the same counter, so the random part must differ."""
    script = (
        "import os, sys\n"
        "from cascade.runtime.events import Event\n"
        "r, w = os.pipe()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os.write(w, Event().event_id.encode()); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "sys.exit(os.read(r, 100).decode() == Event().event_id)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.getcwd()}, timeout=60)

    assert done.returncode == 0


def test_own_fields_come_in_the_published_order():
    """Positional use of the later fields keeps working: ours come last."""
    assert [f.name for f in dataclasses.fields(RunFinished)][3:] == ["status", "duration", "error", "stats"]
    assert [f.name for f in dataclasses.fields(TaskExecutionFinished)][3:] == [
        "task_id",
        "task_name",
        "status",
        "duration",
        "result_preview",
        "error",
    ]
    assert dataclasses.asdict(LoopProgress(event_id="i", timestamp=0.0)) == {
        "event_id": "i",
        "timestamp": 0.0,
        "run_id": None,
        "task_name": "",
        "steps": 0,
        "nodes": 0,
        "steps_per_second": 0.0,
        "elapsed": 0.0,
        "final": False,
    }


def test_events_survive_pickling():
    """An event that crosses a process boundary is the same event."""
    event = TaskExecutionFinished(run_id="r", task_name="t", status="Failed", error="ValueError: no")

    assert pickle.loads(pickle.dumps(event)) == event
