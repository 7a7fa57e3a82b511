"""Programs in the manner of the older engine's tests, compared with exact values, errors and sequences of events."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from typing import Any
from unittest.mock import AsyncMock, MagicMock, call, patch

import pytest

import cascade as cs
from cascade.adapters.cache.in_memory import InMemoryCacheBackend
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.common.messaging import bus as messages
from cascade.graph.build import build_graph
from cascade.graph.model import EdgeType
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import (
    ResourceAcquired,
    ResourceReleased,
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
from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.subscribers import HumanReadableLogSubscriber
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.protocols import CachePolicy
from tests.drop_in.doubles import ListeningConnector, Spy, drive, engine_of


def told(spy: Spy) -> list[tuple[Any, ...]]:
    """Task events as the older tests compared them: class, task and what is particular."""
    found = []
    for event in spy.of(TaskEvent):
        extra = [getattr(event, name) for name in ("status", "reason", "attempt") if hasattr(event, name)]
        found.append((type(event).__name__, event.task_name, *extra))
    return found


STARTED, FINISHED = "TaskExecutionStarted", "TaskExecutionFinished"


# ------------------------------------------------------------------------------------------------- values and order


def test_a_value_of_a_chain() -> None:
    """Calls of calls, positional and by keyword, with literals between them."""

    @cs.task
    def one() -> int:
        return 1

    @cs.task
    def add(x: int, y: int, *, z: int = 0) -> int:
        return x + y + z

    engine, _ = engine_of()

    assert drive(engine.run(add(add(one(), 2), y=one(), z=10))) == 14


def test_a_coroutine_function() -> None:
    """Async and plain tasks mix."""

    @cs.task
    async def fetch(n: int) -> int:
        await asyncio.sleep(0)
        return n * 2

    @cs.task
    def add(x: int, y: int) -> int:
        return x + y

    engine, _ = engine_of()

    assert drive(engine.run(add(fetch(1), fetch(2)))) == 6


def test_async_tasks_of_a_stage_overlap() -> None:
    """Two that sleep 0.1 s each take less than twice as long."""

    @cs.task
    async def nap(n: int) -> int:
        await asyncio.sleep(0.1)
        return n

    @cs.task
    def pair(x: int, y: int) -> list[int]:
        return [x, y]

    engine, _ = engine_of()
    start = time.monotonic()

    assert drive(engine.run(pair(nap(1), nap(2)))) == [1, 2]
    assert 0.09 < time.monotonic() - start < 0.19


def test_a_list_of_targets() -> None:
    """``engine.run([...])`` gives a list, and its RunStarted names unknown."""

    @cs.task
    def same(x: Any) -> Any:
        return x

    engine, spy = engine_of()

    assert drive(engine.run([same(1), 2, same("x")])) == [1, 2, "x"]
    assert spy.of(RunStarted)[0].target_tasks == ["unknown"]

    engine, spy = engine_of()

    assert drive(engine.run([])) == []
    assert spy.events == []
    assert drive(engine.run((same(1), same(2)))) == [1, 2]


def test_lists_and_dicts_of_calls() -> None:
    """Arguments are gathered at any depth, and the function sees values only."""

    @cs.task
    def same(x: Any) -> Any:
        return x

    engine, _ = engine_of()
    target = same({"a": [same(1), {"b": (same(2), 3)}], "c": same([same(4)])})

    assert drive(engine.run(target)) == {"a": [1, {"b": (2, 3)}], "c": [4]}


def test_a_function_put_in_place_of_another() -> None:
    """``task.func = MagicMock(...)`` takes effect when the graph is built."""

    @cs.task
    def real(x: int) -> int:
        return x

    mock = MagicMock(return_value="mocked")
    mock.__name__ = "real"
    real.func = mock
    engine, _ = engine_of()

    assert drive(engine.run(real(5))) == "mocked"
    mock.assert_called_once_with(5)


def test_a_task_made_of_a_mock() -> None:
    """A mock is a function like any other; what it raises is retried."""
    flaky = MagicMock(side_effect=[ValueError("1"), ValueError("2"), "ok"], __name__="flaky")
    engine, spy = engine_of()

    assert drive(engine.run(cs.task(flaky, name="flaky")().with_retry(3, delay=0.001))) == "ok"
    assert flaky.call_count == 3
    assert [event.attempt for event in spy.of(TaskRetrying)] == [1, 2]


def test_a_deep_loop_under_a_low_recursion_limit() -> None:
    """2,000 steps within a stack of 200 frames beyond where the test stands."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n > 0 else "end"

    engine, _ = engine_of()
    limit = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 200)
    try:
        assert drive(engine.run(down(2_000))) == "end"
    finally:
        sys.setrecursionlimit(limit)


