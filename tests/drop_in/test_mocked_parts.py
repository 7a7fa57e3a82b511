"""Programs in the manner of the older engine's tests, whose solvers, executors, nodes and backends are mocks."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any
from unittest.mock import ANY, AsyncMock, MagicMock, call, patch

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.runtime.bus import MessageBus
from cascade.runtime.constraints.manager import ConstraintManager
from cascade.runtime.engine import Engine
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted, TaskSkipped
from cascade.runtime.exceptions import DependencyMissingError, ResourceNotFoundError
from cascade.runtime.flow import FlowManager
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resolvers import ArgumentResolver, ConstraintResolver
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.resource_manager import ResourceManager
from cascade.runtime.strategies.graph import GraphExecutionStrategy
from cascade.spec.constraint import ResourceConstraint
from tests.drop_in.doubles import FixedSolver, LoggingExecutor, drive, engine_of


@cs.task
def a() -> str:
    return "a"


@cs.task
def b(value: Any) -> str:
    return f"b({value})"


def test_a_fixed_plan_is_followed() -> None:
    """A plan of the nodes of another build of the same target is executed as it stands."""
    target = b(a())
    graph, _ = build_graph(target)
    by_name = {node.name: node for node in graph.nodes}
    executor = LoggingExecutor()
    engine, spy = engine_of(FixedSolver([[by_name["a"]], [by_name["b"]]]), executor)

    assert drive(engine.run(target)) == "b_result"
    assert [(node.name, args, kwargs) for node, args, kwargs in executor.log] == [
        ("a", [], {}),
        ("b", ["a_result"], {}),
    ]
    assert [node.callable_obj for node, _, _ in executor.log] == [by_name["a"].callable_obj, by_name["b"].callable_obj]
    assert spy.names == [
        "RunStarted",
        *("TaskExecutionStarted", "TaskExecutionFinished") * 2,
        "RunFinished",
    ]


def test_nodes_that_an_executor_gets_are_those_of_a_build() -> None:
    """A node compares equal to the one that building the same target gives."""
    target = b(a())
    graph, _ = build_graph(target)
    executor = LoggingExecutor()
    engine, _ = engine_of(FixedSolver([[graph.nodes[0]], [graph.nodes[1]]]), executor)

    drive(engine.run(target))

    assert [node.structural_id for node, _, _ in executor.log] == [node.structural_id for node in graph.nodes]
    assert [node for node, _, _ in executor.log] == graph.nodes


def test_a_mocked_solver_is_asked_with_a_graph() -> None:
    """``MagicMock`` in place of the solver: one call for one target, with the graph of that target."""
    solver = MagicMock()
    solver.resolve.side_effect = NativeSolver().resolve
    engine, _ = engine_of(solver)

    assert drive(engine.run(b(a()))) == "b(a)"
    solver.resolve.assert_called_once()
    (graph,) = solver.resolve.call_args.args
    assert isinstance(graph, Graph)
    assert [node.name for node in graph.nodes] == ["a", "b"]


def test_a_mocked_executor_gets_lists_and_dicts() -> None:
    """``execute`` is awaited with node, a list and a dict."""
    executor = MagicMock()
    executor.execute = AsyncMock(side_effect=["first", "last"])
    engine, _ = engine_of(executor=executor)

    assert drive(engine.run(b(value=a()))) == "last"
    assert executor.execute.await_args_list == [call(ANY, [], {}), call(ANY, [], {"value": "first"})]


def test_an_executor_that_is_a_mock_throughout_is_awaited_for_every_step() -> None:
    """A loop through a mock: the values that it gives decide how long it goes on."""

    @cs.task
    def step(n: int) -> Any:
        raise AssertionError("never called")

    executor = AsyncMock()
    executor.execute.side_effect = [step(2), step(1), "done"]
    engine, _ = engine_of(executor=executor)

    assert drive(engine.run(step(3))) == "done"
    assert [given.args[1] for given in executor.execute.await_args_list] == [[3], [2], [1]]


def test_builds_are_counted_where_the_strategy_looks() -> None:
    """``cascade.runtime.strategies.graph.build_graph`` may be patched, and its calls counted."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    engine, _ = engine_of()
    with patch("cascade.runtime.strategies.graph.build_graph", side_effect=build_graph) as counted:
        assert drive(engine.run(down(20))) == "end"

    assert counted.call_count == 1


