"""From a lazy result to a graph: nodes, edges, shadow nodes, identifiers and shared nodes."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cascade import Env, Param, bind, inject, select_jump
from cascade.adapters.caching.file_existence import FileExistenceCache
from cascade.graph.build import GraphBuilder, build_graph
from cascade.graph.hashing import HashingService
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.graph.registry import NodeRegistry
from cascade.spec.lazy_types import MappedLazyResult
from cascade.spec.routing import Router
from cascade.spec.task import Task, task

HEX = set("0123456789abcdef")


@task
def one() -> Any:
    return 1


@task
def two() -> Any:
    return 2


@task
def three() -> Any:
    return 3


@task
def use(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@task(pure=True)
def pure(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@task(pure=True)
def left() -> Any:
    return "left"


@task(pure=True)
def right() -> Any:
    return "right"


@task
def injected(db: Any = inject("db")) -> Any:
    return db


@task
def stop() -> Any:
    return None


@task
def middle() -> Any:
    return stop()


@task
def start() -> Any:
    return middle()


@task
def countdown(n: int) -> Any:
    if n == 0:
        return stop()
    return countdown(n - 1)


class Plain:
    """An object that nobody looks into."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner


def built(target: Any) -> tuple[Graph, Node]:
    """The graph of a lazy result and its node."""
    graph, instances = build_graph(target)
    return graph, instances[target._uuid]


def real(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if not node.is_shadow]


def shown(edges: list[Edge]) -> list[tuple[str, str, EdgeType]]:
    return [(edge.source.name, edge.arg_name, edge.edge_type) for edge in edges]


def assert_post_order(graph: Graph) -> None:
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    for edge in graph.edges:
        if edge.edge_type is not EdgeType.POTENTIAL:
            assert position[id(edge.source)] < position[id(edge.target)]


# ---------------------------------------------------------------------------------------------------- build_graph


def test_the_instance_map_has_every_lazy_result() -> None:
    """Each visited uuid leads to a node of the graph, and nothing else is in the map."""
    a, b = one(), two()
    mapped = use.map(x=[1, 2])
    target = use(a, [b], mapped)

    graph, instances = build_graph(target)

    assert set(instances) == {a._uuid, b._uuid, mapped._uuid, target._uuid}
    assert {instances[lazy._uuid].name for lazy in (a, b)} == {"one", "two"}
    assert all(any(node is kept for kept in graph.nodes) for node in instances.values())


def test_two_instances_may_share_a_node() -> None:
    """Equal calls of a pure task are two entries of the instance map and one node."""
    a, b = pure(1), pure(1)

    graph, instances = build_graph(use(a, b))

    assert instances[a._uuid] is instances[b._uuid]
    assert [node.name for node in graph.nodes] == ["pure", "use"]


@pytest.mark.parametrize("target", [1, None, "text", [1], one, Router(1, {})], ids=lambda target: type(target).__name__)
def test_other_targets_are_refused(target: Any) -> None:
    """Only lazy results have graphs."""
    with pytest.raises(TypeError, match="Cannot build graph from type"):
        build_graph(target)


def test_dependencies_come_first_and_the_target_last() -> None:
    """A diamond with conditions, predecessors and routes is in post-order.

    one -> use -> target <- use <- one
    """
    shared = one()
    branch = use(shared).run_if(two()).after(three())
    target = use(branch, use(shared), Router(two(), {"a": three(), "b": one()}))

    graph, node = built(target)

    assert_post_order(graph)
    assert graph.nodes[-1] is node


def test_only_shadow_nodes_follow_the_target() -> None:
    """The target is the last of the nodes that run."""
    graph, node = built(use(start()))

    assert real(graph)[-1] is node
    assert real(graph) == graph.nodes[: len(real(graph))]
    assert len(graph.nodes) > len(real(graph))


def test_a_node_appears_once() -> None:
    """An instance that is used many times is one node with an edge for each use."""
    shared = one()
    graph, node = built(use(shared, shared, [shared], x=shared))

    assert [one.name for one in graph.nodes] == ["one", "use"]
    assert [edge.arg_name for edge in graph.incoming(node)] == ["0", "1", "2[0]", "x"]