def test_a_mutual_loop_with_async_members() -> None:
    """Ping and pong, one of them a coroutine function."""

    @cs.task
    def ping(n: int) -> Any:
        return pong(n - 1) if n else "ping"

    @cs.task
    async def pong(n: int) -> Any:
        return ping(n - 1) if n else "pong"

    engine, _ = engine_of()

    assert drive(engine.run(ping(501))) == "pong"


def test_a_target_that_becomes_a_map() -> None:
    """A mapped call that a task returns is continued."""

    @cs.task
    def double(x: int) -> int:
        return x * 2

    @cs.task
    def many(n: int) -> Any:
        return double.map(x=list(range(n)))

    engine, _ = engine_of()

    assert drive(engine.run(many(4))) == [0, 2, 4, 6]


# -------------------------------------------------------------------------------------------------------- events


def test_events_of_a_chain() -> None:
    """The whole sequence, with one run id and the ids of the nodes."""

    @cs.task
    def a() -> int:
        return 1

    @cs.task
    def b(x: int) -> int:
        return x + 1

    engine, spy = engine_of()
    drive(engine.run(b(a())))

    assert spy.names == ["RunStarted", STARTED, FINISHED, STARTED, FINISHED, "RunFinished"]
    assert told(spy) == [
        (STARTED, "a"),
        (FINISHED, "a", "Succeeded"),
        (STARTED, "b"),
        (FINISHED, "b", "Succeeded"),
    ]
    assert len({event.run_id for event in spy.events}) == 1
    assert len({event.task_id for event in spy.of(TaskEvent)}) == 2
    assert spy.of(RunStarted)[0].target_tasks == ["b"]
    assert spy.of(TaskExecutionFinished)[1].result_preview == "2"
    assert spy.of(RunFinished)[0].status == "Succeeded"


def test_events_of_the_second_run_of_an_engine() -> None:
    """A listener of a plain program hears of the target of every run."""

    @cs.task
    def a(x: int) -> int:
        return x

    engine, spy = engine_of()
    for number in range(3):
        drive(engine.run(a(number)))

    assert told(spy) == [(STARTED, "a"), (FINISHED, "a", "Succeeded")] * 3


@pytest.mark.row("05-events-and-messages", "Order", "failure")
def test_events_of_a_failure() -> None:
    """Finished(Failed) with type and text, then RunFinished(Failed) with the same."""

    @cs.task
    def fails() -> None:
        raise ValueError("boom")

    @cs.task
    def never(x: Any) -> Any:
        return x

    engine, spy = engine_of()
    with pytest.raises(ValueError, match=r"^boom$"):
        drive(engine.run(never(fails())))

    assert told(spy) == [(STARTED, "fails"), (FINISHED, "fails", "Failed")]
    assert spy.of(TaskExecutionFinished)[0].error == "ValueError: boom"
    (finished,) = spy.of(RunFinished)
    assert (finished.status, finished.error) == ("Failed", "ValueError: boom")


