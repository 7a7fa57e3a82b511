"""Graphs as JSON.

A function is stored by module and qualified name. Loading looks it up in modules that are already imported, by plain
attribute steps: nothing is imported that the caller did not name, and nothing is ever called. Results that are still
to come (lazy amounts, arguments inside containers, routes) are stored by ``_uuid`` and restored as stand-ins that have
only that.

Not stored: cache policies, signatures, tail-call cycles, and which nodes are shadows.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cascade.graph._lookup import MISSING, find
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.input import ParamSpec
from cascade.spec.lazy_types import LazyResult, MappedLazyResult, RetryPolicy
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["from_json", "graph_from_dict", "graph_to_dict", "to_json"]

_LAZY_REF, _INJECT, _ROUTER, _PLAIN = "__lazy_ref", "__inject", "__router", "__plain"
_MARKS = frozenset({_LAZY_REF, _INJECT, _ROUTER, _PLAIN})
_TYPES = {kind.__name__: kind for kind in (str, int, float, bool, bytes, list, tuple, dict, set)}


@dataclass(frozen=True)
class _Reference:
    """Stands for a lazy result of the graph that was stored."""

    _uuid: str


# ------------------------------------------------------------------------------------------------------ storing


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
        if not issubclass(type(route), (LazyResult, MappedLazyResult, _Reference)):
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
        if issubclass(kind, (LazyResult, MappedLazyResult, _Reference)):
            return {_LAZY_REF: value._uuid}
        if issubclass(kind, Router):
            return {_ROUTER: routers.index(value)}
        if issubclass(kind, Inject):
            return {_INJECT: value.resource_name}
        if not issubclass(kind, (list, tuple, dict)):
            return value
        if id(value) in above:
            raise ValueError(f"argument {key!r} of node {node.name!r} cannot be stored: it contains itself")
        above = (*above, id(value))
        if issubclass(kind, dict):
            stored = {name: store(item, above) for name, item in value.items()}
            return {_PLAIN: stored} if len(stored) == 1 and _MARKS.intersection(stored) else stored
        return [store(item, above) for item in value]

    return store(value, ())


def to_json(graph: Graph, indent: int | None = 2) -> str:
    """Return a graph as JSON text.

    Raises:
        TypeError: a literal is no JSON value, or see :func:`graph_to_dict`.
        ValueError: a literal contains itself.
    """
    import json

    data = graph_to_dict(graph)
    try:
        return json.dumps(data, indent=indent)
    except TypeError as error:
        raise TypeError(
            f"{error}: {_culprit(data)} cannot be stored, pass JSON values or name them in a task"
        ) from error


def _culprit(data: dict[str, Any]) -> str:
    import json

    for entry in data["nodes"]:
        for key, value in entry["input_bindings"].items():
            try:
                json.dumps(value)
            except TypeError:
                return f"argument {key!r} of node {entry['name']!r}"
    return "a part of the graph"


# ------------------------------------------------------------------------------------------------------ loading


class _Loader:
    """Restores one graph; ``allow`` are the modules (with what is inside them) that may be imported for it."""

    def __init__(self, data: Mapping[str, Any], allow: Iterable[str] | None) -> None:
        self._allow = (allow,) if isinstance(allow, str) else tuple(allow or ())
        self._data = data
        self._routers = [_router(entry) for entry in data.get("routers", ())]

    def graph(self) -> Graph:
        graph = Graph()
        by_id: dict[str, Node] = {}
        for entry in _field(self._data, "nodes", "the graph"):
            node = self._node(entry)
            if by_id.setdefault(node.structural_id, node) is node:
                graph.add_node(node)
        for entry in _field(self._data, "edges", "the graph"):
            graph.add_edge(self._edge(entry, by_id))
        return graph

    def _node(self, entry: Mapping[str, Any]) -> Node:
        name = _field(entry, "name", "a node")
        where = f"node {name!r}"
        node = Node(
            structural_id=_field(entry, "structural_id", where),
            name=name,
            template_id=entry.get("template_id", ""),
            node_type=entry.get("node_type", "task"),
            param_spec=_param(entry.get("param_spec")),
            retry_policy=_retry(entry.get("retry_policy")),
            input_bindings={key: self._load(value) for key, value in entry.get("input_bindings", {}).items()},
        )
        if entry.get("constraints"):
            amounts = {key: self._load(value) for key, value in entry["constraints"].items()}
            node.constraints = ResourceConstraint(requirements=amounts)
        if entry.get("mapping_factory"):
            node.mapping_factory, _ = self._function(entry["mapping_factory"])
        if entry.get("callable"):
            node.callable_obj, node.execution_mode = self._function(entry["callable"])
            node.is_async = inspect.iscoroutinefunction(node.callable_obj)
        node.has_complex_inputs = _is_complex(node)
        return node

    def _edge(self, entry: Mapping[str, Any], by_id: Mapping[str, Node]) -> Edge:
        ends = []
        for end in ("source_id", "target_id"):
            node = by_id.get(_field(entry, end, "an edge"))
            if node is None:
                raise ValueError(f"Edge references unknown node {entry[end]!r} as its {end}")
            ends.append(node)
        kind = entry.get("edge_type", "DATA")
        if kind not in EdgeType.__members__:
            raise ValueError(f"unknown edge type {kind!r}, known are {', '.join(EdgeType.__members__)}")
        router = self._router(entry["router_index"]) if entry.get("router_index") is not None else None
        return Edge(ends[0], ends[1], entry.get("arg_name", ""), EdgeType[kind], router)

    def _router(self, index: Any) -> Router:
        if type(index) is not int or not 0 <= index < len(self._routers):
            raise ValueError(f"router {index!r} is unknown, there are {len(self._routers)}")
        return self._routers[index]

    def _load(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._load(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, content),) = value.items()
            if key in _MARKS:
                return self._marker(key, content)
        return {key: self._load(item) for key, item in value.items()}

    def _marker(self, key: str, content: Any) -> Any:
        if key == _PLAIN:
            return {name: self._load(item) for name, item in content.items()}
        if key == _ROUTER:
            return self._router(content)
        return _Reference(content) if key == _LAZY_REF else Inject(content)

    def _function(self, entry: Mapping[str, Any]) -> tuple[Callable[..., Any], str | None]:
        """Return the function of that name and the mode of the task around it, if there is one."""
        module, qualname = _field(entry, "module", "a function"), _field(entry, "qualname", "a function")
        if module not in sys.modules and self._may_import(module):
            import importlib

            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(f"Could not restore function '{module}.{qualname}': {error}") from error
        found = find(module, qualname)
        if isinstance(found, Task):
            return found.func, found.mode
        if isinstance(found, type) or (inspect.isroutine(found) and callable(found)):
            return found, None
        raise ValueError(f"Could not restore function '{module}.{qualname}': {self._problem(module, found)}")

    def _may_import(self, module: str) -> bool:
        return any(module == name or module.startswith(name + ".") for name in self._allow)

    def _problem(self, module: str, found: Any) -> str:
        if module not in sys.modules:
            return f"module {module!r} is not imported; import it first, or name it in allow=[{module!r}]"
        if found is MISSING:
            return "no function of that name is defined at the top of the module or of a class in it"
        return f"there is a {type(found).__name__} under that name"


def _field(entry: Mapping[str, Any], key: str, where: str) -> Any:
    try:
        return entry[key]
    except KeyError:
        raise ValueError(f"{where} lacks {key!r}") from None


def _router(entry: Mapping[str, Any]) -> Router:
    routes: dict[Any, Any] = {key: _Reference(uuid) for key, uuid in entry["routes"].items()}
    routes.update((key, _Reference(uuid)) for key, uuid in entry.get("typed_routes", ()))
    routes.update((key, value) for key, value in entry.get("literal_routes", ()))
    return Router(_Reference(entry["selector_id"]), routes)


def _retry(entry: Mapping[str, Any] | None) -> RetryPolicy | None:
    if not entry:
        return None
    return RetryPolicy(
        _field(entry, "max_attempts", "a retry policy"), entry.get("delay", 0.0), entry.get("backoff", 1.0)
    )


def _param(entry: Mapping[str, Any] | None) -> ParamSpec | None:
    if not entry:
        return None
    kind = _TYPES.get(entry.get("type_name") or "str", str)
    return ParamSpec(entry["name"], entry.get("default"), entry.get("description", ""), kind)


def _is_complex(node: Node) -> bool:
    """Whether arguments of the node depend on more than edges and literals; the same question as when it is built."""
    function = node.callable_obj
    defaults = (
        *(getattr(function, "__defaults__", None) or ()),
        *(getattr(function, "__kwdefaults__", None) or {}).values(),
    )
    if any(isinstance(value, Inject) for value in defaults):
        return True
    return any(_holds_inject(value) for value in node.input_bindings.values())


def _holds_inject(value: Any) -> bool:
    if isinstance(value, Inject):
        return True
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_holds_inject, items))


def graph_from_dict(data: Mapping[str, Any], allow: Iterable[str] | None = None) -> Graph:
    """Return the graph that :func:`graph_to_dict` stored.

    Args:
        data: the stored graph.
        allow: names of modules that may be imported to find functions, with the modules inside them. Functions of
            modules that are imported already are found without it.

    Raises:
        ValueError: a function cannot be found, an edge names an unknown node, or a field is missing.
    """
    return _Loader(data, allow).graph()


def from_json(json_str: str, allow: Iterable[str] | None = None) -> Graph:
    """Return the graph that :func:`to_json` stored, see :func:`graph_from_dict`."""
    import json

    return graph_from_dict(json.loads(json_str), allow)