def test_nodes_are_found_by_their_id() -> None:
    """get_node and the index know every node of a built graph, and None for any other id."""
    graph, _ = built(use(one(), start()))

    for node in graph.nodes:
        assert graph.get_node(node.structural_id) is node
    assert graph._node_index == {node.structural_id: node for node in graph.nodes}
    assert graph.get_node("unknown") is None


def test_depth_has_no_limit() -> None:
    """A chain far longer than the recursion limit is built, and its ids are computed."""
    depth = sys.getrecursionlimit() * 3
    target = one()
    for _ in range(depth):
        target = use(target)

    graph, node = built(target)

    assert len(graph.nodes) == depth + 1
    assert len(node.structural_id) == 64


def test_nesting_has_no_limit() -> None:
    """A dependency in lists nested beyond the recursion limit is found."""
    depth = sys.getrecursionlimit() * 3
    nested: Any = one()
    for _ in range(depth):
        nested = [nested]

    graph, node = built(use(nested))

    assert [edge.arg_name for edge in graph.incoming(node)] == ["0" + "[0]" * depth]


def test_the_builder_is_the_function() -> None:
    """GraphBuilder.build returns what it keeps as its graph."""
    builder = GraphBuilder()
    target = use(one())

    graph, instances = builder.build(target)

    assert graph is builder.graph
    assert [node.name for node in graph.nodes] == ["one", "use"]
    assert instances[target._uuid] is graph.nodes[-1]


# ---------------------------------------------------------------------------------------------------------- nodes


@pytest.mark.row("01-tasks-and-graph", "Nodes", "task")
def test_a_task_node() -> None:
    """A call becomes a task node with the task's name and function, and the function's signature."""

    def area(w: int, h: int = 2) -> int:
        return w * h

    _, node = built(task(name="surface")(area)(3))

    assert (node.node_type, node.name, node.callable_obj) == ("task", "surface", area)
    assert list(node.signature.parameters) == ["w", "h"]  # type: ignore[union-attr]
    assert node.signature is node.signature
    assert node.mapping_factory is None


@pytest.mark.row("01-tasks-and-graph", "Nodes", "task")
def test_inputs_are_task_nodes() -> None:
    """Param and Env are ordinary task nodes whose only binding is the name."""
    parameter = Param("build_test_count", default=3)
    variable = Env("BUILD_TEST_HOME", default="/")

    nodes = [built(parameter)[1], built(variable)[1]]

    assert [node.node_type for node in nodes] == ["task", "task"]
    assert [node.name for node in nodes] == ["_get_param_value", "_get_env_var"]
    assert [node.input_bindings for node in nodes] == [{"name": "build_test_count"}, {"name": "BUILD_TEST_HOME"}]


@pytest.mark.row("01-tasks-and-graph", "Nodes", "map")
def test_a_map_node() -> None:
    """A map has the factory and no function of its own."""
    _, node = built(use.map(x=[1, 2]))

    assert (node.node_type, node.name) == ("map", "map(use)")
    assert node.mapping_factory is use
    assert node.callable_obj is None
    assert node.input_bindings == {"x": [1, 2]}


@pytest.mark.row("01-tasks-and-graph", "Nodes", "map")
def test_a_map_of_a_factory_without_a_name() -> None:
    """A factory that has no name is called factory."""

    class Factory:
        def __call__(self, **kwargs: Any) -> Any:
            return use(**kwargs)

        def map(self, **kwargs: Any) -> Any:
            return MappedLazyResult(factory=self, mapping_kwargs=kwargs)

    _, node = built(Factory().map(x=[1]))

    assert node.name == "map(factory)"


def test_bindings_are_the_literals() -> None:
    """Positions are text, keywords their names; a lazy or a Router as such has no binding, a container has."""
    router = Router(two(), {"a": 1})
    data, nested = {"k": 1}, [one()]

    _, node = built(use(5, one(), data, router, nested, x="t", y=two(), z=None))

    assert list(node.input_bindings) == ["0", "2", "4", "x", "z"]
    assert node.input_bindings["2"] is data
    assert node.input_bindings["4"] is nested
    assert (node.input_bindings["0"], node.input_bindings["x"], node.input_bindings["z"]) == (5, "t", None)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: use(1, [2], {"k": 3}), False),
        (lambda: use(one()), False),
        (lambda: Param("build_test_complex"), True),
        (lambda: injected(), True),
        (lambda: use(inject("db")), True),
        (lambda: use([{"k": inject("db")}]), True),
        (lambda: use(x={"k": [inject("db")]}), True),
    ],
    ids=["literals", "dependency", "param", "default", "direct", "in list", "in dict"],
)
def test_complex_inputs(make: Any, expected: bool) -> None:
    """Injected defaults, inject markers at any depth and the reading of parameters are complex inputs."""
    assert built(make())[1].has_complex_inputs is expected


