"""Which nodes are skipped: conditions, predecessors, routes that were not chosen, and what depends on them.

    demand of a node = its outgoing edges (+ 1 for the target); an unselected route loses one, at 0 a node is pruned
    and its inputs lose one each, so that what only an unselected branch needs never runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.protocols import StateBackend

__all__ = ["PRUNED", "FlowManager", "passed_on", "route_for"]

#: Why a node is skipped that no choice wants.
PRUNED = "Pruned"

_NO_ROUTE: Any = object()
_DRAWN = (EdgeType.POTENTIAL, EdgeType.ITERATIVE_JUMP)


def route_for(routes: Mapping[Any, Any], choice: Any, default: Any = None) -> Any:
    """Return the route that a selector's value names; what cannot be a key names none."""
    try:
        return routes.get(choice, default)
    except TypeError:
        return default


async def passed_on(
    node_id: str, incoming: Callable[[str], Iterable[Edge]], state_backend: StateBackend
) -> tuple[Any] | None:
    """Return the result of a node in a tuple, or of a skipped one its first input, through several if need be."""
    values: dict[str, tuple[Any] | None] = {node_id: None}  # None while a node is looked at, and if it has no value
    stack = [node_id]
    while stack:
        one = stack[-1]
        if await state_backend.has_result(one):
            values[one] = (await state_backend.get_result(one),)
        elif await state_backend.get_skip_reason(one) is not None:
            needed, values[one] = _first_input(incoming(one), values)
            if needed is not None:
                values[needed] = None
                stack.append(needed)
                continue
        stack.pop()
    return values[node_id]


def _first_input(
    edges: Iterable[Edge], values: Mapping[str, tuple[Any] | None]
) -> tuple[str | None, tuple[Any] | None]:
    """Return the value of the first input, as far as values are known, or the id of the node whose value is needed."""
    edges = list(edges)
    first = next((edge for edge in edges if edge.edge_type is EdgeType.DATA), None)
    if first is None:
        return None, None
    source = first.source.structural_id
    if source not in values:
        return source, None
    found = values[source]
    if first.router is None or found is None:
        return None, found
    routes = first.router.routes
    if route_for(routes, found[0], _NO_ROUTE) is _NO_ROUTE:
        return None, None
    key = next(key for key in routes if key == found[0])
    path = f"{first.arg_name}.route[{key}]"
    chosen = next((e for e in edges if e.edge_type is EdgeType.ROUTER_ROUTE and e.arg_name == path), None)
    if chosen is None:
        return None, (routes[key],)
    route = chosen.source.structural_id
    return (None, values[route]) if route in values else (route, None)


