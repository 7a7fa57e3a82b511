"""How values of Python's own types are taken apart and put together again.

A form splits a value into bytes, or into parts that are values themselves. Types are looked up exactly: a subclass may
hold more than its base, so it is never stored as that.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import chain
from typing import Any, TypeAlias, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

__all__ = ["FORMS", "LEAVES", "WHOLE_OF_BYTES", "WHOLE_OF_PARTS", "Code", "Form", "Refusal", "Step", "text_bytes"]

T = TypeVar("T", bound=Sized)

#: Types whose values are tokens of their own.
LEAVES = frozenset({type(None), bool, int, float, str})

#: Names the way from a value to its part at an index, as Python would: ``[3]`` or ``.x``.
Step: TypeAlias = Callable[[Sequence[Any], int], str]


class Code:
    """The numbers of forms in stored bytes: never reused, never changed."""

    INT, TEXT, BYTES, BYTEARRAY, COMPLEX, DECIMAL, UUID, ZONE = range(1, 9)
    LIST, TUPLE, SET, FROZENSET, DICT = range(16, 21)
    DATE, TIME, DATETIME, TIMEDELTA, TIMEZONE = range(24, 29)
    ENUM, FLAG, DATACLASS, STRUCT = range(32, 36)
    ARRAY, SCALAR, NUMPY_TEXT, NUMPY_BYTES = range(40, 44)


class Refusal(Exception):
    """A part of a value cannot be stored. ``steps`` lead to it, the last one first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str] = []


@dataclass(frozen=True, slots=True)
class Form:
    """How the values of one type are stored: ``take`` returns bytes, or the parts of a value."""

    code: int
    take: Callable[[Any], bytes | Sequence[Any]]
    step: Step


def _index(_: Sequence[Any], index: int) -> str:
    return f"[{index}]"


def _member(_: Sequence[Any], index: int) -> str:
    return f"{{{index}}}"


def _key_or_value(parts: Sequence[Any], index: int) -> str:
    if index % 2 == 0:
        return f".keys()[{index // 2}]"
    key = parts[index - 1]
    shown = repr(key) if type(key) in LEAVES else ""
    return f"[{shown}]" if 0 < len(shown) <= 60 else f".values()[{index // 2}]"


def _nowhere(_: Sequence[Any], index: int) -> str:
    return f".part[{index}]"


def _time_part(parts: Sequence[Any], index: int) -> str:
    return ".tzinfo" if index == len(parts) - 2 else _nowhere(parts, index)


def text_bytes(text: str) -> bytes:
    """Return any text, lone surrogates too, as bytes."""
    return text.encode("utf-8", "surrogatepass")


def _zone_key(zone: ZoneInfo) -> bytes:
    if zone.key is None:
        raise Refusal("is a time zone without a name, which cannot be found again")
    return zone.key.encode()


_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def _zone(data: bytes) -> ZoneInfo:
    key = data.decode("ascii")
    if _ZONE_KEY.fullmatch(key) is None:  # it becomes the name of a file
        raise ValueError("no name of a time zone")
    return ZoneInfo(key)


def _pairs(value: dict[Any, Any]) -> list[Any]:
    return list(chain.from_iterable(list(value.items())))


def _dict(parts: list[Any]) -> dict[Any, Any]:
    return _complete(dict(zip(parts[::2], parts[1::2], strict=True)), len(parts) // 2)


def _complete(found: T, count: int) -> T:
    if len(found) != count:
        raise ValueError("the same key or member twice")
    return found


# Some constructors of datetime take bytes of pickles, too, if they get one or two arguments: each gets all of them.


def _date(parts: list[Any]) -> date:
    year, month, day = parts
    return date(year, month, day)


def _time(parts: list[Any]) -> time:
    hour, minute, second, microsecond, zone, fold = parts
    return time(hour, minute, second, microsecond, zone, fold=fold)


def _datetime(parts: list[Any]) -> datetime:
    year, month, day, hour, minute, second, microsecond, zone, fold = parts
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _timedelta(parts: list[Any]) -> timedelta:
    days, seconds, microseconds = parts
    return timedelta(days, seconds, microseconds)


def _timezone(parts: list[Any]) -> timezone:
    offset, *name = parts
    return timezone(offset, *name)


def _clock(value: Any) -> tuple[Any, ...]:
    return (value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold)


#: By type: what is not here and no leaf cannot be stored, unless it is of numpy or was named.
FORMS: dict[type[Any], Form] = {
    bytes: Form(Code.BYTES, lambda value: value, _nowhere),
    bytearray: Form(Code.BYTEARRAY, bytes, _nowhere),
    complex: Form(Code.COMPLEX, lambda value: struct.pack("<dd", value.real, value.imag), _nowhere),
    Decimal: Form(Code.DECIMAL, lambda value: str(value).encode(), _nowhere),
    UUID: Form(Code.UUID, lambda value: value.bytes, _nowhere),
    ZoneInfo: Form(Code.ZONE, _zone_key, _nowhere),
    list: Form(Code.LIST, tuple, _index),
    tuple: Form(Code.TUPLE, lambda value: value, _index),
    set: Form(Code.SET, tuple, _member),
    frozenset: Form(Code.FROZENSET, tuple, _member),
    dict: Form(Code.DICT, _pairs, _key_or_value),
    date: Form(Code.DATE, lambda value: (value.year, value.month, value.day), _nowhere),
    time: Form(Code.TIME, _clock, _time_part),
    datetime: Form(Code.DATETIME, lambda value: (value.year, value.month, value.day, *_clock(value)), _time_part),
    timedelta: Form(Code.TIMEDELTA, lambda value: (value.days, value.seconds, value.microseconds), _nowhere),
    timezone: Form(Code.TIMEZONE, lambda value: value.__getinitargs__(), _nowhere),
}

#: By code: values from bytes.
WHOLE_OF_BYTES: dict[int, Callable[[bytes], Any]] = {
    Code.INT: lambda data: int.from_bytes(data, "little", signed=True),
    Code.TEXT: lambda data: data.decode("utf-8", "surrogatepass"),
    Code.BYTES: bytes,
    Code.BYTEARRAY: bytearray,
    Code.COMPLEX: lambda data: complex(*struct.unpack("<dd", data)),
    Code.DECIMAL: lambda data: Decimal(data.decode("ascii")),
    Code.UUID: lambda data: UUID(bytes=data),
    Code.ZONE: _zone,
}

#: By code: values from a list of parts, which they may keep.
WHOLE_OF_PARTS: dict[int, Callable[[list[Any]], Any]] = {
    Code.LIST: lambda parts: parts,
    Code.TUPLE: tuple,
    Code.SET: lambda parts: _complete(set(parts), len(parts)),
    Code.FROZENSET: lambda parts: _complete(frozenset(parts), len(parts)),
    Code.DICT: _dict,
    Code.DATE: _date,
    Code.TIME: _time,
    Code.DATETIME: _datetime,
    Code.TIMEDELTA: _timedelta,
    Code.TIMEZONE: _timezone,
}
