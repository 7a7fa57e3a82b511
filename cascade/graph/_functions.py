"""What a function is, by content; and what an object is that has no content to go by."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary, ref

from cascade.graph._canonical import Rules, encode, is_mock, leaf

__all__ = ["function_token", "object_token"]

# ------------------------------------------------------------------------------------------------- functions

#: Attribute of a function: its snapshots by the class of the rules they were taken under.
_SNAPSHOTS = "__cascade_snapshots__"


@dataclass(frozen=True)
class _Snapshot:
    """The token of a function, and the objects that it was taken from."""

    watched: tuple[Any, ...]
    token: bytes


def function_token(function: Any, rules: Rules, label: str = "") -> bytes:
    """Return the token of a callable: module, qualified name, code, defaults and closure cells.

    Defaults and cells are taken as they are when a function is first asked, and again when one is replaced. So a
    function that counts its calls, in a list or a ``nonlocal`` variable that it captured, stays the same function,
    while another object put into a cell from outside makes another. Objects changed in place are not noticed. A mock in
    place of a function is itself, also for a cache: calls of it are equal, and nobody else's are.
    """
    if is_mock(type(function)):
        return object_token(function)
    if type(function) is not FunctionType or not _has_surroundings(function):
        return encode(function, rules, label)
    # Kept on the function: a table beside it would keep alive every function that its own cells lead to.
    snapshots: dict[type, _Snapshot] = function.__dict__.setdefault(_SNAPSHOTS, {})
    known = snapshots.get(type(rules))
    watched = _watched(function)
    if known is None or not _same(known.watched, watched):
        known = snapshots[type(rules)] = _Snapshot(watched, encode(function, rules, label))
    return known.token


def _has_surroundings(function: FunctionType) -> bool:
    return bool(function.__closure__ or function.__defaults__ or function.__kwdefaults__)


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return len(left) == len(right) and all(map(lambda a, b: a is b, left, right))


def _watched(function: FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    own = _rebound(code)
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    contents = [_content(cell) for name, cell in cells if name not in own]
    return (code, function.__module__, function.__qualname__, function.__defaults__, function.__kwdefaults__, *contents)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return NotImplemented


_rebound_names: WeakKeyDictionary[CodeType, frozenset[str]] = WeakKeyDictionary()


def _rebound(code: CodeType) -> frozenset[str]:
    """Return the captured names that the code itself assigns or deletes, in nested functions too."""
    names = _rebound_names.get(code)
    if names is None:
        from dis import get_instructions

        stores = ("STORE_DEREF", "DELETE_DEREF")
        found = {step.argval for step in get_instructions(code) if step.opname in stores}
        for nested in code.co_consts:
            if type(nested) is CodeType:
                found |= _rebound(nested)
        names = _rebound_names[code] = frozenset(found.intersection(code.co_freevars))
    return names


# --------------------------------------------------------------------------------------------------- objects

_PROCESS = os.urandom(16)
_serials = count()
_known: dict[int, tuple[ref[Any], bytes]] = {}


def object_token(value: Any) -> bytes:
    """Return a token that is this object's own: no other object of any process ever has it.

    An object that cannot be referred to weakly has its token by address, which is its own while it lives; the node
    that carries the token holds the object.
    """
    known = _known.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    try:
        watch = ref(value, _forget(id(value)))
    except TypeError:
        return leaf(b"@", _PROCESS + b"a%d" % id(value))
    token = leaf(b"@", _PROCESS + b"s%d" % next(_serials))
    _known[id(value)] = (watch, token)
    return token


def _forget(key: int) -> Callable[[ref[Any]], None]:
    def forget(dead: ref[Any]) -> None:
        if key in _known and _known[key][0] is dead:
            del _known[key]

    return forget
