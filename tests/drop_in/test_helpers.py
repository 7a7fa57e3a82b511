"""Programs in the manner of the older engine's later tests, which use the helpers of ``cascade.testing``."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import (
    RunFinished,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.runtime.subscribers import TelemetrySubscriber
from cascade.testing import (
    MockConnector,
    MockExecutor,
    MockSolver,
    SpyExecutor,
    SpySolver,
    SpySubscriber,
    override_resource,
)
from tests.drop_in.doubles import drive


@cs.task
def first() -> str:
    return "first"


@cs.task
def second(value: Any) -> str:
    return f"second {value}"


@cs.task
def both(a: Any, b: Any) -> Any:
    return [a, b]


def engine_of(solver: Any = None, executor: Any = None, **options: Any) -> tuple[Engine, SpySubscriber]:
    bus = MessageBus()
    return Engine(solver or NativeSolver(), executor or LocalExecutor(), bus, **options), SpySubscriber(bus)


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "MockSolver(plan)")
@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "SpyExecutor()")
def test_a_plan_given_by_hand_decides_over_the_order() -> None:
    """Nodes of a build of one's own, in one's own stages: the executor gets exactly these, in this order."""
    target = both(first(), second(1))
    graph, _ = build_graph(target)
    one, two, last = graph.nodes
    executor = SpyExecutor()
    engine, spy = engine_of(MockSolver([[two], [one], [last]]), executor)

    assert drive(engine.run(target)) == "executed_both"
    assert [node.name for node in executor.call_log] == ["second", "first", "both"]
    assert [event.task_name for event in spy.events_of_type(TaskExecutionStarted)] == ["second", "first", "both"]
    assert len(spy.events_of_type(TaskEvent)) == 6
    assert executor.call_log == [two, one, last]


@pytest.mark.row(
    "08-tools-cli-testing",
    "Test helpers (cascade.testing)",
    "MockExecutor(delay=0, return_value=\"result\")",
)
def test_calls_of_a_stage_overlap_in_a_slow_executor() -> None:
    """Two sleep at the same time, their consumer afterwards."""
    engine, _ = engine_of(executor=MockExecutor(delay=0.1, return_value="x"))
    start = time.monotonic()

    assert drive(engine.run(both(first(), first()))) == "x"
    assert 0.19 <= time.monotonic() - start < 0.29


def test_items_of_a_map_overlap_in_a_slow_executor() -> None:
    """Four items of a slot each, two slots: two rounds."""
    engine, _ = engine_of(executor=MockExecutor(delay=0.05), system_resources={"slots": 2})
    start = time.monotonic()

    assert drive(engine.run(second.map(value=[1, 2, 3, 4]).with_constraints(slots=1))) == [1, 2, 3, 4]
    assert 0.09 <= time.monotonic() - start < 0.19


def test_calls_that_share_the_only_slot_do_not_overlap() -> None:
    """One after the other, whatever the executor does."""
    engine, spy = engine_of(executor=MockExecutor(delay=0.05), system_resources={"gpu": 1})
    start = time.monotonic()
    drive(engine.run(both(first().with_constraints(gpu=1), first().with_constraints(gpu=1))))

    assert time.monotonic() - start >= 0.14
    assert [event.reason for event in spy.events_of_type(TaskBlocked)] == ["ResourceContention"]


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "SpySolver(solver)")
def test_a_spy_counts_plans() -> None:
    """``resolve`` is a mock: one call for each structure."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    solver = SpySolver(NativeSolver())
    engine, _ = engine_of(solver)

    assert drive(engine.run(down(10))) == "end"
    assert drive(engine.run(down(5))) == "end"
    assert solver.resolve.call_count == 1


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "override_resource(engine, name, func)")
def test_a_resource_is_overridden_within_a_block() -> None:
    """Afterwards the original is back, scope and all; unknown names and engines without the method are refused."""

    @cs.resource(scope="task")
    def db() -> Any:
        yield "real"

    def fake() -> Any:
        yield "fake"

    @cs.task
    def use(d: Any = cs.inject("db")) -> Any:
        return d

    engine, _ = engine_of()
    engine.register(db)
    with override_resource(engine, "db", fake):
        assert drive(engine.run(use())) == "fake"
    assert drive(engine.run(use())) == "real"
    assert engine.resource_container.scope_of("db") == "task"
    with pytest.raises(KeyError), override_resource(engine, "unknown", fake):
        pass
    with pytest.raises(TypeError), override_resource(object(), "db", fake):  # type: ignore[arg-type]
        pass


