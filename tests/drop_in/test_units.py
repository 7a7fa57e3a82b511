"""Units of the engine in the manner of the older engine's tests: private attributes, clocks, mocks of single parts."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, call, patch

import pytest

import cascade as cs
from cascade.adapters.cache.in_memory import InMemoryCacheBackend
from cascade.adapters.caching.file_existence import FileExistenceCache
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.common.messaging.bus import MessageBus as Messages
from cascade.common.messaging.bus import MessageStore
from cascade.graph.build import build_graph
from cascade.graph.hashing import HashingService
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.graph.registry import NodeRegistry
from cascade.runtime.bus import MessageBus
from cascade.runtime.constraints.handlers import (
    ConcurrencyConstraintHandler,
    PauseConstraintHandler,
    RateLimitConstraintHandler,
)
from cascade.runtime.constraints.manager import ConstraintManager
from cascade.runtime.constraints.rate_limiter import RateLimiter
from cascade.runtime.engine import Engine
from cascade.runtime.events import Event, RunFinished, TaskEvent, TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.resource_manager import ResourceManager
from cascade.runtime.subscribers import HumanReadableLogSubscriber, TelemetrySubscriber
from cascade.spec.constraint import GlobalConstraint, ResourceConstraint
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.protocols import Executor, Solver, StateBackend
from cascade.spec.resource import Inject, ResourceDefinition
from cascade.spec.task import Task
from tests.drop_in.doubles import ListeningConnector, Spy, drive, engine_of


def node(name: str, **fields: Any) -> Node:
    return Node(structural_id=name, name=name, **fields)


# --------------------------------------------------------------------------------------------------------- executors


@pytest.mark.parametrize("kind", ["bare", "spec"])
def test_the_executor_takes_nodes_that_are_mocks(kind: str) -> None:
    """``callable_obj`` is all that a test sets; whatever else a mock answers means nothing."""

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    for function in (later, lambda x: x * 2):
        mocked = MagicMock(spec=Node) if kind == "spec" else MagicMock()
        mocked.callable_obj = function
        mocked.name = "mocked"

        assert drive(LocalExecutor().execute(mocked, [21], {})) == 42


def test_the_executor_takes_simple_namespaces() -> None:
    """An object with the attributes of the early version is a node."""
    stand_in = SimpleNamespace(callable_obj=lambda a, b: a - b, name="n", node_type="task")

    assert drive(LocalExecutor().execute(stand_in, [5], {"b": 3})) == 2
    with pytest.raises(TypeError, match="is not executable"):
        drive(LocalExecutor().execute(node("empty"), [], {}))


def test_protocols_may_be_subclassed() -> None:
    """Solver, Executor and StateBackend as base classes of the user's own."""

    class Mine(Solver):
        def resolve(self, graph: Any) -> Any:
            return [[one] for one in graph.nodes if not one.is_shadow]

    class Own(Executor):
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            return node.callable_obj(*args, **kwargs)

    class State(StateBackend):
        def __init__(self, run_id: str) -> None:
            self.inner = InMemoryStateBackend(run_id)

        async def put_result(self, node_id: str, result: Any) -> None:
            await self.inner.put_result(node_id, result)

        async def get_result(self, node_id: str) -> Any:
            return await self.inner.get_result(node_id)

        async def has_result(self, node_id: str) -> bool:
            return await self.inner.has_result(node_id)

        async def mark_skipped(self, node_id: str, reason: str) -> None:
            await self.inner.mark_skipped(node_id, reason)

        async def get_skip_reason(self, node_id: str) -> Any:
            return await self.inner.get_skip_reason(node_id)

    @cs.task
    def add(a: int, b: int) -> int:
        return a + b

    engine, _ = engine_of(Mine(), Own(), state_backend_factory=State)

    assert drive(engine.run(add(add(1, 2), b=add(3, 4)))) == 10


# ------------------------------------------------------------------------------------------------------- constraints


def test_handlers_with_a_manager_that_is_a_mock() -> None:
    """Each handler can be asked by itself."""
    manager, mocked = MagicMock(), MagicMock()
    mocked.name = "api_get"
    pause = GlobalConstraint("p", "task:api_*", "pause", {})
    limit = GlobalConstraint("c", "global", "concurrency", {"limit": 5})

    assert PauseConstraintHandler().handles_type() == "pause"
    assert PauseConstraintHandler().check_permission(mocked, pause, manager) is False

    handler = ConcurrencyConstraintHandler()
    handler.on_constraint_add(limit, manager)
    manager.resource_manager.update_resource.assert_called_once_with("constraint:concurrency:global", 5)
    assert handler.check_permission(mocked, limit, manager) is True
    requirements: dict[str, Any] = {}
    handler.append_requirements(mocked, limit, requirements, manager)
    assert requirements == {"constraint:concurrency:global": 1}


