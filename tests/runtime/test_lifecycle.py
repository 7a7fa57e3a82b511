"""What an engine is made of, and what comes before and after the tasks of a run: connector, subscribers, resources."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import (
    ConnectorDisconnected,
    Event,
    RunFinished,
    RunStarted,
    TaskBlocked,
    TaskExecutionStarted,
)
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import GlobalConstraint
from tests.engines import make_engine, names_of, run, watch


@cs.task
def one() -> int:
    return 1


@cs.task
def fails() -> int:
    raise ValueError("boom")


class Connector:
    """Writes down what is done to it; hands over ``retained`` messages at a subscription; may refuse."""

    def __init__(self, retained: Any = (), refuses: str = "") -> None:
        self.diary: list[Any] = []
        self.retained = retained
        self.refuses = refuses

    async def connect(self) -> None:
        self._note("connect")

    async def disconnect(self) -> None:
        self._note("disconnect")

    async def publish(self, topic: str, payload: Any, retain: bool = False, qos: int = 0) -> None:
        self._note("publish")

    async def subscribe(self, topic: str, callback: Any) -> None:
        self._note(f"subscribe {topic}")
        self.callback = callback
        for message in self.retained:
            await callback(*message)

    def _note(self, what: str) -> None:
        self.diary.append(what)
        if what == self.refuses:
            raise ConnectionError(what)


class Subscriber:
    """One that is to be shut down."""

    def __init__(self, diary: list[Any], name: str = "shutdown") -> None:
        self.diary = diary
        self.name = name

    async def shutdown(self) -> None:
        await asyncio.sleep(0)
        self.diary.append(self.name)
        if self.name == "bad":
            raise RuntimeError("bad shutdown")


# ------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.row("02-execution", "Engine", "solver, executor, bus, connector, cache_backend")
def test_parts_are_as_given() -> None:
    """Nothing is wrapped or copied, and the cache backend is kept for whoever looks for it."""
    solver, executor, bus, connector, cache = NativeSolver(), LocalExecutor(), MessageBus(), Connector(), object()

    engine = Engine(solver, executor, bus, connector=connector, cache_backend=cache)

    assert (engine.solver, engine.executor, engine.bus) == (solver, executor, bus)
    assert (engine.connector, engine.cache_backend) == (connector, cache)
    assert make_engine().connector is make_engine().cache_backend is None


@pytest.mark.row("02-execution", "Engine", "state_backend_factory")
def test_the_factory_of_state_backends_is_the_one_given_or_makes_them_in_memory() -> None:
    """The default one makes a backend of the run's id."""
    made = make_engine().state_backend_factory("run-7")

    assert type(made) is InMemoryStateBackend
    assert made._run_id == "run-7"
    assert make_engine(state_backend_factory=InMemoryStateBackend).state_backend_factory is InMemoryStateBackend


@pytest.mark.row("02-execution", "Engine", "resource_manager")
def test_the_manager_of_capacity_is_the_one_given_or_a_new_one() -> None:
    """System resources are the capacity of a new one, and replace that of a given one."""
    given = ResourceManager({"gpu": 1, "cpu": 4})

    assert make_engine(resource_manager=given).resource_manager is given
    assert given.can_acquire({"cpu": 4})
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        asyncio.run(given.acquire({"gpu": 2}))

    engine = make_engine(resource_manager=given, system_resources={"gpu": 2})

    assert engine.resource_manager is given
    assert given.can_acquire({"gpu": 2, "cpu": 1_000})
    assert not make_engine(system_resources={"gpu": 2}).resource_manager.can_acquire({"gpu": 3})
    assert make_engine().resource_manager.can_acquire({"gpu": 1_000})


@pytest.mark.row("02-execution", "Engine", "constraint_manager")
def test_the_manager_of_constraints_knows_three_types_and_wakes_the_engine() -> None:
    """Handlers for pause, concurrency and rate limit; its callback sets the engine's event."""
    engine = make_engine()

    assert set(engine.constraint_manager._handlers) == {"pause", "concurrency", "rate_limit"}
    assert not engine._wakeup_event.is_set()
    engine.constraint_manager.update_constraint(GlobalConstraint("p", "global", "pause", {}))
    assert engine._wakeup_event.is_set()