def test_events_of_retries() -> None:
    """Started once, Retrying for each failed attempt but the last, Finished once."""
    calls = []

    @cs.task
    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError(f"failure {len(calls)}")
        return "ok"

    engine, spy = engine_of()
    drive(engine.run(flaky().with_retry(max_attempts=3, delay=0.001, backoff=2)))

    assert told(spy) == [
        (STARTED, "flaky"),
        ("TaskRetrying", "flaky", 1),
        ("TaskRetrying", "flaky", 2),
        (FINISHED, "flaky", "Succeeded"),
    ]
    first, second = spy.of(TaskRetrying)
    assert (first.max_attempts, first.delay, first.error) == (4, 0.001, "failure 1")
    assert second.delay == 0.002


def test_events_of_a_retry_that_fails() -> None:
    """After n + 1 attempts the original error comes out."""
    mock = MagicMock(side_effect=KeyError("k"), __name__="m")
    engine, spy = engine_of()
    with pytest.raises(KeyError):
        drive(engine.run(cs.task(mock, name="m")().with_retry(2)))

    assert mock.call_count == 3
    assert [event.attempt for event in spy.of(TaskRetrying)] == [1, 2]
    assert [event.status for event in spy.of(TaskExecutionFinished)] == ["Failed"]


@pytest.mark.row("05-events-and-messages", "Order", "map")
def test_events_of_a_map() -> None:
    """Started of the map, Started and Finished of each item, Finished of the map."""

    @cs.task
    def double(x: int) -> int:
        return x * 2

    engine, spy = engine_of()

    assert drive(engine.run(double.map(x=[1, 2, 3]))) == [2, 4, 6]
    assert told(spy) == [
        (STARTED, "map(double)"),
        *[(STARTED, "double"), (FINISHED, "double", "Succeeded")] * 3,
        (FINISHED, "map(double)", "Succeeded"),
    ]


def test_events_of_a_map_that_is_retried() -> None:
    """Three items that fail once each: three TaskRetrying."""
    failed: set[int] = set()

    @cs.task
    def flaky(x: int) -> int:
        if x not in failed:
            failed.add(x)
            raise ValueError(x)
        return x

    engine, spy = engine_of()

    assert drive(engine.run(flaky.map(x=[1, 2, 3]).with_retry(1))) == [1, 2, 3]
    assert len(spy.of(TaskRetrying)) == 3


def test_events_of_a_loop() -> None:
    """A listener hears of the first step and of the end; one RunStarted and RunFinished."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    engine, spy = engine_of()
    drive(engine.run(down(2)))

    names = spy.names
    assert (names[0], names[-1]) == ("RunStarted", "RunFinished")
    assert names.count("RunStarted") == names.count("RunFinished") == 1


def test_events_of_a_loop_step_by_step() -> None:
    """With ``observe="steps"`` each step has its Started and Finished, as it had."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    engine, spy = engine_of(observe="steps")
    drive(engine.run(down(2)))

    assert spy.names == ["RunStarted", *(STARTED, FINISHED) * 3, "RunFinished"]


def test_events_of_resources() -> None:
    """Acquired dependency first, released in reverse, around the tasks."""

    @cs.resource
    def config() -> Any:
        yield {"url": "u"}

    @cs.resource(scope="task")
    def conn(cfg: Any = cs.inject("config")) -> Any:
        yield f"conn to {cfg['url']}"

    @cs.task
    def query(sql: str, c: Any = cs.inject("conn")) -> str:
        return f"{sql} on {c}"

    engine, spy = engine_of()
    engine.register(config)
    engine.register(conn)

    assert drive(engine.run(query("select"))) == "select on conn to u"
    assert spy.names == [
        *("RunStarted", "ResourceAcquired", "ResourceAcquired", STARTED, FINISHED),
        *("ResourceReleased", "ResourceReleased", "RunFinished"),
    ]
    assert [event.resource_name for event in spy.of(ResourceAcquired)] == ["config", "conn"]
    assert [event.resource_name for event in spy.of(ResourceReleased)] == ["conn", "config"]


