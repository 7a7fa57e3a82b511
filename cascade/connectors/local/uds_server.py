"""Telemetry for observers on the same machine: one JSON object a line, through a Unix stream socket."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from typing import Any

from cascade.connectors.local._sockets import Claim, claimed, siblings

__all__ = ["UdsTelemetryServer", "telemetry_sockets"]

_log = logging.getLogger(__name__)

#: Bytes kept for an observer that does not read them yet; beyond that it misses messages.
BUFFER = 1 << 20
#: Seconds in which an observer must read something, so that the server still waits for it when it stops; and in which
#: one must begin to that has never been seen to read what waits for it. The end of a run waits for that.
PATIENCE, FIRST_PATIENCE = 0.25, 0.03


def telemetry_sockets(uds_path: str) -> list[str]:
    """Return the sockets at which engines of this user serve telemetry: at ``uds_path``, and beside it.

    Several engines on one machine with the same setting have a socket each; whoever watches them all connects to each,
    and looks again from time to time.
    """
    return siblings(uds_path)


class UdsTelemetryServer:
    """Sends messages to whoever has connected, and never waits for a reader.

    The socket file is at ``uds_path``, or beside it while another process serves there.
    """

    def __init__(self, uds_path: str) -> None:
        self.uds_path = uds_path
        self._claim: Claim | None = None
        self._server: asyncio.Server | None = None
        self._observers: set[_Observer] = set()

    async def start(self) -> None:
        """Begin to listen, unless that was done.

        Raises:
            OSError: the socket cannot be made there.
        """
        if self._server is not None:
            return
        claim = await claimed(self.uds_path, socket.SOCK_STREAM)
        try:
            self._server = await asyncio.start_unix_server(self._serve, sock=claim.socket)
        except BaseException:
            claim.release()
            raise
        self._claim = claim

    async def stop(self) -> None:
        """Remove the socket file, and close all connections once the observers that read have got what was sent."""
        if self._server is None or self._claim is None:
            return
        self._server.close()
        self._claim.release()
        self._server = self._claim = None
        await self._finish()
        tasks = [observer.task for observer in self._observers]
        for observer in list(self._observers):
            observer.close()
        if tasks:
            await asyncio.wait(tasks)

    async def broadcast(self, message: dict[str, Any]) -> None:
        """Send a message to all observers; whoever is too far behind misses it."""
        if not self._observers:
            return
        line = json.dumps(message, default=repr).encode() + b"\n"
        for observer in list(self._observers):
            observer.send(line)

    async def _finish(self) -> None:
        while late := [observer for observer in self._observers if observer.backlog]:
            for observer in late:
                if observer.is_stuck():
                    observer.abort()
            await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        observer = _Observer(writer)
        self._observers.add(observer)
        try:
            while await reader.read(4096):
                pass  # observers have nothing to say; what matters is that they leave
        except OSError as error:
            _log.debug("lost a telemetry observer: %s", error)
        finally:
            self._observers.discard(observer)
            observer.close()


class _Observer:
    """A connection, and how far its reader is behind."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._transport = writer.transport
        self._writer = writer
        self.task: asyncio.Task[Any] = _current_task()
        #: Bytes not read when somebody last looked, and the moment at which some were last read.
        self._seen_backlog = 0
        self._last_read = time.monotonic()
        #: Whether it was ever seen to read what waited for it.
        self._has_read = False
        self._is_behind = False

    @property
    def backlog(self) -> int:
        """Bytes that the operating system could not take yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    def send(self, line: bytes) -> None:
        self._look()
        if self._transport.is_closing():
            return
        if self._seen_backlog + len(line) > BUFFER:
            self._miss()
            return
        self._writer.write(line)
        self._seen_backlog = self.backlog

    def is_stuck(self) -> bool:
        """Whether nothing was read for a while of what waits to be."""
        self._look()
        return time.monotonic() - self._last_read > (PATIENCE if self._has_read else FIRST_PATIENCE)

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _look(self) -> None:
        backlog = self.backlog
        if backlog < self._seen_backlog:
            self._has_read = True
        if backlog == 0 or backlog < self._seen_backlog:
            self._last_read = time.monotonic()
        self._seen_backlog = backlog

    def _miss(self) -> None:
        if not self._is_behind:
            self._is_behind = True
            _log.warning("a telemetry observer does not keep up: it misses messages")


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
