"""``CascadeApp``: its parts, and that ``cs.run`` and its kin do what it does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.app import CascadeApp
from cascade.common.messaging.bus import bus
from cascade.common.renderers import CliRenderer, JsonRenderer
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import RunFinished, RunStarted
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
def fail() -> None:
    raise LookupError("gone")


@pytest.fixture(autouse=True)
def renderer() -> Any:
    """Leaves the message bus of the process without a renderer."""
    bus.set_renderer(None)
    yield
    bus.set_renderer(None)


class Connector:
    """A slow network that takes everything."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def publish(self, topic: str, payload: dict[str, Any], qos: int = 0, retain: bool = False) -> None:
        await asyncio.sleep(0)
        self.sent.append(topic)

    async def subscribe(self, topic: str, callback: Any) -> None: ...


def test_the_parts_are_attributes() -> None:
    """Each is the one that the engine has."""
    target, params, connector = add(1, 2), {"x": 1}, Connector()
    app = CascadeApp(target, params, {"gpu": 2}, "DEBUG", "json", connector, InMemoryStateBackend)

    assert app.raw_target is app.workflow_target is target
    assert app.params is params
    assert app.connector is connector
    assert app.system_resources == {"gpu": 2}
    assert app.sb_factory is InMemoryStateBackend
    assert isinstance(app.renderer, JsonRenderer)
    assert isinstance(app.event_bus, MessageBus)
    assert isinstance(app.log_subscriber, HumanReadableLogSubscriber)
    assert isinstance(app.telemetry_subscriber, TelemetrySubscriber)
    assert isinstance(app.solver, NativeSolver)
    assert isinstance(app.executor, LocalExecutor)
    assert isinstance(app.engine, Engine)
    parts = (app.engine.bus, app.engine.solver, app.engine.executor, app.engine.connector)
    assert parts == (app.event_bus, app.solver, app.executor, connector)
    assert app.engine.state_backend_factory is InMemoryStateBackend


def test_defaults() -> None:
    """A target is all it takes: text for people, no telemetry, the engine's own state."""
    app = CascadeApp(add(1, 2))

    assert isinstance(app.renderer, CliRenderer)
    assert app.telemetry_subscriber is app.sb_factory is app.connector is app.params is None
    assert app.run() == 3


def test_making_an_app_changes_nothing_in_the_process() -> None:
    """The renderer is set when it runs, not when it is made, drawn or previewed."""
    app = CascadeApp(add(1, 2), log_level="ERROR")
    app.visualize()
    cs.visualize(add(1, 2))

    assert bus._renderer is None
    app.run()
    assert bus._renderer is app.renderer


def test_an_app_runs_again() -> None:
    """Also after a failure, and with threads, which are closed after each run."""
    seen: list[Any] = []
    app = CascadeApp(cs.task(lambda: 7, name="in_thread", mode="blocking")(), log_level="ERROR")
    app.event_bus.subscribe(RunFinished, lambda event: seen.append(event.status))

    assert [app.run(), app.run(), asyncio.run(app.arun())] == [7, 7, 7]
    assert seen == ["Succeeded"] * 3
    assert app.executor._threads is None
    failing = CascadeApp(fail(), log_level="ERROR")
    for _ in range(2):
        with pytest.raises(LookupError, match="gone"):
            failing.run()


@pytest.mark.row("00-index", "Where the two versions disagree", "cs.run(list) / engine.run(list)")
@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_and_tuples_are_gathered(kind: Any) -> None:
    """The value is a list, of an app, of cs.run and of an engine; what is no call stands for itself."""
    target = kind([add(1, 2), 5, {"k": add(3, 4)}])
    app = CascadeApp(target, log_level="ERROR")

    assert app.raw_target is target
    assert app.workflow_target.task.name == "_internal_gather"
    assert app.run() == [3, 5, {"k": 7}]
    assert cs.run(target, log_level="ERROR") == [3, 5, {"k": 7}]
    assert asyncio.run(app.engine.run(target)) == [3, 5, {"k": 7}]


