"""The shapes of the workloads with other names, arities and types of arguments: nothing is tuned to one of them.

``VARIETIES`` has them by name. Each belongs to a family and is held to the bar of that family (``BARS``). The yardstick
of a loop is a plain loop over functions of the same signature and body, because an argument more costs there, too; that
of other shapes is the common trampoline.
"""

from __future__ import annotations

import asyncio
import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cascade as cs
from benchmarks.workloads import Workload, engine, run
from benchmarks.yardsticks import coroutine, trampoline
from cascade.runtime import Engine

__all__ = ["BARS", "VARIETIES", "Variety"]

#: The ratios that the shapes of a family have to reach.
BARS = {
    "simple": 0.90,
    "kwargs": 0.60,
    "ring": 0.80,
    "stable": 0.60,
    "bigstate": 0.30,
    "heavy": 0.75,
    "fib": 0.75,
    "tree": 0.50,
    "async": 0.45,
    "retry": 0.45,
    "injected": 0.60,
    "map": 0.40,
    "cold_dag": 0.04,
    "loops": 0.40,
}


@dataclass(frozen=True)
class Variety(Workload):
    """A workload that is held to the bar of its family."""

    family: str

    @property
    def bar(self) -> float:
        """The ratio to reach."""
        return BARS[self.family]


VARIETIES: dict[str, Variety] = {}

Start = Callable[[int], Any]
Work = Callable[..., int]
Yardstick = Callable[[int], int]


def _add(family: str, name: str, work: Work, yardstick: Yardstick, size: int, small: int) -> None:
    assert name not in VARIETIES, f"{name} is there twice"
    VARIETIES[name] = Variety(name, work, yardstick, size, small, f"as {family}", family)


@cs.task
def pass_on(value: Any = None) -> Any:
    return value


@cs.task
def plus(a: int, b: int) -> int:
    return (a + b) % 10_007


@cs.task
def sum_of(*numbers: int) -> int:
    return sum(numbers) % 10_007


@cs.task
def scaled(number: int, *, factor: int = 2, offset: int = 0) -> int:
    return (number * factor + offset) % 10_007


# -------------------------------------------------------------------------------------------------------------- loops


@dataclass(frozen=True)
class Words:
    """A recursive function in words: parameters, when it ends, the arguments of the next call and of the first."""

    params: str
    stop: str
    following: str
    first: str


@dataclass
class Point:
    """A value that a step carries along."""

    x: float
    y: float


def _made(source: str) -> Start:
    """Runs the text of functions and returns the one that makes the first step."""
    names: dict[str, Any] = {"cs": cs, "Point": Point, "pass_on": pass_on, "sum_of": sum_of}
    exec(textwrap.dedent(source), names)
    start: Start = names["start"]
    return start


def _first_call(name: str, words: Words, policy: str = "", prefix: str = "") -> Start:
    """The loop as a task; ``policy`` is set on each call."""
    return _made(f"""
        @cs.task
        {prefix}def {name}({words.params}):
            if {words.stop}:
                return "done"
            return {name}({words.following}){policy}

        def start(n):
            global left
            left = iter(range(n, -1, -1))
            return {name}({words.first})
    """)


def _first_step(name: str, words: Words) -> Start:
    """The loop as a plain function, which returns the next step as a function and its arguments."""
    return _made(f"""
        def {name}({words.params}):
            if {words.stop}:
                return "done"
            return ({name}, ({words.following}{"," * bool(words.following)}))

        def start(n):
            global left
            left = iter(range(n, -1, -1))
            return ({name}, ({words.first}{"," * bool(words.first)}))
    """)


def _ring_call(members: int) -> Start:
    """As many tasks, each calling the next."""
    tasks = "".join(
        f"@cs.task\ndef station_{i}(n):\n    return 'done' if n <= 0 else station_{(i + 1) % members}(n - 1)\n"
        for i in range(members)
    )
    return _made(f"{tasks}\ndef start(n):\n    return station_0(n)\n")


def _ring_step(members: int) -> Start:
    """As many plain functions, each returning the next."""
    steps = "".join(
        f"def station_{i}(n):\n    return 'done' if n <= 0 else (station_{(i + 1) % members}, (n - 1,))\n"
        for i in range(members)
    )
    return _made(f"{steps}\ndef start(n):\n    return (station_0, (n,))\n")


def _ending(start: Start) -> Work:
    """Runs a loop that ends with "done"."""

    def work(n: int, on: Engine | None = None) -> int:
        assert run(start(n), on) == "done"
        return n

    return work


