"""Graph, node and edge by themselves, made by hand, and ids that are computed when read."""

from __future__ import annotations

from typing import Any

import pytest

from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.task import task


@task(pure=True)
def call(x: Any = None) -> Any:
    return x


def test_a_repeated_id_is_ignored() -> None:
    """The first node of an id stays, a second one is not appended."""
    graph, first = Graph(), Node("a", "first")

    graph.add_node(first)
    graph.add_node(Node("a", "second"))
    graph.add_node(Node("b", "first"))

    assert [(node.structural_id, node.name) for node in graph.nodes] == [("a", "first"), ("b", "first")]
    assert graph.get_node("a") is first


def test_nodes_are_found_by_id() -> None:
    """get_node answers from the index, with None for unknown ids."""
    graph, node = Graph(), Node("a", "n")
    graph.add_node(node)

    assert graph.get_node("a") is node
    assert graph.get_node("n") is None
    assert graph._node_index == {"a": node}


def test_the_index_notices_appended_nodes() -> None:
    """Nodes that were put into the list directly are found too."""
    graph = Graph(nodes=[Node("a", "a")])
    assert graph.get_node("a") is graph.nodes[0]

    graph.nodes.append(Node("b", "b"))

    assert graph.get_node("b") is graph.nodes[1]
    assert list(graph._node_index) == ["a", "b"]


def test_edges_are_never_deduplicated() -> None:
    """Every add_edge adds one."""
    graph, a, b = Graph(), Node("a", "a"), Node("b", "b")

    graph.add_edge(Edge(a, b, "0"))
    graph.add_edge(Edge(a, b, "0"))

    assert graph.edges == [Edge(a, b, "0"), Edge(a, b, "0")]
    assert graph.edges[0].edge_type is EdgeType.DATA


def test_incoming_edges_keep_their_order() -> None:
    """Incoming edges are those that end in the node, as added, also when more come after the first question."""
    graph, a, b = Graph(), Node("a", "a"), Node("b", "b")
    graph.add_edge(Edge(a, b, "1"))
    graph.add_edge(Edge(b, a, "back"))
    assert [edge.arg_name for edge in graph.incoming(b)] == ["1"]

    graph.add_edge(Edge(a, b, "0"))

    assert [edge.arg_name for edge in graph.incoming(b)] == ["1", "0"]
    assert graph.incoming(Node("c", "c")) == []


def test_nodes_hash_by_id_and_compare_by_content() -> None:
    """Equal ids give equal hashes; equality looks at every field."""
    assert hash(Node("a", "x")) == hash(Node("a", "y"))
    assert Node("a", "x") == Node("a", "x")
    assert Node("a", "x") != Node("a", "y")
    assert len({Node("a", "x"), Node("a", "x"), Node("b", "x")}) == 2


def test_ids_given_by_hand_stay() -> None:
    """A node that was made by hand has the ids that it was given, and its cache id is its own."""
    node = Node("a", "x", template_id="t")

    assert (node.structural_id, node.template_id, node.cache_id) == ("a", "t", "a")
    assert node.signature is None


def test_ids_are_computed_when_read() -> None:
    """Building computes no id; reading computes it once, and it stays the same."""
    graph, _ = build_graph(call(call(1)))
    node = graph.nodes[-1]
    assert "_structural_id" not in node.__dict__
    assert "_template_id" not in node.__dict__

    first = (node.structural_id, node.template_id, node.cache_id)

    assert [len(text) for text in first] == [64, 64, 64]
    assert first == (node.structural_id, node.template_id, node.cache_id)
    assert node.structural_id is first[0]


def test_reading_order_does_not_change_ids() -> None:
    """Whichever id is read first, all of them are what another build gives."""
    one, other = (build_graph(call(call(1)))[0] for _ in range(2))

    backwards = [node.template_id and node.structural_id for node in reversed(one.nodes)]

    assert backwards[::-1] == [node.structural_id for node in other.nodes]
    assert [node.template_id for node in one.nodes] == [node.template_id for node in other.nodes]


@pytest.mark.parametrize("order", [[0, 0, 1, 1, 2], [0, 1, 0, 2, 1], [2, 0, 0, 1, 2], []])
def test_edges_are_found_by_their_target_in_any_order(order: list[int]) -> None:
    """Whether the edges of a node lie together or not, and when others are added later."""
    nodes = [Node(str(number), "n") for number in range(4)]
    graph = Graph(nodes=nodes)

    for added in range(len(order) + 1):
        expected = [[edge for edge in graph.edges if edge.target is node] for node in nodes]
        assert [graph.incoming(node) for node in nodes] == expected
        if added < len(order):
            graph.add_edge(Edge(nodes[3], nodes[order[added]], str(added)))
