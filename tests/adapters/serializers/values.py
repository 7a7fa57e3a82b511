"""Values of every type that can be stored, and what must be the same of two of them."""

from __future__ import annotations

import os
import struct
from collections import Counter
from dataclasses import InitVar, dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

__all__ = ["EXAMPLES", "PICKLED", "ROUND_TRIPS", "TYPES", "essence", "values"]

#: Values to draw; ``CASCADE_ROUND_TRIPS=10000`` asks for as many as the whole proof takes.
ROUND_TRIPS = int(os.environ.get("CASCADE_ROUND_TRIPS", "200"))


class Colour(Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796 - an alias
    ODD = (1, 2)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Word(StrEnum):
    YES = "yes"


class Access(Flag):
    READ = auto()
    WRITE = auto()


@dataclass(frozen=True, slots=True)
class Point:
    x: Any
    y: Any = 0


@dataclass
class Sealed:
    """Takes what it is made of, says so once, and works out the rest."""

    start: InitVar[int]
    kept: Any = field(init=False, default=None)

    def __post_init__(self, start: int) -> None:
        self.kept = [start]


class Row(msgspec.Struct, frozen=True, rename="camel", tag="row"):
    the_id: Any
    more: Any = ()


class Loose(msgspec.Struct, kw_only=True, omit_defaults=True):
    a: Any = 1
    b: Any


TYPES = [Colour, Level, Word, Access, Point, Sealed, Row, Loose]


def _sealed(kept: Any) -> Sealed:
    found = Sealed(1)
    found.kept = kept
    return found


def essence(value: Any) -> Any:
    """Return what must be the same after a round trip, types and signs and bits too, as something that compares."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack("<d", value)
    if kind is complex:
        return kind, essence(value.real), essence(value.imag)
    if kind in (list, tuple):
        return kind, tuple(map(essence, value))
    if kind in (set, frozenset):
        return kind, frozenset(Counter(map(essence, value)).items())
    if kind is dict:
        return kind, tuple((essence(key), essence(one)) for key, one in value.items())
    if kind is bytearray:
        return kind, bytes(value)
    if kind is Decimal:
        return kind, value.as_tuple()
    if kind in (time, datetime):
        return kind, value.replace(tzinfo=None).isoformat(), essence(value.tzinfo), value.fold
    if kind is timezone:
        return kind, value.__reduce__()[1]
    if kind is ZoneInfo:
        return kind, value.key
    if isinstance(value, (np.ndarray, np.generic)):
        is_f = value.flags.f_contiguous and not value.flags.c_contiguous
        facts = (kind, str(value.dtype), value.dtype.isalignedstruct, value.shape, is_f)
        if value.dtype.names is not None:  # what lies between the fields is nobody's
            return facts, tuple(essence(value[name]) for name in value.dtype.names)
        if value.dtype.char in "gG":  # some bytes of these mean nothing
            return facts, repr(value)
        return facts, value.tobytes("A")
    if is_dataclass(kind):
        return kind, tuple((one.name, essence(getattr(value, one.name))) for one in fields(kind))
    if isinstance(value, msgspec.Struct):
        return kind, tuple((name, essence(getattr(value, name))) for name in kind.__struct_fields__)
    return kind, value


_FAR = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, -(2**64), 2**200, -(7**300)])
_OFFSETS = st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23))
_FIXED_ZONES = st.builds(timezone, _OFFSETS) | st.builds(timezone, _OFFSETS, st.text(max_size=5))
_ZONES = st.none() | _FIXED_ZONES | st.timezones()
_MOMENTS = st.datetimes(timezones=_ZONES, allow_imaginary=True) | st.times(timezones=st.none() | _FIXED_ZONES)
_ANY_TEXT = st.text() | st.text(st.characters(), max_size=8)
_DTYPES = st_np.scalar_dtypes() | st_np.byte_string_dtypes() | st_np.unicode_string_dtypes()
_DTYPES |= st_np.datetime64_dtypes() | st_np.timedelta64_dtypes()


def _plain(dtype: Any) -> bool:
    """Whether an array of this type can be drawn, and stored: it has a size."""
    return bool(dtype.itemsize) and not dtype.hasobject


_SHAPES = st_np.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
_DRAWN = st_np.arrays(_DTYPES.filter(_plain), _SHAPES)
_DRAWN |= st_np.arrays(st_np.array_dtypes(subtype_strategy=st_np.scalar_dtypes(), max_size=3).filter(_plain), _SHAPES)
_ARRAYS = _DRAWN | _DRAWN.map(np.transpose) | _DRAWN.map(lambda array: array[..., ::2] if array.ndim else array)
_SCALARS = st_np.from_dtype(np.dtype("f8")) | st_np.scalar_dtypes().flatmap(st_np.from_dtype)
_SCALARS |= st.text(max_size=5).map(np.str_) | st.binary(max_size=5).map(np.bytes_)



def _pickles(value: Any) -> bool:
    """Whether numpy pickles it exactly: it may change the byte order, and cuts zeros off the end of text."""
    return value.dtype.isnative and not (isinstance(value, (str, bytes)) and value[-1:] in ("\0", b"\0"))


#: Values that may be keys and members.
_HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | _FAR
    | st.floats()
    | st.complex_numbers()
    | _ANY_TEXT
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | _MOMENTS
    | st.timedeltas()
    | _FIXED_ZONES
    | st.timezones()
    | st.sampled_from([*Colour, *Level, *Word, *Access, Access.READ | Access.WRITE, Access(0)]),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.frozensets(inner, max_size=4)
        | st.builds(Point, inner, inner)
        | st.builds(Row, inner, inner)
    ),
    max_leaves=6,
)


def values(pickled: bool = False) -> st.SearchStrategy[Any]:
    """Draw values of all types, nested; ``pickled`` leaves out what numpy itself does not pickle exactly."""
    arrays, scalars = (_ARRAYS.filter(_pickles), _SCALARS.filter(_pickles)) if pickled else (_ARRAYS, _SCALARS)
    leaves = _HASHABLE | st.binary().map(bytearray) | st.decimals() | st.just(Decimal("sNaN")) | arrays | scalars
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.lists(inner, max_size=5).map(tuple)
            | st.dictionaries(_HASHABLE, inner, max_size=5)
            | st.sets(_HASHABLE, max_size=5)
            | st.builds(Point, inner, inner)
            | st.builds(_sealed, inner)
            | st.builds(Row, inner, inner)
            | st.builds(Loose, a=inner, b=inner)
        ),
        max_leaves=12,
    )


#: One value or more of each type.
EXAMPLES: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 2**64, -(2**63) - 1, 10**400, 1.5, -0.0, float("inf"), float("nan"), 1 - 2j),
    *("", "text", "é\N{GRINNING FACE}", "\ud800 alone", "\0", b"", b"bytes", bytearray(b"array")),
    *([], (), set(), frozenset(), {}, [1, (2, [3, {4}]), frozenset({5, (6,)})], [[1], [2]], [True, 1, 1.0]),
    *({1: "a", "1": "b", (1, 2): [3], None: {}, 1.5: None}, {"x": {"y": {"z": ()}}}, {b"k": bytearray(b"v")}),
    *(date(1, 1, 1), time(23, 59, 59, 999999), time(1, tzinfo=UTC, fold=1), timedelta(-1, 1, 1)),
    *(datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=-3), "here")), datetime(2020, 1, 1, fold=1)),
    *(datetime(2020, 6, 1, tzinfo=ZoneInfo("Europe/Berlin")), ZoneInfo("UTC"), UTC),
    *(Decimal("-0E+5"), Decimal("1.10"), Decimal("NaN123"), Decimal("-Infinity"), UUID(int=7)),
    *(Colour.RED, Colour.ODD, Level.HIGH, Word.YES, Access.READ | Access.WRITE, Access(0)),
    *(Point(1, [2]), Point(Point(1), Row(2)), _sealed({"deep": [1]}), Row("a", [1]), Loose(b=None)),
    *(np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(3, "u1"), np.zeros((0, 2))),
    *(np.array(["a", "bé"]), np.array([b"ab", b""], "S3"), np.arange(3, dtype=">i2"), np.arange(9)[::2]),
    *(np.array(["2020-01-01", "NaT"], "M8[D]"), np.array([1, 2], "m8[25ms]"), np.array([1j]), np.zeros(2, "V3")),
    np.zeros(2, [("a", "<i4"), ("b", "f8", (2,)), ("c", [("d", "?")])]),
    np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    *(np.float64(1.5), np.float32("nan"), np.int8(-1), np.bool_(True), np.complex64(1j), np.longdouble(0.1)),
    *(np.str_("a\0"), np.bytes_(b"a\0")),
    *(np.datetime64("2020-01-01T00:00"), np.timedelta64(3, "s"), np.datetime64("NaT")),
]

#: Those of them that numpy pickles exactly.
PICKLED = [value for value in EXAMPLES if not hasattr(value, "dtype") or _pickles(value)]
