"""Equal values have equal digests, unequal values have unequal ones: in every process, at every depth.

A value becomes a *token*: a leaf is a tag, its length and its bytes, a composite is a tag and the SHA-256 of the
tokens of its parts. No token is the beginning of another, so a sequence of tokens reads in one way only::

    [1, {"k": b"x"}]   ->   # sha256( list 2   i 1   # sha256( dict 1   s k   b x ) )

The walk keeps its own stack (depth is bounded by memory) and digests a shared part once, so it is linear in the
number of distinct containers. Data that contains itself has no such tree; it is walked a second time with references
to what was met before. Types count: ``1``, ``True``, ``1.0`` and ``"1"`` differ, so do lists and tuples, ``0.0`` and
``-0.0``. The order of sets, dicts and keywords does not.

Functions are digested by content (see :func:`function_parts`). What has no content to go by is *opaque*: the caller's
rules decide whether that is an error or an identity.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from copyreg import dispatch_table
from enum import Enum
from functools import partial
from hashlib import sha256
from struct import pack
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from cascade import _kernel
from cascade.graph._lookup import find

__all__ = [
    *("Composite", "Frame", "Rules", "Walk", "code_digest", "encode", "function_parts", "is_mock", "leaf"),
    *("sequence", "text"),
]


class Composite(NamedTuple):
    """A value with parts. Unordered parts are sorted by their tokens, ``width`` of them at a time."""

    tag: bytes
    parts: Sequence[Any]
    label: Callable[[Sequence[Any], int], str]
    width: int = 0


class Rules(Protocol):
    """What an encoding does with the values that this module does not know."""

    def special(self, value: Any) -> bytes | Composite | None:
        """Return the token or parts of a value with a meaning of its own, or None."""
        ...

    def opaque(self, value: Any, path: str, reason: str) -> bytes:
        """Return the token of a value without canonical content, or raise."""
        ...


# ---------------------------------------------------------------------------------------------------- leaves


def leaf(tag: bytes, payload: bytes = b"") -> bytes:
    """Return the token of a leaf; ``tag`` is one byte."""
    return tag + pack(">Q", len(payload)) + payload


def text(value: str) -> bytes:
    """Return the token of a text."""
    return leaf(b"s", value.encode("utf-8", "surrogatepass"))


def _integer(value: int) -> bytes:
    return leaf(b"i", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


_LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: leaf(b"N"),
    type(Ellipsis): lambda value: leaf(b"E"),
    type(NotImplemented): lambda value: leaf(b"n"),
    bool: lambda value: leaf(b"T" if value else b"F"),
    int: _integer,
    float: lambda value: leaf(b"f", pack(">d", value)),
    complex: lambda value: leaf(b"c", pack(">dd", value.real, value.imag)),
    str: text,
    bytes: lambda value: leaf(b"b", value),
    bytearray: lambda value: leaf(b"B", bytes(value)),
    ModuleType: lambda value: leaf(b"m", value.__name__.encode()),
    CodeType: lambda value: leaf(b"k", code_digest(value)),
}

# ------------------------------------------------------------------------------------------------ composites


def _item(parts: Sequence[Any], index: int) -> str:
    return f"[{index}]"


def _entry(parts: Sequence[Any], index: int) -> str:
    key = parts[index & ~1]
    shown = f".{key}" if type(key) is str else f"[{key!r}]" if type(key) in (int, bool, float, bytes) else "[...]"
    return shown if index & 1 else ".keys()"


def _named(*names: str) -> Callable[[Sequence[Any], int], str]:
    return lambda parts, index: f".{names[index]}"


def sequence(tag: bytes, parts: Sequence[Any]) -> Composite:
    """Return a composite of parts in order."""
    return Composite(tag, parts, _item)


def _pairs(value: dict[Any, Any]) -> list[Any]:
    return [part for pair in value.items() for part in pair]


_CONTAINERS: dict[type, Callable[[Any], Composite]] = {
    list: lambda value: Composite(b"list", value, _item),
    tuple: lambda value: Composite(b"tuple", value, _item),
    dict: lambda value: Composite(b"dict", _pairs(value), _entry, 2),
    set: lambda value: Composite(b"set", list(value), _item, 1),
    frozenset: lambda value: Composite(b"frozenset", list(value), _item, 1),
    range: lambda value: sequence(b"range", (value.start, value.stop, value.step)),
    slice: lambda value: sequence(b"slice", (value.start, value.stop, value.step)),
    FunctionType: lambda value: function_parts(value),
    MethodType: lambda value: Composite(b"method", (value.__func__, value.__self__), _named("__func__", "__self__")),
    partial: lambda value: Composite(
        b"partial", (value.func, value.args, value.keywords), _named("func", "args", "keywords")
    ),
}


def function_parts(function: FunctionType) -> Composite:
    """Return what decides the value of a call: module, qualified name, code, defaults and closure cells.

    Globals are not part of it: a changed helper function or module constant does not change the digest.
    """
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    names = function.__code__.co_freevars
    parts = [function.__module__, function.__qualname__, function.__code__, function.__defaults__]
    parts += [function.__kwdefaults__, *cells]

    def label(parts: Sequence[Any], index: int) -> str:
        fixed = ("module", "qualname", "code", "defaults", "keyword defaults")
        return f" ({fixed[index]})" if index < len(fixed) else f" (closure variable {names[index - len(fixed)]!r})"

    return Composite(b"function", parts, label)


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return NotImplemented


_codes: WeakKeyDictionary[CodeType, bytes] = WeakKeyDictionary()


def code_digest(code: CodeType) -> bytes:
    """Return the SHA-256 of what the code does: the same in every process, wherever the file is.

    File, line numbers and positions are left out; the version of Python counts, because bytecode does.
    """
    digest = _codes.get(code)
    if digest is None:
        numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        # Nested functions are constants; the parser bounds how deep they nest.
        content = (code.co_name, numbers, names, code.co_code, code.co_exceptiontable, code.co_consts)
        digest = _codes[code] = sha256(encode(content, _ConstantRules())).digest()
    return digest


class _ConstantRules:
    """Rules for the constants of a code object, all of which are plain."""

    def special(self, value: Any) -> bytes | Composite | None:
        return None

    def opaque(self, value: Any, path: str, reason: str) -> bytes:
        raise TypeError(f"unknown constant of type {type(value).__name__} in a code object")


# ---------------------------------------------------------------------------------------------- other values

#: Standard types that say how to rebuild themselves (pickle's protocol) and mean what they say.
_REBUILDABLE = frozenset(
    {"collections", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "re", "uuid", "zoneinfo"}
)
#: Dataclasses that come from the kernel, and mean the same whichever of the two it is.
_KERNEL_VALUES = frozenset({_kernel.Jump, _kernel.RetryPolicy, _kernel.TailCall})
_HEAP_TYPE = 1 << 9
_NOT_FOUND = "is a class that cannot be found under its module and name"


def _describe(value: Any) -> bytes | Composite | str:
    """Return the token or the parts of a value that is no plain leaf or container, or why there are none."""
    kind = type(value)
    if issubclass(kind, type):
        return _class_reference(value)
    if kind is BuiltinFunctionType:
        owner = value.__self__
        # A function of a module is known by name; a bound method of a builtin also by the object it is bound to.
        return Composite(b"builtin", (value.__module__, value.__qualname__, owner), _named("module", "name", "self"))
    if kind in (MethodDescriptorType, WrapperDescriptorType):
        return Composite(b"descriptor", (value.__objclass__, value.__name__), _named("class", "name"))
    if issubclass(kind, ModuleType):
        return _LEAVES[ModuleType](value)
    if issubclass(kind, Enum):
        # A combination of flags may have no name.
        content = value._value_ if value._name_ is None else None
        return Composite(b"enum", (kind, value._name_, content), _named("class", "name", "value"))
    if kind in _KERNEL_VALUES:
        names = tuple(kind.__dataclass_fields__)
        return Composite(b"value", (kind.__name__, *(getattr(value, name) for name in names)), _named("class", *names))
    array = _array(value)
    return array if array is not None else _rebuilt(value)


def _class_reference(value: type) -> bytes | str:
    module, qualname = value.__module__, value.__qualname__
    # Classes written in C exist once, even where no module shows them (such as NoneType).
    if value.__flags__ & _HEAP_TYPE and find(module, qualname) is not value:
        return _NOT_FOUND
    return leaf(b"t", text(module) + text(qualname))


def _array(value: Any) -> Composite | None:
    """Return the parts of a numpy array or scalar, if numpy is loaded and the items are plain numbers."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(type(value), (numpy.ndarray, numpy.generic)) or value.dtype.kind in "OV":
        return None
    return sequence(b"array", (type(value), value.dtype.str, value.shape, value.tobytes()))