def test_builds_of_a_loop_whose_argument_becomes_a_value() -> None:
    """First a lazy argument, then its value: exactly two builds and two plans."""

    @cs.task
    def load() -> int:
        return 5

    @cs.task
    def loop(n: int) -> Any:
        return loop(n - 1) if n > 0 else "end"

    solver = MagicMock(wraps=NativeSolver())
    engine, _ = engine_of(solver)
    with patch("cascade.runtime.strategies.graph.build_graph", wraps=build_graph) as counted:
        assert drive(engine.run(loop(load()))) == "end"

    assert (counted.call_count, solver.resolve.call_count) == (2, 2)


def test_a_state_backend_of_mocks_sees_the_result() -> None:
    """An ``AsyncMock`` in place of the backend is told the results and asked for them."""
    results: dict[str, Any] = {}
    backend = AsyncMock()
    backend.put_result.side_effect = results.__setitem__
    backend.get_result.side_effect = results.get
    backend.has_result.side_effect = results.__contains__
    backend.get_skip_reason.return_value = None
    engine, _ = engine_of(state_backend_factory=lambda run_id: backend)

    assert drive(engine.run(b(a()))) == "b(a)"
    assert sorted(results.values()) == ["a", "b(a)"]


def test_a_factory_that_is_a_mock_is_called_with_the_run_id() -> None:
    """One call for each run, with the id that the run's events carry."""
    factory = MagicMock(side_effect=InMemoryStateBackend)
    engine, spy = engine_of(state_backend_factory=factory)

    drive(engine.run(a()))

    factory.assert_called_once_with(spy.events[0].run_id)


def test_a_backend_without_clear_is_tolerated() -> None:
    """A class of the user's with the five old methods serves a loop."""

    class Old:
        def __init__(self, run_id: str) -> None:
            self.results: dict[str, Any] = {}

        async def put_result(self, node_id: str, result: Any) -> None:
            self.results[node_id] = result

        async def get_result(self, node_id: str) -> Any:
            return self.results.get(node_id)

        async def has_result(self, node_id: str) -> bool:
            return node_id in self.results

        async def mark_skipped(self, node_id: str, reason: str) -> None:
            raise AssertionError("nothing is skipped")

        async def get_skip_reason(self, node_id: str) -> None:
            return None

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    engine, _ = engine_of(state_backend_factory=Old)

    assert drive(engine.run(down(3))) == "end"


# ------------------------------------------------------------------------------------------------ the flow manager


def mock_node(name: str) -> Any:
    node = MagicMock()
    node.structural_id = name
    node.name = name
    return node


def lazy_stub(name: str) -> Any:
    stub = MagicMock()
    stub._uuid = f"uuid-{name}"
    return stub


def mock_backend(results: dict[str, Any] | None = None, skipped: dict[str, str] | None = None) -> Any:
    results, skipped = results or {}, skipped if skipped is not None else {}
    backend = AsyncMock()
    backend.has_result.side_effect = lambda node_id: node_id in results
    backend.get_result.side_effect = lambda node_id: results.get(node_id)
    backend.get_skip_reason.side_effect = lambda node_id: skipped.get(node_id)
    backend.mark_skipped.side_effect = skipped.__setitem__
    return backend


def test_the_flow_manager_prunes_mocked_nodes() -> None:
    """Fed with mocks that have ids alone: the other branch and its own input are marked, the shared one is not."""
    nodes = {name: mock_node(name) for name in ("selector", "shared", "only_b", "route_a", "route_b", "consumer")}
    stubs = {name: lazy_stub(name) for name in nodes}
    router = cs.Router(selector=stubs["selector"], routes={"a": stubs["route_a"], "b": stubs["route_b"]})
    graph = Graph()
    for node in nodes.values():
        graph.add_node(node)

    def edge(source: str, to: str, name: str, kind: EdgeType = EdgeType.DATA, through: Any = None) -> None:
        graph.add_edge(Edge(nodes[source], nodes[to], arg_name=name, edge_type=kind, router=through))

    edge("selector", "consumer", "0", through=router)
    edge("route_a", "consumer", "0.route[a]", EdgeType.ROUTER_ROUTE)
    edge("route_b", "consumer", "0.route[b]", EdgeType.ROUTER_ROUTE)
    edge("shared", "route_a", "0")
    edge("shared", "route_b", "0")
    edge("only_b", "route_b", "1")
    manager = FlowManager(graph, "consumer", {stub._uuid: nodes[name] for name, stub in stubs.items()})

    assert manager.downstream_demand == {
        "selector": 1,
        "shared": 2,
        "only_b": 1,
        "route_a": 1,
        "route_b": 1,
        "consumer": 1,
    }
    assert set(manager.routers_by_selector) == {"selector"}
    assert manager.route_source_map["consumer"] == {"0.route[a]": "route_a", "0.route[b]": "route_b"}

    skipped: dict[str, str] = {}
    drive(manager.register_result("selector", "a", mock_backend({"selector": "a"}, skipped)))

    assert skipped == {"route_b": "Pruned", "only_b": "Pruned"}
    assert manager.downstream_demand["shared"] == 1