def test_a_rate_handler_asks_for_a_wakeup() -> None:
    """A denied node lets the manager be woken when there is a token again."""
    manager, handler = MagicMock(), RateLimitConstraintHandler()
    constraint = GlobalConstraint("r", "global", "rate_limit", {"rate": "10/s", "capacity": 1})
    handler.on_constraint_add(constraint, manager)

    assert handler.check_permission(node("n"), constraint, manager) is True
    assert handler.check_permission(node("n"), constraint, manager) is False
    (delay,) = manager.request_wakeup.call_args.args
    assert 0 < delay <= 0.1


def test_the_limiter_by_real_time() -> None:
    """Two tokens at once, the third after a while; unknown keys are free."""
    limiter = RateLimiter()
    limiter.update_bucket("k", rate=20, capacity=2)

    assert [limiter.try_acquire("k"), limiter.try_acquire("k")] == [0.0, 0.0]
    wait = limiter.try_acquire("k")
    assert 0 < wait <= 0.05
    assert limiter.try_acquire("unknown") == 0.0


def test_the_manager_with_a_resource_manager_that_is_a_mock() -> None:
    """Constraints are kept by id and removed by scope."""
    manager = ConstraintManager(MagicMock())
    manager.register_handler(PauseConstraintHandler())
    manager.update_constraint(GlobalConstraint("1", "task:a", "pause", {}))

    assert list(manager._constraints) == ["1"]
    assert manager.check_permission(node("a")) is False
    assert manager.check_permission(node("b")) is True
    assert manager.get_extra_requirements(node("a")) == {}

    manager.remove_constraints_by_scope("task:a")

    assert manager._constraints == {}


def test_expired_constraints_are_cleaned_up() -> None:
    """What is over is gone after ``cleanup_expired_constraints``, by the clock of ``time.time``."""
    manager = ConstraintManager(ResourceManager())
    manager.register_handler(PauseConstraintHandler())
    manager.update_constraint(GlobalConstraint("1", "global", "pause", {}, expires_at=time.time() + 100))
    assert manager.check_permission(node("a")) is False

    with patch("time.time", return_value=time.time() + 101):
        manager.cleanup_expired_constraints()

    assert manager._constraints == {}


def test_an_engine_with_a_constraint_manager_that_is_a_mock() -> None:
    """It is asked for each node, and what it requires is acquired."""
    engine, spy = engine_of(system_resources={"quota": 1})
    manager = MagicMock()
    manager.check_permission.return_value = True
    manager.get_extra_requirements.return_value = {"quota": 1}
    engine.constraint_manager = manager

    @cs.task
    def f(x: Any = 0) -> Any:
        return x

    assert drive(engine.run(f(f()))) == 0
    assert manager.check_permission.call_count == 2
    assert spy.names.count("TaskExecutionStarted") == 2


def test_amounts_in_use_can_be_read() -> None:
    """``_capacity`` and ``_usage`` by name."""
    manager = ResourceManager(capacity={"gpu": 2, "mem": "4.5"})

    async def main() -> None:
        await manager.acquire({"gpu": 1, "unknown": 7})
        assert manager._capacity == {"gpu": 2.0, "mem": 4.5}
        assert manager._usage["gpu"] == 1
        waiter = asyncio.ensure_future(manager.acquire({"gpu": 2}))
        await asyncio.sleep(0)
        assert not waiter.done()
        await manager.release({"gpu": 1})
        await asyncio.wait_for(waiter, 1)
        assert manager._usage["gpu"] == 2
        await manager.release({"gpu": 5})
        assert manager._usage["gpu"] == 0

    drive(main())


# --------------------------------------------------------------------------------------------------------- resources


def test_a_container_with_mocked_generators() -> None:
    """Plain generator functions are providers; an override is put back."""
    container = ResourceContainer(MessageBus())

    def real() -> Any:
        yield "real"

    def fake() -> Any:
        yield "fake"

    container.register(ResourceDefinition(func=real, name="db"))
    with container.override("db", fake):
        active: dict[str, Any] = {}
        with ExitStack() as run_stack, ExitStack() as step_stack:
            container.setup({"db"}, active, run_stack, step_stack, "r")
            assert active["db"] == "fake"
    assert container.get_provider("db") is real
    with container.override("new", fake):
        assert container.get_provider("new") is fake
    with pytest.raises(KeyError):
        container.get_provider("new")


