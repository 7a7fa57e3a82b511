"""Printing, comparing and pickling lazy results of any depth, without recursion."""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Iterable
from typing import Any

from cascade import _kernel
from cascade.spec.constraint import ResourceConstraint

__all__ = ["describe", "equal", "flatten", "restore"]

_SHOWN_LEVELS = 3
_local = threading.local()
_short = reprlib.Repr()
_short.maxother = _short.maxstring = 60
_short.maxlevel = _SHOWN_LEVELS


def _is_lazy(value: Any) -> bool:
    cls = type(value)
    return cls is _kernel.LazyResult or cls is _kernel.MappedLazyResult


def _name(lazy: Any) -> str:
    source, _, _ = _kernel.call_of(lazy)
    name = getattr(source, "name", None) or type(source).__name__
    return f"{name}.map" if type(lazy) is _kernel.MappedLazyResult else str(name)


def describe(lazy: Any) -> str:
    """Return the call as text, for instance ``<LazyResult add(1, b=double(2))>``; deep levels are shortened."""
    depth = getattr(_local, "depth", 0)
    if depth >= _SHOWN_LEVELS:
        return f"{_name(lazy)}(...)"
    _local.depth = depth + 1
    try:
        _, values, names = _kernel.call_of(lazy)
        npos = len(values) - len(names)
        shown = [_show(v) for v in values[:npos]]
        shown += [f"{n}={_show(v)}" for n, v in zip(names, values[npos:], strict=True)]
    finally:
        _local.depth = depth
    call = f"{_name(lazy)}({', '.join(shown)})"
    return call if depth else f"<{type(lazy).__name__} {call}>"


def _show(value: Any) -> str:
    return describe(value) if _is_lazy(value) else _short.repr(value)


_FIELDS = ("_retry_policy", "_cache_policy", "_condition", "_constraints", "_dependencies")


def _fields(lazy: Any) -> tuple[Any, ...]:
    source, values, names = _kernel.call_of(lazy)
    jump = getattr(lazy, "_jump_selector", None)
    return (source, values, names, *(getattr(lazy, f) for f in _FIELDS), jump)


def equal(one: Any, other: Any) -> bool:
    """Whether two lazies are the same call: same identity and equal fields."""
    stack = [(one, other)]
    seen: dict[tuple[int, int], Any] = {}  # with what they are the ids of: an id may be used again
    while stack:
        a, b = stack.pop()
        if a is b or (id(a), id(b)) in seen:
            continue
        parts = _parts(a, b) if type(a) is type(b) else None
        if parts is None:
            if a != b:
                return False
            continue
        seen[id(a), id(b)] = (a, b)
        stack.extend(parts)
    return True


def _parts(a: Any, b: Any) -> Iterable[tuple[Any, Any]] | None:
    """Pairs that must be equal for two values of one type to be; None if the values themselves have to be asked."""
    cls = type(a)
    if _is_lazy(a):
        return [(a._uuid, b._uuid), *zip(_fields(a), _fields(b), strict=True)]
    if cls in (list, tuple):
        return [(len(a), len(b)), *zip(a, b, strict=False)]
    if cls is dict:
        return [(a[k], b[k]) for k in a] if a.keys() == b.keys() else [(0, 1)]
    if cls is _kernel.Router:
        return [(a.selector, b.selector), (a.routes, b.routes)]
    if cls is ResourceConstraint:
        return [(a.requirements, b.requirements)]
    return None


class _Ref:
    """Stands for the lazy of an earlier record while a pickle is on its way."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> Any:
        return (_Ref, (self.index,))


def _replace(value: Any, pick: Any) -> Any:
    """Return plain containers with ``pick(item)`` in place of each item for which it is not None."""
    picked = pick(value)
    if picked is not None:
        return picked
    cls = type(value)
    if cls is dict:
        return {k: _replace(v, pick) for k, v in value.items()}
    if cls is list or cls is tuple:
        return cls([_replace(v, pick) for v in value])
    if cls is _kernel.Router:
        return cls(_replace(value.selector, pick), _replace(dict(value.routes), pick))
    return value


def flatten(lazy: Any) -> Any:
    """Return what ``__reduce__`` needs: a flat list of records, dependencies first, so that depth costs no stack."""

    operations = _kernel.trace(lazy).operations
    # What tracing makes of nested Routers is left out: the trace after unpickling makes it again.
    lazies = [o.lazy for o in operations if o.lazy is lazy or getattr(o.lazy, "task", None) is not _kernel.hot._gather]
    index = {id(one): i for i, one in enumerate(lazies)}

    def pick(value: Any) -> Any:
        return _Ref(index[id(value)]) if _is_lazy(value) and id(value) in index else None

    records = []
    for one in lazies:
        source, values, names = _kernel.call_of(one)
        npos = len(values) - len(names)
        policies = {f: _policy(getattr(one, f), pick) for f in _FIELDS if getattr(one, f)}
        kwargs = dict(zip(names, _replace(values[npos:], pick), strict=True))
        records.append((type(one), source, _replace(values[:npos], pick), kwargs, one._uuid, policies))
    return restore, (records,)


def _policy(value: Any, pick: Any) -> Any:
    requirements = getattr(value, "requirements", None)
    if requirements is None:
        return _replace(value, pick)
    return type(value)(requirements=_replace(dict(requirements), pick))


def restore(records: list[Any]) -> Any:
    """Rebuild the lazies of ``flatten``; the last one is the target."""
    made: list[Any] = []

    def pick(value: Any) -> Any:
        return made[value.index] if type(value) is _Ref else None

    for cls, source, args, kwargs, uid, policies in records:
        args, kwargs = _replace(args, pick), _replace(kwargs, pick)
        lazy = cls(source, args, kwargs, uid) if cls is _kernel.LazyResult else cls(source, kwargs, uid)
        for name, value in policies.items():
            setattr(lazy, name, _policy(value, pick))
        made.append(lazy)
    return made[-1]
