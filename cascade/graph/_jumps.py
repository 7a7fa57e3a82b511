"""Where jumps may lead: an ITERATIVE_JUMP edge for each route, and the nodes that only jumps lead to. Drawn, never run.

A jump begins another step, whose graph is its own. Here the calls that a route needs are shown beside the step's.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from cascade import _kernel
from cascade.graph._identity import Identity
from cascade.graph._template import Template, positions
from cascade.graph.model import Edge, EdgeType, Graph, Node

__all__ = ["add_jumps"]


def add_jumps(graph: Graph, operations: Sequence[Any], instance_map: MutableMapping[str, Node]) -> None:
    """Append jump edges, and the nodes of routes that are not there yet; both for the routes of routes too."""
    bound = [operation.lazy for operation in operations if operation.flags & _kernel.JUMP]
    for lazy in bound:  # grows
        for key, route in _routes(lazy._jump_selector):
            if route._uuid not in instance_map:
                bound += _add_route(graph, route, instance_map)
            source, target = instance_map[lazy._uuid], instance_map[route._uuid]
            graph.edges.append(
                Edge(source, target, str(key), EdgeType.ITERATIVE_JUMP, jump_selector=lazy._jump_selector)
            )


def _routes(selector: Any) -> Iterator[tuple[Any, Any]]:
    for key, route in getattr(selector, "routes", {}).items():
        if type(route) in (_kernel.LazyResult, _kernel.MappedLazyResult):
            yield key, route


def _add_route(graph: Graph, route: Any, instance_map: MutableMapping[str, Node]) -> list[Any]:
    """Append what a route needs and is not there; return the lazy results among it that may jump on."""
    expression = _kernel.trace(route)
    operations = expression.operations
    template = Template(len(operations), None if expression.unkeyed else positions(operations))
    part, _, nodes = template.bind(expression, (), ())
    part._identity = Identity(part.nodes, operations, template)
    there = {
        id(node): instance_map[operation.lazy._uuid]
        for operation, node in zip(operations, nodes, strict=True)
        if operation.lazy._uuid in instance_map
    }
    new = [node for node in part.nodes if id(node) not in there]
    for node in new:
        node.__dict__["awaits_jump"] = True
    graph.nodes += new
    for edge in part.edges:
        if id(edge.target) not in there:
            edge.source = there.get(id(edge.source), edge.source)
            graph.edges.append(edge)
    found = []
    for operation, node in zip(operations, nodes, strict=True):
        if operation.lazy._uuid not in instance_map:
            instance_map[operation.lazy._uuid] = node
            if operation.flags & _kernel.JUMP:
                found.append(operation.lazy)
    return found