def test_a_scan_of_a_graph_made_by_hand() -> None:
    """Markers in bindings and in a signature's defaults."""

    def function(a: Any, db: Any = cs.inject("db")) -> Any:
        return a

    graph = Graph(nodes=[node("n", callable_obj=function, input_bindings={"0": [Inject("cfg"), {"k": Inject("q")}]})])

    assert ResourceContainer(MessageBus()).scan(graph) == {"db", "cfg", "q"}


def test_a_resource_shared_by_two_tasks_is_set_up_once() -> None:
    """One instance, one setup, one teardown."""
    setup, teardown = MagicMock(return_value="conn"), MagicMock()

    @cs.resource
    def conn() -> Any:
        yield setup()
        teardown()

    @cs.task
    def use(x: Any, c: Any = cs.inject("conn")) -> Any:
        return c

    engine, _ = engine_of()
    engine.register(conn)

    assert drive(engine.run(use(use(1)))) == "conn"
    setup.assert_called_once_with()
    teardown.assert_called_once_with()


def test_a_value_of_the_caller_beats_an_injected_default() -> None:
    """By keyword and by position, and nothing is set up for nothing when given explicitly elsewhere."""

    @cs.resource
    def conn() -> Any:
        yield "conn"

    @cs.task
    def use(c: Any = cs.inject("conn")) -> Any:
        return c

    engine, _ = engine_of()
    engine.register(conn)

    assert drive(engine.run(use("mine"))) == "mine"
    assert drive(engine.run(use(c="mine"))) == "mine"
    assert drive(engine.run(use([cs.inject("conn"), {"k": cs.inject("conn")}]))) == ["conn", {"k": "conn"}]


# -------------------------------------------------------------------------------------------------------------- buses


def test_order_of_handlers() -> None:
    """Own class in order of subscription, then the wildcard; private dicts show who subscribed."""
    bus, log = MessageBus(), MagicMock()
    bus.subscribe(Event, log.wildcard)
    bus.subscribe(TaskExecutionStarted, log.first)
    bus.subscribe(TaskExecutionStarted, log.second)
    bus.subscribe(TaskEvent, log.base)
    event = TaskExecutionStarted(task_name="t")
    bus.publish(event)

    assert log.mock_calls == [call.first(event), call.second(event), call.base(event), call.wildcard(event)]
    assert bus._subscribers[TaskExecutionStarted] == [log.first, log.second]
    assert bus._wildcard_subscribers == [log.wildcard]


def test_a_message_bus_with_a_renderer_that_is_a_mock() -> None:
    """``render(msg_id, level, **data)``, and silence without a renderer."""
    store = MessageStore(locale="en")
    messages, renderer = Messages(store), MagicMock()
    messages.info("run.started", target_tasks=["t"])
    messages.set_renderer(renderer)
    messages.error("run.finished_failure", duration=1.0, error="E: x")

    (given,) = renderer.render.call_args_list
    shown = {**dict(zip(("msg_id", "level"), given.args, strict=False)), **given.kwargs}
    shown["level"] = shown["level"].upper()
    assert shown == {"msg_id": "run.finished_failure", "level": "ERROR", "duration": 1.0, "error": "E: x"}


def test_a_store_that_tests_add_to() -> None:
    """``_messages`` is a plain dict; unknown ids and missing keys are shown, not raised."""
    store = MessageStore()
    store._messages["my.id"] = "hello {name}"

    assert store.get("my.id", name="you") == "hello you"
    assert store.get("nothing") == "<nothing>"
    assert store.get("nothing", "default") == "default"
    assert store.get("my.id").startswith("<Formatting error for 'my.id': missing key")
    assert MessageStore(locale="xx").get("run.started", "none") == "none"


def test_the_log_subscriber_and_a_failing_run() -> None:
    """``bus.error`` for the task, then for the run."""

    @cs.task
    def fails() -> None:
        raise ValueError("boom")

    event_bus = MessageBus()
    HumanReadableLogSubscriber(event_bus)
    with patch("cascade.runtime.subscribers.bus") as patched, pytest.raises(ValueError, match="boom"):
        drive(Engine(NativeSolver(), LocalExecutor(), event_bus).run(fails()))

    assert [given.args[0] for given in patched.error.call_args_list] == [
        "task.finished_failure",
        "run.finished_failure",
    ]
    task_data, run_data = (given.kwargs for given in patched.error.call_args_list)
    assert set(task_data) == {"task_name", "duration", "error"}
    assert run_data["error"] == "ValueError: boom"