@pytest.mark.row("02-execution", "Engine", "resource_container, node_processor, graph_strategy, vm_strategy")
def test_strategies_are_replaceable() -> None:
    """What takes their place is executed with keywords: the graph strategy by default, the other with ``use_vm``."""
    engine = make_engine()
    for name, use_vm in (("graph_strategy", False), ("vm_strategy", True)):
        strategy = mock.Mock(spec=["execute"])
        strategy.execute = mock.AsyncMock(return_value=name)
        setattr(engine, name, strategy)
        target = one()

        assert asyncio.run(engine.run(target, {"p": 1}, use_vm=use_vm)) == name
        given = strategy.execute.await_args.kwargs
        assert set(given) == {"target", "run_id", "params", "state_backend", "run_stack", "active_resources"}
        assert (given["target"], given["params"]) == (target, {"p": 1})


# --------------------------------------------------------------------------------------------------------- connector


@pytest.mark.row("05-events-and-messages", "Order", "connector")
@pytest.mark.row(
    "05-events-and-messages",
    "Event classes (cascade.runtime.events, frozen dataclasses, every field has a default)",
    "ConnectorConnected, ConnectorDisconnected",
)
def test_a_connector_is_there_around_the_run() -> None:
    """Connected, told, subscribed; then the run; then subscribers are shut down, and it is disconnected."""
    connector = Connector()
    engine = make_engine(connector=connector)
    engine.bus.subscribe(Event, lambda event: connector.diary.append(type(event).__name__))
    seen = watch(engine)
    engine.add_subscriber(Subscriber(connector.diary))
    engine.add_subscriber(object())  # need not have a shutdown

    assert run(one(), engine) == 1
    assert connector.diary == [
        *("connect", "ConnectorConnected", "subscribe cascade/constraints/#", "RunStarted"),
        *("TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"),
        *("shutdown", "disconnect", "ConnectorDisconnected"),
    ]
    assert len({event.run_id for event in seen}) == 1


def test_a_connector_that_cannot_connect_ends_the_run() -> None:
    """No RunStarted, but the run is finished as failed, subscribers are shut down, and all is let go of."""
    connector = Connector(refuses="connect")
    engine = make_engine(connector=connector)
    seen = watch(engine)
    engine.add_subscriber(Subscriber(connector.diary))

    with pytest.raises(ConnectionError, match="connect"):
        run(one(), engine)

    assert names_of(seen) == ["RunFinished", "ConnectorDisconnected"]
    assert (seen[0].status, seen[0].error) == ("Failed", "ConnectionError: connect")  # type: ignore[attr-defined]
    assert connector.diary == ["connect", "shutdown", "disconnect"]


@pytest.mark.parametrize("ending", ["fails", "is cancelled"])
def test_a_run_that_does_not_end_well_lets_go_of_everything(ending: str) -> None:
    """Subscribers and connector hear of the end of a failed and of a cancelled run as of any other."""
    connector = Connector()
    engine = make_engine(connector=connector)
    seen = watch(engine, RunFinished, ConnectorDisconnected)
    engine.add_subscriber(Subscriber(connector.diary))

    @cs.task
    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        running = asyncio.ensure_future(engine.run(fails() if ending == "fails" else hangs()))
        await asyncio.sleep(0)
        if ending == "is cancelled":
            running.cancel()
        await running

    with pytest.raises(ValueError if ending == "fails" else asyncio.CancelledError):
        asyncio.run(main())

    assert [getattr(event, "status", "") for event in seen] == ["Failed" if ending == "fails" else "Cancelled", ""]
    assert connector.diary[-2:] == ["shutdown", "disconnect"]


def test_a_subscriber_that_cannot_be_shut_down_holds_up_nobody() -> None:
    """The others are shut down all the same, the connector is disconnected, and the error comes out."""
    connector = Connector()
    engine = make_engine(connector=connector)
    seen = watch(engine, ConnectorDisconnected)
    for name in ("first", "bad", "last"):
        engine.add_subscriber(Subscriber(connector.diary, name))

    with pytest.raises(RuntimeError, match="bad shutdown"):
        run(one(), engine)

    assert connector.diary[2:] == ["first", "bad", "last", "disconnect"]
    assert len(seen) == 1


