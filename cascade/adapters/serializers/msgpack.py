"""Values as one flat array of msgpack: tokens in the order in which a value is walked.

    document   [version, value]
    value      nil | bool | int | float | str     a token that stands for itself
             | ext(code, bytes)                   a token for a value of another type
             | ext(code, count) value * count     a container or a record, its parts after it

    {"a": [1, 2]}  is  [1, ext(DICT, 2), "a", ext(LIST, 2), 1, 2]

Nothing is nested as far as msgpack is concerned, so bytes that lie about lengths find no arrays in arrays to claim
memory for; and a part of a container is claimed once, so that reading costs what the bytes are long (but for keys that
were chosen to collide, with which any dict of Python's is slow). Leaves are read and written by C code, a container of
nothing else in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from cascade.adapters.serializers import _arrays
from cascade.adapters.serializers._forms import (
    FORMS,
    LEAVES,
    WHOLE_OF_BYTES,
    WHOLE_OF_PARTS,
    Code,
    Form,
    Refusal,
    text_bytes,
)
from cascade.adapters.serializers._named import Named, form_of_own, is_nameable
from cascade.adapters.serializers.errors import DeserializationError, SerializationError

try:
    import msgspec
except ImportError:  # said when a serializer is made
    msgspec = None  # type: ignore[assignment, unused-ignore]

__all__ = ["MsgpackSerializer"]

_VERSION = 1
_DEEPEST = 200  # containers in containers: safely fewer than Python can call
_REPEATED = 1_000_000  # parts of containers that are written again, as often as they are held, without a look at
_TIMES = 100  # how many times as many as there are in all
_LONGEST_PATH = 12  # steps of a path that an error shows
_LONGEST_PROBLEM = 300  # characters of a problem, which may quote what was stored
_INT64, _UINT64 = -(2**63), 2**64 - 1
_PARTS_OF_ANY_CODE = WHOLE_OF_PARTS | _arrays.WHOLE_OF_PARTS


class MsgpackSerializer:
    """Keeps plain data, with exact types; whoever wrote the bytes, reading them runs no code but that of ``types``.

    It takes None, bool, int of any size, float, complex, str (lone surrogates too), bytes, bytearray, list, tuple, set,
    frozenset and dict (keys of any of these types), date, time, datetime, timedelta, timezone, ZoneInfo, Decimal, UUID,
    arrays and scalars of numpy (no objects), ``HttpResponse``, and instances of the classes in ``types``. A subclass of
    one of these is another type: it is taken only if it is in ``types``.

    Args:
        types: enums, dataclasses and msgspec Structs that may be stored. A value of another class is an error, in
            writing as in reading. A dataclass is put together again without its ``__init__`` and ``__post_init__``;
            of a Struct, msgspec calls the ``__post_init__``.

    Raises:
        ImportError: msgspec is not installed.
        TypeError, ValueError: ``types`` has something else, or two classes of one name.
    """

    def __init__(self, *, types: Iterable[type[Any]] = ()) -> None:
        if msgspec is None:
            raise ImportError(
                "The 'msgspec' library is required for MsgpackSerializer: pip install 'cascade-hot[msgpack]'"
            )
        named = Named(types)
        self._forms: dict[type[Any], Form] = FORMS | named.forms
        self._wholes = _PARTS_OF_ANY_CODE | named.wholes()

    def dumps(self, value: Any) -> bytes:
        """Return a value as bytes.

        Raises:
            SerializationError: it has a part of another type, contains itself, or is nested too deeply.
        """
        writer = _Writer(self._forms)
        try:
            writer.put(value)
            return _encoded(writer.tokens)
        except Refusal as refusal:
            raise SerializationError(_path(refusal.steps), refusal.problem) from None
        except RecursionError:  # from the depth of the caller's own
            raise SerializationError("result", "is nested too deeply to be stored from here") from None

    def loads(self, data: bytes) -> Any:
        """Return the value that was stored.

        Raises:
            DeserializationError: the bytes are not of this format and version, or name a class that ``types`` lacks.
        """
        try:
            return _Reader(_tokens(data), self._wholes).document()
        except DeserializationError:
            raise
        except Exception as error:  # anybody may have written the bytes; constructors complain in many ways
            raise DeserializationError(f"{type(error).__name__}: {error}"[:_LONGEST_PROBLEM]) from error


# ------------------------------------------------------------------------------------------------------------ writing


class _Writer:
    """Appends the tokens of a value."""

    def __init__(self, forms: dict[type[Any], Form]) -> None:
        self.tokens: list[Any] = [_VERSION]
        self._forms = forms
        #: Ids of the containers around the one in hand.
        self._above: set[int] = set()
        #: Ids of the containers that were met, how many parts they have, and how many of those were written again.
        self._met: set[int] = set()
        self._parts = self._again = 0

    def put(self, value: Any) -> None:
        kind = type(value)
        if kind in LEAVES:
            self.tokens.append(value)
            return
        form = self._forms.get(kind) or _arrays.form_of(kind) or form_of_own(kind) or _refuse(kind)
        content = form.take(value)
        if type(content) is bytes:
            self.tokens.append(msgspec.msgpack.Ext(form.code, content))
            return
        self._count(id(value), len(content))
        self.tokens.append(_header(form.code, len(content)))
        if LEAVES.issuperset(map(type, content)):
            self.tokens += content
        else:
            self._put_parts(value, form, content)

    def _count(self, container: int, parts: int) -> None:
        """Refuse a few containers that hold each other so often that what is written would have no end."""
        if container not in self._met:
            self._met.add(container)
            self._parts += parts
            return
        self._again += parts
        if self._again > _REPEATED and self._again > _TIMES * self._parts:
            raise Refusal(
                f"is held again and again: each time it is written anew, which is more than {_REPEATED:,} parts already"
            )

    def _put_parts(self, value: Any, form: Form, parts: Any) -> None:
        if id(value) in self._above:
            raise Refusal("contains itself, and so cannot be stored")
        if len(self._above) == _DEEPEST:
            raise Refusal(f"lies in more than {_DEEPEST} containers, and so cannot be stored")
        self._above.add(id(value))
        for index, part in enumerate(parts):
            try:
                self.put(part)
            except Refusal as refusal:
                refusal.steps.append(form.step(parts, index))
                raise
        self._above.remove(id(value))


def _refuse(kind: type[Any]) -> Form:
    name = kind.__qualname__
    if is_nameable(kind):
        raise Refusal(f"is of type {name}, which was not named: use MsgpackSerializer(types=[{name}])")
    base = next((one.__qualname__ for one in kind.__mro__[1:-1] if one in FORMS or one in LEAVES), None)
    what = f"{name}, a subclass of {base}" if base else name
    raise Refusal(f"is of type {what}, which cannot be stored: make it plain data, or use PickleSerializer(key=...)")


def _header(code: int, count: int) -> Any:
    return msgspec.msgpack.Ext(code, count.to_bytes((count.bit_length() + 7) // 8, "big"))


def _encoded(tokens: list[Any]) -> bytes:
    try:
        return msgspec.msgpack.encode(tokens)
    except (OverflowError, UnicodeEncodeError):  # rare enough not to look at each leaf before
        return msgspec.msgpack.encode([_fitting(token) for token in tokens])


def _fitting(token: Any) -> Any:
    """Return a token that msgpack can hold: an integer beyond 64 bits and a lone surrogate are bytes."""
    if type(token) is int and not _INT64 <= token <= _UINT64:
        data = token.to_bytes(token.bit_length() // 8 + 1, "little", signed=True)
        return msgspec.msgpack.Ext(Code.INT, data)
    if type(token) is str and not token.isascii():
        data = text_bytes(token)
        return msgspec.msgpack.Ext(Code.TEXT, data) if b"\xed" in data else token
    return token


def _path(steps: list[str]) -> str:
    steps = steps[::-1]
    if len(steps) > _LONGEST_PATH:
        half = _LONGEST_PATH // 2
        steps = [*steps[:half], "...", *steps[-half:]]
    return "".join(("result", *steps))


# ------------------------------------------------------------------------------------------------------------ reading


@cache
def _decoder() -> Any:
    """The decoder of flat arrays; made when first needed, as that takes a while."""
    return msgspec.msgpack.Decoder(list[bool | int | float | str | msgspec.msgpack.Ext | None])


def _tokens(data: bytes) -> list[Any]:
    """Return the tokens of a document; no more memory is claimed than there are bytes to fill it."""
    first = data[0] if data else 0
    wide = {0xDC: 2, 0xDD: 4}.get(first, 0)  # bytes of the length; otherwise it is in the first one
    count = int.from_bytes(data[1 : 1 + wide], "big") if wide else first & 0x0F
    if count > len(data):
        raise DeserializationError("they are truncated")
    tokens: list[Any] = _decoder().decode(data)
    if len(tokens) < 2 or type(tokens[0]) is not int or tokens[0] != _VERSION:
        raise DeserializationError("they are no values of this version")
    return tokens


class _Reader:
    """Makes the value of a document."""

    def __init__(self, tokens: list[Any], wholes: dict[int, Callable[[list[Any]], Any]]) -> None:
        self._tokens = tokens
        self._wholes = wholes
        self._ext = msgspec.msgpack.Ext
        #: Position of the next token.
        self._next = 1
        #: Tokens that no value has claimed as its parts.
        self._free = len(tokens) - 2

    def document(self) -> Any:
        value = self._value(0)
        if self._free:
            raise DeserializationError("there is more than one value")
        return value

    def _value(self, depth: int) -> Any:
        token = self._tokens[self._next]
        self._next += 1
        if type(token) is not self._ext:
            return token
        data: Any = token.data
        of_bytes = WHOLE_OF_BYTES.get(token.code)
        if of_bytes is not None:
            return of_bytes(data)
        of_parts = self._wholes.get(token.code)
        if of_parts is None:
            raise DeserializationError(f"no type has the code {token.code}")
        return of_parts(self._parts(int.from_bytes(data, "big"), depth))

    def _parts(self, count: int, depth: int) -> list[Any]:
        if count > self._free:
            raise DeserializationError("they claim more parts than there are")
        if depth > _DEEPEST:
            raise DeserializationError("they are nested deeper than anything that is stored")
        self._free -= count
        tokens = self._tokens[self._next : self._next + count]
        if self._ext not in set(map(type, tokens)):
            self._next += count
            return tokens
        return [self._value(depth + 1) for _ in range(count)]
