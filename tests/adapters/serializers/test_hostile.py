"""Stored bytes that somebody else wrote: one typed error, no code, no crash, no memory for nothing.

10,000 byte strings for each serializer: random ones, valid ones with bytes changed, cut or joined, and, for msgpack,
valid tokens in an order that makes no sense. What the tests watch is what Python tells its auditors.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.serializers import DeserializationError, MsgpackSerializer, PickleSerializer, Serializer
from cascade.adapters.serializers._forms import WHOLE_OF_BYTES, Code
from tests.adapters.serializers.values import EXAMPLES, TYPES, essence

HOSTILE = 10_000

Ext = msgspec.msgpack.Ext
MSGPACK = MsgpackSerializer(types=TYPES)
PICKLE = PickleSerializer(b"k" * 32)
CODES = sorted(number for name, number in vars(Code).items() if name.isupper())
LEAVES = [None, True, 0, -1, 3, 2**63, 1.5, float("nan"), "", "a", "C", "F", "<f8", "|V0", "|O8", "array", "fields"]


#: Events of what could be code that runs, or a door to it.
SUSPICIOUS = ("exec", "compile", "import", "os.", "subprocess.", "pickle.", "marshal.", "ctypes.", "socket.", "code.")


@pytest.fixture(scope="module")
def audience() -> list[list[str]]:
    """Lists of those who listen to the auditor, which cannot be removed."""
    listeners: list[list[str]] = []
    reader = threading.get_ident()

    def audit(event: str, args: Any) -> None:
        if listeners and event.startswith(SUSPICIOUS) and threading.get_ident() == reader:
            listeners[0].append(f"{event} {args!r}"[:200])

    sys.addaudithook(audit)
    return listeners


@pytest.fixture
def watched(audience: list[list[str]]) -> Callable[[Serializer, bytes], Any]:
    """A function that reads bytes, and fails the test if any code runs that reading does not need."""
    for data in map(MSGPACK.dumps, EXAMPLES):  # whatever is loaded late is loaded
        MSGPACK.loads(data)

    def loads(serializer: Serializer, data: bytes) -> Any:
        heard: list[str] = []
        audience.append(heard)
        try:
            return serializer.loads(data)
        finally:
            audience.clear()
            # A time zone that the system has not is looked for in the package tzdata, where modules are.
            assert [event for event in heard if "tzdata" not in event and not event.startswith("os.listdir")] == []

    return loads


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Return valid bytes with one to four things done to them."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        what = draw.randrange(5)
        if what == 0 and changed:
            changed[at % len(changed)] ^= 1 << draw.randrange(8)
        elif what == 1 and changed:
            changed[at % len(changed)] = draw.choice((0, 0x7F, 0x80, 0xC1, 0xC9, 0xDC, 0xDD, 0xDF, 0xFF, 0xD4))
        elif what == 2:
            changed[at:at] = draw.randbytes(draw.randint(1, 5))
        elif what == 3:
            del changed[at : at + draw.randint(1, 8)]
        else:
            changed[at:at] = changed[draw.randrange(len(changed) + 1) :][:9]
    return bytes(changed)


def senseless(draw: random.Random) -> bytes:
    """Return one value of valid tokens: containers and records of any parts."""
    tokens: list[Any] = [1]
    missing = 1
    while missing and len(tokens) < 30:
        missing -= 1
        if draw.random() < 0.5:
            tokens.append(draw.choice(LEAVES))
        elif draw.random() < 0.9:
            count = draw.choice((0, 1, 1, 2, 2, 3, 4, 6, 9))
            tokens.append(Ext(draw.choice(CODES), bytes([count])))
            missing += count if tokens[-1].code not in WHOLE_OF_BYTES else 0
        else:
            tokens.append(Ext(draw.randint(-128, 127), draw.randbytes(draw.choice((0, 1, 2, 8, 16)))))
    return msgspec.msgpack.encode(tokens)


def hostile(serializer: Serializer) -> Iterator[bytes]:
    """Yield 10,000 byte strings, the same ones each time."""
    draw = random.Random(4)
    valid = [serializer.dumps(value) for value in EXAMPLES]
    for number in range(HOSTILE):
        data = draw.choice(valid)
        if number % 4 == 0:
            head = draw.choice((b"", b"\x92\x01", b"\x95\x01", b"CSP1"))
            yield head + draw.randbytes(draw.randint(0, 40))
        elif number % 4 == 1 and serializer is MSGPACK:
            yield senseless(draw)
        elif number % 4 == 2:
            yield data[: draw.randrange(len(data))]
        else:
            yield mutated(data, draw)


def test_ten_thousand_hostile_strings_of_msgpack(watched: Any) -> None:
    """Each is refused with the one typed error, or is a value of the types that may be stored, and no code has run."""
    refusals: list[str] = []
    for data in hostile(MSGPACK):
        with contextlib.suppress(DeserializationError):
            MSGPACK.loads(data)  # whatever is loaded late is loaded
    for data in hostile(MSGPACK):
        try:
            found = watched(MSGPACK, data)
        except DeserializationError as error:
            refusals.append(str(error))
        else:
            MSGPACK.dumps(found)  # nothing else than what may be stored

    assert len(refusals) > HOSTILE // 2
    assert max(map(len, refusals)) < 500


def test_ten_thousand_hostile_strings_of_pickle(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refused with the one typed error before anything is unpickled."""
    monkeypatch.setattr(pickle, "loads", lambda data: pytest.fail("something was unpickled"))
    valid = set(map(PICKLE.dumps, EXAMPLES))
    for data in hostile(PICKLE):
        if data not in valid:
            with pytest.raises(DeserializationError):
                watched(PICKLE, data)


