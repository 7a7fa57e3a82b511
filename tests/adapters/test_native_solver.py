"""Topological layers: order, stages, what is left out, cycles, size."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade.adapters.solvers.native as native
from cascade.adapters.solvers import NativeSolver
from cascade.graph.exceptions import CycleError
from cascade.graph.model import Edge, EdgeType, Graph, Node


def graph_of(names: str, *edges: str, shadows: str = "", kind: EdgeType = EdgeType.DATA) -> Graph:
    """Make a graph from node names and edges such as ``ab`` (a before b)."""
    nodes = {name: Node(structural_id=name, name=name, is_shadow=name in shadows) for name in names}
    return Graph(list(nodes.values()), [Edge(nodes[e[0]], nodes[e[1]], "x", kind) for e in edges])


def stages(graph: Graph) -> list[str]:
    return ["".join(node.name for node in stage) for stage in NativeSolver().resolve(graph)]


def test_diamond() -> None:
    """A diamond has three stages.

    a -> (b, c) -> d
    """
    assert stages(graph_of("abcd", "ab", "ac", "bd", "cd")) == ["a", "bc", "d"]


@pytest.mark.parametrize(
    "graph, expected",
    [
        (graph_of(""), []),
        (graph_of("a"), ["a"]),
        (graph_of("ba"), ["ba"]),
        (graph_of("cba", "ab", "bc"), ["a", "b", "c"]),
        (graph_of("abc", "ab", "ab", "bc"), ["a", "b", "c"]),
        (graph_of("dcba", "ad"), ["cba", "d"]),
        (graph_of("xyab", "ab", "xb", "yx"), ["ya", "x", "b"]),
    ],
)
def test_stages_keep_the_order_of_nodes(graph: Graph, expected: list[str]) -> None:
    """A node is in the first stage it can be in, and a stage has the order of the graph."""
    assert stages(graph) == expected


@pytest.mark.parametrize("kind", list(EdgeType))
def test_edge_kinds(kind: EdgeType) -> None:
    """Every edge orders its ends but POTENTIAL and ITERATIVE_JUMP, which may also lead back."""
    draws_only = kind in (EdgeType.POTENTIAL, EdgeType.ITERATIVE_JUMP)

    assert stages(graph_of("ab", "ab", kind=kind)) == (["ab"] if draws_only else ["a", "b"])
    if draws_only:
        assert stages(graph_of("ab", "ab", "ba", "aa", kind=kind)) == ["ab"]


def test_shadow_nodes_are_left_out() -> None:
    """Shadow nodes are in no stage, and edges to or from them order nothing."""
    assert stages(graph_of("asb", "as", "sb", shadows="s")) == ["ab"]
    assert stages(graph_of("sab", "ab", shadows="s")) == ["a", "b"]
    assert stages(graph_of("s", shadows="s")) == []


def test_edges_to_other_graphs_are_ignored() -> None:
    """An end that is no node of the graph does not put an empty stage in front."""
    graph = graph_of("ab", "ab")
    graph.edges.insert(0, Edge(Node("x", "x"), graph.nodes[0], "0"))

    assert stages(graph) == ["a", "b"]


@pytest.mark.parametrize(
    "graph, names",
    [
        (graph_of("a", "aa"), ("a",)),
        (graph_of("ab", "ab", "ba"), ("a", "b")),
        (graph_of("rabcx", "ra", "ab", "bc", "ca", "cx"), ("a", "b", "c")),
    ],
)
def test_cycles_are_named(graph: Graph, names: tuple[str, ...]) -> None:
    """A cycle is a ValueError that names its tasks in order, and none beside or behind it."""
    with pytest.raises(ValueError, match="Cycle detected") as caught:
        stages(graph)

    assert isinstance(caught.value, CycleError)
    tasks = caught.value.tasks
    start = tasks.index(names[0])
    assert tasks[start:] + tasks[:start] == names


class Unreadable(Node):
    """A node whose ids must not be computed."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("structural_id", "template_id", "__hash__"):
            raise AssertionError(f"{name} was read")
        return super().__getattribute__(name)

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")


@pytest.mark.parametrize("shuffled", [False, True])
def test_nodes_are_told_apart_by_identity(shuffled: bool) -> None:
    """Neither ids nor hashes nor equality of nodes are asked for."""
    nodes = [Unreadable(structural_id="same", name="same") for _ in range(4)]
    edges = [Edge(nodes[s], nodes[t], "x") for s, t in ((0, 1), (0, 2), (1, 3), (2, 3))]
    if shuffled:
        edges.reverse()

    plan = NativeSolver().resolve(Graph(nodes, edges))

    assert [[id(node) for node in stage] for stage in plan] == [
        [id(nodes[0])],
        [id(nodes[1]), id(nodes[2])],
        [id(nodes[3])],
    ]


@st.composite
def drawn_graphs(draw: Any) -> tuple[int, list[tuple[int, int]]]:
    size = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda p: p[0] < p[1])
    return size, draw(st.lists(pairs, max_size=30)) if size > 1 else []


@given(drawn_graphs(), st.randoms(use_true_random=False))
def test_levels_are_longest_paths(drawn: tuple[int, list[tuple[int, int]]], rng: random.Random) -> None:
    """In whatever order nodes and edges come, the stage of a node is the length of the longest path to it."""
    size, pairs = drawn
    order = list(range(size))
    rng.shuffle(order)
    by_rank = {rank: Node(str(rank), str(rank)) for rank in range(size)}
    nodes = [by_rank[rank] for rank in order]
    longest = [0] * size
    for target in range(size):
        longest[target] = max((longest[s] + 1 for s, t in pairs if t == target), default=0)

    plan = NativeSolver().resolve(Graph(nodes, [Edge(by_rank[s], by_rank[t], "x") for s, t in pairs]))

    expected = [[n.name for n in nodes if longest[int(n.name)] == level] for level in range(max(longest) + 1)]
    assert [[n.name for n in stage] for stage in plan] == expected


def layered(layers: int, width: int) -> Graph:
    nodes = [Node(str(i), str(i)) for i in range(layers * width)]
    edges = [
        Edge(nodes[(i // width - 1) * width + (i + k) % width], nodes[i], str(k))
        for i in range(width, len(nodes))
        for k in range(2)
    ]
    return Graph(nodes, edges)


def test_edges_in_order_take_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges as the builder makes them are read once; any other order gives the same stages."""
    graph = layered(20, 10)
    general = native._layers(graph)
    monkeypatch.setattr(native, "_layers", None)

    plan = NativeSolver().resolve(graph)

    assert [[n.name for n in stage] for stage in plan] == [[n.name for n in stage] for stage in general]


@pytest.mark.parametrize("reverse", [False, True])
def test_deep_chains(reverse: bool) -> None:
    """A chain of 50,000 nodes has 50,000 stages of one node."""
    nodes = [Node(str(i), "n") for i in range(50_000)]
    edges = [Edge(a, b, "0") for a, b in pairwise(nodes)]
    if reverse:
        edges.reverse()

    plan = NativeSolver().resolve(Graph(nodes, edges))

    assert len(plan) == 50_000
    assert all(stage[0] is node for stage, node in zip(plan, nodes, strict=True))


def test_the_solver_says_that_its_plans_are_layers() -> None:
    """The flag is declared in the class that declares resolve."""
    assert NativeSolver.__dict__["layered"] is True
    assert "resolve" in NativeSolver.__dict__
