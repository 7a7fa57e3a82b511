"""The flow manager alone: demand, pruning, reasons for skipping, and values that pass through skipped nodes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.runtime.flow import FlowManager, passed_on
from cascade.spec.routing import Router

DATA, ROUTE = EdgeType.DATA, EdgeType.ROUTER_ROUTE


class Flow:
    """A graph from (source, target, type) triples, its flow manager and a state backend."""

    def __init__(self, *edges: tuple[str, str, EdgeType], routes: dict[Any, str] | None = None) -> None:
        names = dict.fromkeys(name for source, target, _ in edges for name in (source, target))
        self.nodes = {name: Node(name, name) for name in names}
        lazies = {name: SimpleNamespace(_uuid="u-" + name) for name in names}
        router = Router(lazies["selector"], {k: lazies[n] for k, n in routes.items()}) if routes else None
        keys = {name: key for key, name in (routes or {}).items()}
        graph = Graph(nodes=list(self.nodes.values()))
        for source, target, kind in edges:
            path = f"0.route[{keys[source]}]" if kind is ROUTE else "0"
            mine = router if source == "selector" else None
            graph.add_edge(Edge(self.nodes[source], self.nodes[target], path, kind, mine))
        self.state = InMemoryStateBackend("run")
        self.manager = FlowManager(graph, "target", {"u-" + name: node for name, node in self.nodes.items()})

    def result(self, name: str, value: Any) -> None:
        asyncio.run(self.state.put_result(name, value))
        asyncio.run(self.manager.register_result(name, value, self.state))

    def skip(self, name: str, reason: str = "why") -> None:
        asyncio.run(self.state.mark_skipped(name, reason))

    def judge(self, name: str = "target") -> str | None:
        return asyncio.run(self.manager.should_skip(self.nodes[name], self.state))

    def passed(self, name: str) -> Any:
        edges = self.manager.in_edges
        return asyncio.run(passed_on(name, lambda one: edges.get(one, ()), self.state))


def routed(*more: tuple[str, str, EdgeType]) -> Flow:
    """A selector that chooses between a and b."""
    return Flow(
        *more, ("selector", "target", DATA), ("a", "target", ROUTE), ("b", "target", ROUTE), routes={1: "a", 2: "b"}
    )


def test_demand_is_the_number_of_consumers() -> None:
    """Outgoing edges count, one more for the target, none for what is only drawn."""
    flow = Flow(
        ("a", "b", DATA), ("a", "target", EdgeType.SEQUENCE), ("b", "target", DATA), ("target", "a", EdgeType.POTENTIAL)
    )

    assert flow.manager.downstream_demand == {"a": 2, "b": 1, "target": 1}
    assert [edge.source.name for edge in flow.manager.in_edges["target"]] == ["a", "b"]


def test_routers_are_indexed() -> None:
    """Selectors and routes are known by id and by argument path."""
    flow = routed()

    assert [edge.target.name for edge in flow.manager.routers_by_selector["selector"]] == ["target"]
    assert flow.manager.route_source_map == {"target": {"0.route[1]": "a", "0.route[2]": "b"}}


def test_an_unselected_branch_is_pruned_with_its_inputs() -> None:
    """What only the unselected route needs is pruned, what another live node needs stays."""
    flow = routed(("deep", "only", DATA), ("only", "b", DATA), ("shared", "a", DATA), ("shared", "b", DATA))

    flow.result("selector", 1)

    reasons = {name: flow.judge(name) for name in ("a", "b", "only", "deep", "shared", "target")}
    assert reasons == {
        "a": None, "b": "Pruned", "only": "Pruned", "deep": "Pruned", "shared": None, "target": None,
    }  # fmt: skip
    assert flow.manager.downstream_demand["shared"] == 1


def test_a_route_that_another_node_needs_stays() -> None:
    """An unselected route with a second consumer runs."""
    flow = routed(("b", "target", DATA))

    flow.result("selector", 1)

    assert flow.judge("b") is None


@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "3 #2")
@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "2 #4")
@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "2 #3")
@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "2 #2")
@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "2")
@pytest.mark.parametrize(
    ("kind", "mark", "value", "reason"),
    [
        (EdgeType.CONDITION, "skip", None, "UpstreamSkipped_Condition"),
        (EdgeType.CONDITION, None, None, "ConditionMissing"),
        *[(EdgeType.CONDITION, "result", falsy, "ConditionFalse") for falsy in (False, None, 0, "", [])],
        (EdgeType.CONDITION, "result", [0], None),
        (EdgeType.SEQUENCE, "skip", None, "UpstreamSkipped_Sequence"),
        (EdgeType.SEQUENCE, "result", None, None),
        (DATA, "skip", None, "UpstreamSkipped_Data"),
        (DATA, "result", None, None),
    ],
)
def test_reasons(kind: EdgeType, mark: str | None, value: Any, reason: str | None) -> None:
    """Each kind of edge has its own reasons."""
    flow = Flow(("source", "target", kind))
    if mark == "skip":
        flow.skip("source")
    elif mark == "result":
        flow.result("source", value)

    assert flow.judge() == reason


@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "1")
def test_the_first_reason_wins() -> None:
    """A mark comes before conditions, these before predecessors, these before data, whatever the order of edges."""
    flow = Flow(
        ("data", "target", DATA), ("before", "target", EdgeType.SEQUENCE), ("condition", "target", EdgeType.CONDITION)
    )
    seen = []
    flow.skip("data")
    seen.append(("condition", flow.judge()))
    flow.result("condition", True)
    seen.append(("data", flow.judge()))
    flow.skip("before")
    seen.append(("before", flow.judge()))
    flow.result("condition", False)
    seen.append(("condition", flow.judge()))
    flow.skip("target", "Pruned")
    seen.append(("mark", flow.judge()))

    assert seen == [
        ("condition", "ConditionMissing"),
        ("data", "UpstreamSkipped_Data"),
        ("before", "UpstreamSkipped_Sequence"),
        ("condition", "ConditionFalse"),
        ("mark", "Pruned"),
    ]


@pytest.mark.row("03-flow-and-policies", "run_if and skipping", "3")
def test_a_skipped_selected_route() -> None:
    """A consumer whose chosen route was skipped is skipped."""
    flow = routed()
    flow.result("selector", 1)
    flow.skip("a")

    assert flow.judge() == "UpstreamSkipped_Route"


def test_values_pass_through_skipped_nodes() -> None:
    """A skipped node hands on its first DATA input, through several skipped nodes."""
    flow = Flow(("first", "s1", DATA), ("second", "s1", DATA), ("s1", "s2", DATA), ("s2", "target", DATA))
    flow.result("first", None)
    flow.result("second", 2)
    flow.skip("s1")
    flow.skip("s2")

    assert flow.judge() is None
    assert flow.passed("s2") == (None,)


def test_nothing_passes_without_a_result() -> None:
    """A skipped node whose first input has no result passes nothing on."""
    flow = Flow(("first", "s1", DATA), ("s1", "target", DATA))
    flow.skip("s1")

    assert flow.passed("s1") is None
    assert flow.judge() == "UpstreamSkipped_Data"


# ------------------------------------------------------------------------------------ what waits for an open choice


def wanted(flow: Flow) -> set[str]:
    async def ask() -> set[str]:
        return {name for name, node in flow.nodes.items() if await flow.manager.is_wanted(node, flow.state)}

    return asyncio.run(ask())


def skipped(flow: Flow, name: str, reason: str = "why") -> None:
    flow.skip(name, reason)
    asyncio.run(flow.manager.register_skip(name, flow.state))


def test_what_only_an_open_choice_needs_is_not_wanted_yet() -> None:
    """Selector and consumer are, and what they or others need; routes and what only they need are not."""
    flow = routed(("deep", "a", DATA), ("before", "selector", DATA), ("shared", "b", DATA), ("shared", "target", DATA))

    assert flow.manager.has_routers
    assert wanted(flow) == {"target", "selector", "before", "shared"}


@pytest.mark.parametrize(("choice", "route"), [(1, {"a", "deep"}), (2, {"b"}), (3, set()), ([], set())])
def test_a_choice_makes_its_route_wanted(choice: Any, route: set[str]) -> None:
    """With the selector's result the chosen route is wanted with all its inputs, and no other."""
    flow = routed(("deep", "a", DATA))
    assert wanted(flow) == {"target", "selector"}

    flow.result("selector", choice)

    assert wanted(flow) == {"target", "selector"} | route


