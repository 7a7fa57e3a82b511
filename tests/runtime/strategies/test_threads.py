"""Threads beside runs that compute: they get Python's lock as beside other code, and cost nothing when absent."""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace
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


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times at which the lock was given away, by a clock that each look at it moves on by a millisecond."""
    taken: list[float] = []
    clock = SimpleNamespace(now=0.0)

    def monotonic() -> float:
        clock.now = round(clock.now + 0.001, 6)
        return clock.now

    monkeypatch.setattr(_threads, "time", SimpleNamespace(monotonic=monotonic, sleep=lambda _: taken.append(clock.now)))
    return taken


def test_the_lock_is_given_away_once_in_an_interval(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """In that of the program: ``sys.setswitchinterval`` holds for threads beside runs, too."""
    monkeypatch.setattr(_threads, "_count", lambda: 1)
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.01)
    try:
        handover = Handover()
        for _ in range(35):
            handover.give()
    finally:
        sys.setswitchinterval(before)

    assert naps == [0.001, 0.011, 0.021, 0.031]


def test_without_other_threads_nothing_is_given_away(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with one thread pays nothing."""
    monkeypatch.setattr(_threads, "_count", lambda: 0)
    for _ in range(100):
        Handover().give()

    assert naps == []
