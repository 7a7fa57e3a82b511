"""Driving evaluations of any depth without recursion, and running coroutines together without leaving any behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cascade.runtime import _concurrency
from cascade.runtime._concurrency import (
    MOST_AT_ONCE,
    Expand,
    Started,
    Together,
    drive,
    pause,
    run_together,
)


async def value(result: Any) -> Any:
    return result


async def fail(error: BaseException) -> Any:
    raise error


async def endless(log: list[str], name: str, ending: Callable[[], Coroutine[Any, Any, Any]] | None = None) -> None:
    """Wait for ever; note start and end, and await something in between."""
    log.append(f"+{name}")
    try:
        await asyncio.Event().wait()
    finally:
        if ending is not None:
            await ending()
        log.append(f"-{name}")


# ------------------------------------------------------------------------------------------------------------- pause


def test_pause_lets_others_run_once() -> None:
    """What is ready runs once, in turn."""
    log = []

    async def count(name: str) -> None:
        for number in range(3):
            log.append(f"{name}{number}")
            await pause()

    async def main() -> None:
        await asyncio.gather(count("a"), count("b"))

    asyncio.run(main())

    assert log == ["a0", "b0", "a1", "b1", "a2", "b2"]


# ------------------------------------------------------------------------------------------------------------- drive


def test_expansions_cost_no_stack() -> None:
    """Evaluations within evaluations have their values far beyond the recursion limit, across suspensions too."""

    async def total(n: int) -> int:
        if n % 500 == 0:
            await asyncio.sleep(0)
        below: int = (await Expand(total(n - 1))) if n else 0
        return n + below

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        found = asyncio.run(drive(total(5_000)))
    finally:
        sys.setrecursionlimit(limit)

    assert found == 5_000 * 5_001 // 2


def test_an_error_passes_through_every_level() -> None:
    """Each level may handle what the level above it raised, clean up, or let it go on."""
    log = []

    async def inner(n: int) -> Any:
        try:
            if n == 0:
                raise KeyError("deep")
            await Expand(inner(n - 1))
        except KeyError:
            log.append(n)
            if n == 2:
                return "handled"
            raise

    async def outer() -> Any:
        return await Expand(inner(4)), await Expand(value("next"))

    assert asyncio.run(drive(outer())) == (None, "next")
    assert log == [0, 1, 2]


def test_a_deep_error_keeps_its_users_frames_and_no_others() -> None:
    """The traceback does not grow by engine frames with the depth, and its other frames stay."""

    async def users_function() -> None:
        raise ValueError("mine")

    users: dict[str, Any] = {"Expand": Expand, "__name__": "cascade.somewhere"}
    exec("async def engines(n, last): return await (Expand(engines(n - 1, last)) if n else last())", users)
    with pytest.raises(ValueError, match="mine") as caught:
        asyncio.run(drive(users["engines"](200, users_function)))

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "users_function"
    assert frames.count("engines") <= 1


def test_closing_a_driver_closes_all_levels_innermost_first() -> None:
    """A run that is dropped in mid-flight still runs what its levels have to do at their end."""
    log = []

    async def inner(n: int) -> None:
        try:
            if n:
                await Expand(inner(n - 1))
            else:
                await pause()
        finally:
            log.append(n)

    driven = drive(inner(3))
    driven.send(None)
    driven.close()

    assert log == [0, 1, 2, 3]


def test_a_cancellation_reaches_the_innermost_level() -> None:
    """It is raised where the evaluation waits, and whoever catches it there may go on."""

    async def patient() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "went on"
        return "never"

    async def outer() -> Any:
        return await Expand(patient())

    async def main() -> Any:
        running = asyncio.ensure_future(drive(outer()))
        await asyncio.sleep(0)
        running.cancel()
        return await running

    assert asyncio.run(main()) == "went on"


# ----------------------------------------------------------------------------------------------------------- Started


def started(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Drive a coroutine to its first suspension, as the kernel does, and return the await of the rest."""

    async def rest(yielded: Any) -> Any:
        return await Started(coroutine, yielded)

    return rest(coroutine.send(None))