def test_every_kind_of_need_counts() -> None:
    """Conditions, predecessors and amounts of what is wanted are wanted; what is only drawn is not."""
    kinds = (EdgeType.CONDITION, EdgeType.SEQUENCE, EdgeType.CONSTRAINT, EdgeType.POTENTIAL, EdgeType.ITERATIVE_JUMP)
    flow = routed(*((kind.name, "selector", kind) for kind in kinds))

    assert wanted(flow) == {"target", "selector", "CONDITION", "SEQUENCE", "CONSTRAINT"}


def test_a_route_that_is_wanted_otherwise_does_not_wait() -> None:
    """A predecessor of the target is wanted although it is a route of an open choice too."""
    flow = routed(("b", "target", EdgeType.SEQUENCE))

    assert wanted(flow) == {"target", "selector", "b"}


def test_without_routers_everything_the_target_needs_is_wanted() -> None:
    """There is nothing to wait for."""
    flow = Flow(("a", "b", DATA), ("b", "target", DATA))

    assert not flow.manager.has_routers
    assert wanted(flow) == {"a", "b", "target"}


def test_a_skipped_selector_chooses_by_the_value_it_passes_on() -> None:
    """The other routes are pruned, the chosen one is wanted."""
    flow = routed(("first", "selector", DATA))
    flow.result("first", 2)

    skipped(flow, "selector")

    assert (flow.judge("a"), flow.judge("b"), flow.judge()) == ("Pruned", None, None)
    assert wanted(flow) == {"target", "selector", "first", "b"}