def test_events_of_a_skip() -> None:
    """A false condition: only the skip of the call and of what needs it, then the error."""

    @cs.task
    def no() -> bool:
        return False

    @cs.task
    def a() -> int:
        raise AssertionError

    @cs.task
    def b(x: Any) -> Any:
        return x

    engine, spy = engine_of()
    with pytest.raises(DependencyMissingError) as raised:
        drive(engine.run(b(a().run_if(no()))))

    assert raised.value.arg_name == "<Target Output>"
    assert "UpstreamSkipped_Data" in str(raised.value)
    assert told(spy) == [
        *[(STARTED, "no"), (FINISHED, "no", "Succeeded")],
        ("TaskSkipped", "a", "ConditionFalse"),
        ("TaskSkipped", "b", "UpstreamSkipped_Data"),
    ]


def test_events_of_a_route() -> None:
    """The branch that is not chosen is skipped with the reason Pruned; the other one runs."""

    @cs.task
    def choose() -> str:
        return "b"

    @cs.task
    def load(x: Any) -> Any:
        return x

    @cs.task
    def use(x: Any) -> Any:
        return x

    engine, spy = engine_of()
    router = cs.Router(selector=choose(), routes={"a": load("A"), "b": load("B")})

    assert drive(engine.run(use(router))) == "B"
    assert [(event.task_name, event.reason) for event in spy.of(TaskSkipped)] == [("load", "Pruned")]
    assert [event.task_name for event in spy.of(TaskExecutionStarted)] == ["choose", "load", "use"]


def test_no_route() -> None:
    """A selector without a route is a ValueError with both fragments."""

    @cs.task
    def choose() -> str:
        return "c"

    @cs.task
    def use(x: Any) -> Any:
        return x

    engine, _ = engine_of()
    with pytest.raises(ValueError, match=r"Router selector for .* no matching route found in"):
        drive(engine.run(use(cs.Router(selector=choose(), routes={"a": use(1), "b": use(2)}))))


def test_a_warning_of_the_analysis() -> None:
    """CS-W001 is published once, before the first task of the step."""

    @cs.task
    def other() -> int:
        return 0

    @cs.task
    def loop(n: Any) -> Any:
        if n:
            return loop(other())
        return "end"

    engine, spy = engine_of()

    assert drive(engine.run(loop(1))) == "end"
    (warning,) = spy.of(StaticAnalysisWarning)
    assert (warning.warning_code, warning.task_name) == ("CS-W001", "loop")
    assert spy.names.index("StaticAnalysisWarning") < spy.names.index(STARTED)


# ------------------------------------------------------------------------------------------------ flow and policies


def test_a_sequence_stops_at_a_failure() -> None:
    """Later calls never start."""
    log: list[str] = []

    @cs.task
    def say(what: str) -> str:
        log.append(what)
        if what == "bad":
            raise ValueError(what)
        return what

    engine, _ = engine_of()
    with pytest.raises(ValueError, match="bad"):
        drive(engine.run(cs.sequence([say("good"), say("bad"), say("never")])))

    assert log == ["good", "bad"]


def test_a_sequence_with_a_skipped_element_gives_none() -> None:
    """The rest is skipped with UpstreamSkipped_Sequence."""

    @cs.task
    def no() -> bool:
        return False

    @cs.task
    def say(what: str) -> str:
        return what

    engine, spy = engine_of()

    assert drive(engine.run(cs.sequence([say("1"), say("2").run_if(no()), say("3")]))) is None
    assert [event.reason for event in spy.of(TaskSkipped)] == ["ConditionFalse", "UpstreamSkipped_Sequence"]


def test_a_pipeline_passes_around_a_skipped_step() -> None:
    """10 -> 11 -> (skipped) -> 14, as the table has it."""

    @cs.task
    def add_one(x: int) -> int:
        return x + 1

    @cs.task
    def twice(x: int) -> int:
        return x * 2

    @cs.task
    def add_three(x: int) -> int:
        return x + 3

    @cs.task
    def no() -> bool:
        return False

    engine, _ = engine_of()

    assert drive(engine.run(cs.pipeline(10, [add_one, lambda v: twice(v).run_if(no()), add_three]))) == 14