def test_telemetry_through_a_mock() -> None:
    """``connector.publish`` is awaited with topic and payload; shutdown waits for it."""

    async def main() -> Any:
        bus, connector = MessageBus(), AsyncMock()
        subscriber = TelemetrySubscriber(bus, connector)
        bus.publish(TaskExecutionFinished(run_id="r", task_id="i", task_name="t", status="Succeeded", duration=0.5))
        await subscriber.shutdown()
        return connector.publish.await_args

    (topic, payload), _ = drive(main())
    assert topic == "cascade/telemetry/local/default/r/events"
    assert payload["body"]["state"] == "COMPLETED"
    assert payload["body"]["duration_ms"] == 500.0


def test_an_engine_with_telemetry_hands_everything_over() -> None:
    """A connector whose ``publish`` takes topic and payload only gets all of a run, in order."""

    class Small:
        def __init__(self) -> None:
            self.states: list[str] = []

        async def connect(self) -> None: ...

        async def disconnect(self) -> None:
            self.states.append("gone")

        async def publish(self, topic: str, payload: Any) -> None:
            self.states.append(payload["body"].get("state") or payload["body"]["event"])

        async def subscribe(self, topic: str, callback: Any) -> None: ...

    connector = Small()
    engine, _ = engine_of(connector=connector)
    engine.add_subscriber(TelemetrySubscriber(engine.bus, connector))  # type: ignore[arg-type]
    drive(engine.run(cs.task(lambda: 1, name="t")()))

    assert connector.states == ["ENGINE_STARTED", "RUNNING", "COMPLETED", "ENGINE_STOPPED", "gone"]


# -------------------------------------------------------------------------------------------------------------- state


def test_the_backend_in_memory_by_hand() -> None:
    """Its dicts have the published names."""

    async def main() -> None:
        backend = InMemoryStateBackend(run_id="r")
        await backend.put_result("n", 1)
        await backend.mark_skipped("m", "why")
        assert (backend._results, backend._skipped) == ({"n": 1}, {"m": "why"})
        assert await backend.has_result("n")
        assert await backend.get_skip_reason("m") == "why"
        assert await backend.get_result("never") is None

    drive(main())


def test_a_cache_backend_by_hand() -> None:
    """``_store`` and ``_expiry`` are there to look at."""

    async def main() -> None:
        backend = InMemoryCacheBackend()
        await backend.set("k", "v", ttl=100)
        assert backend._store["k"] == "v"
        assert "k" in backend._expiry
        await backend.set("k", "w")
        assert "k" not in backend._expiry

    drive(main())


def test_a_file_policy_in_a_run(tmp_path: Any) -> None:
    """The value of a hit is the path; the task does not run again."""
    target, calls = tmp_path / "out.txt", []

    @cs.task
    def make(text: str) -> str:
        calls.append(text)
        target.write_text(text)
        return str(target)

    policy = FileExistenceCache(str(target))
    engine, spy = engine_of()

    assert drive(engine.run(make("x").with_cache(policy))) == str(target)
    assert drive(engine.run(make("x").with_cache(policy))) == str(target)
    assert calls == ["x"]
    assert "TaskSkipped" in spy.names


# -------------------------------------------------------------------------------------------------------- lazy, graph


def test_lazy_results_made_by_hand() -> None:
    """Constructor keywords, defaults, hash by uuid."""

    @cs.task
    def f(*args: Any, **kwargs: Any) -> Any:
        return args

    lazy = LazyResult(task=f, args=(1,), kwargs={"k": 2})
    mapped = MappedLazyResult(factory=f, mapping_kwargs={"x": [1]})

    assert isinstance(f, Task)
    assert isinstance(f(1), LazyResult)
    assert (lazy._retry_policy, lazy._dependencies) == (None, [])
    assert hash(lazy) == hash(lazy._uuid)
    assert hash(mapped) == hash(mapped._uuid)
    assert {lazy: "found"}[lazy] == "found"
    assert drive(engine_of()[0].run(LazyResult(task=cs.task(lambda a, k: a + k), args=(1,), kwargs={"k": 2}))) == 3


