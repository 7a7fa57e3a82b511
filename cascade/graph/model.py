"""Graph, node and edge: what a lazy expression becomes.

A node's id is computed when somebody reads it (``structural_id``), because hashing every argument of every call would
cost more than running most of them. ``Graph.get_node`` indexes what was added since it was last asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from inspect import Signature
from typing import Any, ClassVar

from cascade.spec.constraint import ResourceConstraint
from cascade.spec.input import ParamSpec

__all__ = ["Edge", "EdgeType", "Graph", "Node"]


class EdgeType(Enum):
    """Why one node must come before another (the last two draw control flow and order nothing)."""

    DATA = auto()
    CONDITION = auto()
    CONSTRAINT = auto()
    IMPLICIT = auto()
    SEQUENCE = auto()
    ROUTER_ROUTE = auto()
    POTENTIAL = auto()
    ITERATIVE_JUMP = auto()


@dataclass
class Node:
    """One call of a task, or one map.

    A node that ``build_graph`` made computes its ids when they are first read.
    ``input_bindings`` holds the literal arguments: ``"0"``, ``"1"`` for positions, names for keywords.
    """

    structural_id: str
    name: str
    template_id: str = ""
    is_shadow: bool = False
    tco_cycle_id: str | None = None
    node_type: str = "task"
    callable_obj: Callable[..., Any] | None = None
    signature: Signature | None = None
    param_spec: ParamSpec | None = None
    mapping_factory: Any = None
    retry_policy: Any = None
    cache_policy: Any = None
    constraints: ResourceConstraint | None = None
    input_bindings: dict[str, Any] = field(default_factory=dict)
    has_complex_inputs: bool = False
    warns_dynamic_recursion: bool = False
    execution_mode: str | None = None
    is_async: bool = False

    def __hash__(self) -> int:
        return hash(self.structural_id)


    #: How the call's arguments are put together; None for nodes made by hand, whose edges say it all.
    call: ClassVar[Any] = None
    #: Injected parameters as (name, position, resource name); None when the signature has to be asked.
    injects: ClassVar[Any] = None
    #: A condition that is no lazy result, in a tuple.
    constant_condition: ClassVar[Any] = None
    #: Whether only jumps lead to it, or to what needs it: drawn, and run by no step of this graph.
    awaits_jump: ClassVar[bool] = False

    @property
    def cache_id(self) -> str:
        """What cache policies are asked with: the content of the call without its instance.

        Raises:
            UncacheableError: an argument, or something the function refers to, has no canonical form.
        """
        known: str | None = self.__dict__.get("_cache_id")
        if known is None:
            origin = self.__dict__.get("_identity")
            known = origin.cache_id(self) if origin is not None else self.structural_id
            self.__dict__["_cache_id"] = known
        return known


def _deferred(name: str) -> property:
    """An attribute that is computed when it is first read, by the node's ``_identity``."""
    slot = "_" + name

    def read(self: Any) -> Any:
        value = self.__dict__.get(slot)
        if value is None and "_identity" in self.__dict__:
            self.__dict__["_identity"].fill(self, name)
            value = self.__dict__[slot]
        return value

    def write(self: Any, value: Any) -> None:
        self.__dict__[slot] = value

    return property(read, write)


# The dataclass above has made __init__, __eq__ and __repr__; from here on these attributes are computed when read.
for _name in ("structural_id", "template_id", "signature"):
    setattr(Node, _name, _deferred(_name))


@dataclass
class Edge:
    """``source`` comes before ``target``; ``arg_name`` says where the value goes (``"0"``, ``"x"``, ``"0[1].k"``)."""

    source: Node
    target: Node
    arg_name: str
    edge_type: EdgeType = EdgeType.DATA
    router: Any | None = None
    jump_selector: Any | None = None


@dataclass
class Graph:
    """Nodes in post-order (dependencies first) and the edges between them."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    _node_index: dict[str, Node] = field(init=False, repr=False, compare=False, default_factory=dict)
    #: Where the edges that end in a node begin, by its ``id()``, and how many edges there were when that was found.
    _first_edges: dict[int, int] = field(init=False, repr=False, compare=False, default_factory=dict)
    _indexed_edges: int = field(init=False, repr=False, compare=False, default=0)
    #: What graphs of this shape have in common, None where no plan may be kept for it.
    _template: Any = field(init=False, repr=False, compare=False, default=None)
    #: What computes the ids of the nodes.
    _identity: Any = field(init=False, repr=False, compare=False, default=None)

    def add_node(self, node: Node) -> None:
        """Append a node, unless one with its id is there."""
        index = self._node_index
        if node.structural_id not in index:
            self.nodes.append(node)
            index[node.structural_id] = node

    def add_edge(self, edge: Edge) -> None:
        """Append an edge."""
        self.edges.append(edge)

    def get_node(self, node_id: str) -> Node | None:
        """Return the node with this id, or None."""
        return self._node_index.get(node_id)

    def incoming(self, node: Node) -> list[Edge]:
        """Return the edges that end in a node, in the order in which they were added."""
        edges = self.edges
        if self._indexed_edges != len(edges):
            self._first_edges = _first_edges(edges)
            self._indexed_edges = len(edges)
        at = self._first_edges.get(id(node))
        if at is None:
            return []
        if not self._first_edges[_IS_GROUPED]:
            return [edge for edge in edges[at:] if edge.target is node]
        end = at + 1
        while end < len(edges) and edges[end].target is node:
            end += 1
        return edges[at:end]


_IS_GROUPED = -1  # no object has this id


def _first_edges(edges: list[Edge]) -> dict[int, int]:
    """Return where the edges that end in a node begin, and whether they all lie together, as builders put them.

    Numbers only: lists would be so many objects more for the garbage collector, in the very moment when a node waits
    for its arguments.
    """
    first: dict[int, int] = {_IS_GROUPED: 1}
    last = None
    for at, edge in enumerate(edges):
        target = edge.target
        if target is not last and first.setdefault(id(target), at) != at:
            first[_IS_GROUPED] = 0
        last = target
    return first


def _read_index(graph: Graph) -> dict[str, Node]:
    index: dict[str, Node] = graph.__dict__["_index"]
    if len(index) < len(graph.nodes):  # the builder appends to `nodes` without asking for ids
        for node in graph.nodes:
            index.setdefault(node.structural_id, node)
    return index


def _write_index(graph: Graph, index: dict[str, Node]) -> None:
    graph.__dict__["_index"] = index


Graph._node_index = property(_read_index, _write_index)  # type: ignore[assignment]