@pytest.mark.parametrize("delivery", ["at once", "by a task"])
def test_constraints_that_the_broker_kept_are_in_force_before_the_first_task(delivery: str) -> None:
    """A retained pause holds the run up from the beginning, also if the connector delivers it in the background."""
    topic, pause = "cascade/constraints/global", {"id": "p", "scope": "global", "type": "pause", "params": {}}

    class Slower(Connector):
        async def subscribe(self, topic: str, callback: Any) -> None:
            subscribing = super().subscribe(topic, callback)
            self.delivering = asyncio.ensure_future(subscribing)

    connector = (Slower if delivery == "by a task" else Connector)([(topic, pause)])
    engine = make_engine(connector=connector)
    seen = watch(engine, TaskBlocked, TaskExecutionStarted)

    async def main() -> Any:
        running = asyncio.ensure_future(engine.run(one()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert names_of(seen) == ["TaskBlocked one"]
        await connector.callback(topic, {})
        return await running

    assert asyncio.run(main()) == 1
    assert names_of(seen) == ["TaskBlocked one", "TaskExecutionStarted one"]


def test_tasks_may_inject_the_connector() -> None:
    """It is the run-scoped resource ``_internal_connector``."""

    @cs.task
    def shown(found: Any = cs.inject("_internal_connector")) -> Any:
        return found

    connector = Connector()

    assert run(shown(), make_engine(connector=connector)) is connector


def test_runs_have_ids_of_their_own_and_parameters_of_their_start() -> None:
    """Each run of an engine has another id; parameters are {} if none were given."""
    engine = make_engine()
    seen = watch(engine, RunStarted)
    for params in (None, {"p": 1}):
        run(one(), engine, params)

    assert [event.params for event in seen] == [{}, {"p": 1}]  # type: ignore[attr-defined]
    assert len({event.run_id for event in seen}) == 2


# ---------------------------------------------------------------------------------------------------------- messages

PAUSE = {"id": "p", "scope": "task:one", "type": "pause", "params": {}}


def told(*messages: Any) -> Engine:
    """Return an engine that has got these messages."""
    engine = make_engine()
    for topic, payload in messages:
        asyncio.run(engine._on_constraint_update(topic, payload))
    return engine


@pytest.mark.row(
    "04-resources-and-constraints",
    "Messages to a running engine (topic cascade/constraints/#)",
    "{id, scope, type, params, expires_at?}",
)
def test_a_message_sets_a_constraint() -> None:
    """The payload says all; the time of expiry may be missing; whoever waits is woken."""
    engine = told(("cascade/constraints/task/one", {**PAUSE, "expires_at": 4e9}))

    (constraint,) = engine.constraint_manager._constraints.values()
    assert (constraint.id, constraint.scope, constraint.type) == ("p", "task:one", "pause")
    assert (constraint.params, constraint.expires_at) == ({}, 4e9)
    assert engine._wakeup_event.is_set()
    assert told(("cascade/constraints/x", PAUSE)).constraint_manager._constraints["p"].expires_at is None


@pytest.mark.row("04-resources-and-constraints", "Messages to a running engine (topic cascade/constraints/#)", "{}")
@pytest.mark.parametrize(
    "topic, left",
    [("task/one", ["g"]), ("global", ["p"]), ("x", ["p", "g"])],
)
def test_an_empty_message_lifts_the_scope_in_its_topic(topic: str, left: list[str]) -> None:
    """Levels after the second, joined with a colon, are the scope."""
    everywhere = {"id": "g", "scope": "global", "type": "pause", "params": {}}
    topics = ["cascade/constraints/task/one", "cascade/constraints/global", f"cascade/constraints/{topic}"]
    engine = told(*zip(topics, (PAUSE, everywhere, {}), strict=True))

    assert list(engine.constraint_manager._constraints) == left
    assert engine._wakeup_event.is_set()


@pytest.mark.row(
    "04-resources-and-constraints", "Messages to a running engine (topic cascade/constraints/#)", "malformed"
)
@pytest.mark.parametrize(
    "payload, cause",
    [
        ({"scope": "global", "type": "pause", "params": {}}, "'id'"),
        ({"id": "x", "scope": "global", "type": "pause"}, "'params'"),
        ({"id": "x", "scope": "global", "type": "concurrency", "params": {"limit": "many"}}, "many"),
        ([1, 2], ""),
        ("text", ""),
    ],
    ids=["no id", "no params", "no number", "list", "text"],
)
def test_a_malformed_message_is_reported_once_and_disturbs_nothing(
    payload: Any, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error with the cause; constraints in force stay, the engine goes on and looks again."""
    engine = told(("cascade/constraints/task/one", PAUSE), ("cascade/constraints/global", payload))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("[Engine] Error processing constraint")
    assert cause in lines[0]
    assert list(engine.constraint_manager._constraints) == ["p"]
    assert engine._wakeup_event.is_set()
