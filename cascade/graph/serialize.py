"""Graphs as JSON.

A function is stored by module and qualified name. Loading looks it up by plain attribute steps, in modules that are
already imported or in those that the caller names: nothing else is imported, and nothing is ever called. Results that
are still to come (lazy amounts, arguments inside containers, routes) are stored by ``_uuid`` and restored as stand-ins
that have only that.

Not stored: cache policies, signatures, tail-call cycles, selectors of jumps, and which nodes are shadows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cascade.graph._loading import INJECT, LAZY_REF, MARKS, PLAIN, ROUTER, Loader, Reference
from cascade.graph.model import Edge, Graph, Node
from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["from_json", "graph_from_dict", "graph_to_dict", "to_json"]

_LAZY = (LazyResult, MappedLazyResult, Reference)
_TOO_DEEP = "it is nested too deeply for JSON"


class _Routers:
    """The distinct routers of a graph, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self._index: dict[int, int] = {}
        self.entries: list[dict[str, Any]] = []

    def index(self, router: Any) -> int:
        known = self._index.get(id(router))
        if known is None:
            known = self._index[id(router)] = len(self.entries)
            self.entries.append(_router_entry(router))
        return known


def _router_entry(router: Any) -> dict[str, Any]:
    """Return selector and routes; what JSON's text keys cannot tell goes into lists of pairs beside them."""
    entry: dict[str, Any] = {"selector_id": router.selector._uuid, "routes": {}}
    for key, route in router.routes.items():
        if type(key) not in (str, int, float, bool, type(None)):
            raise TypeError(f"route key {key!r} cannot be stored as JSON: use text, a number, True, False or None")
        if not issubclass(type(route), _LAZY):
            entry.setdefault("literal_routes", []).append([key, route])
        elif type(key) is str:
            entry["routes"][key] = route._uuid
        else:
            entry.setdefault("typed_routes", []).append([key, route._uuid])
    return entry


def graph_to_dict(graph: Graph) -> dict[str, Any]:
    """Return a graph as dicts and lists that JSON can hold.

    Raises:
        TypeError: a function has no name to find it by, or a route key is neither text, number, bool nor None.
        ValueError: a literal contains itself.
    """
    routers = _Routers()
    ids = {id(node): node.structural_id for node in graph.nodes}
    nodes = [_node_entry(node, ids[id(node)], routers) for node in graph.nodes]
    edges = [_edge_entry(edge, ids, routers) for edge in graph.edges]
    return {"nodes": nodes, "edges": edges, "routers": routers.entries}


def _node_entry(node: Node, node_id: str, routers: _Routers) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "structural_id": node_id,
        "template_id": node.template_id,
        "name": node.name,
        "node_type": node.node_type,
        "input_bindings": {key: _store(value, routers, node, key) for key, value in node.input_bindings.items()},
    }
    for key, function in (("callable", node.callable_obj), ("mapping_factory", node.mapping_factory)):
        if function is not None:
            entry[key] = _function_entry(function, node)
    retry, constraints, spec = node.retry_policy, node.constraints, node.param_spec
    if retry is not None:
        entry["retry_policy"] = {name: getattr(retry, name) for name in ("max_attempts", "delay", "backoff")}
    if constraints:
        amounts = constraints.requirements.items()
        entry["constraints"] = {name: _store(amount, routers, node, name) for name, amount in amounts}
    if spec is not None:
        entry["param_spec"] = _param_entry(spec)
    return entry


def _function_entry(function: Any, node: Node) -> dict[str, str]:
    if isinstance(function, Task):
        function = function.func
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise TypeError(
            f"node {node.name!r} cannot be stored: its {type(function).__name__} has no module and qualified name "
            "to find it by; use a function defined in a module"
        )
    return {"module": module, "qualname": qualname}


def _param_entry(spec: Any) -> dict[str, Any]:
    kind = getattr(spec, "type", None)
    type_name = getattr(kind, "__name__", None) or (None if kind is None else str(kind))
    return {"name": spec.name, "default": spec.default, "type_name": type_name, "description": spec.description}


