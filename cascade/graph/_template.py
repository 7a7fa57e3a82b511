"""A template: the nodes and edges of an expression without its leaves, to be bound to the leaves of any equal one.

    expression --Template--> protos + edge rules --bind--> nodes, edges

Binding is linear in nodes and edges. Nothing here keeps a task, an argument or a result alive.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cascade import _kernel
from cascade.graph.model import Edge, EdgeType, Graph, Node

__all__ = ["Call", "Template", "positions"]

LEAF, ARGUMENT = _kernel.LEAF, _kernel.ARGUMENT


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of a node as stack codes (see the kernel's ``Operation``) over values, leaves and other nodes.

    ``nodes`` has the nodes that the codes name, by operation: only those, so that no node refers to itself.
    """

    values: tuple[Any, ...]
    keywords: tuple[str, ...]
    codes: Sequence[tuple[Any, ...]] | None
    leaves: Sequence[Any]
    nodes: dict[int, Node]


class Proto:
    """What the nodes of one position have in common in all expressions of a template."""

    __slots__ = ("has_markers", "keys", "literals", "mapped", "needs")

    def __init__(self, operation: Any) -> None:
        npos = len(operation.values) - len(operation.keywords)
        self.keys = (*map(str, range(npos)), *operation.keywords)
        self.mapped = bool(operation.flags & _kernel.MAP)
        self.literals = tuple(_literals(operation, self.keys))
        self.needs = tuple(dict.fromkeys(code[0] for code in operation.codes or () if code[0] >= 0))
        self.has_markers = any(code[0] == _kernel.INJECT for code in operation.codes or ())

    def bound(self, operation: Any, leaves: Sequence[Any], nodes: Sequence[Node], node_of: Sequence[int]) -> Node:
        """Make the node for an operation; ``nodes`` are those before it, ``node_of`` their positions by operation."""
        node = Node.__new__(Node)
        values, lazy, callee = operation.values, operation.lazy, operation.callee
        attributes = node.__dict__
        attributes["input_bindings"] = {key: values[index] for key, index in self.literals}
        needed = {op: nodes[node_of[op]] for op in self.needs}
        attributes["call"] = Call(values, operation.keywords, operation.codes, leaves, needed)
        if self.mapped:
            _bind_map(attributes, leaves[operation.factory])
        else:
            attributes["name"] = callee.name
            attributes["callable_obj"] = callee.func
            attributes["is_async"] = callee.is_async
            attributes["execution_mode"] = callee.mode
            attributes["injects"] = callee.injects
            attributes["has_complex_inputs"] = self.has_markers or bool(callee.injects)
        attributes["retry_policy"] = operation.retry
        if operation.flags & _kernel.CACHE:
            attributes["cache_policy"] = lazy._cache_policy
        if operation.flags & _kernel.CONSTRAINTS:
            attributes["constraints"] = lazy._constraints
        if operation.constant >= 0:
            attributes["constant_condition"] = (leaves[operation.constant],)
        return node


def _bind_map(attributes: dict[str, Any], factory: Any) -> None:
    name = getattr(factory, "name", None)
    attributes["name"] = f"map({name})" if isinstance(name, str) else "map(factory)"
    attributes["node_type"] = "map"
    attributes["mapping_factory"] = factory
    attributes["injects"] = ()
    attributes["has_complex_inputs"] = False


