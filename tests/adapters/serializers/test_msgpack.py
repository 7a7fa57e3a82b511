"""``MsgpackSerializer``: what it refuses, how it says so, and which classes it takes."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade.adapters.serializers import DeserializationError, MsgpackSerializer, SerializationError, msgpack
from cascade.adapters.serializers._forms import Code
from cascade.runtime.exceptions import CascadeRuntimeError
from tests.adapters.serializers.values import TYPES, Colour, Level, Point, Row


class Strange(list[Any]):
    """A list that could hold more than its items."""


class Elsewhere(tzinfo):
    """A time zone of somebody's own."""


@dataclass
class Box:
    items: Any
    x: Any = None


def refusal(value: Any, types: Any = TYPES) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        MsgpackSerializer(types=types).dumps(value)
    return caught.value


# ------------------------------------------------------------------------------------------------------ paths of errors


@pytest.mark.parametrize(
    "value, path",
    [
        (object(), "result"),
        (Box([1, 2, 3, Box(0, object())]), "result.items[3].x"),
        ({"items": [object()]}, "result['items'][0]"),
        ({3: (0, object())}, "result[3][1]"),
        ({(1, 2): object()}, "result.values()[0]"),
        ({"k" * 100: object()}, "result.values()[0]"),
        ({(1, object()): 2}, "result.keys()[0][1]"),
        ({object()}, "result{0}"),
        (Row(1, Point(object())), "result.more.x"),
        ([time(1, tzinfo=Elsewhere())], "result[0].tzinfo"),
        ([datetime(2020, 1, 1, tzinfo=Elsewhere())], "result[0].tzinfo"),
    ],
)
def test_an_error_names_the_path_of_the_value(value: Any, path: str) -> None:
    """The path reads as Python would, from the result to the part that cannot be stored."""
    assert refusal(value, [*TYPES, Box]).path == path


