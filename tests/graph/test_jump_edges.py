"""Where jumps may lead, as the graph shows it: ITERATIVE_JUMP edges that order nothing."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade.adapters.solvers.csp import CSPSolver
from cascade.adapters.solvers.native import NativeSolver
from cascade.control_flow import bind, select_jump
from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.task import task
from tests.engines import CountingSolver, make_engine, run


@task
def step(*values: Any) -> Any:
    return values


@task
def other(*values: Any) -> Any:
    return values


def jumps(graph: Graph) -> list[Edge]:
    return [edge for edge in graph.edges if edge.edge_type is EdgeType.ITERATIVE_JUMP]


@pytest.mark.row("01-tasks-and-graph", "Edges", "ITERATIVE_JUMP [L]")
def test_an_edge_for_each_route_that_is_a_call() -> None:
    """From the bound node to the route's node, named by the key, with the selector; self edges too, none for None."""
    node, there = step(1), other(2)
    selector = select_jump({"again": node, "on": there, 3: there, "stop": None})
    bind(node, selector)
    graph, instance_map = build_graph(node)
    bound, reached = instance_map[node._uuid], instance_map[there._uuid]

    assert [(e.source, e.target, e.arg_name) for e in jumps(graph)] == [
        (bound, bound, "again"),
        (bound, reached, "on"),
        (bound, reached, "3"),
    ]
    assert all(edge.jump_selector is selector for edge in jumps(graph))
    assert graph.nodes == [bound, reached]


def test_what_a_route_needs_is_shown_too() -> None:
    """A route's dependencies and the routes of routes follow the target; what is there already is the same node."""
    shared = other("shared")
    node = step(shared)
    second, third = step(shared, other("new")), step("third")
    bind(node, select_jump({"second": second, "shared": shared}))
    bind(second, select_jump({"third": third, "back": node}))
    graph, instance_map = build_graph(node)
    names = {instance_map[lazy._uuid].structural_id: name for name, lazy in
             {"node": node, "second": second, "third": third, "shared": shared}.items()}

    ends = [(names[e.source.structural_id], names[e.target.structural_id]) for e in jumps(graph)]
    assert ends == [("node", "second"), ("node", "shared"), ("second", "third"), ("second", "node")]
    assert len(graph.nodes) == len(instance_map) == 5
    assert graph.nodes[1] is instance_map[node._uuid]
    assert all(graph.get_node(one.structural_id) is one for one in graph.nodes)
    data = [e for e in graph.edges if e.edge_type is EdgeType.DATA and e.target is instance_map[second._uuid]]
    assert [edge.arg_name for edge in data] == ["0", "1"]
    assert data[0].source is instance_map[shared._uuid]


@pytest.mark.parametrize("solver", [NativeSolver(), CSPSolver({"cpu": 1})])
def test_jump_edges_never_order_a_plan(solver: Any) -> None:
    """A plan has the nodes of the step alone, and a circle of jumps is no cycle."""
    first, second = step(other(1)), other(2)
    bind(first, select_jump({"on": second}))
    bind(second, select_jump({"back": first}))
    graph, _ = build_graph(first)

    assert [[node.name for node in stage] for stage in solver.resolve(graph)] == [["other"], ["step"]]
    a, b = Node("a", "a"), Node("b", "b")
    made = Graph([a, b], [Edge(a, b, "0"), Edge(b, a, "on", EdgeType.ITERATIVE_JUMP)])
    assert solver.resolve(made) == [[a], [b]]


def test_a_route_does_not_run_before_its_jump() -> None:
    """Even if a solver plans the nodes that only jumps lead to, no step but their own runs them."""
    ran: list[str] = []

    @task
    def mark(name: str) -> Any:
        ran.append(name)
        return cs.Jump("on") if name == "first" else "end"

    class Everything(NativeSolver):
        def resolve(self, graph: Graph) -> Any:
            return [[node] for node in graph.nodes]

    for hot in (True, False):
        ran.clear()
        node = mark("first")
        bind(node, select_jump({"on": mark(mark("dependency")), "off": mark("never")}))

        assert run(node, make_engine(Everything(), hot=hot)) == "end"
        assert ran == ["first", "dependency", "end"]


def test_resources_of_a_route_are_set_up_with_its_own_step() -> None:
    """A step sets up what it injects, not what a jump may lead to."""
    log: list[str] = []

    @cs.resource(name="later")
    def later() -> Any:
        log.append("up")
        yield "later"

    @task
    def use(x: Any = cs.inject("later")) -> Any:
        return x

    @task
    def first() -> Any:
        log.append("first")
        return cs.Jump("on")

    node = first()
    bind(node, select_jump({"on": use()}))

    for hot in (True, False):
        log.clear()
        assert run(node, make_engine(CountingSolver(), resources=[later], hot=hot)) == "later"
        assert log == ["first", "up"]


def test_pure_calls_have_equal_ids_and_impure_ones_their_own() -> None:
    """Same function and arguments: equal structural ids if pure, also in separate builds; else one per instance."""
    @task(pure=True)
    def square(x: int) -> int:
        return x * x

    def id_of(lazy: Any) -> str:
        _, instance_map = build_graph(lazy)
        return instance_map[lazy._uuid].structural_id

    impure = other(3)

    assert id_of(square(3)) == id_of(square(3)) != id_of(square(4))
    assert id_of(other(3)) != id_of(other(3))
    assert id_of(impure) == id_of(impure)
    assert (square.pure, other.pure, cs.task(lambda: 1).pure) == (True, False, False)
    assert len(build_graph(step(square(3), square(3)))[0].nodes) == 2
    assert len(build_graph(step(other(3), other(3)))[0].nodes) == 3