@pytest.mark.parametrize(
    "kind, results, skipped, reason",
    [
        (EdgeType.CONDITION, {"up": False}, {}, "ConditionFalse"),
        (EdgeType.CONDITION, {"up": True}, {}, None),
        (EdgeType.CONDITION, {}, {"up": "x"}, "UpstreamSkipped_Condition"),
        (EdgeType.CONDITION, {}, {}, "ConditionMissing"),
        (EdgeType.SEQUENCE, {}, {"up": "x"}, "UpstreamSkipped_Sequence"),
        (EdgeType.DATA, {}, {"up": "x"}, "UpstreamSkipped_Data"),
        (EdgeType.DATA, {"up": 1}, {}, None),
    ],
)
def test_the_flow_manager_judges_mocked_nodes(kind: Any, results: Any, skipped: Any, reason: Any) -> None:
    """``should_skip`` needs ids and edges only."""
    up, down = mock_node("up"), mock_node("down")
    graph = Graph(nodes=[up, down], edges=[Edge(up, down, arg_name="x", edge_type=kind)])
    manager = FlowManager(graph, "down", {})

    assert drive(manager.should_skip(down, mock_backend(results, skipped))) == reason


def test_the_flow_manager_takes_a_graph_that_is_a_mock() -> None:
    """``graph.nodes`` and ``graph.edges`` are all that it reads."""
    up, down = mock_node("up"), mock_node("down")
    graph = MagicMock()
    graph.nodes, graph.edges = [up, down], [Edge(up, down, arg_name="0")]
    manager = FlowManager(graph, "down", {})

    assert manager.downstream_demand == {"up": 1, "down": 1}
    assert drive(manager.should_skip(down, mock_backend({}, {"up": "ConditionFalse"}))) == "UpstreamSkipped_Data"


def test_nodes_with_the_spec_of_a_node_are_mocks_too() -> None:
    """``MagicMock(spec=Node)`` is what a careful author feeds the manager with."""
    up, down = MagicMock(spec=Node), MagicMock(spec=Node)
    up.structural_id, down.structural_id = "up", "down"
    graph = Graph(nodes=[up, down], edges=[Edge(up, down, arg_name="0")])
    manager = FlowManager(graph, "down", {})

    assert manager.downstream_demand == {"up": 1, "down": 1}
    assert drive(manager.should_skip(down, mock_backend({"up": 0}))) is None


# --------------------------------------------------------------------------------------------------- the resolvers


def test_arguments_are_resolved_for_a_node_made_by_hand() -> None:
    """Positions keep their index, edges beat literals, and a mocked backend is asked for the results."""
    up = Node(structural_id="up", name="up", template_id="")
    node = Node(structural_id="n", name="n", template_id="", input_bindings={"0": "zero", "key": "k"})
    graph = Graph(nodes=[up, node], edges=[Edge(up, node, arg_name="1")])
    backend = mock_backend({"up": 41})

    args, kwargs = drive(ArgumentResolver().resolve(node, graph, backend, {}, {}))

    assert (args, kwargs) == (["zero", 41], {"key": "k"})


@pytest.mark.parametrize("spec", [None, Node])
def test_arguments_are_resolved_for_mocks_of_nodes_and_graphs(spec: Any) -> None:
    """Bindings, edges and the callable's defaults are all that is read of them."""

    def function(first: Any, second: Any, db: Any = cs.inject("db")) -> Any: ...

    up, node, graph = MagicMock(spec=spec), MagicMock(spec=spec), MagicMock()
    up.structural_id, node.structural_id, node.name = "up", "n", "n"
    node.input_bindings = {"0": "zero"}
    node.callable_obj = function
    graph.edges, graph.nodes = [Edge(up, node, arg_name="second")], [up, node]

    args, kwargs = drive(ArgumentResolver().resolve(node, graph, mock_backend({"up": 41}), {"db": "DB"}, {}))

    assert (args, kwargs) == (["zero"], {"second": 41, "db": "DB"})


