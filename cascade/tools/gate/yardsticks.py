"""Hand-written loops that the engine is measured against: what the same steps cost in plain Python.

Each takes a number of steps and returns how many it made, so that a rate is ``steps / seconds``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["STEPS", "coroutine", "sleep0", "trampoline", "warm_up"]


def trampoline(n: int) -> int:
    """The yardstick of synchronous tasks: a step returns the next one as a function and its arguments."""

    def step(n: int) -> Any:
        if n <= 0:
            return "done"
        return (step, (n - 1,))

    r: Any = (step, (n,))
    while type(r) is tuple:
        r = r[0](*r[1])
    return n


def coroutine(n: int) -> int:
    """The yardstick of asynchronous tasks: a loop that awaits a trivial coroutine function."""

    async def step(n: int) -> int:
        return n - 1

    async def main(n: int) -> None:
        while n > 0:
            n = await step(n)

    asyncio.run(main(n))
    return n


def sleep0(n: int) -> int:
    """The yardstick of whatever goes through the event loop: one turn of it a step."""

    async def main(n: int) -> None:
        while n > 0:
            n -= 1
            await asyncio.sleep(0)

    asyncio.run(main(n))
    return n


#: Steps that take some 30 ms: long enough to be measured, short enough for a round to be undisturbed.
STEPS: dict[Callable[[int], int], int] = {trampoline: 300_000, coroutine: 300_000, sleep0: 8_000}


def warm_up(yardstick: Callable[[int], int]) -> None:
    """Call a yardstick until the interpreter has specialised it.

    Python 3.11 does that at the eighth call of a function, or at its eighth unconditional jump back; a ``while`` loop
    makes only conditional ones. Without this the trampoline runs its first seven rounds at 60% of its speed.
    """
    for _ in range(20):
        yardstick(1)