def test_every_truncation_is_refused() -> None:
    """No beginning of a document is a document, and neither is one with a byte more."""
    for serializer in (MSGPACK, PICKLE):
        for data in map(serializer.dumps, EXAMPLES):
            for end in range(len(data)):
                with pytest.raises(DeserializationError):
                    serializer.loads(data[:end])
            with pytest.raises(DeserializationError):
                serializer.loads(data + b"\0")


def test_any_single_bit_may_flip() -> None:
    """Each flipped bit gives a value or the typed error; of a signed pickle always the error."""
    for data in map(MSGPACK.dumps, EXAMPLES):
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                essence(MSGPACK.loads(bytes(flipped)))
            except DeserializationError:
                continue
    data = PICKLE.dumps([1])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DeserializationError):
            PICKLE.loads(bytes(flipped))


def document(*tokens: Any) -> bytes:
    return msgspec.msgpack.encode([1, *tokens])


def array(described: Any, shape: tuple[Any, ...], data: bytes, order: str = "C") -> bytes:
    """Return the document of an array as somebody would write it who wants something else."""
    dtype = [described] if isinstance(described, str) else described
    dimensions = (Ext(Code.TUPLE, struct.pack(">H", len(shape))), *shape)
    return document(Ext(Code.ARRAY, b"\4"), *dtype, *dimensions, order, Ext(Code.BYTES, data))