def test_a_missing_input_of_a_node_made_by_hand() -> None:
    """The error carries consumer, argument and dependency."""
    up = Node(structural_id="up", name="up", template_id="")
    node = Node(structural_id="n", name="n", template_id="")
    graph = Graph(nodes=[up, node], edges=[Edge(up, node, arg_name="x")])

    with pytest.raises(DependencyMissingError) as raised:
        drive(ArgumentResolver().resolve(node, graph, mock_backend(), {}, {}))

    assert (raised.value.task_id, raised.value.arg_name, raised.value.dependency_id) == ("n", "x", "up")
    assert "missing input for argument 'x'" in str(raised.value)


def test_a_marker_of_a_node_made_by_hand() -> None:
    """Markers become resources, wherever they are; a missing one is named."""
    node = Node(
        structural_id="n",
        name="n",
        template_id="",
        input_bindings={"0": [cs.inject("db")], "x": {"k": cs.inject("db")}},
        has_complex_inputs=True,
    )
    graph = Graph(nodes=[node], edges=[])

    assert drive(ArgumentResolver().resolve(node, graph, mock_backend(), {"db": "DB"}, {})) == (
        [["DB"]],
        {"x": {"k": "DB"}},
    )
    with pytest.raises(ResourceNotFoundError, match="Resource 'db' required by"):
        drive(ArgumentResolver().resolve(node, graph, mock_backend(), {}, {}))


def test_amounts_of_a_node_made_by_hand() -> None:
    """A lazy amount is its result, found through the instance map; a mocked manager adds what it wants."""
    amount = lazy_stub("amount")
    source = Node(structural_id="amount", name="amount", template_id="")
    node = Node(structural_id="n", name="n", template_id="")
    node.constraints = ResourceConstraint(requirements={"gpu": 1, "mem": a()})
    node.constraints.requirements["mem"] = lazy = a()
    graph = Graph(nodes=[source, node], edges=[])
    manager = MagicMock()
    manager.get_extra_requirements.return_value = {"constraint:concurrency:global": 1}
    backend = mock_backend({"amount": 8})

    found = drive(ConstraintResolver().resolve(node, graph, backend, manager, {lazy._uuid: source}))

    assert found == {"gpu": 1, "mem": 8, "constraint:concurrency:global": 1}
    assert amount._uuid == "uuid-amount"


# ------------------------------------------------------------------------------------ processor, strategy, container


def test_a_processor_of_mocks_runs_a_node() -> None:
    """Executor, bus and managers are mocks; the result is the executor's, and two events are published."""
    executor, bus = AsyncMock(), MagicMock()
    executor.execute.return_value = 42
    resources, constraints = AsyncMock(), MagicMock()
    resources.can_acquire = MagicMock(return_value=True)
    constraints.get_extra_requirements.return_value = {}
    processor = NodeProcessor(executor, bus, resources, constraints, MagicMock())
    graph, instance_map = build_graph(a())

    async def runner(*_: Any) -> Any:
        raise AssertionError("there is no map")

    value = drive(processor.process(graph.nodes[0], graph, mock_backend(), {}, "run-1", {}, runner, instance_map))

    assert value == 42
    published = [given.args[0] for given in bus.publish.call_args_list]
    assert [type(event) for event in published] == [TaskExecutionStarted, TaskExecutionFinished]
    assert {event.run_id for event in published} == {"run-1"}


def test_a_processor_asks_a_mocked_cache_policy() -> None:
    """A hit is returned without a call of the executor, and told as a skip."""
    executor, bus, policy = AsyncMock(), MagicMock(), AsyncMock()
    policy.check.return_value = "cached"
    processor = NodeProcessor(executor, bus, ResourceManager(), ConstraintManager(ResourceManager()), MagicMock())
    graph, instance_map = build_graph(b(1).with_cache(policy))

    value = drive(processor.process(graph.nodes[0], graph, mock_backend(), {}, "run-1", {}, AsyncMock(), instance_map))

    assert value == "cached"
    executor.execute.assert_not_awaited()
    policy.save.assert_not_awaited()
    (skip,) = [given.args[0] for given in bus.publish.call_args_list]
    assert isinstance(skip, TaskSkipped)
    assert skip.reason == "CacheHit"


