"""The node registry: one node per key, bounded or weak."""

from __future__ import annotations

import gc

from cascade.graph.model import Node
from cascade.graph.registry import NodeRegistry


def node(key: str) -> Node:
    return Node(structural_id=key, name=key)


def test_a_node_is_made_once() -> None:
    """The factory is called for the first caller only."""
    registry = NodeRegistry()

    first, created = registry.get_or_create("a", lambda: node("a"))
    again, created_again = registry.get_or_create("a", lambda: node("other"))

    assert (created, created_again) == (True, False)
    assert first is again is registry.get("a")
    assert registry.get("b") is None
    assert list(registry._registry) == ["a"]


def test_the_least_recently_used_is_forgotten() -> None:
    """Beyond max_size the node that nobody asked for the longest goes."""
    registry = NodeRegistry(max_size=3)
    for key in "abc":
        registry.get_or_create(key, lambda key=key: node(key))

    registry.get("a")
    registry.get_or_create("b", lambda: node("b"))
    registry.get_or_create("d", lambda: node("d"))

    assert set(registry._registry) == {"a", "b", "d"}


def test_size_is_settable() -> None:
    """A smaller size acts at the next insertion; the registry never grows beyond it."""
    registry = NodeRegistry()
    for index in range(5000):
        registry.get_or_create(str(index), lambda index=index: node(str(index)))
    before = len(registry._registry)

    registry.max_size = 2
    registry.get_or_create("x", lambda: node("x"))

    assert before == 4096
    assert set(registry._registry) == {"4999", "x"}


def test_weak_registry_keeps_nothing_alive() -> None:
    """A weak registry finds a node only while somebody holds it."""
    registry = NodeRegistry(max_size=0, weak=True)
    held, _ = registry.get_or_create("a", lambda: node("a"))
    registry.get_or_create("b", lambda: node("b"))
    gc.collect()

    assert registry.weak
    assert registry.get("a") is held
    assert registry.get("b") is None
    assert list(registry._registry) == ["a"]
