"""Telemetry of engines on this machine: JSON lines from a Unix stream socket, tried again and again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from cascade.common.messaging.bus import MessageBus

__all__ = ["RETRY_INTERVAL", "SocketWatcher"]

#: Seconds between one attempt and the next.
RETRY_INTERVAL = 2.0
#: Bytes of a line. An error's text may be long; what is longer still ends the connection.
_LONGEST = 2**24

Deliver = Callable[[str, Any], Awaitable[None]]


class SocketWatcher:
    """Hands on what an engine tells through its socket. What is wrong is said once, not at each attempt."""

    def __init__(self, path: str, deliver: Deliver, bus: MessageBus) -> None:
        self._path = path
        self._deliver = deliver
        self._bus = bus
        #: What was said last, unless a connection has been made since.
        self._complaint: tuple[str, dict[str, str]] | None = None

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._attempt()
            await asyncio.sleep(RETRY_INTERVAL)

    async def _attempt(self) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=_LONGEST)
        except FileNotFoundError:
            self._complain("observer.startup.uds_not_found", path=self._path)
        except ConnectionRefusedError:
            self._complain("observer.startup.uds_conn_refused", path=self._path)
        except OSError as error:
            self._complain("observer.error_uds", error=str(error))
        else:
            self._complaint = None
            self._bus.info("observer.startup.connected_uds")
            try:
                await self._hand_on(reader)
            finally:
                writer.close()

    async def _hand_on(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                await self._hand_on_line(line)
        except (OSError, ValueError) as error:  # a broken connection, or a line without end
            self._complain("observer.error_uds", error=str(error))
        else:
            self._bus.info("observer.shutdown_uds_disconnected")

    async def _hand_on_line(self, line: bytes) -> None:
        try:
            payload = json.loads(line)
        except ValueError as error:
            self._complain("observer.error_uds", error=f"not JSON: {error}")
        else:
            await self._deliver("", payload)

    def _complain(self, msg_id: str, **data: str) -> None:
        if self._complaint != (msg_id, data):
            self._complaint = (msg_id, data)
            self._bus.error(msg_id, **data)
