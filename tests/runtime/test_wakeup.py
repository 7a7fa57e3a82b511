"""Wake-ups: every waiter is reached, none is lost, whichever loop or thread."""

from __future__ import annotations

import asyncio
import threading

from cascade.runtime._wakeup import Wakeup


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_wakeup_reaches_every_waiter() -> None:
    """Nobody takes it away from another, whenever each goes on."""
    woken = []

    async def wait(wakeup: Wakeup, name: str) -> None:
        seen = wakeup.generation
        await wakeup.wait_beyond(seen)
        woken.append(name)

    async def main() -> None:
        wakeup = Wakeup()
        waiting = [asyncio.ensure_future(wait(wakeup, name)) for name in "abc"]
        await settle()
        assert woken == []
        wakeup.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert not wakeup._waiters

    asyncio.run(main())

    assert sorted(woken) == ["a", "b", "c"]


def test_a_wakeup_between_the_look_and_the_wait_is_not_lost() -> None:
    """Who has seen an earlier number does not wait at all."""

    async def main() -> None:
        wakeup = Wakeup()
        seen = wakeup.generation
        wakeup.set()
        await asyncio.wait_for(wakeup.wait_beyond(seen), 10)
        waiting = asyncio.ensure_future(wakeup.wait_beyond(wakeup.generation))
        await settle()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not wakeup._waiters

    asyncio.run(main())


def test_it_serves_as_an_event() -> None:
    """``set``, ``clear``, ``is_set`` and ``wait`` are those of ``asyncio.Event``."""

    async def main() -> None:
        wakeup = Wakeup()
        assert not wakeup.is_set()
        wakeup.set()
        assert wakeup.is_set()
        assert await asyncio.wait_for(wakeup.wait(), 10)
        wakeup.clear()
        assert not wakeup.is_set()
        waiting = asyncio.ensure_future(wakeup.wait())
        await settle()
        assert not waiting.done()
        wakeup.set()
        assert await asyncio.wait_for(waiting, 10)

    asyncio.run(main())


def test_clearing_takes_nothing_from_those_who_count() -> None:
    """A shared clear could swallow a wake-up: waiters by number do not look at it."""

    async def main() -> None:
        wakeup = Wakeup()
        seen = wakeup.generation
        wakeup.set()
        wakeup.clear()
        await asyncio.wait_for(wakeup.wait_beyond(seen), 10)

    asyncio.run(main())


def test_other_threads_and_other_loops_are_reached() -> None:
    """Two loops wait in two threads; a third thread without a loop wakes both."""
    wakeup = Wakeup()
    ready = threading.Barrier(3)
    done: list[int] = []

    async def wait(number: int) -> None:
        waiting = asyncio.ensure_future(wakeup.wait_beyond(0))
        await settle()
        await asyncio.get_running_loop().run_in_executor(None, ready.wait, 10)
        await asyncio.wait_for(waiting, 10)
        done.append(number)

    # In debug mode a loop refuses what is done to it by another thread without its consent.
    threads = [threading.Thread(target=lambda n=n: asyncio.run(wait(n), debug=True)) for n in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    wakeup.set()
    for thread in threads:
        thread.join(10)

    assert sorted(done) == [0, 1]


def test_a_loop_that_was_closed_is_passed_over() -> None:
    """A waiter that died with its loop disturbs nobody."""
    wakeup = Wakeup()
    loop = asyncio.new_event_loop()
    coroutine = wakeup.wait_beyond(0)
    loop.run_until_complete(_start(coroutine))
    loop.close()

    wakeup.set()
    coroutine.close()

    assert not wakeup._waiters


async def _start(coroutine: object) -> None:
    coroutine.send(None)  # type: ignore[attr-defined]
