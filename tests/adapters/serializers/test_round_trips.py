"""What is stored comes back: equal, of the same types, to the last bit.

Each property is tried with 500 values; ``CASCADE_ROUND_TRIPS=10000`` tries it with 10,000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cascade.adapters.serializers import MsgpackSerializer, PickleSerializer, Serializer
from tests.adapters.serializers.values import EXAMPLES, ROUND_TRIPS, TYPES, essence, values

SERIALIZERS: dict[str, Serializer] = {
    "msgpack": MsgpackSerializer(types=TYPES),
    "pickle": PickleSerializer(b"k" * 32),
}

serializers = pytest.mark.parametrize("serializer", SERIALIZERS.values(), ids=SERIALIZERS)


@serializers
@given(value=values())
@settings(max_examples=ROUND_TRIPS, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_value_comes_back_as_it_was(serializer: Serializer, value: Any) -> None:
    """Whatever is drawn has the same essence after a round trip, and storing does not change it."""
    before = essence(value)
    data = serializer.dumps(value)

    assert type(data) is bytes
    assert essence(serializer.loads(data)) == before
    assert essence(value) == before


@serializers
@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_each_type_comes_back(serializer: Serializer, value: Any) -> None:
    """One example of each type, alone and inside of containers."""
    for one in (value, [value], (value, value), {"k": value}):
        assert essence(serializer.loads(serializer.dumps(one))) == essence(one)


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
