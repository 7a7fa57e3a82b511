"""One callback and the messages on their way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

from cascade.spec.protocols import SubscriptionHandle

__all__ = ["Callback", "Report", "Subscription"]

#: What a subscriber gives: called with topic and payload.
Callback: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[None]]
#: Told of a callback that failed: topic and error.
Report: TypeAlias = Callable[[str, Exception], None]


class Subscription(SubscriptionHandle):
    """Delivers messages to a callback, one after the other, in a task of its own.

    So a slow callback holds up neither publishers nor other subscribers. Its queue has no bound: the callback is the
    user's own code in this process, and a message that was accepted must not get lost.

    ``on_leave(subscription)`` takes it out of wherever it is registered, once, as the subscriber leaves.
    """

    def __init__(
        self,
        topic: str,
        callback: Callback,
        report: Report,
        on_leave: Callable[[Subscription], Awaitable[None]],
    ) -> None:
        self.topic = topic
        self.callback = callback
        self._report = report
        self._on_leave = on_leave
        #: The loop that subscribed; the callback runs there, whichever thread publishes.
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        #: Delivers what is in the queue; None until :meth:`start`.
        self.task: asyncio.Task[None] | None = None
        #: Whether the subscriber has left: nothing is delivered any more.
        self.is_over = False
        #: What its connector has told it of constraints; in a form of the connector's own.
        self.known: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to deliver what was put in the queue and what will be."""
        if not self.is_over:
            self.task = self._loop.create_task(self._listen())

    @property
    def is_dead(self) -> bool:
        """Whether its event loop was closed, so that nothing can be delivered any more."""
        return self._loop.is_closed()

    def put(self, topic: str, payload: Any) -> None:
        """Have a message delivered after those before it; may be called from any thread."""
        if asyncio._get_running_loop() is self._loop:
            self._queue.put_nowait((topic, payload))
            return
        with suppress(RuntimeError):  # closed this very moment: nobody is there any more
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (topic, payload))

    async def call(self, topic: str, payload: Any, report: Report | None = None) -> None:
        """Call the callback now; its failure is reported."""
        try:
            await self.callback(topic, payload)
        except Exception as error:
            (report or self._report)(topic, error)

    async def settle(self) -> None:
        """Wait until everything put so far is delivered, or the subscriber has left."""
        if self.task is not None:
            joined = self._loop.create_task(self._queue.join())
            await asyncio.wait([joined, self.task], return_when=asyncio.FIRST_COMPLETED)
            joined.cancel()

    async def unsubscribe(self) -> None:
        """Stop the deliveries; messages that are still on their way are dropped."""
        if not self.is_over:
            self.is_over = True
            try:
                await self._on_leave(self)
            finally:  # cancelled meanwhile, too: nobody else will
                await self.stop()

    async def stop(self) -> None:
        """End the task that delivers. From within the callback, that ends with the callback."""
        self.is_over = True
        task = self.task
        if task is None or task is asyncio.current_task():
            return
        if self._loop is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(task.cancel)

    async def _listen(self) -> None:
        while not self.is_over:
            topic, payload = await self._queue.get()
            try:
                await self.call(topic, payload)
            finally:
                self._queue.task_done()
