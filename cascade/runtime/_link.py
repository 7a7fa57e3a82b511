"""What an engine has to do with its connector: connected once for all runs that go on at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from inspect import isawaitable
from typing import Any

from cascade.spec.protocols import Connector

__all__ = ["Link"]

_CONSTRAINT_TOPIC = "cascade/constraints/#"


class Link:
    """One connector in one event loop. The first run that joins connects, the last that leaves disconnects.

    Constraint messages go to ``on_message``. Subscribing happens within ``renewing()``, so that the engine can tell
    what it was told then from what it was told in earlier runs.
    """

    def __init__(
        self,
        connector: Connector,
        on_message: Callable[[str, dict[str, Any]], Awaitable[None]],
        renewing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.connector = connector
        self.loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._renewing = renewing
        #: Runs that have joined, or are about to, and have not left.
        self._runs = 0
        #: Held while connecting and disconnecting, so that nobody joins what is being closed.
        self._lock = asyncio.Lock()
        self._is_open = False
        #: Whether ``connect`` was called since the last ``disconnect``, successfully or not.
        self._is_touched = False
        self._handle: Any = None

    async def join(self, on_connected: Callable[[], object]) -> None:
        """Connect, call ``on_connected``, and subscribe to constraints, as far as that was not done.

        Whoever has called this must call :meth:`leave`, also if it failed.
        """
        self._runs += 1
        async with self._lock:
            if self._is_open:
                on_connected()
            else:
                await self._open(on_connected)

    async def leave(self) -> bool:
        """Disconnect, unless other runs are there; return whether there are none."""
        self._runs -= 1
        async with self._lock:
            if self._runs == 0 and self._is_touched:
                await self._close()
        return self._runs == 0

    async def _open(self, on_connected: Callable[[], object]) -> None:
        self._is_touched = True
        await self.connector.connect()
        on_connected()
        with self._renewing():  # connectors of users' own may return nothing
            self._handle = await self.connector.subscribe(_CONSTRAINT_TOPIC, self._on_message)
            for _ in range(2):  # what a connector delivers by a Task of its own is in force from the start
                await asyncio.sleep(0)
        self._is_open = True

    async def _close(self) -> None:
        """Close the connector; how that fails is logged, because it is not the run that failed."""
        self._is_open = self._is_touched = False
        handle, self._handle = self._handle, None
        try:
            try:
                await _unsubscribe(handle)
            finally:
                await self.connector.disconnect()
        except Exception as error:
            _report(error)


async def _unsubscribe(handle: Any) -> None:
    unsubscribe = getattr(handle, "unsubscribe", None)
    result = unsubscribe() if unsubscribe is not None else None
    if isawaitable(result):
        await result


def _report(error: Exception) -> None:
    import logging

    logging.getLogger(__name__).error("connector was not closed: %s: %s", type(error).__name__, error, exc_info=error)