@pytest.mark.parametrize("make", [lambda: use(1), lambda: use.map(x=[1])], ids=["task", "map"])
def test_policies_are_those_of_the_lazy_result(make: Any) -> None:
    """Retry policy, cache policy and constraints are the very objects of the lazy result."""
    policy = FileExistenceCache("never")
    lazy = make().with_retry(2, delay=0.5).with_cache(policy).with_constraints(cpu=1)

    _, node = built(lazy)

    assert node.retry_policy is lazy._retry_policy
    assert node.cache_policy is policy
    assert node.constraints is lazy._constraints


def test_a_plain_call_has_no_policies() -> None:
    """What was not asked for is None."""
    _, node = built(use(1))

    assert (node.retry_policy, node.cache_policy, node.constraints) == (None, None, None)
    assert not node.is_shadow


def test_how_a_task_runs_is_on_its_node() -> None:
    """Mode and coroutine functions are known without looking at the task."""

    @task
    async def waits() -> None:
        return None

    blocking = Task(one.func, mode="blocking")

    nodes = [built(lazy)[1] for lazy in (waits(), blocking(), one())]

    assert [(node.is_async, node.execution_mode) for node in nodes] == [
        (True, None),
        (False, "blocking"),
        (False, None),
    ]


@pytest.mark.row("01-tasks-and-graph", "Task", "task.func")
def test_a_replaced_function_takes_effect() -> None:
    """The function is read when the graph is built, not when the task is called."""
    swapped = Task(lambda: 1, name="swapped")
    lazy = swapped()

    def later() -> int:
        return 2

    swapped.func = later

    assert built(lazy)[1].callable_obj is later


# ---------------------------------------------------------------------------------------------------------- edges


@pytest.mark.row("01-tasks-and-graph", "Edges", "DATA")
def test_data_edges_say_where_the_value_goes() -> None:
    """Positions, keywords and paths into lists, tuples and dict values."""
    graph, node = built(use(one(), [0, two()], x=three(), y={"k": one()}, z=({"k": [two()]},)))

    assert shown(graph.incoming(node)) == [
        ("one", "0", EdgeType.DATA),
        ("two", "1[1]", EdgeType.DATA),
        ("three", "x", EdgeType.DATA),
        ("one", "y.k", EdgeType.DATA),
        ("two", "z[0].k[0]", EdgeType.DATA),
    ]
    assert all(edge.router is None for edge in graph.edges)


@pytest.mark.parametrize(
    "make",
    [lambda lazy: {lazy}, lambda lazy: {lazy: 1}, lambda lazy: Plain(lazy)],
    ids=["set", "dict key", "object"],
)
def test_where_nobody_looks(make: Any) -> None:
    """Sets, dict keys and custom objects are literals, whatever is in them."""
    value = make(one())

    graph, node = built(use(value))

    assert graph.nodes == [node]
    assert graph.edges == []
    assert node.input_bindings["0"] is value


@pytest.mark.row("01-tasks-and-graph", "Edges", "ROUTER_ROUTE")
@pytest.mark.row("01-tasks-and-graph", "Edges", "DATA with router set")
def test_router_edges() -> None:
    """The selector's DATA edge carries the Router, each lazy route has an edge of its own."""
    router = Router(one(), {"a": two(), None: three(), 3: "literal"})

    graph, node = built(use(0, x=router))

    assert shown(graph.incoming(node)) == [
        ("one", "x", EdgeType.DATA),
        ("two", "x.route[a]", EdgeType.ROUTER_ROUTE),
        ("three", "x.route[None]", EdgeType.ROUTER_ROUTE),
    ]
    assert [edge.router is not None for edge in graph.edges] == [True, False, False]
    assert list(graph.edges[0].router.routes) == ["a", None, 3]  # type: ignore[union-attr]


