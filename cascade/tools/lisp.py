"""Expressions as Lisp.

    add(one(), b=[2, None])          (add (one) :b '(2 nil))
    add(1, [one(), 2])               (add 1 `(,(one) 2))
    pair(x, x)  with  x = roll()     (let* ((roll-1 (roll))) (pair roll-1 roll-1))

The text is written from left to right, and what has still to be written lies on a stack, so depth costs what length
does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.tools._lisp_words import literal, name_all, symbol

__all__ = ["LispTranspiler", "to_lisp"]

_LAZY = (LazyResult, MappedLazyResult)
_SEQUENCES = (list, tuple)


def to_lisp(target: Any) -> str:
    """Return a call of a task as an S-expression. Nothing is run.

    Arguments, conditions, Routers and predecessors (``:after``) are written; retries, caches, constraints and jumps are
    not.

    Raises:
        TypeError: ``target`` is no lazy result.
        ValueError: an argument contains itself.
    """
    if not isinstance(target, _LAZY):
        raise TypeError(f"to_lisp takes a lazy result, not {type(target).__name__}: call a task to get one")
    graph, instance_map = build_graph(target)
    return LispTranspiler(graph, instance_map).transpile(instance_map[target._uuid])


class _Value:
    """An argument or a part of one; ``quote`` is where in the output the quote stands that it is below, or None."""

    __slots__ = ("quote", "value")

    def __init__(self, value: Any, quote: int | None = None) -> None:
        self.value = value
        self.quote = quote


#: What has still to be written: text as it is, the expression of a node, or a value.
_Pending = str | Node | _Value


class LispTranspiler:
    """Writes nodes of one graph; ``instance_map`` leads from the calls in containers and Routers to their nodes."""

    def __init__(self, graph: Graph, instance_map: Mapping[str, Node]) -> None:
        self._nodes = graph.nodes
        self._instances = instance_map
        #: Arguments that are calls or Routers, by the id of the node that has them.
        self._arguments: dict[int, dict[str, Any]] = {}
        self._conditions: dict[int, Node] = {}
        self._predecessors: dict[int, list[Node]] = {}
        for edge in graph.edges:
            target = id(edge.target)
            if edge.edge_type is EdgeType.CONDITION:
                self._conditions[target] = edge.source
            elif edge.edge_type is EdgeType.SEQUENCE:
                self._predecessors.setdefault(target, []).append(edge.source)
            elif edge.edge_type is EdgeType.DATA and _is_argument(edge):
                value = edge.source if edge.router is None else edge.router
                self._arguments.setdefault(target, {})[edge.arg_name] = value

    def transpile(self, target_node: Node) -> str:
        """Return the expression of a node.

        Raises:
            ValueError: an argument contains itself.
        """
        bound = self._bound(target_node)
        names = name_all(bound, self._nodes)
        pending: list[_Pending] = [*self._call(target_node)]
        if bound:
            bindings: list[_Pending] = []
            for node in bound:
                bindings += [" (" if bindings else "(", names[id(node)], " ", *self._call(node), ")"]
            pending = ["(let* (", *bindings, ") ", *pending, ")"]
        return "".join(self._written(pending, names))

    # ----------------------------------------------------------------------------------------------------- reading

    def _positional(self, node: Node) -> list[Any]:
        known = {**node.input_bindings, **self._arguments.get(id(node), {})}
        return [known[key] for key in sorted(filter(str.isdecimal, known), key=int)]

    def _keywords(self, node: Node) -> dict[str, Any]:
        known = {**node.input_bindings, **self._arguments.get(id(node), {})}
        order = node.call.keywords if node.call is not None else known
        return {key: known[key] for key in order if not key.isdecimal()}

    def _options(self, node: Node) -> Iterator[tuple[str, Any]]:
        """What is said about a call beside its arguments."""
        if id(node) in self._conditions:
            yield "run-if", self._conditions[id(node)]
        elif node.constant_condition is not None:
            yield "run-if", node.constant_condition[0]

    def _bound(self, target: Node) -> list[Node]:
        """Nodes that are used more than once, or choose a route: dependencies first, as the nodes of the graph are."""
        uses: Counter[int] = Counter()
        selectors: set[int] = set()
        met, stack = {id(target)}, [target]
        while stack:
            for node, selects in self._references(stack.pop()):
                uses[id(node)] += 1
                if selects:
                    selectors.add(id(node))
                if id(node) not in met:
                    met.add(id(node))
                    stack.append(node)
        return [node for node in self._nodes if uses[id(node)] > 1 or id(node) in selectors]

    def _references(self, node: Node) -> Iterator[tuple[Node, bool]]:
        """The nodes that the text of a node names, and of each whether it chooses a route."""
        options = [value for _, value in self._options(node)]
        stack = [
            *self._positional(node),
            *self._keywords(node).values(),
            *options,
            *self._predecessors.get(id(node), ()),
        ]
        path: set[int] = set()
        while stack:
            value = stack.pop()
            if isinstance(value, _Left):
                path.remove(value.container)
            elif isinstance(value, (Node, *_LAZY)):
                yield self._node(value), False
            elif isinstance(value, Router) and isinstance(value.selector, _LAZY):
                yield self._node(value.selector), True
                stack.extend(value.routes.values())
            elif (items := _items(value)) is not None:
                if id(value) in path:
                    raise ValueError(f"an argument of {node.name!r} cannot be written as Lisp: it contains itself")
                path.add(id(value))
                stack += [_Left(id(value)), *items]

    def _node(self, value: Any) -> Node:
        return value if isinstance(value, Node) else self._instances[value._uuid]

    # ----------------------------------------------------------------------------------------------------- writing

    def _call(self, node: Node) -> Iterator[_Pending]:
        if node.node_type == "map":
            yield f"(map {symbol(getattr(node.mapping_factory, 'name', None) or 'factory')}"
        else:
            yield f"({symbol(node.name)}"
        for value in self._positional(node):
            yield from (" ", _Value(value))
        for key, value in (*self._keywords(node).items(), *self._options(node)):
            yield from (f" :{symbol(key)} ", _Value(value))
        if id(node) in self._predecessors:
            yield " :after (list"
            for before in self._predecessors[id(node)]:
                yield from (" ", before)
            yield ")"
        yield ")"

    def _written(self, pending: list[_Pending], names: Mapping[int, str]) -> list[str]:
        out: list[str] = []
        stack = pending[::-1]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                out.append(item)
            elif isinstance(item, Node):
                name = names.get(id(item))
                stack.extend([name] if name is not None else [*self._call(item)][::-1])
            else:
                stack.extend([*self._expression(item.value, item.quote, out)][::-1])
        return out

    def _expression(self, value: Any, quote: int | None, out: list[str]) -> Iterable[_Pending]:
        """What to write for a value; a call below a quote makes that one a backquote, and is unquoted itself."""
        if isinstance(value, (Node, *_LAZY, Router, Inject)):
            if quote is not None:
                out[quote] = "`"
                yield ","
            yield from self._marker(value)
        elif isinstance(value, (*_SEQUENCES, dict)):
            if quote is None:
                quote = len(out)
                out.append("'")
            yield from _list(value, quote)
        else:
            yield literal(value)

    def _marker(self, value: Any) -> Iterator[_Pending]:
        if isinstance(value, Inject):
            yield f"(inject {literal(value.resource_name)})"
        elif not isinstance(value, Router):
            yield self._node(value)
        else:
            yield from ("(case ", _Value(value.selector))
            for key, route in sorted(value.routes.items(), key=lambda item: str(item[0])):
                yield from (f" (({literal(key)}) ", _Value(route), ")")
            yield ")"


class _Left:
    """Lies below the items of a container on the stack."""

    __slots__ = ("container",)

    def __init__(self, container: int) -> None:
        self.container = container


def _is_argument(edge: Edge) -> bool:
    """Whether an edge brings an argument, and not a part of one: the path to a part has dots or brackets."""
    call = edge.target.call
    return not re.search(r"[.\[]", edge.arg_name) or (call is not None and edge.arg_name in call.keywords)


def _items(value: Any) -> Iterable[Any] | None:
    """What may hold calls in a value; None if it is no container."""
    if isinstance(value, Router):
        return (value.selector, *value.routes.values())
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, _SEQUENCES) else None


def _list(value: Any, quote: int) -> Iterator[_Pending]:
    yield "("
    if isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            yield from (f"{' ' if index else ''}({literal(key)} . ", _Value(item, quote), ")")
    else:
        for index, item in enumerate(value):
            yield from (" " if index else "", _Value(item, quote))
    yield ")"
