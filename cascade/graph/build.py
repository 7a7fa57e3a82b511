"""From a lazy result to a graph: trace, nodes, edges, then where jumps lead and what might be called next (shadows).

Cost: linear in lazy results and arguments. Ids, signatures and the instance map are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from typing import Any

from cascade import _kernel
from cascade.graph._identity import Identity, InstanceMap
from cascade.graph._jumps import add_jumps
from cascade.graph._shadows import add_shadows
from cascade.graph._template import Template, positions
from cascade.graph.hashing import HashingService
from cascade.graph.model import Graph, Node
from cascade.graph.registry import NodeRegistry

__all__ = ["GraphBuilder", "build_graph"]


class GraphBuilder:
    """Builds one graph; ``registry`` shares nodes of equal structure with other graphs."""

    def __init__(self, registry: NodeRegistry | None = None) -> None:
        self.graph = Graph()
        self.registry = registry
        self.hashing_service = HashingService()

    def build(self, target: Any) -> tuple[Graph, MutableMapping[str, Node]]:
        """Return the graph of ``target`` and the node of each lazy result by its ``_uuid``.

        Raises:
            TypeError: ``target`` is no lazy result.
            CycleError: a lazy result depends on itself.
            UncalledTaskError: a task is passed where a call of it belongs.
        """
        if type(target) not in (_kernel.LazyResult, _kernel.MappedLazyResult):
            raise TypeError(
                f"Cannot build graph from type {type(target).__name__}: give a lazy result, that is, call a task"
            )
        expression = _kernel.trace(target)
        operations = expression.operations
        template = Template(len(operations), self._merge(expression))
        self.graph, _, nodes = template.bind(expression, (), ())
        instance_map = InstanceMap([o.lazy for o in operations], nodes)
        self.graph._identity = Identity(self.graph.nodes, operations, template)
        if self.registry is not None:
            self._share(expression, template, nodes)
        if not expression.unkeyed:
            self.graph._template = template
        own = list(self.graph.nodes)
        add_jumps(self.graph, operations, instance_map)
        add_shadows(self.graph, [getattr(operations[op].lazy, "task", None) for op in template.ops], own)
        return self.graph, instance_map

    def _visit(self, value: Any) -> Node:
        """Build the graph of a lazy result and return its node."""
        _, instance_map = self.build(value)
        return instance_map[value._uuid]

    def _merge(self, expression: Any) -> list[int] | None:
        """Positions by operation where equal calls of pure tasks become one node; None where all are distinct."""
        if expression.unkeyed:
            return self._merge_by_content(expression)
        return positions(expression.operations)

    def _merge_by_content(self, expression: Any) -> list[int]:
        """The same where the tracer could not tell: dependencies count by their position."""
        made: dict[str, Any] = {}
        positions: dict[tuple[Any, str], int] = {}
        node_of: list[int] = []
        for operation in expression.operations:
            content = self.hashing_service.compute_structural_hash(operation.lazy, made)
            serial = operation.callee.serial if operation.callee is not None else 0
            position = positions.setdefault((serial, content), len(positions))
            made[operation.lazy._uuid] = _Merged(str(position))
            node_of.append(position)
        return node_of

    def _share(self, expression: Any, template: Template, nodes: list[Node]) -> None:
        """Replace nodes by those that the registry has for equal structures, dependencies included.

        A weak registry belongs to an engine: there only calls of pure tasks can ever meet again.
        """
        graph, registry = self.graph, self.registry
        assert registry is not None
        replaced: dict[int, Node] = {}
        own: set[int] = set()  # positions of nodes that stay this graph's alone, so what depends on them does too
        for position, op in enumerate(template.ops):
            operation, mine = expression.operations[op], graph.nodes[position]
            pure = operation.callee is not None and operation.callee.pure
            if (registry.weak and not pure) or not own.isdisjoint(_dependencies(operation, template)):
                own.add(position)
                continue
            node, created = registry.get_or_create(mine.structural_id, partial(_itself, mine))
            if not created and (pure or _same_call(node, mine)):
                replaced[id(mine)] = graph.nodes[position] = node
            elif not created:
                own.add(position)
        if replaced:
            nodes[:] = [replaced.get(id(node), node) for node in nodes]
            for node in graph.nodes:
                if node.call.nodes:
                    node.call.nodes.update({op: replaced.get(id(one), one) for op, one in node.call.nodes.items()})
            for edge in graph.edges:
                edge.source = replaced.get(id(edge.source), edge.source)
                edge.target = replaced.get(id(edge.target), edge.target)


class _Merged:
    """What stands for a call that has its position, in the content of those that depend on it."""

    __slots__ = ("structural_id",)

    def __init__(self, structural_id: str) -> None:
        self.structural_id = structural_id


def _itself(node: Node) -> Node:
    return node


def _same_call(one: Node, other: Node) -> bool:
    """Whether a lazy result still is what it was when ``one`` was made; its attributes may have been set since."""
    same = one.input_bindings.keys() == other.input_bindings.keys() and all(
        value is other.input_bindings[key] for key, value in one.input_bindings.items()
    )
    return same and one.cache_policy is other.cache_policy and one.constraints == other.constraints


def _dependencies(operation: Any, template: Template) -> set[int]:
    """Positions of the nodes that an operation depends on, for whatever reason."""
    ops = {code[0] for code in operation.codes or ()} | {amount for _, amount in operation.amounts}
    return {template.node_of[op] for op in (*ops, *operation.after, operation.condition) if op >= 0}


def build_graph(target: Any, registry: NodeRegistry | None = None) -> tuple[Graph, MutableMapping[str, Node]]:
    """Return the graph of a lazy result, see :meth:`GraphBuilder.build`."""
    return GraphBuilder(registry).build(target)
