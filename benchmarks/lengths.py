"""What a step costs, and what memory it leaves behind, by the number of steps of one loop.

    loop --period steps--> watch --> loop --period steps--> watch --> ... --> "done"

A loop calls, at the end of each period, a task that takes the time, lets a trampoline run for comparison, notes the
resident size, and starts the next period by a tail call: one run, one loop. Times are CPU times of this thread, so that
a neighbour on the machine does not count.
"""

from __future__ import annotations

import gc
import os
import statistics
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from time import thread_time
from typing import Any

import cascade as cs
from benchmarks.measure import warm_up
from benchmarks.workloads import engine, run

__all__ = ["LOOPS", "Length", "Loop", "length_of", "lengths_of", "resident", "steps_of"]


def resident() -> int:
    """Returns the resident size of this process, in bytes."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _step(n: int) -> Any:
    if n <= 0:
        return "done"
    return (_step, (n - 1,))


def _bounce(n: int) -> int:
    """The trampoline of ``yardsticks``, but for a function made by each call: a cycle that waits to be collected."""
    r: Any = (_step, (n,))
    while type(r) is tuple:
        r = r[0](*r[1])
    return n


class Watch:
    """Notes time, yardstick and memory at the end of each period of a loop."""

    def __init__(self, periods: int, yardstick: int) -> None:
        self.left = periods
        self.periods = periods
        self.steps = yardstick
        # Their room is there before the loop begins: nothing that is seen to grow is the watch's own.
        self.work = array("d", bytes(8 * periods))
        self.unit = array("d", bytes(8 * periods))
        self.resident = array("q", bytes(8 * periods))
        self.since = thread_time()

    def goes_on(self) -> bool:
        """Ends a period; whether there is another."""
        at, now = self.periods - self.left, thread_time()
        self.work[at] = now - self.since
        _bounce(self.steps)
        self.unit[at] = (thread_time() - now) / self.steps
        self.resident[at] = resident()
        self.left -= 1
        self.since = thread_time()
        return self.left > 0


@dataclass(frozen=True)
class Loop:
    """A loop that is measured up to ``limit`` steps; ``begin(watch, period)`` makes its first call."""

    name: str
    begin: Callable[[Watch, int], Any]
    limit: int
    period: int


# -------------------------------------------------------------------------------------------------------------- loops


def simple(watch: Watch, period: int) -> Any:
    """A synchronous task that calls itself."""

    @cs.task
    def count(n: int) -> Any:
        return count(n - 1) if n > 1 else end()

    @cs.task
    def end() -> Any:
        return count(period) if watch.goes_on() else "done"

    return count(period)


def sync(watch: Watch, period: int) -> Any:
    """A synchronous task with an argument that is computed first, and one in a list."""

    @cs.task
    def add(a: int, b: int) -> int:
        return (a + b) % 10_007

    @cs.task
    def pair(values: list[int]) -> int:
        return len(values)

    @cs.task
    def count(n: int, a: int = 0, b: int = 0) -> Any:
        return count(n - 1, add(a, n), b=pair([add(b, 1), 2])) if n > 1 else end()

    @cs.task
    def end() -> Any:
        return count(period) if watch.goes_on() else "done"

    return count(period)


def asynchronous(watch: Watch, period: int) -> Any:
    """A coroutine function that calls itself with what another one returns."""

    @cs.task
    async def add(a: int, b: int) -> int:
        return (a + b) % 10_007

    @cs.task
    async def count(n: int, a: int = 0) -> Any:
        return count(n - 1, add(a, n)) if n > 1 else end()

    @cs.task
    async def end() -> Any:
        return count(period) if watch.goes_on() else "done"

    return count(period)


def mutual(watch: Watch, period: int) -> Any:
    """Three tasks that call each other."""

    @cs.task
    def first(n: int) -> Any:
        return second(n - 1) if n > 1 else end()

    @cs.task
    def second(n: int) -> Any:
        return third(n - 1, n) if n > 1 else end()

    @cs.task
    async def third(n: int, old: int) -> Any:
        return first(n=n - 1) if n > 1 else end()

    @cs.task
    def end() -> Any:
        return first(period) if watch.goes_on() else "done"

    return first(period)


def mapping(watch: Watch, period: int) -> Any:
    """Each step maps a task over three items, and every tenth step a coroutine function."""

    @cs.task
    def double(x: int) -> int:
        return 2 * x

    @cs.task
    async def halve(x: int) -> int:
        return x // 2

    @cs.task
    def count(n: int, xs: Any = ()) -> Any:
        items = [n, n + 1, n + 2]
        mapped: Any = halve.map(x=items) if n % 10 == 0 else double.map(x=items)
        return count(n - 1, mapped) if n > 1 else end()

    @cs.task
    def end() -> Any:
        return count(period) if watch.goes_on() else "done"

    return count(period)


def failing(watch: Watch, period: int) -> Any:
    """Each step catches an exception, and needs a call that fails at the first attempt and is retried."""
    attempts = [0]

    @cs.task
    def risky(n: int) -> int:
        attempts[0] ^= 1
        if attempts[0]:
            raise ValueError(f"the first attempt of {n} fails")
        return n

    @cs.task
    def count(n: int, found: int = 0) -> Any:
        try:
            raise LookupError(n)
        except LookupError as error:
            found = error.args[0]
        call: Any = risky(found - 1)
        return count(n - 1, call.with_retry(max_attempts=2, delay=0)) if n > 1 else end()

    @cs.task
    def end() -> Any:
        return count(period) if watch.goes_on() else "done"

    return count(period)


#: A map takes seven hundred times as long as a simple step: fewer of them, and still enough to see them leak.
LOOPS = {
    loop.name: loop
    for loop in (
        Loop("simple", simple, 100_000_000, 100_000),
        Loop("sync", sync, 10_000_000, 20_000),
        Loop("async", asynchronous, 10_000_000, 20_000),
        Loop("mutual", mutual, 10_000_000, 50_000),
        Loop("map", mapping, 200_000, 500),
        Loop("retry", failing, 10_000_000, 5_000),
    )
}


# -------------------------------------------------------------------------------------------------------- measurement


@dataclass(frozen=True)
class Length:
    """A loop of so many steps.

    ``cost`` is in trampoline steps per step, over the whole run; ``late`` over its last tenth alone. ``resident`` are
    bytes at the end of each period, ``growth`` those that the last nine tenths added, as the slope of a line through
    them says.
    """

    steps: int
    cost: float
    late: float
    resident: tuple[int, ...]

    @property
    def growth(self) -> float:
        """Bytes added by the last nine tenths."""
        late = self.resident[len(self.resident) // 10 :]
        if len(late) < 2:
            return 0.0
        return statistics.linear_regression(range(len(late)), late).slope * (len(late) - 1)


def length_of(loop: Loop, steps: int) -> Length:
    """Runs a loop once."""
    period = min(steps, loop.period)
    gc.collect()
    watch = Watch(steps // period, max(1_000, min(steps, 20_000)))
    start, first = thread_time(), watch.since
    assert run(loop.begin(watch, period), engine()) == "done"
    around = thread_time() - watch.since + first - start  # the end of the run; its beginning is in the first period
    tail = max(1, len(watch.work) // 10)
    late = [w / u for w, u in zip(watch.work[-tail:], watch.unit[-tail:], strict=True)]
    mean = sum(watch.unit) / len(watch.unit)
    return Length(
        steps=steps,
        cost=(sum(watch.work) + around) / steps / mean,
        late=statistics.median(late) / period,
        resident=tuple(watch.resident),
    )


def steps_of(loop: Loop, limit: int) -> list[int]:
    """Returns powers of ten from 1,000 up to the limit, and the limit."""
    steps = [1_000]
    while steps[-1] * 10 <= limit:
        steps.append(steps[-1] * 10)
    return steps if steps[-1] == limit else [*steps, limit]


def lengths_of(loop: Loop, limit: int | None = None) -> list[Length]:
    """Runs a loop with more and more steps; short runs are medians of several."""
    limit = loop.limit if limit is None else limit
    warm_up(_bounce)
    length_of(loop, 1_000)
    found = []
    for steps in steps_of(loop, limit):
        rounds = max(1, min(15, limit // (4 * steps)))
        runs = sorted((length_of(loop, steps) for _ in range(rounds)), key=lambda run: run.cost)
        found.append(runs[len(runs) // 2])
    return found
