"""Telemetry of engines on this machine: JSON lines from Unix stream sockets, looked for again and again.

    every RETRY_INTERVAL:  sockets at the path and beside it  ->  those not read yet  ->  a task that reads each
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from cascade.common.messaging.bus import MessageBus
from cascade.connectors.local.uds_server import telemetry_sockets

__all__ = ["RETRY_INTERVAL", "SocketWatcher"]

#: Seconds between one look and the next.
RETRY_INTERVAL = 2.0
#: Bytes of a line. An error's text may be long; what is longer still ends the connection.
_LONGEST = 2**24

Deliver = Callable[[str, Any], Awaitable[None]]


class SocketWatcher:
    """Hands on what engines tell through their sockets. What is wrong with one is said once, not at each look."""

    def __init__(self, path: str, deliver: Deliver, bus: MessageBus) -> None:
        self._path = path
        self._deliver = deliver
        self._bus = bus
        #: Paths of the sockets that are being read.
        self._read: set[str] = set()
        #: What was said last of a path that is not, by path.
        self._complaints: dict[str, tuple[str, dict[str, str]]] = {}

    async def watch(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as readers:
            while True:
                paths = telemetry_sockets(self._path) or [self._path]
                self._complaints = {path: said for path, said in self._complaints.items() if path in paths}
                for path in paths:
                    if path not in self._read:
                        await self._attempt(path, readers)
                await asyncio.sleep(RETRY_INTERVAL)

    async def _attempt(self, path: str, readers: asyncio.TaskGroup) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST)
        except FileNotFoundError:
            self._complain(path, "observer.startup.uds_not_found", path=path)
        except ConnectionRefusedError:
            self._complain(path, "observer.startup.uds_conn_refused", path=path)
        except OSError as error:
            self._complain(path, "observer.error_uds", error=str(error))
        else:
            self._read.add(path)
            self._complaints.pop(path, None)
            self._bus.info("observer.startup.connected_uds")
            readers.create_task(self._hand_on(path, reader, writer))

    async def _hand_on(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await self._hand_on_line(path, line)
            self._bus.info("observer.shutdown_uds_disconnected")
        except (OSError, ValueError) as error:  # a broken connection, or a line without end
            self._complain(path, "observer.error_uds", error=str(error))
        finally:
            self._read.discard(path)
            writer.close()

    async def _hand_on_line(self, path: str, line: bytes) -> None:
        try:
            payload = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._complain(path, "observer.error_uds", error=f"not JSON: {error}")
        else:
            await self._deliver("", payload)

    def _complain(self, at: str, msg_id: str, /, **data: str) -> None:
        if self._complaints.get(at) != (msg_id, data):
            self._complaints[at] = (msg_id, data)
            self._bus.error(msg_id, **data)