def test_routers_inside_containers() -> None:
    """The path of a nested Router leads to it."""
    graph, node = built(use([{"k": Router(one(), {"a": two()})}]))

    assert shown(graph.incoming(node)) == [
        ("one", "0[0].k", EdgeType.DATA),
        ("two", "0[0].k.route[a]", EdgeType.ROUTER_ROUTE),
    ]
    assert isinstance(graph.incoming(node)[0].router, Router)


@pytest.mark.row("01-tasks-and-graph", "Edges", "SEQUENCE")
@pytest.mark.row("01-tasks-and-graph", "Edges", "CONSTRAINT")
@pytest.mark.row("01-tasks-and-graph", "Edges", "CONDITION")
@pytest.mark.parametrize("make", [lambda: use(0), lambda: use.map(x=[1])], ids=["task", "map"])
def test_control_edges(make: Any) -> None:
    """Condition, lazy amounts and predecessors are edges of tasks and of maps alike."""
    lazy = make().with_constraints(cpu=two())
    graph, node = built(lazy)

    assert shown(graph.incoming(node)) == [("two", "cpu", EdgeType.CONSTRAINT)]

    lazy = make().run_if(one()).with_constraints(cpu=two(), memory=5).after(three(), one())

    graph, node = built(lazy)

    assert shown(graph.incoming(node)) == [
        ("one", "_condition", EdgeType.CONDITION),
        ("two", "cpu", EdgeType.CONSTRAINT),
        ("three", "<sequence>", EdgeType.SEQUENCE),
        ("one", "<sequence>", EdgeType.SEQUENCE),
    ]


@pytest.mark.row("01-tasks-and-graph", "Edges", "ITERATIVE_JUMP [L]")
def test_edges_of_jumps_lead_from_the_bound_call_to_each_route() -> None:
    """The key of the route is the argument name and the selector comes along; exits have no edge, and order nothing."""
    source, other = use(1), use(2)
    selector = select_jump({"again": source, "other": other, "exit": None})
    bind(source, selector)

    graph, instances = build_graph(source)

    node = instances[source._uuid]
    jumps = [edge for edge in graph.edges if edge.edge_type is EdgeType.ITERATIVE_JUMP]
    assert [(edge.source, edge.target, edge.arg_name, edge.jump_selector) for edge in jumps] == [
        (node, node, "again", selector),
        (node, instances[other._uuid], "other", selector),
    ]


def test_the_order_of_edge_types() -> None:
    """The enumeration's order is part of the interface."""
    assert [member.name for member in EdgeType] == [
        "DATA",
        "CONDITION",
        "CONSTRAINT",
        "IMPLICIT",
        "SEQUENCE",
        "ROUTER_ROUTE",
        "POTENTIAL",
        "ITERATIVE_JUMP",
    ]


@pytest.mark.row("01-tasks-and-graph", "Edges", "IMPLICIT")
def test_implicit_edges_are_never_made() -> None:
    """IMPLICIT is reserved."""
    lazy = use(Router(one(), {"a": two()}), start()).run_if(one()).with_constraints(cpu=two()).after(three())

    graph, _ = built(lazy)

    assert EdgeType.IMPLICIT not in {edge.edge_type for edge in graph.edges}


# --------------------------------------------------------------------------------------------------- shadow nodes


@pytest.mark.row("01-tasks-and-graph", "Edges", "POTENTIAL [E creates]")
def test_tail_calls_are_drawn_as_shadow_nodes() -> None:
    """Targets of targets follow, each from the node it was found from.

    start ..> middle ..> stop
    """
    graph, node = built(start())

    first, second = graph.nodes[1:]
    assert [(shadow.name, shadow.is_shadow, shadow.template_id) for shadow in (first, second)] == [
        ("middle", True, ""),
        ("stop", True, ""),
    ]
    assert first.structural_id == f"shadow:{node.structural_id}:middle"
    assert second.structural_id == f"shadow:{first.structural_id}:stop"
    assert [(edge.source, edge.target, edge.arg_name, edge.edge_type) for edge in graph.edges] == [
        (node, first, "<potential>", EdgeType.POTENTIAL),
        (first, second, "<potential>", EdgeType.POTENTIAL),
    ]


