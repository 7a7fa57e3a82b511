"""What is stored comes back: equal, of the same types, to the last bit.

Each property is tried with 200 values; ``CASCADE_ROUND_TRIPS=10000`` tries it with 10,000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cascade.adapters.serializers import MsgpackSerializer, PickleSerializer, Serializer
from tests.adapters.serializers.values import EXAMPLES, PICKLED, ROUND_TRIPS, TYPES, essence, values

MSGPACK = MsgpackSerializer(types=TYPES)
PICKLE = PickleSerializer(b"k" * 32)

drawn = settings(max_examples=ROUND_TRIPS, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def check(serializer: Serializer, value: Any) -> None:
    """What comes back has the same essence, and storing does not change a value."""
    before = essence(value)
    data = serializer.dumps(value)

    assert type(data) is bytes
    assert essence(serializer.loads(data)) == before
    assert essence(value) == before


@pytest.mark.slow
@given(value=values())
@drawn
def test_any_value_comes_back_from_msgpack(value: Any) -> None:
    """Whatever is drawn is the same after a round trip."""
    check(MSGPACK, value)


@pytest.mark.slow
@given(value=values(pickled=True))
@drawn
def test_any_value_comes_back_from_a_signed_pickle(value: Any) -> None:
    """Whatever is drawn is the same after a round trip."""
    check(PICKLE, value)


@pytest.mark.parametrize(
    "serializer, examples", [(MSGPACK, EXAMPLES), (PICKLE, PICKLED)], ids=["msgpack", "signed pickle"]
)
def test_each_type_comes_back(serializer: Serializer, examples: list[Any]) -> None:
    """One example of each type, alone and inside of containers."""
    for example in examples:
        for value in (example, [example], (example, example), {"k": example}):
            check(serializer, value)


def test_what_lies_between_the_fields_of_an_array_is_not_stored() -> None:
    """It may be left from something secret that the process had in its memory."""
    dtype = np.dtype([("a", "i1"), ("b", [("c", "i1"), ("d", "i4")])], align=True)
    array = np.ndarray((2,), dtype, bytearray(b"S" * dtype.itemsize * 2))
    for name in ("c", "d"):
        array["b"][name] = 1
    array["a"] = 1
    assert b"S" in array.tobytes()

    for value in (array, array[0]):
        data = MSGPACK.dumps(value)
        assert b"S" not in data
        assert essence(MSGPACK.loads(data)) == essence(value)


def test_integers_of_one_size_keep_their_type() -> None:
    """numpy tells ``longlong`` from ``int64``, and so do stored scalars and arrays."""
    serializer = MsgpackSerializer()
    for name in ("longlong", "ulonglong", "int64", "uint64", "intc"):
        kind = getattr(np, name)

        assert type(serializer.loads(serializer.dumps(kind(7)))) is kind
        assert serializer.loads(serializer.dumps(np.zeros(2, kind))).dtype.type is kind


def test_what_comes_back_can_be_changed() -> None:
    """An array is writable and shares no memory with the bytes."""
    serializer = MsgpackSerializer()
    array = serializer.loads(serializer.dumps(np.arange(3)))
    array[0] = 9

    assert array.tolist() == [9, 1, 2]
    assert array.flags.owndata


def test_shared_parts_are_stored_twice() -> None:
    """A list that occurs twice comes back as two equal lists: only cycles are refused."""
    shared = [[1]]
    first, second = MsgpackSerializer().loads(MsgpackSerializer().dumps([shared, shared]))

    assert first == second == shared
    assert first is not second
