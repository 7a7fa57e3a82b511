"""A session of aiohttp for one request, after which no socket is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

__all__ = ["session_for_one_request"]


class _Connector(aiohttp.TCPConnector):
    """Knows the transports that it has handed out."""

    def __init__(self) -> None:
        super().__init__()
        self._transports: list[Any] = []

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        self._transports.append(connection.transport)
        return connection

    async def drop_what_is_unsent(self) -> None:
        """Abort transports that would wait, closed or not, for a server that does not read."""
        waiting = [one for one in self._transports if one is not None and one.get_write_buffer_size()]
        for one in waiting:
            one.abort()
        if waiting:
            await asyncio.sleep(0)  # in which the sockets are closed


@asynccontextmanager
async def session_for_one_request() -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session for the duration of the block, which may end in the middle of an upload."""
    connector = _Connector()
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session
    finally:
        await connector.drop_what_is_unsent()