def _literals(operation: Any, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Arguments that are neither a lazy nor a Router, containers included."""
    if operation.codes is None:
        yield from zip(keys, range(len(keys)), strict=True)
        return
    for index, value in enumerate(operation.values):
        if type(value) not in (_kernel.LazyResult, _kernel.MappedLazyResult, _kernel.Router):
            yield keys[index], index


def positions(operations: Sequence[Any]) -> list[int] | None:
    """Return node positions by operation where equal calls of pure tasks are one node; None if all are distinct."""
    if all(operation.equal < 0 for operation in operations):
        return None
    node_of: list[int] = []
    count = 0
    for operation in operations:
        node_of.append(count if operation.equal < 0 else node_of[operation.equal])
        count += operation.equal < 0
    return node_of


class Template:
    """Protos by node position; ``ops`` maps node positions to operations, ``node_of`` operations to positions.

    Protos are made when the first expression is bound, since most templates run without nodes.
    """

    __slots__ = ("_seed", "ids", "node_of", "ops", "protos")

    def __init__(self, count: int, node_of: Sequence[int] | None = None) -> None:
        self.node_of = range(count) if node_of is None else node_of
        self.ops: Sequence[int] = range(count)
        if node_of is not None:
            first: dict[int, int] = {}
            for op, position in enumerate(node_of):
                first.setdefault(position, op)
            self.ops = list(first.values())
        self.protos: list[Proto] | None = None
        self.ids: list[str] | None = None  # of the nodes by position, once they were computed from their content
        self._seed = ""

    def number(self) -> None:
        """Let ids say no more than which position of this template a node has, unless they are known already."""
        if self.ids is None and not self._seed:
            self._seed = os.urandom(28).hex()

    @property
    def is_identified(self) -> bool:
        """Whether the nodes have ids."""
        return self.ids is not None or self._seed != ""

    def id_at(self, position: int) -> str:
        """Return the id of the node at a position."""
        return self.ids[position] if self.ids is not None else f"{self._seed}{position:08x}"

    def bind(
        self, expression: Any, offsets: Sequence[int], indices: Sequence[int]
    ) -> tuple[Graph, list[list[Node]], list[Node]]:
        """Return the graph of an expression with this template, the stages of a plan, and nodes by operation."""
        if self.protos is None:
            self.protos = [Proto(expression.operations[op]) for op in self.ops]
        nodes, by_op, stages = _kernel.hot.rehydrate(
            expression, self.protos, self.ops, self.node_of, offsets, indices
        )
        graph = Graph(nodes=nodes)
        bind_edges(graph.edges, expression, self.ops, by_op)
        return graph, stages, by_op


def bind_edges(edges: list[Edge], expression: Any, ops: Sequence[int], nodes: Sequence[Node]) -> None:
    """Append the edges of an expression, consumer by consumer; ``nodes`` maps operations to their nodes."""
    for op in ops:
        operation = expression.operations[op]
        target = nodes[op]
        if operation.codes is not None:
            edges.extend(_argument_edges(operation, expression.leaves, target, nodes))
        if operation.flags & _kernel.CONDITION:
            edges.append(Edge(nodes[operation.condition], target, "_condition", EdgeType.CONDITION))
        for name, amount in operation.amounts:
            if amount >= 0:
                edges.append(Edge(nodes[amount], target, name, EdgeType.CONSTRAINT))
        for one in operation.after:
            edges.append(Edge(nodes[one], target, "<sequence>", EdgeType.SEQUENCE))


_Found = list[tuple[str, Node, EdgeType, Any]]  # path below a value, source, type, Router


def _argument_edges(operation: Any, leaves: Sequence[Any], target: Node, nodes: Sequence[Node]) -> Iterator[Edge]:
    """Run the stack codes on paths instead of values."""
    npos = len(operation.values) - len(operation.keywords)
    stack: list[_Found] = []
    made: list[_Found] = []
    for code in operation.codes:
        kind = code[0]
        if kind >= 0:
            stack.append([("", nodes[kind], EdgeType.DATA, None)])
        elif kind in (_kernel.LIST, _kernel.TUPLE, _kernel.DICT, _kernel.ROUTER):
            items = stack[len(stack) - code[1] :]
            del stack[len(stack) - code[1] :]
            made.append(_nested(kind, code, items, leaves))
            stack.append(made[-1])
        elif kind == _kernel.SHARED:
            stack.append(made[code[1]])
        elif kind != _kernel.KIND:
            stack.append([])
    for index, found in enumerate(stack):
        key = str(index) if index < npos else operation.keywords[index - npos]
        for path, source, edge_type, router in found:
            yield Edge(source, target, key + path, edge_type, router)


def _nested(kind: int, code: tuple[Any, ...], items: list[_Found], leaves: Sequence[Any]) -> _Found:
    if kind == _kernel.ROUTER:
        router, *keys = leaves[code[2] : code[2] + code[1]]
        found: _Found = [(path, source, EdgeType.DATA, router) for path, source, _, _ in items[0]]
        for key, routes in zip(keys, items[1:], strict=True):
            found += [(f".route[{key}]{p}", s, EdgeType.ROUTER_ROUTE, None) for p, s, _, _ in routes]
        return found
    steps: Any = [f"[{i}]" for i in range(code[1])]
    if kind == _kernel.DICT:
        steps = [f".{key}" for key in leaves[code[2] : code[2] + code[1]]]
    return [(step + p, s, t, r) for step, found in zip(steps, items, strict=True) for p, s, t, r in found]


