"""Hash-consing: equal structures get the same node object."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from cascade.graph.model import Node

__all__ = ["NodeRegistry"]


class NodeRegistry:
    """Nodes by key, bounded: beyond ``max_size`` the least recently used are forgotten.

    ``max_size`` may be set at any time and acts at the next insertion. With ``weak=True`` a node stays only while
    somebody else holds it; such a registry needs no bound and ignores ``max_size``.
    """

    def __init__(self, max_size: int = 4096, weak: bool = False) -> None:
        self.max_size = max_size
        #: Whether nodes are kept only while somebody else holds them.
        self.weak = weak
        self._registry: MutableMapping[str, Node] = WeakValueDictionary() if weak else {}

    def get(self, key: str) -> Node | None:
        """Return the node under ``key``, or None."""
        registry = self._registry
        node = registry.get(key)
        if node is not None and not self.weak:
            # A dict remembers insertion order, so taking a key out and in again makes it the youngest.
            registry.pop(key, None)
            registry[key] = node
        return node

    def get_or_create(self, key: str, node_factory: Callable[[], Node]) -> tuple[Node, bool]:
        """Return the node under ``key`` and False, or what the factory makes and True."""
        node = self.get(key)
        if node is not None:
            return node, False
        node = self._registry[key] = node_factory()
        self._trim()
        return node, True

    def _trim(self) -> None:
        if self.weak:
            return
        registry = self._registry
        while len(registry) > self.max_size:
            del registry[next(iter(registry))]