class Remembering(CachePolicy):
    """A policy of the user's own, by task id and inputs."""

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    async def check(self, task_id: str, inputs: dict[str, Any]) -> Any:
        return self.known.get((task_id, tuple(sorted(inputs.items()))))

    async def save(self, task_id: str, inputs: dict[str, Any], output: Any) -> None:
        self.known[(task_id, tuple(sorted(inputs.items())))] = output


def test_a_policy_of_the_users_own() -> None:
    """The second run is a hit: TaskSkipped(CacheHit) only."""
    calls: list[int] = []

    @cs.task
    def square(x: int) -> int:
        calls.append(x)
        return x * x

    policy = Remembering()
    engine, spy = engine_of()

    assert drive(engine.run(square(3).with_cache(policy))) == 9
    del spy.events[:]

    assert drive(engine.run(square(3).with_cache(policy))) == 9
    assert drive(engine.run(square(4).with_cache(policy))) == 16
    assert calls == [3, 4]
    assert spy.names[:3] == ["RunStarted", "TaskSkipped", "RunFinished"]


def test_a_policy_that_is_a_mock_is_asked_by_names() -> None:
    """Inputs are results by argument name and literals; output is what the function returned."""
    policy = MagicMock()
    policy.check = AsyncMock(return_value=None)
    policy.save = AsyncMock()

    @cs.task
    def one() -> int:
        return 1

    @cs.task
    def add(x: int, y: int) -> int:
        return x + y

    engine, _ = engine_of()

    assert drive(engine.run(add(one(), y=2).with_cache(policy))) == 3
    (task_id, inputs), _ = policy.check.await_args
    assert inputs == {"0": 1, "y": 2}
    assert policy.save.await_args == call(task_id, {"0": 1, "y": 2}, 3)


def test_a_cache_backend_expires() -> None:
    """``set`` with ttl, then time goes on."""

    async def main() -> list[Any]:
        backend = InMemoryCacheBackend()
        await backend.set("k", 1, ttl=10)
        before = await backend.get("k")
        with patch("time.time", return_value=time.time() + 11), patch("time.monotonic", return_value=1e12):
            return [before, await backend.get("k"), await backend.get("never")]

    assert drive(main()) == [1, None, None]


