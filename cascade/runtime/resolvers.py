"""Arguments and required amounts of one node, from the results of the nodes before it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cascade import _kernel
from cascade.graph._problems import ContainerError
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.internal.inputs import ENVIRONMENT, PARAMS, environment
from cascade.runtime.exceptions import DependencyMissingError, ResourceNotFoundError
from cascade.runtime.flow import passed_on, route_for
from cascade.spec.protocols import StateBackend
from cascade.spec.resource import Inject

__all__ = ["ArgumentResolver", "ConstraintResolver"]

_ABSENT: Any = object()


class ArgumentResolver:
    """Puts the arguments of a node together."""

    #: Its methods may be left out by a hot program, unless a subclass or an instance replaces them.
    stock = True

    async def resolve(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        resource_context: dict[str, Any],
        instance_map: Mapping[str, Node],
        user_params: dict[str, Any] | None = None,
        input_overrides: dict[str, Any] | None = None,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return positional and keyword arguments.

        Precedence: overrides, results of edges, literals, injected defaults.

        Raises:
            DependencyMissingError: an argument was skipped or never made.
            ResourceNotFoundError: an injected resource is not active.
            ValueError: a Router has no route for its selector's value.
        """
        if _is_built(node):
            arguments = await self._resolve_call(node, graph, state_backend, resource_context, instance_map)
        else:
            arguments = await self._resolve_edges(node, graph, state_backend, resource_context, instance_map)
        if input_overrides:
            arguments.update(input_overrides)
        self._inject_defaults(node, arguments, resource_context, user_params)
        return _split(arguments)

    async def _resolve_edges(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        resource_context: dict[str, Any],
        instance_map: Mapping[str, Node],
    ) -> dict[str, Any]:
        """Arguments by key for a node that was made by hand: literals, then what its edges bring."""
        arguments = {
            key: self._resolve_structure(value, node.structural_id, state_backend, resource_context, graph)
            for key, value in node.input_bindings.items()
        }
        arguments.update(await self._resolve_data_edges(node, graph, state_backend, instance_map, None))
        return arguments

    async def _resolve_data_edges(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        instance_map: Mapping[str, Node],
        input_overrides: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Return the values that DATA edges bring, by argument; overridden arguments are left out."""
        found: dict[str, Any] = {}
        for edge in _incoming(graph, node):
            if edge.edge_type is not EdgeType.DATA or (input_overrides and edge.arg_name in input_overrides):
                continue
            if _is_path(edge.arg_name) and edge.router is None:
                continue
            found[edge.arg_name] = await self._resolve_dependency(
                edge, node.structural_id, state_backend, graph, instance_map
            )
        return found

    async def _resolve_dependency(
        self,
        edge: Edge,
        consumer_id: str,
        state_backend: StateBackend,
        graph: Graph,
        instance_map: Mapping[str, Node],
    ) -> Any:
        """Return the value of one DATA edge; through a Router that of the chosen route."""
        if edge.router is None:
            return await self._get_node_result(
                edge.source.structural_id, consumer_id, edge.arg_name, state_backend, graph
            )
        source_id = edge.source.structural_id
        choice = await self._get_node_result(source_id, consumer_id, edge.arg_name, state_backend, graph)
        route = chosen_route(edge.router.routes, choice, consumer_id)
        if not hasattr(route, "_uuid"):
            return route
        source = instance_map[route._uuid]
        return await self._get_node_result(source.structural_id, consumer_id, edge.arg_name, state_backend, graph)

    async def _get_node_result(
        self, node_id: str, consumer_id: str, arg_name: str, state_backend: StateBackend, graph: Graph
    ) -> Any:
        """Return a node's result; a skipped node passes its first input on.

        Raises:
            DependencyMissingError: neither the node nor the first inputs behind it have a result.
        """
        def incoming(one: str) -> list[Edge]:
            node = graph.get_node(one)
            return graph.incoming(node) if node is not None else []

        found = await passed_on(node_id, incoming, state_backend)
        if found is None:
            consumer = graph.get_node(consumer_id)
            name = consumer.name if consumer is not None else ""
            what = await _missing(node_id, graph, state_backend)
            raise DependencyMissingError(consumer_id, arg_name, node_id, name, what)
        return found[0]

    def _resolve_inject(self, inject: Inject, consumer_id: str, resource_context: dict[str, Any]) -> Any:
        """Return the active resource that a marker names."""
        if inject.resource_name in resource_context:
            return resource_context[inject.resource_name]
        raise ResourceNotFoundError(inject.resource_name, consumer_id)

    def _resolve_structure(
        self, obj: Any, consumer_id: str, state_backend: StateBackend, resource_context: dict[str, Any], graph: Graph
    ) -> Any:
        """Return ``obj`` with the inject markers in lists, tuples and dicts replaced; ``obj`` itself if it has none."""
        if type(obj) is Inject:
            return self._resolve_inject(obj, consumer_id, resource_context)
        if not isinstance(obj, (list, tuple, dict)):
            return obj
        expression = _kernel.trace(_kernel.LazyResult(_probe, (obj,), {}))
        operation = expression.operations[-1]
        if operation.codes is None:
            return obj
        call = _Assembly(self, consumer_id, resource_context)
        return call.run(operation.codes, operation.values, expression.leaves, {})[0]

    async def given(self, node: Node, graph: Graph, state_backend: StateBackend) -> dict[str, Any]:
        """Return what the caller of a node of ``build_graph`` gave, by argument: inject markers stay markers."""
        return await self._resolve_call(node, graph, state_backend, _Markers(), {})

    async def _resolve_call(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        resource_context: dict[str, Any],
        instance_map: Mapping[str, Node],
    ) -> dict[str, Any]:
        """Arguments by key for a node of ``build_graph``: as its call was when the step began."""
        call = node.call
        values: Sequence[Any] = call.values
        if call.codes is not None:
            results = await self._results(node, graph, state_backend, instance_map)
            assembly = _Assembly(self, node.name, resource_context)
            values = assembly.run(call.codes, values, call.leaves, results)
        npos = len(values) - len(call.keywords)
        names = call.keywords if all(map(str.isidentifier, call.keywords)) else map(_escaped, call.keywords)
        keys = (*map(str, range(npos)), *names)
        return dict(zip(keys, values, strict=True))

    async def _results(
        self, node: Node, graph: Graph, state_backend: StateBackend, instance_map: Mapping[str, Node]
    ) -> dict[int, Any]:
        """Results by operation of what the arguments need: of a Router only the chosen route."""
        by_source = {id(e.source): e for e in graph.incoming(node) if e.edge_type is EdgeType.DATA}
        by_source |= {id(e.source): e for e in graph.incoming(node) if e.edge_type is EdgeType.ROUTER_ROUTE}
        results: dict[int, Any] = {}
        for op, source in node.call.nodes.items():
            edge = by_source[id(source)]
            try:
                results[op] = await self._get_node_result(
                    source.structural_id, node.structural_id, edge.arg_name, state_backend, graph
                )
            except DependencyMissingError as missing:
                results[op] = _Missing(missing)
        return results

    def _inject_defaults(
        self,
        node: Node,
        arguments: dict[str, Any],
        resource_context: dict[str, Any],
        user_params: dict[str, Any] | None,
    ) -> None:
        """Add injected defaults for parameters that were not passed."""
        injects = node.injects
        if type(injects) is not tuple:
            injects = _kernel.find_injects(node.callable_obj) if node.callable_obj is not None else ()
        for parameter, position, resource in injects:
            if parameter in arguments or (position >= 0 and str(position) in arguments):
                continue
            if resource == PARAMS and resource not in resource_context:
                arguments[parameter] = user_params or {}
            elif resource == ENVIRONMENT and resource not in resource_context:
                arguments[parameter] = environment()
            else:
                arguments[parameter] = self._resolve_inject(Inject(resource), node.name, resource_context)


class _Markers(dict[str, Any]):
    """Resources that stand for themselves."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Inject:
        return Inject(name)


class _Missing:
    """A result that is not there, which matters only if the chosen route needs it."""

    __slots__ = ("error",)

    def __init__(self, error: DependencyMissingError) -> None:
        self.error = error


class _Assembly:
    """Runs the stack codes of one call (see the kernel's ``Operation``) with everything that full processing allows."""

    def __init__(self, resolver: ArgumentResolver, consumer: str, resources: dict[str, Any]) -> None:
        self.resolver = resolver
        self.consumer = consumer
        self.resources = resources
        self.stack: list[Any] = []
        self.made: list[Any] = []

    def run(
        self,
        codes: Sequence[tuple[Any, ...]],
        values: Sequence[Any],
        leaves: Sequence[Any],
        results: Mapping[int, Any],
    ) -> list[Any]:
        """Return the values of all arguments, positional ones first."""
        for code in codes:
            kind = code[0]
            if kind >= 0:
                self.stack.append(results[kind])
            elif kind == _kernel.ARGUMENT:
                self.stack.append(values[code[1]])
            elif kind == _kernel.LEAF:
                self.stack.append(leaves[code[1]])
            elif kind == _kernel.SHARED:
                self.stack.append(self.made[code[1]])
            elif kind == _kernel.INJECT:
                self.stack.append(self.resolver._resolve_inject(Inject(code[1]), self.consumer, self.resources))
            elif kind == _kernel.KIND:
                self.made[-1] = self.stack[-1] = self._converted(self.stack[-1], leaves[code[1]])
            else:
                self._make(kind, code, leaves)
        for value in self.stack:
            if type(value) is _Missing:
                raise value.error
        return self.stack

    def _make(self, kind: int, code: tuple[Any, ...], leaves: Sequence[Any]) -> None:
        count = code[1]
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        made: Any
        if kind == _kernel.ROUTER:
            made = self._routed(leaves[code[2] + 1 : code[2] + count], items)
        else:
            for item in items:
                if type(item) is _Missing:
                    raise item.error
            if kind == _kernel.DICT:
                made = dict(zip(leaves[code[2] : code[2] + count], items, strict=True))
            else:
                made = items if kind == _kernel.LIST else tuple(items)
        self.made.append(made)
        self.stack.append(made)

    def _routed(self, keys: Sequence[Any], items: list[Any]) -> Any:
        if type(items[0]) is _Missing:
            raise items[0].error
        return chosen_route(dict(zip(keys, items[1:], strict=True)), items[0], self.consumer)

    def _converted(self, plain: Any, original: Any) -> Any:
        """Return a container like ``original`` (a subclass of list, tuple or dict) with the items of ``plain``."""
        cls = type(original)
        try:
            if isinstance(original, tuple):
                made = cls._make(plain) if hasattr(cls, "_make") else cls(plain)
            else:
                made = copy.copy(original)
                if isinstance(original, list):
                    made[:] = plain
                else:
                    for key, value in plain.items():
                        made[key] = value
        except Exception as error:
            raise ContainerError(self.consumer, cls.__name__, f"cannot be rebuilt: {error}") from error
        if type(made) is not cls or len(made) != len(plain):
            raise ContainerError(self.consumer, cls.__name__, "cannot be rebuilt as its own type")
        return made


def _probe(value: Any) -> Any:
    return value


_probe = cast(Any, _kernel.Task(_probe, "probe"))


def chosen_route(routes: Mapping[Any, Any], choice: Any, consumer: str) -> Any:
    """Return the route under the key ``choice``.

    Raises:
        ValueError: there is none.
    """
    route = route_for(routes, choice, _ABSENT)
    if route is _ABSENT:
        raise ValueError(
            f"Router selector for '{consumer}' returned {choice!r}, but no matching route found in {list(routes)!r}"
        )
    return route


def _is_built(node: Node) -> bool:
    """Whether a node knows the call that it was built from; one that was made by hand or stands in for one does not."""
    return issubclass(type(node), Node) and node.call is not None


def _incoming(graph: Graph, node: Node) -> list[Edge]:
    """Return the edges that end in a node, of a stand-in for a graph too."""
    if issubclass(type(graph), Graph):
        return graph.incoming(node)
    return [edge for edge in graph.edges if edge.target.structural_id == node.structural_id]


def _is_path(arg_name: str) -> bool:
    return "[" in arg_name or "." in arg_name


async def _missing(node_id: str, graph: Graph, state_backend: StateBackend) -> str:
    """Say which dependency is missing, and why if it was skipped."""
    node = graph.get_node(node_id)
    shown = f"'{node.name}' ({node_id})" if node is not None else f"'{node_id}'"
    reason = await state_backend.get_skip_reason(node_id)
    return f"{shown}, skipped: {reason}," if reason is not None else shown


def _split(arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments keep their index, keywords their order."""
    positions = [key for key in arguments if key.isdecimal()]
    if len(positions) > 1:
        positions.sort(key=int)
    named = {k.removeprefix(_ESCAPE): v for k, v in arguments.items() if not k.isdecimal()}
    return [arguments[key] for key in positions], named


#: Precedes a keyword that would count as a position, as in ``f(**{"0": x})``.
_ESCAPE = "\0"


def _escaped(keyword: str) -> str:
    return _ESCAPE + keyword if keyword.isdecimal() or keyword.startswith(_ESCAPE) else keyword


class ConstraintResolver:
    """Turns required amounts into numbers."""

    #: Its methods may be left out by a hot program, unless a subclass or an instance replaces them.
    stock = True

    async def resolve(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        constraint_manager: Any,
        instance_map: Mapping[str, Node],
    ) -> dict[str, Any]:
        """Return amounts by resource name: the node's own, lazy ones replaced, and those of global constraints.

        Raises:
            DependencyMissingError: a lazy amount has no result; its argument is ``constraint:<name>``.
        """
        amounts: dict[str, Any] = {}
        if node.constraints:
            for name, amount in node.constraints.requirements.items():
                if hasattr(amount, "_uuid"):
                    amount = await self._amount(name, amount, node, state_backend, instance_map)
                amounts[name] = amount
        if constraint_manager is not None:
            amounts.update(constraint_manager.get_extra_requirements(node))
        return amounts

    async def _amount(
        self, name: str, lazy: Any, node: Node, state_backend: StateBackend, instance_map: Mapping[str, Node]
    ) -> Any:
        source = instance_map.get(lazy._uuid)
        if source is not None and await state_backend.has_result(source.structural_id):
            return await state_backend.get_result(source.structural_id)
        shown = source.structural_id if source is not None else lazy._uuid
        raise DependencyMissingError(node.structural_id, f"constraint:{name}", shown, node.name)
