"""Restoring stored graphs. What is stored may come from anybody, so nothing in it is believed.

    every field      is checked for its type before it is used, and ValueError names the part that is wrong
    every function   is looked up in modules that are imported already, and never called
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import Any, TypeVar

from cascade.graph._lookup import MISSING, find
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.input import ParamSpec
from cascade.spec.lazy_types import RetryPolicy
from cascade.spec.resource import Inject
from cascade.spec.routing import Router
from cascade.spec.task import Task

__all__ = ["INJECT", "LAZY_REF", "MARKS", "PLAIN", "ROUTER", "Loader", "Reference"]

T = TypeVar("T")

LAZY_REF, INJECT, ROUTER, PLAIN = "__lazy_ref", "__inject", "__router", "__plain"
#: A dict with one of these as its only key stands for something else.
MARKS = frozenset({LAZY_REF, INJECT, ROUTER, PLAIN})

_TYPES = {kind.__name__: kind for kind in (str, int, float, bool, bytes, list, tuple, dict, set)}
#: Told by their type alone: asking the object would run code of a proxy's.
_CALLABLES = (
    type,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    MethodDescriptorType,
    WrapperDescriptorType,
    type(lru_cache(len)),
)


@dataclass(frozen=True)
class Reference:
    """Stands for a lazy result of the graph that was stored."""

    _uuid: str


class Loader:
    """Restores one graph.

    ``allow`` are the modules, with what is inside them, that functions may come from, and that may be imported for it;
    None stands for those that are imported already.
    """

    def __init__(self, data: Any, allow: Iterable[str] | None) -> None:
        self._allow = (allow,) if isinstance(allow, str) else None if allow is None else tuple(allow)
        self._data = _mapping(data, "the graph")
        self._routers = [_router(entry) for entry in _sequence(self._data.get("routers", ()), "'routers'")]

    def graph(self) -> Graph:
        """Return the graph.

        Raises:
            ValueError: a function cannot be found, an edge names an unknown node, or a field is missing or wrong.
        """
        graph = Graph()
        by_id: dict[str, Node] = {}
        for entry in _sequence(_field(self._data, "nodes", "the graph"), "'nodes'"):
            node = self._node(_mapping(entry, "a node"))
            if by_id.setdefault(node.structural_id, node) is node:
                graph.add_node(node)
        for entry in _sequence(_field(self._data, "edges", "the graph"), "'edges'"):
            graph.add_edge(self._edge(_mapping(entry, "an edge"), by_id))
        return graph

    def _node(self, entry: Mapping[str, Any]) -> Node:
        name = _text(entry, "name", "a node")
        where = f"node {name!r}"
        node = Node(
            structural_id=_text(entry, "structural_id", where),
            name=name,
            template_id=_text(entry, "template_id", where, ""),
            node_type=_text(entry, "node_type", where, "task"),
            param_spec=_param(entry.get("param_spec"), where),
            retry_policy=_retry(entry.get("retry_policy"), where),
            input_bindings=self._values(entry.get("input_bindings", {}), f"'input_bindings' of {where}"),
        )
        if entry.get("constraints"):
            amounts = self._values(entry["constraints"], f"'constraints' of {where}")
            node.constraints = ResourceConstraint(requirements=amounts)
        if entry.get("mapping_factory"):
            node.mapping_factory, _ = self._function(entry["mapping_factory"], where)
        if entry.get("callable"):
            node.callable_obj, node.execution_mode = self._function(entry["callable"], where)
            node.is_async = _is_function(node.callable_obj) and inspect.iscoroutinefunction(node.callable_obj)
        node.has_complex_inputs = _is_complex(node)
        return node

    def _edge(self, entry: Mapping[str, Any], by_id: Mapping[str, Node]) -> Edge:
        ends = []
        for end in ("source_id", "target_id"):
            node = by_id.get(_text(entry, end, "an edge"))
            if node is None:
                raise ValueError(f"Edge references unknown node {entry[end]!r} as its {end}")
            ends.append(node)
        kind = _text(entry, "edge_type", "an edge", "DATA")
        if kind not in EdgeType.__members__:
            raise ValueError(f"unknown edge type {kind!r}, known are {', '.join(EdgeType.__members__)}")
        router = self._router(entry["router_index"]) if entry.get("router_index") is not None else None
        return Edge(ends[0], ends[1], _text(entry, "arg_name", "an edge", ""), EdgeType[kind], router)

    def _router(self, index: Any) -> Router:
        if type(index) is not int or not 0 <= index < len(self._routers):
            raise ValueError(f"router {index!r} is unknown, there are {len(self._routers)}")
        return self._routers[index]

    def _values(self, values: Any, where: str) -> dict[str, Any]:
        return {key: self._load(value) for key, value in _mapping(values, where).items()}

    def _load(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._load(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, content),) = value.items()
            if key in MARKS:
                return self._marker(key, content)
        return {key: self._load(item) for key, item in value.items()}

    def _marker(self, key: str, content: Any) -> Any:
        if key == PLAIN:
            return self._values(content, f"what {PLAIN!r} holds")
        if key == ROUTER:
            return self._router(content)
        name = _checked(content, str, f"what {key!r} holds")
        return Reference(name) if key == LAZY_REF else Inject(name)

    def _function(self, entry: Any, where: str) -> tuple[Callable[..., Any], str | None]:
        """Return the function of that name and the mode of the task around it, if there is one."""
        entry = _mapping(entry, f"a function of {where}")
        module, qualname = _text(entry, "module", "a function"), _text(entry, "qualname", "a function")
        found = MISSING
        if self._may_use(module):
            self._import(module, qualname)
            found = find(module, qualname)
        kind = type(found)
        if issubclass(kind, Task):
            return found.func, found.mode
        if issubclass(kind, _CALLABLES):
            return found, None
        raise ValueError(f"Could not restore function '{module}.{qualname}': {self._problem(module, found)}")

    def _may_use(self, module: str) -> bool:
        if self._allow is None:
            return module in sys.modules
        return any(module == name or module.startswith(name + ".") for name in self._allow)

    def _import(self, module: str, qualname: str) -> None:
        if module in sys.modules:
            return
        from importlib import import_module

        try:
            import_module(module)
        except (ImportError, ValueError) as error:
            raise ValueError(f"Could not restore function '{module}.{qualname}': {error}") from error

    def _problem(self, module: str, found: Any) -> str:
        if not self._may_use(module):
            if self._allow is None:
                return f"module {module!r} is not imported; import it first, or name it in allow=[{module!r}]"
            return f"module {module!r} is not one of those that are allowed; name it in allow=[{module!r}, ...]"
        if found is MISSING:
            return "no function of that name is defined at the top of the module or of a class in it"
        return f"there is a {type(found).__name__} under that name"


# ----------------------------------------------------------------------------------------------------------- checking


def _checked(value: Any, kind: type[T] | tuple[type[T], ...], what: str) -> T:
    # JSON's true is no number.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
        raise ValueError(f"{what} must be {wanted}, not {type(value).__name__}")
    return value


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    return _checked(value, Mapping, what)


def _sequence(value: Any, what: str) -> Sequence[Any]:
    return _checked(value, (list, tuple), what)


def _field(entry: Mapping[str, Any], key: str, where: str) -> Any:
    try:
        return entry[key]
    except KeyError:
        raise ValueError(f"{where} lacks {key!r}") from None


def _text(entry: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = _field(entry, key, where) if default is None else entry.get(key, default)
    return _checked(value, str, f"{key!r} of {where}")


# -------------------------------------------------------------------------------------------------------------- parts


def _router(entry: Any) -> Router:
    entry = _mapping(entry, "a router")
    routes: dict[Any, Any] = {}
    for key, uuid in _mapping(_field(entry, "routes", "a router"), "'routes' of a router").items():
        routes[key] = Reference(_checked(uuid, str, "a route"))
    for key, uuid in _pairs(entry, "typed_routes"):
        routes[key] = Reference(_checked(uuid, str, "a route"))
    routes.update(_pairs(entry, "literal_routes"))
    return Router(Reference(_text(entry, "selector_id", "a router")), routes)


def _pairs(entry: Mapping[str, Any], key: str) -> Iterable[tuple[Any, Any]]:
    for pair in _sequence(entry.get(key, ()), f"{key!r} of a router"):
        if len(_sequence(pair, f"an item of {key!r}")) != 2:
            raise ValueError(f"an item of {key!r} must be a key and a route")
        if not isinstance(pair[0], (str, int, float, type(None))):
            raise ValueError(f"a route key must be text, a number, a bool or None, not {type(pair[0]).__name__}")
        yield pair[0], pair[1]


def _retry(entry: Any, where: str) -> RetryPolicy | None:
    if not entry:
        return None
    entry = _mapping(entry, f"'retry_policy' of {where}")
    attempts = _checked(_field(entry, "max_attempts", "a retry policy"), int, "'max_attempts'")
    delay = _checked(entry.get("delay", 0.0), (int, float), "'delay'")
    backoff = _checked(entry.get("backoff", 1.0), (int, float), "'backoff'")
    return RetryPolicy(attempts, delay, backoff)


def _param(entry: Any, where: str) -> ParamSpec | None:
    if not entry:
        return None
    entry = _mapping(entry, f"'param_spec' of {where}")
    name = _text(entry, "name", "a parameter")
    kind = _TYPES.get(_checked(entry.get("type_name") or "str", str, "'type_name'"), str)
    return ParamSpec(name, entry.get("default"), _text(entry, "description", "a parameter", ""), kind)


def _is_complex(node: Node) -> bool:
    """Whether arguments of the node depend on more than edges and literals; the same question as when it is built."""
    function: Any = node.callable_obj
    defaults: tuple[Any, ...] = ()
    if _is_function(function):
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    return any(map(_holds_inject, (*defaults, *node.input_bindings.values())))


def _is_function(value: Any) -> bool:
    """Whether it is a function or method written in Python; a class might answer questions with code of its own."""
    return issubclass(type(value), (FunctionType, MethodType))


def _holds_inject(value: Any) -> bool:
    if issubclass(type(value), Inject):
        return True
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_holds_inject, items))