def _bouncing(start: Start) -> Yardstick:
    """The trampoline of ``yardsticks`` with a step of its own."""

    def yardstick(n: int) -> int:
        r = start(n)
        while type(r) is tuple:
            r = r[0](*r[1])
        return n

    return yardstick


def _naming(n: int) -> int:
    """The trampoline where a step returns keywords, too."""

    def step(n: int, **rest: Any) -> Any:
        if n <= 0:
            return "done"
        return (step, (n - 1,), rest)

    r: Any = (step, (n,), {"a": 1, "b": 2})
    while type(r) is tuple:
        r = r[0](*r[1], **r[2])
    return n


def _loop(family: str, name: str, words: Words, plain: Words | None = None, policy: str = "") -> None:
    """Adds a loop; ``plain`` says how a plain function passes the same arguments, if not in the same way."""
    yardstick = _bouncing(_first_step(name, plain or words))
    _add(family, name, _ending(_first_call(name, words, policy)), yardstick, 200_000, 100)


def _async_loop(name: str, words: Words) -> None:
    """Adds a loop over a coroutine function."""
    _add("async", name, _ending(_first_call(name, words, prefix="async ")), coroutine, 100_000, 100)


def _carrying(count: int, leaf: str) -> Words:
    """A countdown that carries so many arguments along."""
    names = [f"x{i}" for i in range(count)]
    return Words(
        ", ".join(["n", *names]), "n <= 0", ", ".join(["n - 1", *names]), ", ".join(["n", *[leaf] * count])
    )


def _named(count: int, leaf: str) -> Words:
    """The same with all arguments passed by keyword."""
    names = [f"x{i}" for i in range(count)]
    return Words(
        ", ".join(["*", "n", *names]),
        "n <= 0",
        ", ".join(["n=n - 1", *[f"{name}={name}" for name in names]]),
        ", ".join(["n=n", *[f"{name}={leaf}" for name in names]]),
    )


_LEAVES = {
    "text": "'some text'",
    "octets": "b'octets'",
    "nothing": "None",
    "truth": "True",
    "real": "2.5",
    "large": "10**30",
    "pair": "(1, 'two')",
    "frozen": "frozenset((1, 2))",
    "point": "Point(1.0, 2.0)",
    "builtin": "len",
}
_CONTAINERS = {
    "empty_list": "[]",
    "numbers": "[1, 2, 3]",
    "settings": "{'rate': 0.1, 'names': ['a', 'b']}",
    "nested": "(1, [2, {'three': (4, 5)}])",
    "mixed": "{'a': 1, 'b': [2.5, None], 'c': ('x', b'y')}",
}

_loop("simple", "poll", Words("", "not next(left)", "", ""))
for _i in range(8):
    _loop("simple", f"march_{_i + 1}", _carrying(_i, "0"))
for _name, _leaf in _LEAVES.items():
    _loop("simple", f"carry_{_name}", _carrying(1, _leaf))
_loop("simple", "default", Words("n, speed=3, label='x'", "n <= 0", "n - 1", "n"))
_loop("simple", "half_default", Words("n, speed=3, label='x'", "n <= 0", "n - 1, speed", "n, 4"))
_loop("simple", "by_position_only", Words("n, a, /", "n <= 0", "n - 1, a", "n, 1"))
_loop("simple", "float_count", Words("t", "t <= 0.5", "t - 1.0", "float(n)"))
for _i in range(1, 6):
    _loop("kwargs", f"named_{_i}", _named(_i, "'v'"), _carrying(_i, "'v'"))
_loop("kwargs", "last_by_name", Words("n, rate=1", "n <= 0", "n - 1, rate=rate", "n, rate=2"), _carrying(1, "2"))
_loop("kwargs", "swapped_names", Words("n, a, b", "n <= 0", "b=b, n=n - 1, a=a", "b=1, n=n, a=2"), _carrying(2, "1"))
# Like keywords, what a star stands for is packed by the caller, and once more than in a plain loop.
_loop("kwargs", "any_number", Words("n, *rest", "n <= 0", "n - 1, *rest", "n, 'a', 2"))
_any_names = _first_call("any_names", Words("n, **rest", "n <= 0", "n - 1, **rest", "n, a=1, b=2"))
_add("kwargs", "any_names", _ending(_any_names), _naming, 100_000, 100)
for _i in range(2, 8):
    _add("ring", f"ring_{_i}", _ending(_ring_call(_i)), _bouncing(_ring_step(_i)), 150_000, 100)