def test_a_skipped_selector_without_a_value_chooses_nothing() -> None:
    """No route is pruned by it, none becomes wanted, and the consumer is skipped for its input."""
    flow = routed()

    skipped(flow, "selector")

    assert (flow.judge("a"), flow.judge("b"), flow.judge()) == (None, None, "UpstreamSkipped_Data")
    assert wanted(flow) == {"target", "selector"}


def test_a_skip_of_another_node_chooses_nothing() -> None:
    """Only selectors choose."""
    flow = routed(("other", "target", DATA))

    skipped(flow, "other")

    assert (flow.judge("a"), flow.judge("b")) == (None, None)


def test_a_pruned_route_passes_nothing_and_hides_nothing() -> None:
    """The consumer is judged by its selected route alone."""
    flow = routed()
    flow.result("selector", 1)
    flow.result("a", 5)

    assert flow.judge("b") == "Pruned"
    assert flow.judge() is None


def test_a_skipped_node_passes_on_what_its_router_chose() -> None:
    """The first input of a skipped node may be a Router's: then it is the selected route, literal routes included."""
    flow = Flow(
        ("selector", "skipped", DATA),
        ("a", "skipped", ROUTE),
        ("b", "skipped", ROUTE),
        ("skipped", "target", DATA),
        routes={1: "a", 2: "b"},
    )
    flow.skip("skipped")
    assert flow.passed("skipped") is None

    flow.result("selector", 2)
    flow.result("b", "from b")
    assert flow.passed("skipped") == ("from b",)

    flow.manager.in_edges["skipped"][0].router.routes[3] = "literal"  # type: ignore[union-attr, index]
    flow.result("selector", 3)
    assert flow.passed("skipped") == ("literal",)
    flow.result("selector", 4)
    assert flow.passed("skipped") is None


def test_a_skipped_selector_chooses_what_a_skipped_node_passes_on() -> None:
    """A Router's selector that was skipped itself has the value that it passes on; so do chains of such nodes."""
    flow = Flow(
        ("behind", "selector", DATA),
        ("selector", "skipped", DATA),
        ("a", "skipped", ROUTE),
        ("skipped", "target", DATA),
        routes={1: "a"},
    )
    flow.skip("skipped")
    flow.skip("selector")
    flow.result("behind", 1)
    flow.result("a", "from a")

    assert flow.passed("skipped") == ("from a",)
    flow.result("behind", 7)
    assert flow.passed("skipped") is None


def test_a_chain_of_skipped_routers_is_looked_through_once() -> None:
    """Where each of many skipped nodes has the one before it as selector and as route, each is looked at once."""
    looked: list[str] = []
    nodes = [Node(f"n{i}", f"n{i}") for i in range(200)]
    state = InMemoryStateBackend("run")
    asyncio.run(state.put_result("n0", 1))
    router = Router(SimpleNamespace(_uuid="u"), {1: SimpleNamespace(_uuid="u")})
    into = {
        here.structural_id: [Edge(before, here, "0", DATA, router), Edge(before, here, "0.route[1]", ROUTE)]
        for before, here in pairwise(nodes)
    }
    for node in nodes[1:]:
        asyncio.run(state.mark_skipped(node.structural_id, "why"))

    def incoming(one: str) -> list[Edge]:
        looked.append(one)
        return into.get(one, [])

    assert asyncio.run(passed_on("n199", incoming, state)) == (1,)
    assert len(looked) <= 2 * len(nodes)


@pytest.mark.parametrize("constant", [False, 0, None, "", []])
def test_a_constant_condition_is_judged_like_a_result(constant: Any) -> None:
    """A falsy constant skips with ConditionFalse, before any edge is looked at; a true one does not."""
    flow = Flow(("data", "target", DATA))
    flow.skip("data")
    flow.nodes["target"].constant_condition = (constant,)  # type: ignore[misc]
    assert flow.judge() == "ConditionFalse"

    flow.nodes["target"].constant_condition = (True,)  # type: ignore[misc]
    assert flow.judge() == "UpstreamSkipped_Data"