@pytest.mark.row("01-tasks-and-graph", "Edges", "POTENTIAL [E creates]")
def test_self_recursion_is_an_edge_onto_itself() -> None:
    """A task that calls itself gets no shadow of itself."""
    graph, node = built(countdown(3))

    loops = [edge for edge in graph.edges if edge.target is node]
    assert [(edge.source, edge.edge_type) for edge in loops] == [(node, EdgeType.POTENTIAL)]
    assert [shadow.name for shadow in graph.nodes if shadow.is_shadow] == ["stop"]


def test_a_task_already_met_gets_no_shadow() -> None:
    """The potential edge points at the node that the expression has for the task."""
    called = stop()
    target = start().after(called)

    graph, instances = build_graph(target)

    potential = [edge for edge in graph.edges if edge.edge_type is EdgeType.POTENTIAL]
    assert [(edge.source.name, edge.target.name) for edge in potential] == [("start", "middle"), ("middle", "stop")]
    assert potential[1].target is instances[called._uuid]
    assert [shadow.name for shadow in graph.nodes if shadow.is_shadow] == ["middle"]


def test_a_task_gets_one_shadow_in_a_graph() -> None:
    """Two nodes that may call one task share its shadow."""
    graph, _ = built(use(start(), start(), middle()))

    names = [shadow.name for shadow in graph.nodes if shadow.is_shadow]
    assert sorted(names) == sorted(set(names))
    assert "middle" not in names


def test_members_of_a_cycle_know_it() -> None:
    """A task in a tail-call cycle has the cycle's id, 32 hexadecimal digits; another has none."""
    _, node = built(countdown(3))

    assert len(node.tco_cycle_id or "") == 32
    assert set(node.tco_cycle_id or "") <= HEX
    assert built(one())[1].tco_cycle_id is None


# ---------------------------------------------------------------------------------------------------- identifiers


def ids(lazy: Any) -> tuple[str, str]:
    node = built(lazy)[1]
    return node.structural_id, node.template_id


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "template_id [E]")
@pytest.mark.row("01-tasks-and-graph", "Identifiers", "structural_id")
def test_ids_are_64_hexadecimal_digits() -> None:
    """Both ids are SHA-256 in hexadecimal."""
    for text in ids(use(one(), 1)):
        assert len(text) == 64
        assert set(text) <= HEX


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "template_id [E]")
@pytest.mark.row("01-tasks-and-graph", "Identifiers", "structural_id")
def test_equal_pure_calls_have_equal_ids_wherever_they_are_made() -> None:
    """The instance does not count for pure tasks, the literals count for the structure only."""
    assert ids(pure(1)) == ids(pure(1))
    assert ids(pure(1))[0] != ids(pure(2))[0]
    assert ids(pure(1))[1] == ids(pure(2))[1]


def test_impure_calls_differ_by_instance() -> None:
    """Calls of default tasks are one of a kind, their template is not."""
    first, second = ids(use(1)), ids(use(1))

    assert first[0] != second[0]
    assert first[1] == second[1]


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "template_id [E]")
def test_amounts_are_placeholders_of_the_template() -> None:
    """Constraint amounts tell structures apart, not templates."""
    small, large = (ids(pure(1).with_constraints(cpu=amount)) for amount in (1, 2))

    assert small[0] != large[0]
    assert small[1] == large[1]


class Same:
    """Objects that look the same."""

    def __repr__(self) -> str:
        return "Same()"


def named(result: Any) -> Any:
    def twin() -> Any:
        return result

    return Task(twin, pure=True)


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "structural_id")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: pure(left()), lambda: pure(right())),
        (lambda: named(1)(), lambda: named(2)()),
        (lambda: pure([1]), lambda: pure((1,))),
        (lambda: pure({1: 0}), lambda: pure({"1": 0})),
        (lambda: pure(1), lambda: pure(True)),
        (lambda: pure(1), lambda: pure(1.0)),
        (lambda: pure(Same()), lambda: pure(Same())),
        (lambda: pure(1), lambda: pure("1")),
        (lambda: pure(1), lambda: pure(x=1)),
        (lambda: pure(1).run_if(left()), lambda: pure(1).run_if(right())),
        (lambda: pure(1).after(left()), lambda: pure(1).after(right())),
        (lambda: pure(1), lambda: pure(1).run_if(left())),
        (lambda: pure(1), lambda: pure(1).after(left())),
        (lambda: pure(1).with_retry(1), lambda: pure(1).with_retry(2)),
        (lambda: pure(1), lambda: pure(1).with_cache(FileExistenceCache("never"))),
        (lambda: pure(Router(left(), {1: right()})), lambda: pure(Router(left(), {"1": right()}))),
        (lambda: pure.map(x=[1]), lambda: pure.map(x=[2])),
    ],
    ids=[
        "dependencies",
        "functions of one name",
        "list and tuple",
        "dict keys",
        "bool",
        "float",
        "equal repr",
        "text",
        "keyword",
        "condition",
        "predecessor",
        "any condition",
        "any predecessor",
        "retry",
        "cache policy",
        "route keys",
        "map",
    ],
)
def test_what_differs_shares_no_node(first: Any, second: Any) -> None:
    """Calls that are not the same call have different ids and stay two nodes of one graph."""
    target = use(first(), second())

    graph, instances = build_graph(target)

    sources = [instances[argument._uuid] for argument in target.args]
    assert sources[0] is not sources[1]
    assert sources[0].structural_id != sources[1].structural_id
    assert len({node.structural_id for node in graph.nodes}) == len(graph.nodes)