def test_a_started_coroutine_goes_on_in_the_same_task() -> None:
    """Its futures are yielded again, results and errors reach it, and its value is returned."""
    tasks = []

    async def work() -> Any:
        tasks.append(asyncio.current_task())
        found = [await asyncio.sleep(0, "slept")]
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, KeyError("refused"))
        try:
            await future
        except KeyError:
            found.append("caught")
        tasks.append(asyncio.current_task())
        return found

    async def main() -> Any:
        tasks.append(asyncio.current_task())
        return await started(work())

    assert asyncio.run(main()) == ["slept", "caught"]
    assert len(set(tasks)) == 1


def test_the_end_of_a_started_coroutine_is_its_own() -> None:
    """An error leaves as it is; a cancellation may be turned into a value; closing it runs its end."""
    log: list[str] = []

    async def stubborn() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "value after all"

    async def raises() -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    async def main() -> Any:
        with pytest.raises(KeyError, match="mine"):
            await started(raises())
        waiting = asyncio.ensure_future(_later(stubborn))
        await asyncio.sleep(0)
        waiting.cancel()
        inner = endless(log, "x")
        closed = started(inner)
        closed.send(None)
        closed.close()
        assert inspect.getcoroutinestate(inner) == inspect.CORO_CLOSED
        return await waiting

    async def _later(function: Any) -> Any:
        return await started(function())

    assert asyncio.run(main()) == "value after all"
    assert log == ["+x", "-x"]


# ------------------------------------------------------------------------------------------------------ run_together


def test_values_come_in_order_of_start_and_each_has_a_task_of_its_own() -> None:
    """Whatever the order of ending; nothing at all is no values."""

    async def work(n: int) -> Any:
        for _ in range(5 - n):
            await asyncio.sleep(0)
        ended.append(n)
        return n, asyncio.current_task()

    ended: list[int] = []

    async def main() -> Any:
        assert await run_together([]) == []
        return [asyncio.current_task()], await run_together(work(n) for n in range(3))

    me, found = asyncio.run(main())

    assert [n for n, _ in found] == [0, 1, 2]
    assert ended == [2, 1, 0]
    assert len({*me, *(one for _, one in found)}) == 4


def test_members_may_expand() -> None:
    """Each coroutine that runs together with others has a driver of its own."""

    async def member(n: int) -> Any:
        return await Expand(value(n))

    async def main() -> Any:
        return await run_together(member(n) for n in range(3))

    assert asyncio.run(main()) == [0, 1, 2]


def test_of_many_short_ones_few_are_there_at_a_time() -> None:
    """They begin in portions, each a turn after the one before, when the short ones of that have ended."""
    there, most = 0, 0

    async def short(n: int) -> int:
        nonlocal there, most
        there += 1
        most = max(most, there)
        await asyncio.sleep(0)
        there -= 1
        return n

    count = 5 * MOST_AT_ONCE + 1

    assert asyncio.run(run_together(short(n) for n in range(count))) == list(range(count))
    assert most <= 2 * MOST_AT_ONCE


def test_those_that_wait_for_later_ones_get_what_they_wait_for() -> None:
    """All begin, whether those before them have ended or not."""
    count = 2 * MOST_AT_ONCE + 5

    async def main() -> Any:
        last = asyncio.Event()

        async def meets(n: int) -> int:
            if n == count - 1:
                last.set()
            await last.wait()
            return n

        return await run_together(meets(n) for n in range(count))

    assert asyncio.run(main()) == list(range(count))


def test_after_a_failure_no_more_begin() -> None:
    """What has not been made yet is not; what has begun is ended."""
    begun: list[int] = []

    async def member(n: int) -> None:
        begun.append(n)
        if n == 3:
            raise KeyError(n)
        await asyncio.sleep(0)

    with pytest.raises(KeyError):
        asyncio.run(run_together(member(n) for n in range(10 * MOST_AT_ONCE)))
    assert len(begun) <= 2 * MOST_AT_ONCE