def test_params_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values by name at run time; nodes of the graph with the name as the only binding."""
    monkeypatch.setenv("CASCADE_TEST_VALUE", "from env")
    cs.get_current_context().input_specs.clear()

    @cs.task
    def show(*values: Any) -> str:
        return " ".join(map(str, values))

    target = show(cs.Param("who"), cs.Param("n", default=3, type=int), cs.Env("CASCADE_TEST_VALUE"))
    engine, _ = engine_of()

    assert drive(engine.run(target, params={"who": "me", "ignored": 1})) == "me 3 from env"
    with pytest.raises(KeyError, match="who"):
        drive(engine.run(target))
    graph, _ = build_graph(target)
    assert [(node.node_type, node.input_bindings) for node in graph.nodes[:3]] == [
        ("task", {"name": "who"}),
        ("task", {"name": "n"}),
        ("task", {"name": "CASCADE_TEST_VALUE"}),
    ]
    assert [spec.name for spec in cs.get_current_context().get_all_specs()] == ["who", "n", "CASCADE_TEST_VALUE"]
    cs.get_current_context().input_specs.clear()


# ---------------------------------------------------------------------------------------- resources and constraints


def test_a_resource_is_overridden_for_a_test() -> None:
    """What the engine gave before comes back afterwards."""

    @cs.resource(scope="task")
    def db() -> Any:
        yield "real"

    @cs.task
    def use(d: Any = cs.inject("db")) -> Any:
        return d

    def fake() -> Any:
        yield "fake"

    engine, _ = engine_of()
    engine.register(db)
    original = engine.get_resource_provider("db")
    engine.override_resource_provider("db", fake)
    assert drive(engine.run(use())) == "fake"

    engine.override_resource_provider("db", original)

    assert drive(engine.run(use())) == "real"
    with pytest.raises(KeyError):
        engine.get_resource_provider("unknown")


def test_a_resource_that_nobody_registered() -> None:
    """The text is the published one."""

    @cs.task
    def use(d: Any = cs.inject("nowhere")) -> Any:
        return d

    engine, spy = engine_of()
    with pytest.raises(NameError, match="Resource 'nowhere' is required but not registered"):
        drive(engine.run(use()))

    assert spy.of(RunFinished)[0].status == "Failed"


def test_a_resource_is_torn_down_after_a_failure() -> None:
    """Teardown and its event come before RunFinished."""
    log: list[str] = []

    @cs.resource
    def db() -> Any:
        log.append("up")
        try:
            yield "DB"
        finally:
            log.append("down")

    @cs.task
    def fails(d: Any = cs.inject("db")) -> Any:
        raise ValueError("boom")

    engine, spy = engine_of()
    engine.register(db)
    with pytest.raises(ValueError, match="boom"):
        drive(engine.run(fails()))

    assert log == ["up", "down"]
    assert spy.names[-2:] == ["ResourceReleased", "RunFinished"]


def test_two_calls_share_the_only_slot() -> None:
    """By timing: one after the other."""

    @cs.task
    async def nap() -> float:
        start = time.monotonic()
        await asyncio.sleep(0.05)
        return start

    @cs.task
    def gap(x: float, y: float) -> float:
        return abs(x - y)

    engine, spy = engine_of(system_resources={"gpu": 1})

    assert drive(engine.run(gap(nap().with_constraints(gpu=1), nap().with_constraints(gpu=1)))) >= 0.05
    assert [event.reason for event in spy.of(TaskBlocked)] == ["ResourceContention"]


def test_an_impossible_amount() -> None:
    """At once, without Started or Finished."""

    @cs.task
    def big() -> int:
        return 1

    engine, spy = engine_of(system_resources={"gpu": 1})
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        drive(engine.run(big().with_constraints(gpu=2)))

    assert spy.names == ["RunStarted", "TaskBlocked", "RunFinished"]


def test_items_of_a_map_share_slots() -> None:
    """Four items of one slot, capacity two: two rounds."""

    @cs.task
    async def nap(n: int) -> int:
        await asyncio.sleep(0.05)
        return n

    engine, _ = engine_of(system_resources={"slots": 2})
    start = time.monotonic()

    assert drive(engine.run(nap.map(n=[1, 2, 3, 4]).with_constraints(slots=1))) == [1, 2, 3, 4]
    assert 0.09 <= time.monotonic() - start < 0.2


def test_a_rate_limit_by_timing() -> None:
    """5/s with capacity 2 and four items: two at once, then one per 0.2 s."""
    times: list[float] = []

    @cs.task
    def hit(n: int) -> int:
        times.append(time.monotonic())
        return n

    engine, _ = engine_of()
    engine.constraint_manager.update_constraint(
        GlobalConstraint(id="r", scope="task:hit", type="rate_limit", params={"rate": "5/s", "capacity": 2})
    )

    assert drive(engine.run(hit.map(n=[1, 2, 3, 4]))) == [1, 2, 3, 4]
    spans = [later - times[0] for later in times]
    assert spans[1] < 0.1
    assert 0.15 < spans[2] < 0.35
    assert 0.35 < spans[3] < 0.6


def test_a_pause_with_a_ttl() -> None:
    """A pause of 0.25 s holds the run up that long, and is told once."""

    @cs.task
    def work() -> str:
        return "done"

    engine, spy = engine_of()
    engine.constraint_manager.update_constraint(
        GlobalConstraint(id="p", scope="global", type="pause", params={}, expires_at=time.time() + 0.25)
    )
    start = time.monotonic()

    assert drive(engine.run(work())) == "done"
    assert 0.24 <= time.monotonic() - start < 1
    assert [event.reason for event in spy.of(TaskBlocked)] == ["ConstraintViolation"]


def test_pause_and_resume_through_a_connector() -> None:
    """A retained pause holds before the first task; an empty payload lifts it."""
    connector = ListeningConnector()
    connector.retained["cascade/constraints/global"] = {
        "id": "p",
        "scope": "global",
        "type": "pause",
        "params": {},
    }

    @cs.task
    def work() -> str:
        return "done"

    engine, spy = engine_of(connector=connector)

    async def main() -> Any:
        running = asyncio.ensure_future(engine.run(work()))
        await asyncio.sleep(0.02)
        assert spy.of(TaskBlocked)
        assert not spy.of(TaskExecutionStarted)
        await connector.tell("cascade/constraints/global", {})
        return await asyncio.wait_for(running, 1)

    assert drive(main()) == "done"
    assert spy.names == [
        *("ConnectorConnected", "RunStarted", "TaskBlocked", STARTED, FINISHED),
        *("RunFinished", "ConnectorDisconnected"),
    ]
    assert (connector.log[0], connector.log[-1]) == ("connect", "disconnect")


def test_a_malformed_message(capsys: pytest.CaptureFixture[str]) -> None:
    """A line on stderr that names the missing key; the run goes on."""
    connector = ListeningConnector()
    connector.retained["cascade/constraints/global"] = {"scope": "global"}

    @cs.task
    def work() -> str:
        return "done"

    engine, _ = engine_of(connector=connector)

    assert drive(engine.run(work())) == "done"
    shown = capsys.readouterr().err
    assert "[Engine] Error processing constraint" in shown
    assert "'id'" in shown


def test_a_rate_that_cannot_be_read() -> None:
    """``bus.error`` of the handlers' module is called with the published keywords."""
    engine, _ = engine_of()
    with patch("cascade.runtime.constraints.handlers.bus") as patched:
        engine.constraint_manager.update_constraint(
            GlobalConstraint(id="r", scope="global", type="rate_limit", params={"rate": "fast"})
        )

    ((message,), data) = patched.error.call_args
    assert message == "constraint.parse.error"
    assert (data["constraint_type"], data["raw_value"]) == ("rate_limit", "fast")
    assert isinstance(data["error"], str)