def test_a_registry_shares_nodes() -> None:
    """The same registry, equal pure calls: the very same node."""

    @cs.task(pure=True)
    def f(x: int) -> int:
        return x

    registry = NodeRegistry()
    (first, _), (second, _) = build_graph(f(1), registry=registry), build_graph(f(1), registry=registry)

    assert first.nodes[0] is second.nodes[0]
    made, created = registry.get_or_create("key", lambda: node("x"))
    assert created
    assert registry.get_or_create("key", lambda: node("y")) == (made, False)
    assert registry.get("key") is made
    assert registry.get("unknown") is None


def test_hashes_with_mocked_dependencies() -> None:
    """``dep_nodes`` maps uuids to anything with the two ids."""

    @cs.task(pure=True)
    def f(x: Any) -> Any:
        return x

    inner = f(1)
    dependency = MagicMock(structural_id="s" * 64, template_id="t" * 64)
    structural, template = HashingService().compute_hashes(f(inner), {inner._uuid: dependency})

    assert (len(structural), len(template)) == (64, 64)
    assert structural != template


def test_a_graph_by_hand_is_planned() -> None:
    """Nodes and edges made in a test: layers, cycles, shadows."""
    a, b, c, shadow = node("a"), node("b"), node("c"), node("s", is_shadow=True)
    graph = Graph()
    for one in (a, b, c, shadow):
        graph.add_node(one)
    graph.add_edge(Edge(a, c, arg_name="0"))
    graph.add_edge(Edge(b, c, arg_name="<sequence>", edge_type=EdgeType.SEQUENCE))
    graph.add_edge(Edge(a, shadow, arg_name="<potential>", edge_type=EdgeType.POTENTIAL))

    assert NativeSolver().resolve(graph) == [[a, b], [c]]
    graph.add_edge(Edge(c, a, arg_name="0"))
    with pytest.raises(ValueError, match="Cycle detected"):
        NativeSolver().resolve(graph)


def test_amounts_of_a_call_are_those_of_its_node() -> None:
    """``with_constraints`` ends up on the node, lazies included."""

    @cs.task
    def amount() -> int:
        return 1

    lazy = amount().with_constraints(gpu=1, mem=amount())
    graph, instances = build_graph(lazy)

    assert isinstance(instances[lazy._uuid].constraints, ResourceConstraint)
    assert instances[lazy._uuid].constraints.requirements["gpu"] == 1  # type: ignore[union-attr]
    assert [(edge.arg_name, edge.edge_type) for edge in graph.edges] == [("mem", EdgeType.CONSTRAINT)]


def test_runs_of_one_engine_at_once() -> None:
    """Gathered runs do not mix results or run ids."""

    @cs.task
    async def double(x: int) -> int:
        await asyncio.sleep(0.001)
        return x * 2

    async def main() -> Any:
        bus = MessageBus()
        spy = Spy(bus)
        engine = Engine(NativeSolver(), LocalExecutor(), bus)
        values = await asyncio.gather(*(engine.run(double(double(n))) for n in range(10)))
        return values, {event.run_id for event in spy.of(RunFinished)}

    values, ids = drive(main())
    assert values == [n * 4 for n in range(10)]
    assert len(ids) == 10


def test_a_connector_whose_methods_are_mocks() -> None:
    """``AsyncMock()`` as a connector: connected, subscribed once, disconnected."""
    connector = AsyncMock()
    engine, spy = engine_of(connector=connector)

    assert drive(engine.run(cs.task(lambda: 1, name="t")())) == 1
    connector.connect.assert_awaited_once()
    connector.disconnect.assert_awaited_once()
    assert connector.subscribe.await_args.args[0] == "cascade/constraints/#"
    assert (spy.names[0], spy.names[-1]) == ("ConnectorConnected", "ConnectorDisconnected")


def test_a_limit_that_is_raised_while_calls_wait() -> None:
    """From one at a time to four."""
    connector = ListeningConnector()
    engine, _ = engine_of(connector=connector)
    running: set[int] = set()
    most: list[int] = []

    @cs.task
    async def work(n: int) -> int:
        running.add(n)
        most.append(len(running))
        if n == 0:
            await connector.tell(
                "cascade/constraints/task/work",
                {"id": "c", "scope": "task:work", "type": "concurrency", "params": {"limit": 4}},
            )
        await asyncio.sleep(0.005)
        running.remove(n)
        return n

    limit = {"id": "c", "scope": "task:work", "type": "concurrency", "params": {"limit": 1}}
    connector.retained["cascade/constraints/task/work"] = limit

    assert drive(engine.run(work.map(n=list(range(5))))) == list(range(5))
    assert most[0] == 1
    assert max(most) == 4
