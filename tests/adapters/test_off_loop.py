"""Calls that block, made off the event loop's thread."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from cascade.adapters._off_loop import off_loop


def test_it_calls_in_another_thread_and_returns_the_value() -> None:
    """The loop's thread is free meanwhile; the caller's context goes along."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def main() -> Any:
        variable.set("seen")
        return await off_loop(lambda one, other: (threading.get_ident(), one + other, variable.get()), 1, 2)

    thread, total, seen = asyncio.run(main())

    assert thread != threading.get_ident()
    assert (total, seen) == (3, "seen")


def test_it_raises_what_the_call_raises() -> None:
    """The exception object itself arrives."""
    error = LookupError("gone")

    def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        asyncio.run(off_loop(fail))
    assert caught.value is error


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_caller_waits_for_the_call(fails: bool) -> None:
    """Nothing is written after the one who asked for it has ended; what the call raises then is nobody's loss."""
    diary: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        may_end.wait()
        diary.append("written")
        if fails:
            raise LookupError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: diary.append(context["message"]))
        caller = asyncio.ensure_future(off_loop(write))
        await asyncio.to_thread(begun.wait)
        caller.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not caller.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        diary.append("ended")

    asyncio.run(main())

    assert diary == ["written", "ended"]


def test_a_second_cancellation_does_not_wait() -> None:
    """Whoever insists gets away from a server that never answers."""
    begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        may_end.wait()

    async def main() -> None:
        caller = asyncio.ensure_future(off_loop(write))
        await asyncio.to_thread(begun.wait)
        for _ in range(2):
            caller.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        assert caller.cancelled()
        may_end.set()

    asyncio.run(main())