async def until(condition: Any) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("did not happen")


@pytest.mark.parametrize("scope", ["global", "task:second"])
def test_a_run_is_paused_and_resumed_through_a_connector(scope: str) -> None:
    """Running calls finish, nothing new starts during the pause, and the empty message lets the run go on."""
    connector = MockConnector()
    engine, spy = engine_of(executor=MockExecutor(delay=0.05), connector=connector)
    topic = f"cascade/constraints/{scope.replace(':', '/')}"
    pause = {"id": "p", "scope": scope, "type": "pause", "params": {}}

    async def main() -> Any:
        running = asyncio.ensure_future(engine.run(second(second(first()))))
        await until(lambda: spy.events_of_type(TaskExecutionStarted))
        await connector._trigger_message(topic, pause)
        await until(lambda: spy.events_of_type(TaskBlocked))
        await asyncio.sleep(0.1)
        assert [event.task_name for event in spy.events_of_type(TaskExecutionStarted)] == ["first"]
        assert [event.task_name for event in spy.events_of_type(TaskExecutionFinished)] == ["first"]
        await connector._trigger_message(topic, {})
        return await asyncio.wait_for(running, 2)

    assert drive(main()) == "result"
    assert len(spy.events_of_type(TaskBlocked)) == 1
    assert [event.status for event in spy.events_of_type(RunFinished)] == ["Succeeded"]


def test_a_retained_pause_with_an_end() -> None:
    """Seeded before the run, in force from the beginning, over after its time."""
    connector = MockConnector()
    end = time.time() + 0.25
    connector.seed_retained_message(
        "cascade/constraints/global",
        {"id": "p", "scope": "global", "type": "pause", "params": {}, "expires_at": end},
    )
    engine, _ = engine_of(connector=connector)

    @cs.task
    async def later() -> float:
        return time.time()

    start = time.monotonic()

    assert drive(engine.run(later())) >= end
    assert 0.2 <= time.monotonic() - start < 1


def test_telemetry_of_a_run_is_in_the_log_of_the_connector() -> None:
    """All of it, in order, when the run has ended."""
    connector = MockConnector()
    engine, _ = engine_of(connector=connector)
    engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))
    drive(engine.run(second(first())))

    bodies = [entry["payload"]["body"] for entry in connector.publish_log]
    assert [body.get("state") or body["event"] for body in bodies] == [
        *("ENGINE_STARTED", "RUNNING", "COMPLETED", "RUNNING", "COMPLETED", "ENGINE_STOPPED"),
    ]
    assert (connector.connected, connector.disconnected) == (True, True)


def test_a_condition_in_a_spied_run() -> None:
    """The skip is told, and the skipped call is not in the log of the executor."""

    @cs.task
    def yes() -> bool:
        return True

    engine, spy = engine_of()

    assert drive(engine.run(second(1).run_if(yes()))) == "second 1"
    assert not spy.events_of_type(TaskSkipped)
    with pytest.raises(cs.DependencyMissingError):
        drive(engine.run(second(1).run_if(second(False).run_if(False))))
    assert [event.reason for event in spy.events_of_type(TaskSkipped)] == [
        *("ConditionFalse", "UpstreamSkipped_Condition"),
    ]
