"""The helpers that ``cascade.testing`` has for the tests of users."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
)
from cascade.spec.protocols import Connector, Executor, Solver
from cascade.spec.resource import ResourceDefinition
from cascade.testing import (
    MockConnector,
    MockExecutor,
    MockSolver,
    SpyExecutor,
    SpySolver,
    SpySubscriber,
    override_resource,
)
from tests.engines import make_engine, run


@cs.task
def first() -> int:
    return 1


@cs.task
def second(n: int, *, by: int = 2) -> int:
    return n * by


# ----------------------------------------------------------------------------------------------------------- resources


@cs.resource(scope="task")
def db() -> Any:
    yield "real"


@cs.task
def query(one: Any = cs.inject("db")) -> Any:
    return one


def fake() -> Any:
    yield "fake"


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "override_resource(engine, name, func)")
def test_a_resource_is_another_one_for_a_while() -> None:
    """Inside of the ``with`` it is the fake, afterwards the original with its scope, also after an error."""
    engine = make_engine(resources=[db])

    with override_resource(engine, "db", fake):
        assert run(query(), engine) == "fake"
        assert engine.get_resource_provider("db") is fake
    assert run(query(), engine) == "real"

    with pytest.raises(LookupError), override_resource(engine, "db", fake):
        raise LookupError
    assert engine.get_resource_provider("db") is db.func
    assert engine.resource_container.scope_of("db") == "task"


def test_overrides_may_be_nested_and_be_definitions() -> None:
    """The inner one counts; each leaves what was there before it."""
    engine = make_engine(resources=[db])

    def other() -> Any:
        yield "other"

    with override_resource(engine, "db", fake):
        with override_resource(engine, "db", ResourceDefinition(other, "db")):
            assert run(query(), engine) == "other"
        assert run(query(), engine) == "fake"
    assert run(query(), engine) == "real"


def test_what_cannot_be_overridden_is_an_error() -> None:
    """An unknown name is a KeyError, something that is no engine or no function a TypeError; nothing has changed."""
    engine = make_engine(resources=[db])

    with pytest.raises(KeyError), override_resource(engine, "unknown", fake):
        pass
    with pytest.raises(TypeError, match="takes an engine, not object"), override_resource(object(), "db", fake):
        pass
    with pytest.raises(TypeError, match="must be a generator function"), override_resource(engine, "db", 5):
        pass
    assert run(query(), engine) == "real"
    assert cs.override_resource is override_resource


# ---------------------------------------------------------------------------------------------- solvers and executors


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "SpySubscriber(bus)")
def test_a_spy_records_events_and_finds_them_by_class() -> None:
    """All of them in order; those of a class include those of classes derived from it."""
    engine = make_engine()
    spy = SpySubscriber(engine.bus)
    run(second(first()), engine)

    assert [type(event) for event in spy.events] == [
        RunStarted,
        *(TaskExecutionStarted, TaskExecutionFinished) * 2,
        RunFinished,
    ]
    assert spy.events_of_type(Event) == spy.events
    assert spy.events_of_type(TaskEvent) == spy.events[1:-1]
    assert [event.task_name for event in spy.events_of_type(TaskExecutionStarted)] == ["first", "second"]
    assert spy.events_of_type(TaskBlocked) == []


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "SpySolver(solver)")
def test_a_spy_solver_delegates_and_records() -> None:
    """Its plan is that of the solver behind it, and ``resolve`` is a mock that knows its calls."""
    spy = SpySolver(NativeSolver())

    assert run(second(first()), make_engine(spy)) == 2
    spy.resolve.assert_called_once()
    (graph,), _ = spy.resolve.call_args
    assert spy.resolve(graph) == NativeSolver().resolve(graph)
    assert spy.resolve.call_count == 2


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "MockSolver(plan)")
def test_a_mock_solver_returns_its_plan() -> None:
    """Always that one, whatever the graph is; an engine runs it in its order."""
    target = second(first())
    graph, _ = build_graph(target)
    plan = [[node] for node in graph.nodes]
    solver, executor = MockSolver(plan), SpyExecutor()

    assert solver.resolve(object()) is plan
    assert run(target, make_engine(solver, executor)) == "executed_second"
    assert executor.call_log == [node for (node,) in plan]


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "SpyExecutor()")
def test_a_spy_executor_calls_nothing() -> None:
    """It records the nodes and returns a text with the name of each."""
    executor = SpyExecutor()

    @cs.task
    def never() -> None:
        pytest.fail("was called")

    assert run(second(never()), make_engine(executor=executor)) == "executed_second"
    assert [node.name for node in executor.call_log] == ["never", "second"]


@pytest.mark.row(
    "08-tools-cli-testing", "Test helpers (cascade.testing)", 'MockExecutor(delay=0, return_value="result")'
)
def test_a_mock_executor_returns_an_argument() -> None:
    """The first positional one, else the first keyword's value, else the value that it was given."""
    assert run(second(7, by=9), make_engine(executor=MockExecutor())) == 7
    assert run(second(n=8, by=9), make_engine(executor=MockExecutor())) == 8
    assert run(first(), make_engine(executor=MockExecutor())) == "result"
    assert run(first(), make_engine(executor=MockExecutor(return_value=None))) is None