@pytest.mark.parametrize("nothing", [[], ()])
def test_nothing_gives_an_empty_list(nothing: Any) -> None:
    """Without any run."""
    seen: list[Any] = []
    app = CascadeApp(nothing)
    app.event_bus.subscribe(RunStarted, seen.append)

    assert app.run() == []
    assert seen == []


def test_a_wrong_state_backend_is_refused_at_once() -> None:
    """When the app is made, not when it runs."""
    with pytest.raises(ValueError, match="Unsupported state backend URI scheme"):
        CascadeApp(add(1, 2), state_backend="file:///tmp")


def test_what_is_no_target_is_refused_when_it_runs() -> None:
    """The error is that of the engine."""
    app = CascadeApp(3, log_level="ERROR")

    with pytest.raises(TypeError, match="Cannot build graph from type int"):
        app.run()


def test_run_inside_a_running_loop_is_refused() -> None:
    """The error names the way that works there, which is the app's own, too."""

    async def inside() -> Any:
        app = CascadeApp(add(1, 2), log_level="ERROR")
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop; await "):
            app.run()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop; await "):
            app.run_outcome()
        return await app.arun()

    assert asyncio.run(inside()) == 3


def test_telemetry_is_sent() -> None:
    """Through the connector, by the subscriber of the app; all of it before the run is over."""
    connector = Connector()
    CascadeApp(add(1, 2), connector=connector, log_level="ERROR").run()

    assert len(connector.sent) == 4


def test_logging_is_as_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Level and format, for every run of the app."""
    app = CascadeApp(add(1, 2), log_format="json")
    app.run()
    CascadeApp(add(1, 2), log_level="ERROR").run()
    app.run()
    records = [json.loads(line)["event_id"] for line in capsys.readouterr().err.splitlines()]

    assert records == ["run.started", "task.started", "task.finished_success", "run.finished_success"] * 2


@pytest.mark.parametrize("name", ["run", "arun", "run_outcome"])
def test_functions_hand_everything_to_an_app(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument arrives as its own."""
    made: list[CascadeApp] = []

    class Watched(CascadeApp):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("cascade.app.CascadeApp", Watched)
    target, params, connector = add(1, 2), {"x": 1}, Connector()
    result = getattr(cs, name)(
        target,
        params=params,
        system_resources={"gpu": 2},
        log_level="ERROR",
        log_format="json",
        connector=connector,
        state_backend=InMemoryStateBackend,
    )
    value = asyncio.run(result) if name == "arun" else result
    (app,) = made

    assert getattr(value, "value", value) == 3
    assert (app.raw_target, app.params, app.connector, app.sb_factory) == (
        *(target, params, connector, InMemoryStateBackend),
    )
    assert app.system_resources == {"gpu": 2}
    assert isinstance(app.renderer, JsonRenderer)


def test_outcome_says_how_it_ended() -> None:
    """Value or error, without raising."""
    assert CascadeApp(add(1, 2), log_level="ERROR").run_outcome().value == 3
    outcome = CascadeApp(fail(), log_level="ERROR").run_outcome()
    assert outcome.status == "Failed"
    assert isinstance(outcome.reason, LookupError)


def test_names_that_were_there_are_there() -> None:
    """Those of other modules that the older engine had in this one are the same objects."""
    from cascade import _state_backends, app
    from cascade.internal import inputs
    from cascade.tools import events, preview
    from cascade.tools.visualize import _get_node_shape

    assert app._create_state_backend_factory is _state_backends._create_state_backend_factory
    assert app._internal_gather is inputs._internal_gather
    assert app._get_node_shape is _get_node_shape
    assert app.bus is bus
    assert app.DryRunConsoleSubscriber is preview.DryRunConsoleSubscriber
    for name in events.__all__:
        assert getattr(app, name) is getattr(events, name)


@pytest.mark.parametrize("first", ["cascade.app", "cascade._face", "cascade.tools", "cascade"])
def test_modules_are_imported_in_any_order(first: str) -> None:
    """Which of those that need each other comes first does not matter."""
    program = f"import {first}, cascade; assert cascade.CascadeApp and cascade.run and cascade.dry_run"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