for _name, _leaf in _CONTAINERS.items():
    _loop("stable", f"keep_{_name}", _carrying(1, _leaf))
_loop("stable", "keep_three_lists", _carrying(3, "[1, 2]"))
_loop("bigstate", "keep_many_pairs", _carrying(1, "{i: (i, str(i)) for i in range(20_000)}"))
_loop("bigstate", "keep_many_points", _carrying(1, "[Point(i, i) for i in range(20_000)]"))
_loop("bigstate", "keep_rows", _carrying(1, "[[i, i + 1, i + 2] for i in range(10_000)]"))
_async_loop("wait_0", Words("", "not next(left)", "", ""))
for _i in range(4):
    _async_loop(f"wait_{_i + 1}", _carrying(_i, "'v'"))
_async_loop("wait_named", _named(2, "None"))
_loop("retry", "again_2", _carrying(1, "'v'"), policy=".with_retry(max_attempts=3, delay=0.5)")
_loop("retry", "again_named", _named(2, "0"), _carrying(2, "0"), policy=".with_retry(1, 0.1, 2.0)")


# -------------------------------------------------------------------------------------------------- trees and chains


def _chained(length: int) -> Work:
    """A step whose argument comes through a chain of so many calls."""

    @cs.task
    def walk(n: int, found: Any) -> Any:
        if n <= 0:
            return "done"
        value = pass_on(n)
        for _ in range(length - 1):
            value = pass_on(value)
        return walk(n - 1, value)

    def work(n: int, on: Engine | None = None) -> int:
        assert run(walk(n, 0), on) == "done"
        return n * (length + 1)

    return work


def _fanned(width: int) -> Work:
    """A step whose argument is made of so many independent calls, gathered by one."""
    start = _made(f"""
        @cs.task
        def gather_all(n, found):
            if n <= 0:
                return "done"
            return gather_all(n - 1, sum_of({", ".join(["pass_on(n)"] * width)}))

        def start(n):
            return gather_all(n, 0)
    """)

    def work(n: int, on: Engine | None = None) -> int:
        assert run(start(n), on) == "done"
        return n * (width + 2)

    return work