@pytest.mark.parametrize(
    "value, text",
    [
        (object(), "is of type object, which cannot be stored: make it plain data, or use PickleSerializer(key=...)"),
        (Strange(), "is of type Strange, a subclass of list,"),
        (OrderedDict(), "is of type OrderedDict, a subclass of dict,"),
        (namedtuple("Pair", "a b")(1, 2), "is of type Pair, a subclass of tuple,"),
        (lambda: 0, "is of type function,"),
        (Point, "is of type type,"),
        (PurePath("x"), "is of type PurePosixPath,"),
        (memoryview(b""), "is of type memoryview,"),
        (range(3), "is of type range,"),
        (Point(1), "is of type Point, which was not named: use MsgpackSerializer(types=[Point])"),
        (Colour.RED, "is of type Colour, which was not named:"),
        (Level.LOW, "is of type Level, which was not named:"),
        (Row(1), "is of type Row, which was not named:"),
        (np.array([object()]), "has dtype object, which cannot be stored: use numbers, text, dates or bytes"),
        (np.zeros(1, [("a", "O")]), "has dtype [('a', 'O')], which cannot be stored"),
        (np.zeros(1, "V0"), "has dtype |V0, which cannot be stored"),
        (np.array(["a"], np.dtypes.StringDType()), "has dtype StringDType(), which cannot be stored"),
        (np.zeros(1, {"names": ["a"], "formats": ["i4"], "titles": [3.5]}), "which cannot be stored"),
        (np.ma.array([1]), "is of type MaskedArray, which cannot be stored"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_says_what_the_value_is_and_what_to_do(value: Any, text: str) -> None:
    """The type, what it is a subclass of, and the remedy."""
    assert text in str(refusal([value], ()))
    assert str(refusal([value], ())).startswith("result[0] ")


def test_errors_are_found_by_older_names_and_survive_pickling() -> None:
    """They are TypeError and ValueError as well as the engine's own, with their facts as attributes."""
    refused = refusal([object()])
    with pytest.raises(DeserializationError) as caught:
        MsgpackSerializer().loads(b"")
    unread = caught.value

    for error, builtin in ((refused, TypeError), (unread, ValueError)):
        copied = pickle.loads(pickle.dumps(error))

        assert isinstance(error, builtin)
        assert isinstance(error, CascadeRuntimeError)
        assert (str(copied), vars(copied)) == (str(error), vars(error))


# ----------------------------------------------------------------------------------------------------- cycles and depth


def test_cycles_are_refused() -> None:
    """A list, a dict and an object that contain themselves are named with their path."""
    circle: list[Any] = [0, 1]
    circle[1] = {"again": circle}
    box = Box(0)
    box.x = (box,)

    assert str(refusal(circle)).startswith("result[1]['again'] contains itself")
    assert str(refusal([box], [Box])).startswith("result[0].x[0] contains itself")


def test_deep_nesting_is_refused_before_python_gives_up() -> None:
    """201 containers can be stored and read, a thousand and a million cannot; the path shown stays short."""

    def nested(depth: int) -> Any:
        value: Any = ()
        for _ in range(depth - 1):
            value = [value]
        return value

    serializer = MsgpackSerializer()

    assert serializer.dumps(serializer.loads(serializer.dumps(nested(201)))) == serializer.dumps(nested(201))
    for depth in (203, 1_000, 100_000):
        value = nested(depth)
        assert len(str(refusal(value))) < 200
        assert "lies in more than 200 containers" in str(refusal(value))
        while value:  # or freeing it would be the deepest recursion of this test
            value = value.pop()


def test_a_caller_deep_in_recursion_gets_the_same_errors() -> None:
    """Where Python's own limit comes first, the error is still the typed one."""
    value: Any = [[]]
    for _ in range(150):
        value = [value]
    serializer = MsgpackSerializer()
    data = serializer.dumps(value)

    def at_depth(depth: int, action: Any) -> Any:
        return at_depth(depth - 1, action) if depth else action()

    deep = sys.getrecursionlimit() - len(inspect.stack()) - 60

    with pytest.raises(SerializationError, match="nested too deeply to be stored from here"):
        at_depth(deep, lambda: serializer.dumps(value))
    with pytest.raises(DeserializationError):
        at_depth(deep, lambda: serializer.loads(data))


# ------------------------------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("one", [int, object, Strange, "Point", Point(1)])
def test_types_takes_enums_dataclasses_and_structs_only(one: Any) -> None:
    """Anything else is a TypeError when the serializer is made."""
    with pytest.raises(TypeError, match="types takes enums, dataclasses and msgspec Structs, not"):
        MsgpackSerializer(types=[one])


def test_a_dataclass_with_data_beside_its_fields_is_refused() -> None:
    """One that is also a list or an exception would lose what its fields do not show."""

    @dataclass
    class Named(list[Any]):
        name: str

    @dataclass
    class Failure(Exception):
        name: str

    for cls, base in ((Named, "list"), (Failure, "Exception")):
        with pytest.raises(TypeError, match=f"besides its fields it has the data of a {base}"):
            MsgpackSerializer(types=[cls])


def test_two_classes_of_one_name_are_refused() -> None:
    """Stored values could not tell them apart; naming one class twice is fine."""

    def make() -> Any:
        @dataclass
        class Local:
            a: int

        return Local

    with pytest.raises(ValueError, match=r"two classes in types are called .*Local"):
        MsgpackSerializer(types=[make(), make()])
    MsgpackSerializer(types=[Point, Point])


def test_reading_needs_the_class_named_too() -> None:
    """Bytes that name another class are refused, and nothing is imported or looked up to see what it is."""
    data = MsgpackSerializer(types=TYPES).dumps(Point(1))

    with pytest.raises(DeserializationError, match=r"values:Point', which is not in MsgpackSerializer\(types="):
        MsgpackSerializer(types=[Row]).loads(data)


def test_a_class_whose_fields_have_changed_is_not_guessed_at() -> None:
    """Bytes with other fields than the class has now are refused, and so is a member that an enum lost."""

    def version(*names: str) -> Any:
        cls = type("Thing", (), {"__annotations__": dict.fromkeys(names, int), "__module__": "m"})
        return dataclass(cls)

    old, new = version("a", "b"), version("a", "c")
    data = MsgpackSerializer(types=[old]).dumps(old(1, 2))
    with pytest.raises(DeserializationError, match="other fields than Thing, which has a, c"):
        MsgpackSerializer(types=[new]).loads(data)

    before, after = Enum("E", {"GONE": 1}, module="m"), Enum("E", {"THERE": 1}, module="m")
    data = MsgpackSerializer(types=[before]).dumps(before["GONE"])
    with pytest.raises(DeserializationError, match="GONE"):
        MsgpackSerializer(types=[after]).loads(data)


def test_a_field_without_value_is_an_error() -> None:
    """An object whose field was deleted cannot be stored, and the error names the field."""
    box = Box(1)
    del box.items

    assert "result has no value for its field 'items'" in str(refusal(box, [Box]))


def test_reading_a_dataclass_runs_nothing_of_its_own() -> None:
    """Neither ``__init__`` nor ``__post_init__`` nor ``__setattr__`` is called."""
    called: list[str] = []

    @dataclass
    class Loud:
        a: int

        def __post_init__(self) -> None:
            called.append("post")

        def __setattr__(self, name: str, value: Any) -> None:
            called.append(name)
            object.__setattr__(self, name, value)

    serializer = MsgpackSerializer(types=[Loud])
    data = serializer.dumps(Loud(1))
    called.clear()

    assert vars(serializer.loads(data)) == {"a": 1}
    assert called == []


# --------------------------------------------------------------------------------------------------------------- format


def test_the_format_is_pinned() -> None:
    """What older programs have stored must stay readable: a change here is a new version."""
    value = {"a": [1, 2], "é": (None, {2**64}), 1.5: b"x"}
    data = bytes.fromhex(
        "9d01 d41406 a161 d41002 01 02 a2c3a9 d41102 c0 d41201 c70901000000000000000001 cb3ff8000000000000 d40378"
    )

    assert MsgpackSerializer().dumps(value) == data
    assert MsgpackSerializer().loads(data) == value


def test_numbers_of_forms_are_pinned() -> None:
    """They are in stored bytes: no two are the same, and none changes."""
    numbers = {name: number for name, number in vars(Code).items() if name.isupper()}

    assert len(set(numbers.values())) == len(numbers)
    assert numbers == {
        "INT": 1, "TEXT": 2, "BYTES": 3, "BYTEARRAY": 4, "COMPLEX": 5, "DECIMAL": 6, "UUID": 7, "ZONE": 8,
        "LIST": 16, "TUPLE": 17, "SET": 18, "FROZENSET": 19, "DICT": 20,
        "DATE": 24, "TIME": 25, "DATETIME": 26, "TIMEDELTA": 27, "TIMEZONE": 28,
        "ENUM": 32, "FLAG": 33, "DATACLASS": 34, "STRUCT": 35,
        "ARRAY": 40, "SCALAR": 41, "NUMPY_TEXT": 42, "NUMPY_BYTES": 43,
    }


def test_another_version_is_refused() -> None:
    """The first token is the version, and it is compared with its type."""
    for first in (0, 2, True, 1.0, "1", None):
        with pytest.raises(DeserializationError, match="no values of this version"):
            MsgpackSerializer().loads(msgspec.msgpack.encode([first, 5]))


def test_it_needs_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names it, and what to install."""
    monkeypatch.setattr(msgpack, "msgspec", None)

    with pytest.raises(ImportError, match=r"'msgspec' library is required.*pip install 'cascade-hot\[msgpack\]'"):
        MsgpackSerializer()


def test_modules_can_be_imported_without_the_libraries() -> None:
    """Importing every module of stored values works where neither msgspec nor redis can be imported, nor numpy is."""
    program = """
import sys
sys.modules["msgspec"] = sys.modules["redis"] = None
import cascade.adapters.serializers, cascade.adapters.state.redis, cascade.adapters.cache.redis
from cascade.adapters.serializers import PickleSerializer
assert PickleSerializer(b"k" * 32).loads(PickleSerializer(b"k" * 32).dumps({1})) == {1}
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_plain_values_do_not_load_numpy() -> None:
    """Only arrays and scalars of numpy need it."""
    program = """
import sys
from cascade.adapters.serializers import MsgpackSerializer
one = MsgpackSerializer()
assert one.loads(one.dumps([1, {"a": (2,)}])) == [1, {"a": (2,)}]
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_one_serializer_serves_many_threads() -> None:
    """Values stored and read by eight threads at once stay apart."""
    serializer, wrong = MsgpackSerializer(), []

    def work(number: int) -> None:
        value = [number, {"n": (number, str(number))}] * 20
        wrong.extend(1 for _ in range(100) if serializer.loads(serializer.dumps(value)) != value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_answers_of_http_tasks_need_not_be_named() -> None:
    """Every run that fetches something has one; a process that has not loaded their module reads them too."""
    from cascade.providers.http import HttpResponse

    answer = [HttpResponse(200, {"Content-Type": "text/plain"}, b"hello")]
    data = MsgpackSerializer().dumps(answer)
    code = f"""
from cascade.adapters.serializers import MsgpackSerializer
import sys
assert "cascade.providers.http" not in sys.modules
[answer] = MsgpackSerializer().loads({data!r})
from cascade.providers.http import HttpResponse
assert type(answer) is HttpResponse and answer.body == b"hello", answer
"""

    assert MsgpackSerializer().loads(data) == answer
    assert MsgpackSerializer(types=[HttpResponse]).dumps(answer) == data
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_class_that_only_has_the_name_of_one_of_cascades_is_refused() -> None:
    """It may hold anything."""

    @dataclass
    class HttpResponse:
        status: int

    HttpResponse.__module__, HttpResponse.__qualname__ = "cascade.providers.http", "HttpResponse"

    with pytest.raises(SerializationError, match="was not named"):
        MsgpackSerializer().dumps(HttpResponse(200))


def test_containers_that_hold_each_other_without_end_are_refused() -> None:
    """Forty lists, each of the one before it twice, would be written as a million million parts."""
    value: list[Any] = ["x"]
    for _ in range(40):
        value = [value, value]

    with pytest.raises(SerializationError, match="is held again and again"):
        MsgpackSerializer().dumps(value)


def test_containers_that_are_held_often_are_kept() -> None:
    """A million times the same pair is no more than it looks."""
    value = [(0, 0)] * 1_000_000

    assert MsgpackSerializer().loads(MsgpackSerializer().dumps(value)) == value