def is_mock(kind: type[Any]) -> bool:
    """Whether a class is one of ``unittest.mock``: these make up whatever attribute they are asked for, without end."""
    return any(base.__module__ == "unittest.mock" for base in kind.__mro__)


def _rebuilt(value: Any) -> Composite | str:
    """Return class, constructor arguments, state and items of an object that equals its copies, or why not."""
    kind: Any = type(value)
    if is_mock(kind):
        return "is a mock, which equals only itself"
    known = kind.__module__.partition(".")[0] in _REBUILDABLE
    if not known and kind.__eq__ is object.__eq__:
        return f"is a {kind.__name__}, which equals only itself"
    stock = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    if not known and not (stock and kind.__getstate__ is object.__getstate__):
        return f"is a {kind.__name__}, whose content cannot be read"
    reducer = dispatch_table.get(kind)
    try:
        rebuilt = reducer(value) if reducer else value.__reduce_ex__(2)
    except TypeError:
        return f"is a {kind.__name__}, whose content cannot be read"
    if type(rebuilt) is not tuple:
        return f"is a {kind.__name__}, which is known by name only"
    arguments, state, items, entries = (*rebuilt[1:5], None, None, None)[:4]
    parts = [kind, arguments, state, list(items or ()), [part for pair in entries or () for part in pair]]
    return Composite(b"object", parts, _named("class", "arguments", "state", "items", "entries"))


