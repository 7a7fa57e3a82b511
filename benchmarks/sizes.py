"""What an expression costs a node, by its size: written, run once and let go of, beside the same in plain Python.

    chain    one --> one --> ... --> one
    layered  up to a hundred calls a layer, each of two calls of the layer before
    wide     independent calls, gathered by one

Times are CPU times of this thread, so that a neighbour on the machine does not count, as ratios to the steps of a
trampoline which runs in turn. Python's garbage collector is left as it is, and switched off for ``alone``. It walks all
that lives each time that has grown by a quarter, but for what the kernel sets aside (``cascade/_aside.h``), and memory
is the slower the more of it is used: ``plain`` and ``plain_alone`` show what that costs in any program.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable
from dataclasses import astuple, dataclass
from time import thread_time
from typing import Any

import cascade as cs
from benchmarks.workloads import run
from benchmarks.yardsticks import trampoline

__all__ = ["SHAPES", "SIZES", "Cost", "cost_of"]

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
#: Steps of the trampoline in each round.
STEPS = 100_000


@dataclass(frozen=True)
class Cost:
    """Trampoline steps per node.

    To write, run and free an expression; for all of that with the garbage collector off; for both in plain Python.
    """

    write: float
    run: float
    free: float
    alone: float
    plain: float
    plain_alone: float

    @property
    def whole(self) -> float:
        """From the first call to the last node that is freed."""
        return self.write + self.run + self.free

    @property
    def in_plain(self) -> float:
        """The same in units of plain Python."""
        return self.whole / self.plain

    @property
    def in_plain_alone(self) -> float:
        """The same without the collector, on both sides."""
        return self.alone / self.plain_alone


# -------------------------------------------------------------------------------------------------------- expressions


def one(x: int = 0) -> int:
    return (x + 1) % 10_007


def two(a: int, b: int) -> int:
    return (a + b) % 10_007


def many(*xs: int) -> int:
    return sum(xs) % 10_007


class Call:
    """A pending call in plain Python."""

    __slots__ = ("args", "func", "value")

    def __init__(self, func: Callable[..., int], args: tuple[Any, ...]) -> None:
        self.func = func
        self.args = args


class Plain:
    """A function whose calls are pending, in plain Python."""

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., int]) -> None:
        self.func = func

    def __call__(self, *args: Any) -> Call:
        return Call(self.func, args)


def evaluate(target: Call) -> Any:
    """Returns the value of a pending call, at any depth, each call made once."""
    stack = [target]
    while stack:
        call = stack[-1]
        size = len(stack)
        for argument in call.args:
            if type(argument) is Call and not hasattr(argument, "value"):
                stack.append(argument)
        if len(stack) == size:
            call.value = call.func(*[a.value if type(a) is Call else a for a in call.args])
            stack.pop()
    return target.value


TASKS = (cs.task(one), cs.task(two), cs.task(many))
PLAIN = (Plain(one), Plain(two), Plain(many))

Makers = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def chain(n: int, made: Makers) -> Any:
    one = made[0]
    target = one()
    for _ in range(n - 1):
        target = one(target)
    return target


def layered(n: int, made: Makers) -> Any:
    one, two, many = made
    width = min(100, math.isqrt(n))
    other = [(7 * i + 3) % width for i in range(width)]
    layer = [one(i) for i in range(width)]
    for _ in range(n // width - 1):
        layer = [two(a, layer[j]) for a, j in zip(layer, other, strict=True)]
    return many(*layer)


def wide(n: int, made: Makers) -> Any:
    one, _, many = made
    return many(*[one(i) for i in range(n - 1)])


SHAPES = {"chain": chain, "layered": layered, "wide": wide}


# -------------------------------------------------------------------------------------------------------- measurement


def _once(shape: Callable[[int, Makers], Any], n: int, made: Makers, value_of: Callable[[Any], Any]) -> Any:
    """Returns seconds to write, to run and to free, and the value."""
    start = thread_time()
    target = shape(n, made)
    written = thread_time()
    value = value_of(target)
    ran = thread_time()
    del target
    return written - start, ran - written, thread_time() - ran, value


def _round(shape: Callable[[int, Makers], Any], n: int, times: int) -> Cost:
    """Measures all and the trampoline, in turn."""
    gc.collect()
    ours = [0.0, 0.0, 0.0]
    alone = plain = plain_alone = 0.0
    for _ in range(times):
        *seconds, value = _once(shape, n, TASKS, run)
        *others, expected = _once(shape, n, PLAIN, evaluate)
        assert value == expected, f"{shape.__name__} of {n:,}: {value} instead of {expected}"
        ours = [a + b for a, b in zip(ours, seconds, strict=True)]
        plain += sum(others)
        gc.disable()
        try:
            alone += sum(_once(shape, n, TASKS, run)[:-1])
            plain_alone += sum(_once(shape, n, PLAIN, evaluate)[:-1])
        finally:
            gc.enable()
    start = thread_time()
    trampoline(STEPS)
    unit = (thread_time() - start) / STEPS * n * times
    return Cost(*(seconds / unit for seconds in (*ours, alone, plain, plain_alone)))


def cost_of(name: str, n: int, rounds: int, nodes: int = 5_000) -> Cost:
    """Returns the medians of the rounds; each repeats a small expression until it has had so many nodes."""
    shape = SHAPES[name]
    times = max(1, nodes // n)
    _round(shape, min(n, 10_000), 1)
    columns = zip(*(astuple(_round(shape, n, times)) for _ in range(rounds)), strict=True)
    return Cost(*map(statistics.median, columns))