def _edge_entry(edge: Edge, ids: dict[int, str], routers: _Routers) -> dict[str, Any]:
    source, target = edge.source, edge.target
    entry = {
        "source_id": ids.get(id(source)) or source.structural_id,
        "target_id": ids.get(id(target)) or target.structural_id,
        "arg_name": edge.arg_name,
        "edge_type": edge.edge_type.name,
    }
    return entry if edge.router is None else entry | {"router_index": routers.index(edge.router)}


def _store(value: Any, routers: _Routers, node: Node, key: str) -> Any:
    """Return a literal with every marker in it replaced by a dict of one reserved key."""

    def store(value: Any, above: tuple[int, ...]) -> Any:
        kind = type(value)
        if issubclass(kind, _LAZY):
            return {LAZY_REF: value._uuid}
        if issubclass(kind, Router):
            return {ROUTER: routers.index(value)}
        if issubclass(kind, Inject):
            return {INJECT: value.resource_name}
        if not issubclass(kind, (list, tuple, dict)):
            return value
        if id(value) in above:
            raise ValueError(f"argument {key!r} of node {node.name!r} cannot be stored: it contains itself")
        above = (*above, id(value))
        if issubclass(kind, dict):
            stored = {name: store(item, above) for name, item in value.items()}
            return {PLAIN: stored} if len(stored) == 1 and MARKS.intersection(stored) else stored
        return [store(item, above) for item in value]

    try:
        return store(value, ())
    except RecursionError:
        raise ValueError(f"argument {key!r} of node {node.name!r} cannot be stored: {_TOO_DEEP}") from None


def to_json(graph: Graph, indent: int | None = 2) -> str:
    """Return a graph as JSON text.

    Raises:
        TypeError: this is no graph, a literal is no JSON value, or see :func:`graph_to_dict`.
        ValueError: a literal contains itself, or is nested too deeply.
    """
    if not hasattr(graph, "nodes"):
        raise TypeError(f"to_json takes a graph, not a {type(graph).__name__}: write to_json(build_graph(target)[0])")
    import json

    data = graph_to_dict(graph)
    try:
        return json.dumps(data, indent=indent)
    except TypeError as error:
        raise TypeError(
            f"{error}: {_culprit(data)} cannot be stored, pass JSON values or name them in a task"
        ) from error
    except RecursionError:
        raise ValueError(f"{_culprit(data)} cannot be stored: {_TOO_DEEP}") from None


def _culprit(data: dict[str, Any]) -> str:
    import json

    for entry in data["nodes"]:
        for key, value in entry["input_bindings"].items():
            try:
                json.dumps(value, indent=2)
            except (TypeError, RecursionError):
                return f"argument {key!r} of node {entry['name']!r}"
    return "a part of the graph"


def graph_from_dict(data: Mapping[str, Any], allow: Iterable[str] | None = None) -> Graph:
    """Return the graph that :func:`graph_to_dict` stored. Nothing that it names is called.

    Args:
        data: the stored graph.
        allow: names of the modules that functions may come from, with the modules inside them; they are imported where
            need be. Without it, functions of all modules that are imported already are found. Give it whenever the
            graph is to be run and its text might come from somebody else.

    Raises:
        ValueError: a function cannot be found, an edge names an unknown node, or a field is missing or of a wrong type.
    """
    try:
        return Loader(data, allow).graph()
    except RecursionError:
        raise ValueError(f"the graph cannot be loaded: {_TOO_DEEP}") from None


def from_json(json_str: str, allow: Iterable[str] | None = None) -> Graph:
    """Return the graph that :func:`to_json` stored, see :func:`graph_from_dict`.

    Raises:
        ValueError: the text is no JSON, or see there.
    """
    import json

    try:
        data = json.loads(json_str)
    except RecursionError:
        raise ValueError(f"the graph cannot be loaded: {_TOO_DEEP}") from None
    return graph_from_dict(data, allow)