BOMBS = {
    "array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "array of 4 billion after the version": b"\x92\x01\xdd\xff\xff\xff\xff",
    "arrays of 65,535 in each other": b"\x92\x01" + b"\xdc\xff\xff" * 10_000,
    "map of 4 billion": b"\x92\x01\xdf\xff\xff\xff\xff",
    "text of 4 GB": b"\x92\x01\xdb\xff\xff\xff\xff",
    "bytes of 4 GB": b"\x92\x01\xc6\xff\xff\xff\xff",
    "extension of 4 GB": b"\x92\x01\xc9\xff\xff\xff\xff\x01",
    "array of a million with nothing in it": b"\xdd\x00\x0f\x42\x40\x01",
    "list of 2**64": document(Ext(Code.LIST, b"\xff" * 8)),
    "list of 256**1000": document(Ext(Code.LIST, b"\xff" * 1000)),
    "list of one more than there is": document(Ext(Code.LIST, b"\3"), 1, 2),
    "lists that share their items": document(*[Ext(Code.LIST, b"\2")] * 5, 1, 2),
    "lists 100,000 deep": document(*[Ext(Code.LIST, b"\1")] * 100_000, 1),
    "tuples 100,000 deep in a set": document(Ext(Code.SET, b"\1"), *[Ext(Code.TUPLE, b"\1")] * 100_000, 1),
    "array of 8 EB": array("<f8", (2**60,), b""),
    "array of more than can be counted": array("<f8", (2**63, 2**63, 2**63), b"12345678"),
    "array whose shape overflows to its size": array("<f8", (2**32, 2**32, 2**61 + 1), b"12345678"),
    "array of nothing, 2**62 times": array("|V0", (2**62,), b""),
    "array of empty text": array("<U0", (2**40,), b""),
    "array with an empty and a huge side": array("<f8", (0, 2**62), b""),
    "array of negative size": array("<f8", (-1,), b"12345678"),
    "array of objects": array("|O", (1,), b"12345678"),
    "array of objects by size": array("|O8", (1,), b"12345678"),
    "array of text beyond Unicode": array("<U2", (1,), b"a\0\0\0\0\0\x11\0"),
    "array of records with text beyond Unicode": array(
        (
            *(Ext(Code.TUPLE, b"\4"), "fields", Ext(Code.TUPLE, b"\1")),
            *(Ext(Code.TUPLE, b"\4"), "a", 0, ">U1", None, 4, False),
        ),
        (1,),
        b"\xff\xff\xff\xff",
    ),
    "scalar of text beyond Unicode": document(
        Ext(Code.SCALAR, b"\2"), "<U1", Ext(Code.BYTES, b"\xff\xff\xff\xff")
    ),
    "array of a thousand dimensions": array("<f8", (1,) * 1000, b"12345678"),
    "array of a dtype that is code": array("__import__('os').system('true')", (1,), b"12345678"),
    "array of a dtype with commas": array("i4,i4", (1,), b"12345678"),
    "array of a huge item": array("|V2147483648", (1,), b"12345678"),
    "dtype that is its own size": array(
        (Ext(Code.TUPLE, b"\3"), "array", "<f8", Ext(Code.TUPLE, b"\1"), 2**62), (1,), b"12345678"
    ),
    "year of bytes, as in a pickle": document(Ext(Code.DATE, b"\1"), Ext(Code.BYTES, b"\xff\xff\1\1")),
    "moment of bytes, as in a pickle": document(
        Ext(Code.DATETIME, b"\2"), Ext(Code.BYTES, b"\xff\xff\1\1\0\0\0\0\0\0"), None
    ),
    "a zone outside of its directory": document(Ext(Code.ZONE, b"../../../etc/passwd")),
    "a zone from the root": document(Ext(Code.ZONE, b"/etc/passwd")),
    "a list as a key": document(Ext(Code.DICT, b"\2"), Ext(Code.LIST, b"\0"), 1),
    "half a pair": document(Ext(Code.DICT, b"\1"), 1),
    "a key twice": document(Ext(Code.DICT, b"\4"), 1, 1, True, 2),
    "a member twice": document(Ext(Code.SET, b"\2"), 1, 1.0),
    "a class that was not named": document(Ext(Code.DATACLASS, b"\1"), "subprocess:Popen"),
    "a Struct as a dataclass": document(Ext(Code.DATACLASS, b"\1"), "tests.adapters.serializers.values:Row"),
    "a member that is a method": document(
        Ext(Code.ENUM, b"\2"), "tests.adapters.serializers.values:Colour", "__class__"
    ),
    "a decimal of an endless exponent": document(Ext(Code.DECIMAL, b"1E+99999999999999999999")),
    "a code that nobody has": document(Ext(99, b"")),
    "a moment of msgpack's own": document(Ext(-1, b"\0\0\0\0")),
    "nothing": b"",
    "a pickle": pickle.dumps([1]),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_lie_costs_no_memory(data: bytes, watched: Any) -> None:
    """Lengths, shapes and depths that lie are refused, and claim no more than some hundred bytes for each that came."""
    tracemalloc.start()
    try:
        with pytest.raises(DeserializationError):
            watched(MSGPACK, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 300_000 + 200 * len(data)


def test_hostile_bytes_need_little_address_space() -> None:
    """All the lies together are refused in a process that may not grow: none asks the system for what it promises."""
    program = """
import resource, sys
from cascade.adapters.serializers import DeserializationError
from tests.adapters.serializers.test_hostile import BOMBS, MSGPACK
from tests.adapters.serializers.values import EXAMPLES
for value in EXAMPLES:
    MSGPACK.loads(MSGPACK.dumps(value))
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 64 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name, data in BOMBS.items():
    try:
        MSGPACK.loads(data)
    except DeserializationError as error:
        assert not isinstance(error.__cause__, MemoryError), name
    else:
        raise AssertionError(name)
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc to know its size")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_reading_takes_time_in_proportion_to_the_bytes() -> None:
    """Containers in containers that each claim everything are refused by the second claim: nothing is read twice."""
    data = document(*[Ext(Code.LIST, (5_000).to_bytes(2, "big"))] * 150, *[1] * 5_000)
    looked_at = []
    reader = sys.gettrace()

    def trace(frame: Any, event: str, _: Any) -> Any:
        looked_at.append(event)

    sys.settrace(trace)
    try:
        with pytest.raises(DeserializationError, match="claim more parts than there are"):
            MSGPACK.loads(data)
    finally:
        sys.settrace(reader)

    assert len(looked_at) < 1_000


@pytest.mark.parametrize(
    "data, text",
    [
        (document(*[Ext(Code.LIST, b"\1")] * 300, 1), "nested deeper than anything that is stored"),
        (document(*[Ext(Code.TUPLE, b"\1")] * 300, 1), "nested deeper than anything that is stored"),
        (document(Ext(Code.LIST, b"\2"), 1), "claim more parts than there are"),
        (document(1, 2), "there is more than one value"),
        (document(Ext(Code.LIST, b"\1"), 1, 2), "there is more than one value"),
        (b"\xdd\x00\x0f\x42\x40\x01", "they are truncated"),
        (b"\xdc\xff\xff\x01", "they are truncated"),
        (document(Ext(Code.ZONE, b"no.such/thing")), "no name of a time zone"),
        (document(Ext(99, b"")), "no type has the code 99"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, text: str) -> None:
    """Each kind of lie is found where it is told, not by what comes of it."""
    with pytest.raises(DeserializationError, match=text):
        MSGPACK.loads(data)


def test_errors_do_not_repeat_what_was_stored() -> None:
    """A member's name of a megabyte is cut."""
    name = "tests.adapters.serializers.values:Colour"
    with pytest.raises(DeserializationError) as caught:
        MSGPACK.loads(document(Ext(Code.ENUM, b"\2"), name, "x" * 10**6))

    assert len(str(caught.value)) < 400


def test_hostile_arrays_can_be_looked_at() -> None:
    """Whatever is in an array that was accepted, Python does not crash on it."""
    draw = random.Random(4)
    dtypes = ("|b1", "<f2", "<c8", "|S3", "|V4", "<M8[ns]", "<M8[Y]", "<m8[h]", ">i8", "<f16")
    for dtype in dtypes:
        size = 4 * np.dtype(dtype).itemsize
        for _ in range(20):
            found = MSGPACK.loads(array(dtype, (2, 2), draw.randbytes(size), draw.choice("CF")))
            repr(found)
            found.tolist()
            assert found.shape == (2, 2)
