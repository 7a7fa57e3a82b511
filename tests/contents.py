"""When two values are one and the same: for the reference, which merges pure calls and caches by content."""

from __future__ import annotations

from typing import Any

from cascade.spec.lazy_types import LazyResult, MappedLazyResult
from cascade.spec.resource import Inject
from cascade.spec.task import Task

__all__ = ["GATHER", "LAZY", "PLAIN", "content"]

LAZY, PLAIN = (LazyResult, MappedLazyResult), frozenset({int, float, str, bool, type(None)})
GATHER: Any = Task(lambda value: value, "_internal_gather")


def content(value: Any, name: Any, around: tuple[int, ...] = ()) -> Any:
    """Equal for values that are one and the same, types count; ``name`` stands for calls and for other objects."""
    if id(value) in around:  # data may contain itself
        return ("within", around.index(id(value)))
    inside = (*around, id(value))
    if type(value) in LAZY and getattr(value, "task", None) is not GATHER:
        return ("named", name(value))
    if type(value) is Task:  # what it does, not what it is called
        held = [cell.cell_contents for cell in getattr(value.func, "__closure__", None) or ()]
        return (Task, getattr(value.func, "__code__", value.func), repr(held))
    if type(value) in (*PLAIN, range, set, Inject):
        return (type(value), repr(value))
    if isinstance(value, dict):
        pairs = [(type(key), key, content(item, name, inside)) for key, item in value.items()]
        return (type(value), frozenset(pairs) if type(value) is dict else tuple(pairs))
    if type(value) in LAZY:
        items = [value.args, value.kwargs]
    elif hasattr(value, "__dataclass_fields__"):
        items = [getattr(value, field) for field in value.__dataclass_fields__]
    elif isinstance(value, (list, tuple)):
        items = list(value)
    else:
        return ("named", name(value))
    return (type(value), *(content(item, name, inside) for item in items))