# --------------------------------------------------------------------------------------------------- the walk


class _SelfContaining(Exception):
    """The value contains itself."""


class Frame:
    """A composite whose parts are being encoded; ``at`` is the index of the part in work."""

    __slots__ = ("add", "at", "composite", "digest", "parts", "tokens", "value")

    def __init__(self, value: Any, composite: Composite) -> None:
        self.value = value
        self.composite = composite
        self.parts: Iterator[Any] = iter(composite.parts)
        self.digest = sha256(leaf(b"#", composite.tag) + pack(">Q", len(composite.parts)))
        self.tokens: list[bytes] = []
        # What has an order is digested as it comes, what has none is kept until it can be sorted.
        self.add: Callable[[bytes], None] = self.tokens.append if composite.width else self.digest.update
        self.at = -1

    def close(self) -> bytes:
        """Return the token of the composite."""
        width, tokens = self.composite.width, self.tokens
        if width:
            for item in sorted(b"".join(tokens[at : at + width]) for at in range(0, len(tokens), width)):
                self.digest.update(item)
        return b"#" + self.digest.digest()


class Walk:
    """One encoding, with a stack of its own. Subclasses say what a value is made of."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        # By id: the composite (kept alive, so that the id stays its own) and its token, None while it is open.
        self.met: dict[int, tuple[Any, bytes | None]] = {}

    def token(self, root: Any) -> bytes:
        """Return the token of ``root``."""
        token = self.enter(root)
        while self.frames:
            frame = self.frames[-1]
            if token is not None:
                frame.add(token)
            token = None
            for part in frame.parts:
                frame.at += 1
                token = self.enter(part)
                if token is None:
                    break
                frame.add(token)
            else:
                token = self.leave(self.frames.pop())
        assert token is not None
        return token

    def enter(self, value: Any) -> bytes | None:
        """Return the token of a leaf or of a composite that was met before; open any other composite."""
        plain = _LEAVES.get(type(value))
        if plain is not None:
            return plain(value)
        met = self.met.get(id(value))
        if met is not None:
            return self.again(met[1])
        described = self.describe(value)
        if isinstance(described, Composite):
            self.open(value, described)
            return None
        return described

    def describe(self, value: Any) -> bytes | Composite:
        """Return the token or the parts of a value that is no plain leaf."""
        raise NotImplementedError

    def again(self, token: bytes | None) -> bytes:
        """Return the token of a composite that was met before; None is one that is still open."""
        if token is None:
            raise _SelfContaining
        return token

    def open(self, value: Any, composite: Composite) -> None:
        """Begin a composite."""
        self.met[id(value)] = (value, None)
        self.frames.append(Frame(value, composite))

    def leave(self, frame: Frame) -> bytes:
        """End a composite and return its token."""
        token = frame.close()
        self.met[id(frame.value)] = (frame.value, token)
        return token


class _ContentWalk(Walk):
    """Encodes everything that a value is made of."""

    def __init__(self, rules: Rules, label: str) -> None:
        super().__init__()
        self._rules = rules
        self._label = label

    def describe(self, value: Any) -> bytes | Composite:
        described = self._rules.special(value)
        if described is not None:
            return described
        container = _CONTAINERS.get(type(value))
        return container(value) if container else self._other(value)

    def _other(self, value: Any) -> bytes | Composite:
        described = _describe(value)
        return self._rules.opaque(value, self._path(), described) if isinstance(described, str) else described

    def _path(self) -> str:
        steps = [frame.composite.label(frame.composite.parts, frame.at) for frame in self.frames]
        return self._label + "".join(steps)


class _LinearWalk(_ContentWalk):
    """Numbers the composites in the order in which they are met, for data that contains itself."""

    def open(self, value: Any, composite: Composite) -> None:
        if composite.width == 1 and len(composite.parts) > 1:
            # The items of a set have an order only by their digests, and a cycle has none before it is closed.
            token = self._rules.opaque(value, self._path(), "is a set inside data that contains itself")
            composite = sequence(b"opaque", (token,))
        self.met[id(value)] = (value, leaf(b"^", pack(">Q", len(self.met))))
        self.frames.append(Frame(value, composite._replace(width=0)))

    def leave(self, frame: Frame) -> bytes:
        return frame.close()


def encode(value: Any, rules: Rules, label: str = "") -> bytes:
    """Return the token of ``value``; ``label`` names it in the paths of errors."""
    try:
        return _ContentWalk(rules, label).token(value)
    except _SelfContaining:
        return _LinearWalk(rules, label).token(value)