def test_a_limit_comes_while_a_run_goes_on() -> None:
    """Concurrency of 1 through the connector: from then on one at a time."""
    connector = ListeningConnector()
    running: list[int] = []
    most: list[int] = []

    @cs.task
    async def work(n: int) -> int:
        running.append(n)
        most.append(len(running))
        await asyncio.sleep(0.005)
        running.remove(n)
        return n

    engine, _ = engine_of(connector=connector)
    connector.retained["cascade/constraints/task/work"] = {
        "id": "c",
        "scope": "task:work",
        "type": "concurrency",
        "params": {"limit": 1},
    }

    assert drive(engine.run(work.map(n=[1, 2, 3, 4]))) == [1, 2, 3, 4]
    assert most == [1, 1, 1, 1]


# -------------------------------------------------------------------------------------------------------- messages


def test_the_log_subscriber_on_a_patched_bus() -> None:
    """``cascade.runtime.subscribers.bus`` is patched; ids and keywords are compared."""

    @cs.task
    def work() -> str:
        return "done"

    event_bus = MessageBus()
    engine = Engine(NativeSolver(), LocalExecutor(), event_bus)
    with patch("cascade.runtime.subscribers.bus") as patched:
        HumanReadableLogSubscriber(event_bus)
        drive(engine.run(work(), params={"k": 1}))

    assert [given.args[0] for given in patched.info.call_args_list] == [
        *("run.started", "run.started_with_params", "task.started", "task.finished_success", "run.finished_success"),
    ]
    patched.info.assert_any_call("run.started", target_tasks=["work"])
    patched.info.assert_any_call("run.started_with_params", params={"k": 1})
    patched.info.assert_any_call("task.started", task_name="work")
    patched.error.assert_not_called()