def test_the_first_failure_ends_the_others_before_it_is_raised() -> None:
    """They are cancelled and awaited, however long their end takes; none is left in the loop."""
    log: list[str] = []

    async def ending() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> None:
        with pytest.raises(KeyError):
            await run_together([endless(log, "a", ending), fail(KeyError("b")), endless(log, "c", ending)])
        assert log == ["+a", "+c", "-a", "-c"]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_the_first_error_in_order_of_start_is_raised_and_the_others_are_notes() -> None:
    """Also when a later one was first in time to fail."""

    async def on_the_way_out() -> None:
        raise KeyError("on the way out")

    async def main() -> Any:
        with pytest.raises(KeyError) as caught:
            await run_together(
                [endless([], "a", on_the_way_out), fail(ValueError("b")), fail(OSError("c")), endless([], "d")]
            )
        return caught.value

    error = asyncio.run(main())

    assert error.args == ("on the way out",)
    assert error.__notes__ == ["also failed: ValueError: b", "also failed: OSError: c"]


def test_an_error_is_not_lost_to_a_cancellation_of_the_same_turn() -> None:
    """Two groups fail in one turn of the loop: the second failure cancels the first group before it could say so."""

    async def fails(error: Exception) -> None:
        raise error

    async def group(error: Exception) -> None:
        await run_together([fails(error)])

    async def beside() -> None:
        await run_together([group(ValueError("one")), fails(KeyError("two"))])

    async def turned() -> None:
        await run_together([group(ValueError("one")), group(KeyError("two"))])

    async def late() -> None:
        await asyncio.sleep(0)
        raise KeyError("two")

    async def crossed() -> None:
        await run_together([group(ValueError("one")), late()])

    unheard: list[Any] = []

    async def watched(kind: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        await kind()

    for kind in (beside, turned, crossed):
        with pytest.raises(ValueError, match="one") as raised:
            asyncio.run(watched(kind))
        assert raised.value.__notes__ == ["also failed: KeyError: 'two'"]
        del raised
    gc.collect()
    assert unheard == []


def test_a_member_that_cancels_itself_cancels_all() -> None:
    """Without another error the whole is cancelled, and the others have ended."""
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await run_together([endless(log, "a"), fail(asyncio.CancelledError())])

    asyncio.run(main())

    assert log == ["+a", "-a"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_caller_waits_for_all_however_often_it_is_cancelled(times: int) -> None:
    """Cancelling again while the members end neither hurries nor abandons them."""
    log: list[str] = []

    async def main() -> None:
        slow = asyncio.Event()
        running = asyncio.ensure_future(run_together([endless(log, "a", slow.wait), endless(log, "b", slow.wait)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for _ in range(times):
            running.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not running.done()
        slow.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert log == ["+a", "+b", "-a", "-b"]

    asyncio.run(main())


def test_more_may_be_started_while_some_run() -> None:
    """What is started late counts like the others: waited for, ended on failure, in order of start."""

    async def main() -> None:
        together = Together()
        assert not together.is_running
        together.start(value(1))
        await together.wait()
        assert not together.is_running
        together.start(value(2))
        assert together.is_running
        await together.wait()
        await together.end()
        assert together.values() == [1, 2]
        log: list[str] = []
        together.start(endless(log, "late"))
        together.start(fail(ValueError("last")))
        await together.wait()
        assert not together.is_running
        await together.end()
        assert log == ["+late", "-late"]
        with pytest.raises(ValueError, match="last"):
            together.values()

    asyncio.run(main())


def test_the_module_says_what_it_has() -> None:
    """What the strategy takes from here is public within the engine."""
    names = {"MOST_AT_ONCE", "Driver", "Expand", "Started", "Together", "drive", "pause", "run_together"}

    assert set(_concurrency.__all__) == names
