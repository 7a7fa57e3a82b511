"""Ids of nodes, computed for a whole graph when the first of them is read: dependencies first, without recursion."""

from __future__ import annotations

import inspect
from collections.abc import Callable, ItemsView, Iterator, KeysView, MutableMapping, Sequence, ValuesView
from typing import Any

from cascade.graph.model import Node

__all__ = ["Identity", "InstanceMap", "ShadowIdentity"]


class InstanceMap(MutableMapping[str, Node]):
    """The ``_uuid`` of every lazy result of an expression, and its node. Filled when it is first asked."""

    __slots__ = ("_filled", "_lazies", "_nodes")

    def __init__(self, lazies: Sequence[Any], nodes: Sequence[Node]) -> None:
        self._lazies = lazies
        self._nodes = nodes
        self._filled: dict[str, Node] | None = None

    @property
    def _dict(self) -> dict[str, Node]:
        if self._filled is None:
            self._filled = {lazy._uuid: node for lazy, node in zip(self._lazies, self._nodes, strict=True)}
        return self._filled

    def __getitem__(self, key: str) -> Node:
        return self._dict[key]

    def __setitem__(self, key: str, node: Node) -> None:
        self._dict[key] = node

    def __delitem__(self, key: str) -> None:
        del self._dict[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def keys(self) -> KeysView[str]:
        """Return the uuids."""
        return self._dict.keys()

    def values(self) -> ValuesView[Node]:
        """Return the nodes, one for each lazy result."""
        return self._dict.values()

    def items(self) -> ItemsView[str, Node]:
        """Return uuids with their nodes."""
        return self._dict.items()

    def __repr__(self) -> str:
        return repr(self._dict)


class Identity:
    """The ids of one graph's nodes, by position; it does not refer to the nodes, which refer to it.

    Within a strategy they are those that the template has, from its first graph or numbered, so that a position keeps
    its id from step to step; ``scope`` tells the nodes of map items and expansions from those of their parent.
    """

    __slots__ = ("_cache_ids", "_template_ids", "operations", "scope", "template")

    def __init__(self, nodes: Sequence[Node], operations: Sequence[Any], template: Any) -> None:
        self.operations = operations
        self.template = template
        self.scope = ""
        self._template_ids: list[str] | None = None
        self._cache_ids: dict[int, str] = {}
        for position, node in enumerate(nodes):
            node.__dict__["_identity"] = self
            node.__dict__["_position"] = position

    def fill(self, node: Node, name: str) -> None:
        """Compute attribute ``name`` of a node; ids are computed for all nodes of the graph at once."""
        position = node.__dict__["_position"]
        if name == "signature":
            node.signature = _signature_of(node.callable_obj)
        elif name == "template_id":
            self._compute()
            assert self._template_ids is not None
            node.template_id = self._template_ids[position]
        else:
            if not self.template.is_identified:
                self._compute()
            node.structural_id = _scoped(self.scope, self.template.id_at(position))

    def _compute(self) -> None:
        if self._template_ids is not None:
            return
        from cascade.graph.hashing import HashingService

        service = HashingService()
        found: list[_Ids] = []
        by_uuid: dict[str, Any] = {}
        for operation, position in zip(self.operations, self.template.node_of, strict=True):
            if position == len(found):
                found.append(_Ids(*service.compute_hashes(operation.lazy, by_uuid)))
            by_uuid[operation.lazy._uuid] = found[position]
        self._template_ids = [ids.template_id for ids in found]
        if not self.template.is_identified:
            self.template.ids = [ids.structural_id for ids in found]

    def cache_id(self, node: Node) -> str:
        """Compute the cache id of a node, and before it those of the nodes that it depends on."""
        from cascade.graph.hashing import cache_identity

        wanted = self._ancestors(node.__dict__["_position"])
        ids: dict[str, str] = {}
        for operation, position in zip(self.operations, self.template.node_of, strict=True):
            if position in wanted:
                known = self._cache_ids.get(position)
                if known is None:
                    known = self._cache_ids[position] = cache_identity(operation.lazy, ids)
                ids[operation.lazy._uuid] = known
        return self._cache_ids[node.__dict__["_position"]]

    def _ancestors(self, position: int) -> set[int]:
        wanted = {position}
        node_of = self.template.node_of
        for op in range(len(self.operations) - 1, -1, -1):
            if node_of[op] in wanted:
                operation = self.operations[op]
                # Not those of its policies: they are no part of the content.
                wanted.update(node_of[c[0]] for c in operation.codes or () if c[0] >= 0)
        return wanted


class _Ids:
    """The ids of a node that is being identified, for those that depend on it."""

    __slots__ = ("structural_id", "template_id")

    def __init__(self, structural_id: str, template_id: str) -> None:
        self.structural_id = structural_id
        self.template_id = template_id


class ShadowIdentity:
    """The id of a shadow node: that of the node it was found from, and the task's name."""

    __slots__ = ("parent",)

    def __init__(self, parent: Node) -> None:
        self.parent = parent

    def fill(self, node: Node, name: str) -> None:
        """Compute attribute ``name`` of a shadow node."""
        if name == "signature":
            node.signature = _signature_of(node.callable_obj)
        else:
            node.structural_id = f"shadow:{self.parent.structural_id}:{node.name}"
            node.template_id = ""


def _scoped(scope: str, base: str) -> str:
    if not scope:
        return base
    from hashlib import sha256

    return sha256(f"{scope}/{base}".encode()).hexdigest()


def _signature_of(func: Callable[..., Any] | None) -> inspect.Signature | None:
    if func is None:
        return None
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None