def test_the_log_subscriber_passes_a_warning_on() -> None:
    """The keywords are pinned."""
    event_bus = MessageBus()
    with patch("cascade.runtime.subscribers.bus") as patched:
        HumanReadableLogSubscriber(event_bus)
        event_bus.publish(StaticAnalysisWarning(task_name="t", warning_code="CS-W001", message="m"))

    patched.warning.assert_called_once_with(
        "graph.analysis.warning", task_name="t", warning_code="CS-W001", message="m"
    )


def test_lines_of_a_run_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Signs and names are on standard error, nothing on standard output."""

    @cs.task
    def work() -> str:
        return "done"

    assert cs.run(work(), params={"k": "v"}) == "done"
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "▶️" in shown.err
    assert "work" in shown.err
    assert "✅" in shown.err
    assert "'k': 'v'" in shown.err


def test_lines_of_a_run_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """``log_format="json"``: objects with the four keys."""

    @cs.task
    def work() -> str:
        return "done"

    cs.run(work(), log_format="json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event_id"] for line in lines] == [
        *("run.started", "task.started", "task.finished_success", "run.finished_success"),
    ]
    assert all(set(line) == {"timestamp", "level", "event_id", "data"} for line in lines)
    assert lines[0]["level"] == "INFO"
    assert lines[0]["data"] == {"target_tasks": ["work"]}


def test_a_renderer_with_a_stream_and_a_level() -> None:
    """At ERROR only failures are shown, with the cross and the error."""
    from cascade.common.renderers import CliRenderer

    @cs.task
    def fails() -> None:
        raise ValueError("boom")

    stream = io.StringIO()
    event_bus = MessageBus()
    HumanReadableLogSubscriber(event_bus)
    before = messages._renderer
    messages.set_renderer(CliRenderer(store=messages.store, stream=stream, min_level="ERROR"))
    try:
        with pytest.raises(ValueError, match="boom"):
            drive(Engine(NativeSolver(), LocalExecutor(), event_bus).run(fails()))
    finally:
        messages.set_renderer(before)  # type: ignore[arg-type]

    shown = stream.getvalue()
    assert shown.count("❌") == 2
    assert "boom" in shown
    assert "▶️" not in shown


# ----------------------------------------------------------------------------------------------------------- graphs


def test_a_graph_of_a_router_in_words() -> None:
    """Edges with their kinds and argument names."""

    @cs.task
    def choose() -> str:
        return "a"

    @cs.task
    def route(x: int) -> int:
        return x

    @cs.task
    def use(x: Any) -> Any:
        return x

    graph, _ = build_graph(use(cs.Router(selector=choose(), routes={"a": route(1), "b": route(2)})))

    assert [(e.source.name, e.arg_name, e.edge_type) for e in graph.edges] == [
        ("choose", "0", EdgeType.DATA),
        ("route", "0.route[a]", EdgeType.ROUTER_ROUTE),
        ("route", "0.route[b]", EdgeType.ROUTER_ROUTE),
    ]
    assert [node.name for node in graph.nodes] == ["choose", "route", "route", "use"]


def test_stages_of_a_diamond() -> None:
    """[a] [b, c] [d]."""

    @cs.task
    def a() -> int:
        return 1

    @cs.task
    def b(x: int) -> int:
        return x

    @cs.task
    def c(x: int) -> int:
        return x

    @cs.task
    def d(x: int, y: int) -> int:
        return x + y

    start = a()
    graph, _ = build_graph(d(b(start), c(start)))

    assert [[node.name for node in stage] for stage in NativeSolver().resolve(graph)] == [["a"], ["b", "c"], ["d"]]