def test_dicts_with_keys_of_mixed_types_are_literals() -> None:
    """Keys need no order among each other."""
    data = {1: "a", "1": "b", None: "c", (1, 2): "d"}

    assert ids(pure(data)) == ids(pure(dict(data)))


def test_compute_hashes_agrees_with_the_graph() -> None:
    """The hashing service gives what a node of a built graph has."""
    dependency = left()
    target = pure(dependency, 1)
    graph, instances = build_graph(target)
    node = graph.nodes[-1]

    service = HashingService()

    assert service.compute_hashes(target, dict(instances)) == (node.structural_id, node.template_id)
    with pytest.raises(TypeError, match="Cannot compute hash for type"):
        service.compute_hashes(object(), {})


# --------------------------------------------------------------------------------------------------- shared nodes


def test_a_registry_shares_nodes_between_builds() -> None:
    """Equal structures are the same objects in every graph of a registry, dependencies included."""
    registry = NodeRegistry()

    first, _ = build_graph(pure(left(), 1), registry)
    second, _ = build_graph(pure(left(), 1), registry)

    assert [node is other for node, other in zip(first.nodes, second.nodes, strict=True)] == [True, True]
    assert second.edges[0].source is first.nodes[0]
    assert second.edges[0].target is first.nodes[1]
    assert set(registry._registry) == {node.structural_id for node in first.nodes}


def test_a_registry_shares_parts() -> None:
    """What is equal is shared, what is not is new."""
    registry = NodeRegistry()

    first, _ = build_graph(pure(left(), 1), registry)
    second, instances = build_graph(pure(left(), 2), registry)

    assert second.nodes[0] is first.nodes[0]
    assert second.nodes[1] is not first.nodes[1]
    assert second.nodes[1].input_bindings == {"1": 2}
    assert set(map(id, instances.values())) == set(map(id, second.nodes))


def test_one_instance_built_twice_has_one_node() -> None:
    """A default task's instance is shared with itself."""
    registry = NodeRegistry()
    lazy = use(1)

    first, _ = build_graph(lazy, registry)
    second, _ = build_graph(lazy, registry)
    other, _ = build_graph(use(1), registry)

    assert first.nodes[0] is second.nodes[0]
    assert other.nodes[0] is not first.nodes[0]


def test_builds_without_a_registry_are_independent() -> None:
    """Equal structures are then equal in id and different objects."""
    first, second = built(pure(1))[1], built(pure(1))[1]

    assert first is not second
    assert first.structural_id == second.structural_id


def test_the_size_of_a_registry_is_bounded() -> None:
    """Any number of builds leaves at most max_size nodes behind."""
    registry = NodeRegistry(max_size=8)

    for number in range(50):
        build_graph(pure(number), registry)

    assert len(registry._registry) == 8


@pytest.mark.parametrize(("callee", "nodes"), [(pure, 2), (use, 3)], ids=["pure", "impure"])
def test_equal_calls_inside_one_graph(callee: Any, nodes: int) -> None:
    """Pure calls become one node with an edge for each use, impure calls one node each."""
    graph, node = built(use(callee(1), callee(1)))

    assert len(graph.nodes) == nodes
    assert [edge.arg_name for edge in graph.incoming(node)] == ["0", "1"]