class FlowManager:
    """The flow of one graph in one evaluation."""

    def __init__(self, graph: Graph, target_node_id: str, instance_map: Mapping[str, Node]) -> None:
        self.graph = graph
        self.target_node_id = target_node_id
        self.instance_map = instance_map
        #: Edges by the id of the node they end in.
        self.in_edges: dict[str, list[Edge]] = {}
        #: Edges that bring a Router's selector, by the selector's id.
        self.routers_by_selector: dict[str, list[Edge]] = {}
        #: Ids of the routes of each consumer of a Router, by argument path of the route.
        self.route_source_map: dict[str, dict[str, str]] = {}
        #: How many consumers of a node may still need it.
        self.downstream_demand: dict[str, int] = {node.structural_id: 0 for node in graph.nodes}
        for edge in graph.edges:
            self._take(edge)
        self.downstream_demand[target_node_id] = self.downstream_demand.get(target_node_id, 0) + 1
        #: What is needed whatever the open choices turn out to be; None until somebody asks.
        self._wanted: set[str] | None = None
        #: Edges of wanted consumers whose selector has not chosen, by its id; those whose selector was skipped in vain.
        self._open: dict[str, list[Edge]] = {}
        self._idle: list[Edge] = []
        #: Routes, by consumer and argument path, that a choice has let go of; a consumer that is pruned later must not.
        self._let_go: set[tuple[str, str]] = set()

    def _take(self, edge: Edge) -> None:
        if edge.edge_type in _DRAWN:
            return
        source, target = edge.source.structural_id, edge.target.structural_id
        self.downstream_demand[source] = self.downstream_demand.get(source, 0) + 1
        self.in_edges.setdefault(target, []).append(edge)
        if edge.router is not None:
            self.routers_by_selector.setdefault(source, []).append(edge)
        if edge.edge_type is EdgeType.ROUTER_ROUTE:
            self.route_source_map.setdefault(target, {})[edge.arg_name] = source

    async def register_result(self, node_id: str, result: Any, state_backend: StateBackend) -> None:
        """Take note of a result: the routes that it does not select are pruned."""
        for edge in self.routers_by_selector.get(node_id, ()):
            if await state_backend.get_skip_reason(edge.target.structural_id) == PRUNED:
                continue  # it has let go of its routes, as of all its inputs
            routes = edge.router.routes  # type: ignore[union-attr]
            chosen = route_for(routes, result)
            for key, route in routes.items():
                if route is not chosen and hasattr(route, "_uuid"):
                    self._let_go.add((edge.target.structural_id, f"{edge.arg_name}.route[{key}]"))
                    await self._release(self.instance_map[route._uuid].structural_id, state_backend)
        await self._want_more(node_id, state_backend)

    async def register_skip(self, node_id: str, state_backend: StateBackend) -> None:
        """Take note of a skip: a skipped selector still chooses by the value that it passes on."""
        if node_id in self.routers_by_selector:
            passed = await self._value(node_id, state_backend)
            if passed is not None:
                await self.register_result(node_id, passed[0], state_backend)
            else:
                self._idle += self._open.pop(node_id, ())

    async def _value(self, node_id: str, state_backend: StateBackend) -> tuple[Any] | None:
        return await passed_on(node_id, lambda one: self.in_edges.get(one, ()), state_backend)

    async def _release(self, node_id: str, state_backend: StateBackend) -> None:
        """One consumer less; what has none left is pruned, and its inputs with it."""
        stack = [node_id]
        while stack:
            one = stack.pop()
            self.downstream_demand[one] = self.downstream_demand.get(one, 0) - 1
            if self.downstream_demand[one] > 0 or await state_backend.get_skip_reason(one) is not None:
                continue
            await state_backend.mark_skipped(one, PRUNED)
            edges = self.in_edges.get(one, ())
            stack.extend(edge.source.structural_id for edge in edges if (one, edge.arg_name) not in self._let_go)

    async def should_skip(self, node: Node, state_backend: StateBackend) -> str | None:
        """Return why a node must not run, or None."""
        known = await state_backend.get_skip_reason(node.structural_id)
        if known is not None:
            return known
        constant = getattr(node, "constant_condition", None)
        if isinstance(constant, tuple) and not constant[0]:
            return "ConditionFalse"
        edges = self.in_edges.get(node.structural_id, ())
        for edge in edges:
            if edge.edge_type is EdgeType.CONDITION:
                reason = await self._judge_condition(edge.source.structural_id, state_backend)
                if reason is not None:
                    return reason
        for edge in edges:
            if edge.edge_type is EdgeType.SEQUENCE and await self._skipped(edge.source, state_backend):
                return "UpstreamSkipped_Sequence"
        for edge in edges:
            if edge.edge_type is EdgeType.DATA:
                reason = await self._judge_input(edge, state_backend)
                if reason is not None:
                    return reason
        return None

    async def _skipped(self, node: Node, state_backend: StateBackend) -> bool:
        return await state_backend.get_skip_reason(node.structural_id) is not None

    async def _judge_condition(self, source_id: str, state_backend: StateBackend) -> str | None:
        if await state_backend.get_skip_reason(source_id) is not None:
            return "UpstreamSkipped_Condition"
        if not await state_backend.has_result(source_id):
            return "ConditionMissing"
        return None if await state_backend.get_result(source_id) else "ConditionFalse"

    async def _judge_input(self, edge: Edge, state_backend: StateBackend) -> str | None:
        source = edge.source.structural_id
        choice = await self._value(source, state_backend)
        if choice is None:
            return "UpstreamSkipped_Data" if await self._skipped(edge.source, state_backend) else None
        if edge.router is not None:
            route = route_for(edge.router.routes, choice[0])
            if hasattr(route, "_uuid") and await self._skipped(self.instance_map[route._uuid], state_backend):
                return "UpstreamSkipped_Route"
        return None

    # Routes wait for their selector: what only they need is not started before the choice is known.

    @property
    def has_routers(self) -> bool:
        """Whether anything in this graph waits for a choice."""
        return bool(self.routers_by_selector)

    async def is_wanted(self, node: Node, state_backend: StateBackend) -> bool:
        """Whether a node is needed whatever the open choices turn out to be."""
        if self._wanted is None:
            self._wanted = set()
            await self._want([self.target_node_id], state_backend)
        return node.structural_id in self._wanted

    async def _want_more(self, selector: str, state_backend: StateBackend) -> None:
        """Follow the routes that have been chosen since: what was wanted before stays so."""
        if self._wanted is None or selector not in self.routers_by_selector:
            return
        undecided = [*self._open.pop(selector, ()), *self._idle]
        self._idle = []
        for edge in undecided:
            await self._want(await self._chosen(edge, state_backend), state_backend)

    async def _want(self, node_ids: list[str], state_backend: StateBackend) -> None:
        """Backwards from some nodes; route edges are followed only if their selector has chosen them."""
        wanted, stack = cast(set[str], self._wanted), list(node_ids)
        while stack:
            consumer = stack.pop()
            if consumer in wanted:
                continue
            wanted.add(consumer)
            for edge in self.in_edges.get(consumer, ()):
                if edge.edge_type is not EdgeType.ROUTER_ROUTE:
                    stack.append(edge.source.structural_id)
                if edge.router is not None:
                    stack += await self._chosen(edge, state_backend)

    async def _chosen(self, edge: Edge, state_backend: StateBackend) -> list[str]:
        """Return the id of the chosen route in a list; an empty one, and note the edge, if there is no choice yet."""
        selector = edge.source.structural_id
        choice = await self._value(selector, state_backend)
        if choice is None:
            is_idle = await self._skipped(edge.source, state_backend)
            (self._idle if is_idle else self._open.setdefault(selector, [])).append(edge)
            return []
        route = route_for(edge.router.routes, choice[0])  # type: ignore[union-attr]
        return [self.instance_map[route._uuid].structural_id] if hasattr(route, "_uuid") else []
