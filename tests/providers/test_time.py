"""Waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.providers.time import _wait_task
from tests.engines import make_engine, run


@pytest.mark.row("06-providers", "Built-in providers", "wait")
def test_wait_takes_the_seconds_and_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delay, which may be lazy, is what asyncio is asked for."""
    asked: list[float] = []

    async def sleep(delay: float) -> None:
        asked.append(delay)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    assert run(cs.wait(0.25)) is None
    assert run(cs.wait(delay=cs.lookup({"delay": 3}, "delay"))) is None
    assert asked == [0.25, 3]
    assert _wait_task.name == "wait"


def test_waits_go_on_together_and_hold_nobody_up() -> None:
    """Other nodes of the stage run while one waits."""

    async def scenario() -> Any:
        woken = asyncio.Event()

        @cs.task
        async def wake() -> str:
            woken.set()
            return "awake"

        @cs.task
        async def sleep() -> str:
            await woken.wait()
            return "slept"

        return await make_engine().run([sleep(), cs.wait(0), wake()])

    assert asyncio.run(scenario()) == ["slept", None, "awake"]


def test_cancelled_wait_ends_at_once() -> None:
    """An hour's wait ends with its run."""

    async def scenario() -> None:
        running = asyncio.create_task(make_engine().run(cs.wait(3600)))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())


def test_loop_that_waits_runs_hot() -> None:
    """A poller, which waits between its steps, stays a hot loop; ``map`` gives as many waits."""

    @cs.task
    def poll(left: int, _: None) -> Any:
        return poll(left - 1, cs.wait(0)) if left else "done"

    engine = make_engine()

    assert run(poll(20, None), engine) == "done"
    assert engine.stats.hot > 10
    assert run(cs.wait.map(delay=[0, 0, 0])) == [None, None, None]


@pytest.mark.parametrize(
    "delay, kind, text",
    [
        (float("nan"), ValueError, "wait: delay must be finite, not nan"),
        (float("inf"), ValueError, "wait: delay must be finite, not inf"),
        ("x", TypeError, "wait: delay must be a number of seconds, not 'x'"),
        (None, TypeError, "wait: delay must be a number of seconds, not None"),
    ],
)
def test_a_delay_that_never_ends_is_refused(delay: Any, kind: type[Exception], text: str) -> None:
    """So is what is no number."""
    with pytest.raises(kind, match=text):
        cs.run(cs.wait(delay), log_level="ERROR")
