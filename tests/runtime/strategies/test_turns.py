"""How the runs of one event loop take turns: how many in one turn of the event loop, in which order, for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.runtime.strategies import _turns
from cascade.runtime.strategies._turns import FEW, Turns, turns_of
from cascade.spec.task import task
from tests.engines import make_engine

MANY = 10 * FEW


class Clock:
    """A clock that stands still unless it is told that something took time."""

    def __init__(self) -> None:
        self.now = 100.0

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the line moves."""
    clock = Clock()
    monkeypatch.setattr(_turns, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def turns_of_runs(count: int, turns: int, work: Callable[[], None], others: Callable[[], None]) -> list[int]:
    """Return how many of ``count`` endless runs worked in each of so many turns of the event loop."""
    shared, worked = Turns(), [0]

    async def run() -> None:
        while True:
            worked[-1] += 1
            work()
            await shared.next()

    shared.runnable = count
    runs = [asyncio.ensure_future(run()) for _ in range(count)]
    for _ in range(turns):
        await asyncio.sleep(0)
        others()
        worked.append(0)
    for one in runs:
        one.cancel()
    await asyncio.wait(runs)
    return worked[:-1]


def test_few_runs_go_on_in_every_turn(clock: Clock) -> None:
    """As many as have shares of at least the shortest quantum need no line."""
    worked = asyncio.run(turns_of_runs(FEW, 5, lambda: clock.spend(1.0), lambda: None))

    assert worked == [FEW] * 5


def test_many_runs_share_a_millisecond(clock: Clock) -> None:
    """After the first turn so many go on in each as have room in a millisecond."""
    worked = asyncio.run(turns_of_runs(MANY, 40, lambda: clock.spend(100e-6), lambda: None))

    assert worked[0] == MANY  # each has begun
    assert [count for count in worked[1:] if count > FEW] == []
    assert set(worked[-20:]) <= {9, 10}


def test_runs_with_long_nodes_go_on_one_by_one(clock: Clock) -> None:
    """Who waits for the event loop waits for one node, not for one of each run."""
    worked = asyncio.run(turns_of_runs(MANY, 40, lambda: clock.spend(0.05), lambda: None))

    assert set(worked[-20:]) == {1}


def test_runs_take_as_long_as_everything_else(clock: Clock) -> None:
    """Where the rest of the event loop is slow, the runs are not starved: they get half of the time."""
    worked = asyncio.run(turns_of_runs(MANY, 60, lambda: clock.spend(100e-6), lambda: clock.spend(5e-3)))

    assert all(40 <= count <= 50 for count in worked[-20:])


def test_each_run_has_its_turn(clock: Clock) -> None:
    """The line is first come, first served: nobody is left out, and nobody comes twice before all have come once."""
    order: list[int] = []

    async def run(shared: Turns, number: int) -> None:
        for _ in range(3):
            await shared.next()
            order.append(number)
            clock.spend(1e-4)

    async def main() -> None:
        shared = Turns()
        shared.runnable = MANY
        await asyncio.gather(*(run(shared, number) for number in range(MANY)))
        assert shared.count > 3

    asyncio.run(main())

    assert order == [*range(MANY)] * 3


def test_who_begins_goes_first(clock: Clock) -> None:
    """A run that begins need not wait for all endless ones."""
    order: list[str] = []

    async def old(shared: Turns) -> None:
        await shared.next()
        order.append("old")

    async def new(shared: Turns) -> None:
        turn = shared.begin()
        assert turn is not None
        await turn
        order.append("new")

    async def main() -> None:
        shared = Turns()
        assert shared.begin() is None
        shared.runnable = MANY
        await asyncio.gather(*(old(shared) for _ in range(MANY)), new(shared), new(shared))

    asyncio.run(main())

    assert order[:2] == ["new", "new"]
    assert len(order) == MANY + 2


def test_a_cancelled_run_leaves_the_line(clock: Clock) -> None:
    """Its place is given to nobody, it hears of the cancellation in the next turn, and the others go on."""
    order: list[int] = []

    async def run(shared: Turns, number: int) -> None:
        await shared.next()
        order.append(number)

    async def main() -> None:
        shared = Turns()
        shared.runnable = MANY
        runs = [asyncio.ensure_future(run(shared, number)) for number in range(MANY)]
        await asyncio.sleep(0)
        for one in (*runs[: FEW + 5], runs[-1]):
            one.cancel()
        await asyncio.sleep(0)
        assert all(one.cancelled() for one in runs[: FEW + 5])
        await asyncio.wait(runs)

    asyncio.run(main())

    assert order == [*range(FEW + 5, MANY - 1)]


def test_the_line_moves_again_after_it_was_empty(clock: Clock) -> None:
    """A line that nobody stands in costs the event loop nothing, and moves as soon as somebody comes."""

    async def main() -> None:
        shared = Turns()
        shared.runnable = MANY
        for _ in range(3):
            await asyncio.gather(*(shared.next() for _ in range(MANY)))
            for _ in range(3):
                await asyncio.sleep(0)
            moved = shared.count
            await asyncio.sleep(0)
            assert shared.count == moved

    asyncio.run(main())


@task
def endless(counts: list[int], number: int, clock: Clock) -> Any:
    counts[number] += 1
    clock.spend(50e-6)
    return endless(counts, number, clock)


def test_an_event_loop_full_of_hot_runs_serves_others_between_them(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a hundred endless runs go on, each turn of the event loop lets a few of them go on, and all in time."""
    monkeypatch.setattr("cascade.runtime.strategies._runs._SHARED_QUANTUM", 0.0)
    monkeypatch.setattr("cascade.runtime.strategies._runs._MINIMUM_QUANTUM", 0.0)
    counts = [0] * 100

    async def main() -> list[int]:
        engine = make_engine()
        runs = [asyncio.ensure_future(engine.run(endless(counts, number, clock))) for number in range(len(counts))]
        moved = []
        for _ in range(300):
            before = list(counts)
            await asyncio.sleep(0)
            moved.append(sum(one != other for one, other in zip(counts, before, strict=True)))
        for run in runs:
            run.cancel()
        ends = await asyncio.gather(*runs, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}
        assert turns_of(asyncio.get_running_loop()).runnable == 0
        return moved

    moved = asyncio.run(main())

    assert max(moved) <= FEW
    assert all(counts)