def test_a_processor_gives_the_items_of_a_map_to_a_mocked_runner() -> None:
    """One call of the runner for each item, with params and backend; its values are the map's."""
    processor = NodeProcessor(LocalExecutor(), MessageBus(), ResourceManager(), MagicMock(), MagicMock())
    graph, instance_map = build_graph(b.map(value=[1, 2]))
    runner, backend = AsyncMock(side_effect=["x", "y"]), mock_backend()

    value = drive(processor.process(graph.nodes[0], graph, backend, {}, "r", {"p": 1}, runner, instance_map))

    assert value == ["x", "y"]
    assert [given.args[0].kwargs for given in runner.await_args_list] == [{"value": 1}, {"value": 2}]
    assert [given.args[1:] for given in runner.await_args_list] == [({"p": 1}, backend)] * 2


def test_a_mocked_processor_of_an_engine_is_asked_for_every_node() -> None:
    """``engine.node_processor.process = AsyncMock(...)`` decides over all values."""
    engine, _ = engine_of()
    engine.node_processor.process = AsyncMock(side_effect=["x", "y"])  # type: ignore[method-assign]

    assert drive(engine.run(b(a()))) == "y"
    assert engine.node_processor.process.await_count == 2


def test_a_strategy_is_put_together_by_hand() -> None:
    """Seven parts as positional arguments, executed with a stack and an empty dict of resources."""
    from contextlib import ExitStack

    bus, resources = MessageBus(), ResourceManager()
    constraints = ConstraintManager(resources)
    processor = NodeProcessor(LocalExecutor(), bus, resources, constraints, NativeSolver())
    container = ResourceContainer(bus)

    async def main() -> Any:
        strategy = GraphExecutionStrategy(NativeSolver(), processor, container, constraints, bus, asyncio.Event())
        with ExitStack() as stack:
            return await strategy.execute(b(a()), "run-1", {}, InMemoryStateBackend("run-1"), stack, {})

    assert drive(main()) == "b(a)"


def test_a_mocked_strategy_of_an_engine_gets_keywords() -> None:
    """``engine.graph_strategy = AsyncMock()``: one ``execute`` with the run's id and parameters."""
    engine, spy = engine_of()
    strategy = AsyncMock()
    strategy.execute.return_value = "from the mock"
    engine.graph_strategy = strategy
    target = a()

    assert drive(engine.run(target, params={"k": 1})) == "from the mock"
    given = strategy.execute.await_args.kwargs
    assert given["target"] is target
    assert given["params"] == {"k": 1}
    assert given["run_id"] == spy.events[0].run_id
    assert spy.names == ["RunStarted", "RunFinished"]


@pytest.mark.row(
    "02-execution",
    "Fast path (ours; the older one cached by cycle id and was wrong whenever arguments changed shape)",
    "_execute_graph(target, params, active_resources, run_id, state_backend, graph, plan, "
    "instance_map, root_input_overrides=None)",
)
def test_execute_graph_called_by_hand() -> None:
    """The strategy's stage loop runs a graph and plan that were made elsewhere."""
    engine, _ = engine_of()
    target = b(a())
    graph, instance_map = build_graph(target)
    plan = NativeSolver().resolve(graph)
    backend = InMemoryStateBackend("run-1")

    value = drive(engine.graph_strategy._execute_graph(target, {}, {}, "run-1", backend, graph, plan, instance_map))

    assert value == "b(a)"


@pytest.mark.row(
    "02-execution",
    "Fast path (ours; the older one cached by cycle id and was wrong whenever arguments changed shape)",
    "_execute_graph(target, params, active_resources, run_id, state_backend, graph, plan, "
    "instance_map, root_input_overrides=None)",
)
def test_execute_graph_overrides_the_inputs_of_its_root() -> None:
    """``root_input_overrides`` replaces arguments of the target by name and position."""
    engine, _ = engine_of()

    @cs.task
    def two(x: int, y: int) -> tuple[int, int]:
        return x, y

    target = two(1, y=2)
    graph, instance_map = build_graph(target)
    plan = NativeSolver().resolve(graph)
    backend = InMemoryStateBackend("run-1")
    value = drive(
        engine.graph_strategy._execute_graph(
            target, {}, {}, "run-1", backend, graph, plan, instance_map, {"0": 10, "y": 20}
        )
    )

    assert value == (10, 20)


def test_a_plan_is_indexed_and_brought_back() -> None:
    """The indexed plan is a list of lists of positions, and the inverse gives the stages."""
    engine, _ = engine_of()
    graph, _ = build_graph(b(b(a())))
    plan = NativeSolver().resolve(graph)

    indexed = engine.graph_strategy._index_plan(graph, plan)

    assert indexed == [[0], [1], [2]]
    assert engine.graph_strategy._rehydrate_plan(graph, [[0], [1], [2]]) == plan