def test_a_mock_executor_sleeps() -> None:
    """Calls of one stage sleep together."""
    started = time.monotonic()

    @cs.task
    async def waits(n: int) -> None:
        pass

    assert run([waits(n) for n in range(5)], make_engine(executor=MockExecutor(delay=0.05))) is not None
    assert time.monotonic() - started >= 0.05


def test_the_helpers_obey_the_protocols() -> None:
    """They are derived from them, which says what they stand for."""
    bases = {one: one.__bases__ for one in (SpySolver, MockSolver, SpyExecutor, MockExecutor, MockConnector)}

    assert bases == {
        **dict.fromkeys((SpySolver, MockSolver), (Solver,)),
        **dict.fromkeys((SpyExecutor, MockExecutor), (Executor,)),
        MockConnector: (Connector,),
    }


# ------------------------------------------------------------------------------------------------------------ connector


def noting(diary: list[Any]) -> Any:
    async def callback(topic: str, payload: dict[str, Any]) -> None:
        diary.append((topic, payload))

    return callback


@pytest.mark.row("08-tools-cli-testing", "Test helpers (cascade.testing)", "MockConnector()")
def test_a_mock_connector_records_and_delivers() -> None:
    """Flags, the log of what was published, retained messages in the background, and triggered ones at once."""
    connector, diary = MockConnector(), []

    async def main() -> None:
        assert not connector.connected
        await connector.connect()
        assert connector.connected
        assert not connector.disconnected

        connector.seed_retained_message("a/b", {"x": 1})
        connector.seed_retained_message("other", {"x": 2})
        assert connector.retained_messages == {"a/b": {"x": 1}, "other": {"x": 2}}
        assert await connector.subscribe("a/#", noting(diary)) is None
        assert list(connector.subscriptions) == ["a/#"]
        assert diary == []
        await asyncio.sleep(0)
        assert diary == [("a/b", {"x": 1})]

        await connector._trigger_message("a/c", {"x": 3})
        await connector._trigger_message("b", {"x": 4})
        assert diary[1:] == [("a/c", {"x": 3})]

        await connector.publish("t", {"y": 1}, retain=True, qos=2)
        await connector.publish("u", {})
        await connector.disconnect()
        assert connector.disconnected

    asyncio.run(main())

    assert connector.publish_log == [
        {"topic": "t", "payload": {"y": 1}, "retain": True, "qos": 2},
        {"topic": "u", "payload": {}, "retain": False, "qos": 0},
    ]


def test_published_messages_can_be_retained() -> None:
    """A retained message waits for later subscribers, until an empty retained one removes it."""
    connector = MockConnector()

    async def main() -> None:
        await connector.publish("t", {"y": 1}, retain=True)
        assert connector.retained_messages == {"t": {"y": 1}}
        await connector.publish("t", {})
        assert connector.retained_messages == {"t": {"y": 1}}
        await connector.publish("t", {}, retain=True)
        assert connector.retained_messages == {}

    asyncio.run(main())


