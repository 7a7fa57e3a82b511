"""The canonical encoding: equal values, equal tokens; unequal values, unequal tokens."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import operator
import pathlib
import random
import re
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from cascade.graph._canonical import Composite, code_digest, encode


class Rules:
    """Knows no special values and refuses opaque ones."""

    def special(self, value: Any) -> bytes | Composite | None:
        return None

    def opaque(self, value: Any, path: str, reason: str) -> bytes:
        raise TypeError(f"{path} {reason}")


def token(value: Any) -> bytes:
    return encode(value, Rules())


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclass
class Data:
    x: Any
    y: int = 0


class ByIdentity:
    pass


class ListOf(list):  # type: ignore[type-arg]
    pass


Pair = namedtuple("Pair", "a b")


def module_function(x: int) -> int:
    return x + 1


DISTINCT: list[Any] = [
    *(None, True, False, ..., NotImplemented, 0, 1, -1, 127, 128, -128, -129, 255, 256, 2**64, -(2**64), 10**400),
    *(0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1j, 1 + 0j),
    *("", "1", "True", "None", "é", "\ud800", b"", b"1", bytearray(b"1"), range(3), range(0, 3, 2), slice(1, 2)),
    *(
        [],
        (),
        {},
        set(),
        frozenset(),
        [1],
        (1,),
        {1},
        frozenset({1}),
        [[1]],
        [(1,)],
        [1, 2],
        [2, 1],
        [[1], 2],
        [1, [2]],
    ),
    *({1: 2}, {"1": 2}, {1: "2"}, {True: 2}, {1.0: 2}, {None: 2}, {2: 1}, {1: 2, "1": 2}),
    *(int, str, ByIdentity, len, str.upper, math, module_function, [].append.__class__, operator.add),
    *(
        Colour.RED,
        Colour.BLUE,
        Flags.A,
        Flags.A | Flags.B,
        Data(1),
        Data("1"),
        Data(1, 1),
        Data([1]),
        Pair(1, 2),
        Pair(2, 1),
    ),
    *(ListOf([1]), OrderedDict(a=1), defaultdict(int), defaultdict(list), Counter("a"), deque([1]), deque([1], 3)),
    *(
        decimal.Decimal("1.0"),
        Fraction(1, 3),
        uuid.UUID(int=1),
        pathlib.PurePosixPath("a"),
        re.compile("a"),
        re.compile("a", re.I),
    ),
    *(datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)),
    *(datetime.timedelta(1), partial(int, base=2), partial(int, base=3)),
]


def test_distinct_values_have_distinct_tokens() -> None:
    """Values of different type or content never share a token."""
    tokens = [token(value) for value in DISTINCT]

    assert len(set(tokens)) == len(DISTINCT)


def test_no_token_begins_another() -> None:
    """The encoding is prefix-free, so sequences of tokens read in one way only."""
    tokens = sorted(token(value) for value in DISTINCT)

    assert not any(after.startswith(before) for before, after in pairwise(tokens))


def test_pinned_tokens() -> None:
    """Tokens of plain values are the same in every version: changing one invalidates every cache."""
    value = {"a": [1, 2.5, None, True], ("b", b"c"): {"x", "y"}}

    assert token(1) == b"i\x00\x00\x00\x00\x00\x00\x00\x01\x01"
    assert token("a") == b"s\x00\x00\x00\x00\x00\x00\x00\x01a"
    assert token(value).hex() == "23927be0ff00c146dedf5db7dac3baeee3467aaa35716a0c2069099793fa0a883e"


def test_order_of_sets_and_dicts_does_not_count() -> None:
    """Sets and dicts are equal in any order, ordered dicts are not."""
    names = [f"n{i}" for i in range(50)]
    shuffled = random.Random(1).sample(names, 50)

    assert token(set(names)) == token(set(shuffled))
    assert token(dict.fromkeys(names)) == token(dict.fromkeys(shuffled))
    assert token(OrderedDict(a=1, b=2)) != token(OrderedDict(b=2, a=1))


def test_keys_of_mixed_types_are_legal() -> None:
    """Keys that cannot be compared with each other are sorted all the same."""
    assert token({1: "a", "b": 2, None: 3, (1, "x"): 4}) == token({(1, "x"): 4, None: 3, "b": 2, 1: "a"})


def test_sharing_does_not_count() -> None:
    """A container used twice and two equal containers are equal values."""
    part = [1]

    assert token([part, part]) == token([[1], [1]])


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: Data(x)])
def test_depth_is_unlimited(wrap: Any) -> None:
    """Nesting far beyond the recursion limit is encoded."""
    value: Any = 0
    for _ in range(20_000):
        value = wrap(value)
    other = value

    first = token(value)
    while not isinstance(value, int):  # free it step by step
        value = value.x if isinstance(value, Data) else next(iter(value.values() if isinstance(value, dict) else value))

    assert len(first) == 33
    del other


def test_shared_parts_are_encoded_once() -> None:
    """Data with exponentially many paths takes linear time."""
    value: Any = [1]
    for _ in range(200):
        value = [value, value]

    assert len(token(value)) == 33


def test_self_containing_data_ends() -> None:
    """Data that contains itself has a token, equal for equal shapes, whatever paths lead through it."""

    def loop(leaf: int) -> list[Any]:
        root: list[Any] = [leaf]
        part: Any = {"r": root}
        for _ in range(60):
            part = [part, part]
        root.append(part)
        return root

    assert token(loop(1)) == token(loop(1)) != token(loop(2))


def test_set_in_self_containing_data_is_refused() -> None:
    """A set inside a cycle has no canonical order, so it is opaque."""
    root: list[Any] = [{"a", "b"}]
    root.append(root)

    with pytest.raises(TypeError, match="set inside data that contains itself"):
        token(root)


@pytest.mark.parametrize("value", [object(), ByIdentity(), iter([]), (i for i in ()), Exception("x"), lambda: object()])
def test_objects_without_content_are_opaque(value: Any) -> None:
    """What equals only itself, or hides its state, has no token of its own; a lambda is a function and has one."""
    if callable(value):
        assert token(value)
        return
    with pytest.raises(TypeError, match=r"0\.k\[1\] is a"):
        encode({"k": [0, value]}, Rules(), "0")


def test_local_classes_are_opaque() -> None:
    """A class that cannot be found by name could be any class of that name."""

    class Local:
        pass

    with pytest.raises(TypeError, match="cannot be found"):
        token(Local)


def test_user_code_is_not_run() -> None:
    """Neither ``__eq__`` nor ``__hash__`` nor ``__repr__`` nor properties of a value are called."""

    class Loud:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        def __repr__(self) -> str:
            raise AssertionError

    with pytest.raises(TypeError, match="equals only itself"):
        token([Loud()])


def make(bonus: Any, default: Any = 1) -> Any:
    def inner(x: Any, y: Any = default, *, z: Any = default) -> Any:
        return (lambda: x + y + z + bonus)()

    return inner


def test_functions_are_their_content() -> None:
    """Code, defaults and closure cells tell functions apart; the function object does not."""
    assert token(make(1)) == token(make(1))
    assert len({token(f) for f in (make(1), make(2), make("1"), make(1, 2), make(1, 1.0), make(make(1)))}) == 6


def test_recursive_closures_have_tokens() -> None:
    """A function whose cell holds the function itself is encoded."""

    def build(last: int) -> Any:
        def down(n: int) -> int:
            return down(n - 1) if n else last

        return down

    assert token(build(1)) == token(build(1)) != token(build(2))


def compiled(source: str, filename: str = "a.py", skip: int = 0) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile("\n" * skip + source, filename, "exec"), namespace)
    return namespace["f"].__code__


def test_code_is_independent_of_place() -> None:
    """File and line do not count."""
    source = "def f(x):\n    return [y for y in x if y in {'a', 'b', 'c'}]"

    assert code_digest(compiled(source)) == code_digest(compiled(source, "other/b.py", 7))


@pytest.mark.parametrize(
    "other",
    [
        "def f(x): return x + 2",
        "def f(x): return x + 1.0",
        "def f(x): return x - 1",
        "def f(x, y=0): return x + 1",
        "def f(*x): return x + 1",
        "def f(x): return y + 1",
        "def f(x): return (lambda: x + 2)()",
        "async def f(x): return x + 1",
        "def f(x):\n    try:\n        return x + 1\n    except ValueError:\n        return 0",
    ],
)
def test_code_counts(other: str) -> None:
    """Constants, names, arguments, nested functions and exception handlers count."""
    assert code_digest(compiled("def f(x): return x + 1")) != code_digest(compiled(other))


def test_exception_ranges_count() -> None:
    """The same instructions under another handler are other code."""
    one = compiled("def f(x):\n    try:\n        a(x)\n        b(x)\n    except E:\n        pass")
    code = one.replace(co_exceptiontable=b"")

    assert code_digest(one) != code_digest(code)


PROGRAM = """
import sys; sys.path[:0] = {path!r}
from cascade.graph._canonical import encode
class Rules:
    def special(self, value): return None
    def opaque(self, value, path, reason): raise TypeError(reason)
def f(x, y={{"a", "b", "c"}}): return x in {{"k", "l", "m"}} or (lambda: y)
print(encode([f, {{"x", "y", "z"}}, 1.5], Rules()).hex())
"""


def test_tokens_are_equal_in_every_process() -> None:
    """String hashing, addresses and import order do not count."""
    program = PROGRAM.format(path=sys.path)
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        for seed in ("1", "2")
    ]

    assert runs[0].stdout == runs[1].stdout


def test_arrays() -> None:
    """numpy arrays are their type, shape and bytes."""
    numpy = pytest.importorskip("numpy")
    values = [
        numpy.zeros(4),
        numpy.zeros(4, "f4"),
        numpy.zeros((2, 2)),
        numpy.ones(4),
        numpy.float64(0),
        0.0,
        [0.0] * 4,
    ]

    assert len({token(value) for value in values}) == len(values)
    assert token(numpy.arange(6).reshape(2, 3).T) == token(numpy.array([[0, 3], [1, 4], [2, 5]]))
    with pytest.raises(TypeError):
        token(numpy.array([object()]))