for _i in (3, 5, 12, 30):
    _add("heavy", f"chain_of_{_i}", _chained(_i), trampoline, 150_000 // _i, 20)
for _i in (3, 8, 20):
    _add("heavy", f"fan_of_{_i}", _fanned(_i), trampoline, 150_000 // _i, 20)


@cs.task
def sum_down(n: int, found: int = 0) -> Any:
    return "done" if n <= 0 else sum_down(n - 1, scaled(found, factor=3, offset=n))


@cs.task
def three_down(n: int, a: int = 0, b: int = 0) -> Any:
    return "done" if n <= 0 else three_down(n - 1, plus(a, 1), plus(b, n))


@cs.task
def inner_last(n: int, label: str, found: Any = None) -> Any:
    return "done" if n <= 0 else inner_last(n - 1, label, found=pass_on(label))


@cs.task
def inner_list(n: int, found: Any = None) -> Any:
    return "done" if n <= 0 else inner_list(n - 1, [pass_on(n), 2])


def _counting(task: Any, *more: Any, nodes: int) -> Work:
    def work(n: int, on: Engine | None = None) -> int:
        assert run(task(n, *more), on) == "done"
        return n * nodes

    return work


_add("fib", "sum_down", _counting(sum_down, nodes=2), trampoline, 60_000, 100)
_add("fib", "three_down", _counting(three_down, nodes=3), trampoline, 50_000, 100)
_add("fib", "inner_last", _counting(inner_last, "a", nodes=2), trampoline, 60_000, 100)
_listing = _bouncing(_first_step("inner_list", Words("n, found", "n <= 0", "n - 1, [n, 2]", "n, 0")))
_add("fib", "inner_list", _counting(inner_list, nodes=2), _listing, 60_000, 100)


@cs.task
def binary(depth: int) -> Any:
    return 1 if depth == 0 else plus(binary(depth - 1), binary(depth - 1))


@cs.task
def ternary(depth: int, label: str) -> Any:
    return 1 if depth == 0 else sum_of(ternary(depth - 1, label), ternary(depth - 1, label), ternary(depth - 1, label))


@cs.task
def single(depth: int) -> Any:
    return 1 if depth == 0 else scaled(single(depth - 1), factor=1)


_tree_of_ten = _made(f"""
    @cs.task
    def branch(depth):
        return 1 if depth == 0 else sum_of({", ".join(["branch(depth - 1)"] * 10)})

    start = branch
""")


@cs.task
def comb(n: int, found: int = 0) -> Any:
    return "done" if n <= 0 else comb(n - 1, single(50))


def _tree(task: Any, branches: int, *more: Any) -> Work:
    """A tree of that depth: calls that return a leaf or a sum, and the sums."""

    def work(depth: int, on: Engine | None = None) -> int:
        leaves = branches**depth
        assert run(task(depth, *more), on) == leaves % 10_007
        inner = depth if branches == 1 else (leaves - 1) // (branches - 1)
        return leaves + 2 * inner

    return work


_add("tree", "binary", _tree(binary, 2), trampoline, 12, 3)
_add("tree", "ternary", _tree(ternary, 3, "x"), trampoline, 8, 2)
_add("tree", "of_ten", _tree(_tree_of_ten, 10), trampoline, 4, 1)
_add("tree", "comb", _counting(comb, nodes=102), trampoline, 400, 5)


# ----------------------------------------------------------------------------------- resources, maps, cold, concurrent


@cs.resource
def clock() -> Iterator[int]:
    yield 1


@cs.resource
def scale() -> Iterator[str]:
    yield "kg"


@cs.task
def last_injected(n: int, label: str, step: int = cs.inject("clock")) -> Any:
    return "done" if n <= 0 else last_injected(n - step, label)


@cs.task
def two_injected(n: int, unit: str = cs.inject("scale"), step: int = cs.inject("clock")) -> Any:
    return "done" if n <= 0 else two_injected(n - step)


@cs.task
def only_by_name(n: int, *, step: int = cs.inject("clock")) -> Any:
    return "done" if n <= 0 else only_by_name(n - step)


def _with_resources(task: Any, *more: Any) -> Work:
    def work(n: int, on: Engine | None = None) -> int:
        on = on or engine()
        on.register(clock)
        on.register(scale)
        assert run(task(n, *more), on) == "done"
        return n

    return work


_add("injected", "last_injected", _with_resources(last_injected, "a"), trampoline, 100_000, 100)
_add("injected", "two_injected", _with_resources(two_injected), trampoline, 100_000, 100)
_add("injected", "only_by_name", _with_resources(only_by_name), trampoline, 100_000, 100)


@cs.task
def upper(text: str, suffix: str = "") -> str:
    return text + suffix


def _mapped(columns: Callable[[int], dict[str, Any]]) -> Work:
    def work(n: int, on: Engine | None = None) -> int:
        assert len(run(upper.map(**columns(n)), on)) == n
        return n

    return work


_add("map", "map_texts", _mapped(lambda n: {"text": ["x"] * n}), trampoline, 20_000, 50)
_add("map", "map_two_columns", _mapped(lambda n: {"text": ["x"] * n, "suffix": ["y"] * n}), trampoline, 20_000, 50)
_add("map", "map_tuples", _mapped(lambda n: {"text": tuple("x" * n)}), trampoline, 20_000, 50)

_seeds = random.Random(2)


def _unseen(width: int, arity: int) -> Work:
    """Layers of that width; a node takes ``arity`` of the layer before."""

    def work(layers: int, on: Engine | None = None) -> int:
        pick = random.Random(_seeds.random())
        layer = [pass_on(i) for i in range(width)]
        for _ in range(layers - 1):
            layer = [sum_of(*[pick.choice(layer) for _ in range(arity)]) for _ in range(width)]
        assert isinstance(run(sum_of(*layer), on), int)
        return layers * width + 1

    return work


_add("cold_dag", "cold_narrow", _unseen(20, 2), trampoline, 100, 3)
_add("cold_dag", "cold_wide", _unseen(500, 2), trampoline, 6, 2)
_add("cold_dag", "cold_of_three", _unseen(50, 3), trampoline, 40, 2)


def _concurrent(start: Start, runs: int, nodes: int = 1) -> Work:
    def work(n: int, on: Engine | None = None) -> int:
        shared = on or engine()

        async def main() -> None:
            assert await asyncio.gather(*(shared.run(start(n)) for _ in range(runs))) == ["done"] * runs

        asyncio.run(main())
        return runs * n * nodes

    return work


_add("loops", "loops_of_rings", _concurrent(_ring_call(3), 200), trampoline, 400, 3)
_add("loops", "loops_named", _concurrent(_first_call("named", _named(2, "0")), 200), trampoline, 400, 3)
_add("loops", "loops_of_two", _concurrent(lambda n: sum_down(n), 200, nodes=2), trampoline, 400, 3)