@pytest.mark.parametrize(
    "subscription, topic, matches",
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a/b/c", False),
        ("a/#", "a/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/#", "b/a", False),
        ("#", "a", False),
    ],
)
def test_topics_match_when_equal_or_below(subscription: str, topic: str, matches: bool) -> None:
    """Equal topics and a trailing ``/#``, nothing else."""
    assert MockConnector()._topic_matches(subscription, topic) is matches


def test_a_callback_that_fails_in_the_background_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """It disturbs nobody; one that a test triggers itself raises there."""
    connector, diary = MockConnector(), []

    async def failing(topic: str, payload: dict[str, Any]) -> None:
        raise LookupError("gone")

    async def main() -> None:
        connector.seed_retained_message("a", {"x": 1})
        await connector.subscribe("a", failing)
        await connector.subscribe("a", noting(diary))
        await asyncio.sleep(0)
        with pytest.raises(LookupError):
            await connector._trigger_message("a", {})

    asyncio.run(main())

    assert diary == [("a", {"x": 1})]
    assert "callback for a failed: LookupError: gone" in caplog.text


def test_deliveries_end_with_the_connection() -> None:
    """A callback that never returns is cancelled: no task is left."""
    connector = MockConnector()

    async def stuck(topic: str, payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        connector.seed_retained_message("a", {"x": 1})
        await connector.subscribe("a", stuck)
        await asyncio.sleep(0)
        await connector.disconnect()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    gc.collect()


def test_constraints_seeded_in_a_mock_connector_hold_from_the_first_task() -> None:
    """They are in force before anything is scheduled, although they are delivered in the background."""
    connector = MockConnector()
    pause = {"id": "p", "scope": "task:first", "type": "pause", "params": {}, "expires_at": time.time() + 0.2}
    connector.seed_retained_message("cascade/constraints/task/first", pause)
    engine = make_engine(connector=connector)
    spy = SpySubscriber(engine.bus)

    assert run(second(first()), engine) == 2
    assert [event.task_name for event in spy.events_of_type(TaskBlocked)] == ["first"]
    assert connector.connected
    assert connector.disconnected


class Bare:
    """A connector as users write them: no ``retain``, no handle; what is retained comes in a task of its own."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.delivery: Any = None

    async def connect(self) -> None:
        pass

    async def disconnect(self) -> None:
        pass

    async def publish(self, topic: str, payload: dict[str, Any]) -> None:
        self.topics.append(payload["body"].get("event") or payload["body"]["state"])

    async def subscribe(self, topic: str, callback: Any) -> None:
        pause = {"id": "p", "scope": "global", "type": "pause", "params": {}, "expires_at": time.time() + 0.1}
        self.delivery = asyncio.ensure_future(callback("cascade/constraints/global", pause))


def test_a_connector_needs_neither_retain_nor_handles() -> None:
    """The engine copes with ``publish(topic, payload)`` and a ``subscribe`` that returns None."""
    connector = Bare()

    assert cs.run(first(), connector=connector) == 1
    assert connector.topics == ["ENGINE_STARTED", "BLOCKED", "RUNNING", "COMPLETED", "ENGINE_STOPPED"]


def test_a_bus_that_is_spied_on_is_an_ordinary_one() -> None:
    """``collect`` may be called by hand, and several spies see the same."""
    bus = MessageBus()
    one, two = SpySubscriber(bus), SpySubscriber(bus)
    event = RunStarted(run_id="r", target_tasks=[], params={})
    bus.publish(event)
    two.collect(event)

    assert (one.events, two.events) == ([event], [event, event])


def test_override_resource_uses_the_methods_of_a_stand_in():
    """An engine of somebody else's has the two methods, and nothing else is asked of it."""
    calls: list[Any] = []

    class Small:
        def get_resource_provider(self, name: str) -> str:
            return f"original {name}"

        def override_resource_provider(self, name: str, provider: Any) -> None:
            calls.append((name, provider))

    with pytest.raises(LookupError), override_resource(Small(), "db", fake):  # type: ignore[arg-type]
        raise LookupError

    assert calls == [("db", fake), ("db", "original db")]
