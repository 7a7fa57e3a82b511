"""Threads beside runs that compute: they get Python's lock as beside other code, and cost nothing when absent."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.strategies import _threads
from cascade.runtime.strategies._threads import Handover
from tests.engines import make_engine

HOPS = 20
#: Turns of the event loop, one a millisecond, in which a thread that is not starved has had the lock: Python's own
#: interval is 5 ms. A starved one gets it after hundreds, often thousands.
ENOUGH = 50

stop = threading.Event()


@cs.task
def forever(number: int = 0) -> Any:
    return number if stop.is_set() else forever(number + 1)


@cs.task
def leaf(number: int) -> int:
    return number


@cs.task
def count(numbers: list[int]) -> int:
    return len(numbers)


@cs.task
def expressions(number: int = 0) -> Any:
    return number if stop.is_set() else expressions(count([leaf(n) for n in range(50)]))


@pytest.mark.skipif(sys.getswitchinterval() > 0.1, reason="threads are to wait, by sys.setswitchinterval")
@pytest.mark.parametrize("runs", [1, 30], ids=["one", "thirty"])
@pytest.mark.parametrize("hot", [True, False], ids=["hot", "not hot"])
@pytest.mark.parametrize("target", [forever, expressions], ids=["loop", "program"])
def test_threads_are_not_starved_by_runs_that_compute(target: Any, hot: bool, runs: int) -> None:
    """However often the event loop turns: it gives threads no chance by itself."""

    async def main() -> int:
        stop.clear()
        engine = make_engine(hot=hot)
        running = [asyncio.create_task(engine.run(target())) for _ in range(runs)]
        await asyncio.sleep(0)
        turns = 0

        async def turning() -> None:
            nonlocal turns
            while not stop.is_set():
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(turning())
        for _ in range(HOPS):
            await asyncio.to_thread(int)
            if turns > HOPS * ENOUGH:
                break
        stop.set()
        await asyncio.gather(counting, *running)
        return turns

    assert asyncio.run(main()) <= HOPS * ENOUGH


class Clock:
    """Stands for the module ``time``: a look takes a second, and a nap as long as others keep the lock."""

    def __init__(self) -> None:
        self.now = 0
        self.kept = 0
        self.naps: list[int] = []

    def monotonic(self) -> float:
        self.now += 1
        return float(self.now)

    def sleep(self, seconds: float) -> None:
        self.naps.append(self.now)
        self.now += self.kept


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock by which the lock is given away, in a process with another thread that may have it for 10 s."""
    clock, interval = Clock(), sys.getswitchinterval()
    monkeypatch.setattr(_threads, "time", clock)
    monkeypatch.setattr(_threads, "_count", lambda: 1)
    sys.setswitchinterval(10.0)
    yield clock
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(("kept", "naps"), [(0, [1, 12, 23, 34]), (10, [1, 22, 43, 64])])
def test_runs_and_threads_have_the_lock_for_as_long(kept: int, naps: list[int], clock: Clock) -> None:
    """``sys.setswitchinterval`` holds for threads beside runs, too, and for runs beside threads."""
    clock.kept = kept
    handover = Handover()
    while len(clock.naps) < len(naps):
        handover.give()

    assert clock.naps == naps


def test_without_other_threads_nothing_is_given_away(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with one thread does not even look at the clock."""
    monkeypatch.setattr(_threads, "_count", lambda: 0)
    Handover().give()

    assert (clock.naps, clock.now) == ([], 0)
