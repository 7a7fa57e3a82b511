"""A wake-up that reaches every waiter, in any event loop, from any thread."""

from __future__ import annotations

import asyncio

__all__ = ["Wakeup"]


class Wakeup:
    """Counts wake-ups. Waiters say which one they have seen last, so none is lost between a check and the wait.

    Also serves where an ``asyncio.Event`` is expected: ``set``, ``clear``, ``is_set`` and ``wait``.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._cleared = 0
        self._waiters: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def set(self) -> None:
        """Wake all waiters; may be called from any thread."""
        self.generation += 1
        for waiter, loop in list(self._waiters.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)

    def clear(self) -> None:
        """Let the next ``wait()`` wait for a later wake-up."""
        self._cleared = self.generation

    def is_set(self) -> bool:
        """Whether there was a wake-up since the last ``clear()``."""
        return self.generation > self._cleared

    async def wait(self) -> bool:
        """Wait for a wake-up after the last ``clear()``."""
        await self.wait_beyond(self._cleared)
        return True

    async def wait_beyond(self, generation: int) -> None:
        """Wait until there was a wake-up after the one with this number."""
        while self.generation <= generation:
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            self._waiters[waiter] = loop
            try:
                if self.generation <= generation:  # another thread may have been faster than the registration
                    await waiter
            finally:
                del self._waiters[waiter]


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