def test_caches_of_the_strategy_fill() -> None:
    """``_template_plan_cache`` and ``_cycle_cache`` are empty dicts that a loop fills; equal runs add nothing."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    engine, _ = engine_of()
    strategy = engine.graph_strategy
    assert (len(strategy._template_plan_cache), len(strategy._cycle_cache)) == (0, 0)

    drive(engine.run(down(3)))
    assert (len(strategy._template_plan_cache), len(strategy._cycle_cache)) == (1, 1)

    drive(engine.run(down(30)))
    assert (len(strategy._template_plan_cache), len(strategy._cycle_cache)) == (1, 1)


def test_a_mocked_container_of_resources() -> None:
    """``ResourceContainer(bus=MagicMock())`` publishes on the mock."""
    from contextlib import ExitStack

    bus = MagicMock()
    container = ResourceContainer(bus)

    @cs.resource
    def db() -> Any:
        yield "DB"

    container.register(db)
    active: dict[str, Any] = {}
    with ExitStack() as run_stack, ExitStack() as step_stack:
        container.setup({"db"}, active, run_stack, step_stack, "run-1")
        assert active == {"db": "DB"}

    assert [type(given.args[0]).__name__ for given in bus.publish.call_args_list] == [
        "ResourceAcquired",
        "ResourceReleased",
    ]


@pytest.mark.parametrize("spec", [None, Node])
def test_mocks_of_nodes_are_planned(spec: Any) -> None:
    """Whatever a mock answers about what it is: it is a node like any other, unless it was told to be a shadow."""
    up, down, shadow = (MagicMock(spec=spec) for _ in range(3))
    shadow.is_shadow = True
    graph = Graph(nodes=[up, down, shadow], edges=[Edge(up, down, arg_name="0")])

    assert NativeSolver().resolve(graph) == [[up], [down]]
    graph.edges.reverse()
    graph.nodes.reverse()
    assert NativeSolver().resolve(graph) == [[up], [down]]


def test_mocks_of_nodes_are_scanned_for_markers() -> None:
    """Bindings and signature are all that is read of them."""

    def function(db: Any = cs.inject("db")) -> Any: ...

    node = MagicMock(spec=Node)
    node.node_type, node.callable_obj, node.signature = "task", function, inspect.signature(function)
    node.input_bindings = {"0": [cs.inject("cfg")]}
    graph = MagicMock(nodes=[node])

    assert ResourceContainer(MagicMock()).scan(graph) == {"db", "cfg"}


def test_a_handler_of_mocks_decides_about_admission() -> None:
    """A handler with the protocol's methods, registered for a type of its own."""
    manager = ConstraintManager(MagicMock())
    handler = MagicMock()
    handler.handles_type.return_value = "quota"
    handler.check_permission.return_value = False
    manager.register_handler(handler)
    from cascade.spec.constraint import GlobalConstraint

    constraint = GlobalConstraint(id="1", scope="global", type="quota", params={})
    manager.update_constraint(constraint)
    node = mock_node("any")

    assert manager.check_permission(node) is False
    handler.on_constraint_add.assert_called_once_with(constraint, manager)
    handler.check_permission.assert_called_once_with(node, constraint, manager)

    manager.remove_constraints_by_scope("global")

    handler.on_constraint_remove.assert_called_once_with(constraint, manager)
    assert manager.check_permission(node) is True


def test_a_bus_that_is_a_mock_gets_the_run() -> None:
    """``Engine(bus=MagicMock())`` works, and what was published can be read off the calls."""
    bus = MagicMock()
    engine = Engine(NativeSolver(), LocalExecutor(), bus)

    assert drive(engine.run(a())) == "a"
    assert [type(given.args[0]).__name__ for given in bus.publish.call_args_list] == [
        *("RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"),
    ]


def test_an_executor_that_sleeps_runs_a_stage_at_once() -> None:
    """Two calls of one stage overlap: each waits for the other."""
    barrier: list[asyncio.Event] = []

    class Meeting:
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            if node.name != "a":
                return args
            barrier.append(asyncio.Event())
            if len(barrier) == 2:
                for event in barrier:
                    event.set()
            await asyncio.wait_for(barrier[0].wait(), 5)
            return time.monotonic() > 0

    @cs.task
    def both(x: Any, y: Any) -> Any: ...

    engine, _ = engine_of(executor=Meeting())

    assert drive(engine.run(both(a(), a()))) == [True, True]
