"""Control and telemetry on one machine: an SQLite file and Unix sockets, without a server.

controller --- insert or delete ---> control.db <--- read --- engine
    |                                                           ^
    +------- empty datagram: "look at the table" ---------------+

engine --- JSON lines ---> telemetry socket ---> observers
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

from cascade.connectors._broker import Broker
from cascade.connectors._constraint_topics import is_constraint_topic, may_cover, scope_of, topic_of
from cascade.connectors._subscription import Callback, Subscription
from cascade.connectors._topics import matches
from cascade.connectors.errors import ControlDatabaseError
from cascade.connectors.local._sockets import claimed, siblings
from cascade.connectors.local._store import ConstraintStore, Row
from cascade.connectors.local._table import news
from cascade.connectors.local.uds_server import UdsTelemetryServer
from cascade.runtime._wakeup import Wakeup
from cascade.spec.protocols import Connector, SubscriptionHandle

__all__ = ["DEFAULT_TELEMETRY_UDS_PATH", "DEFAULT_UDS_PATH", "POLL_INTERVAL", "LocalConnector", "UDSServerProtocol"]

_log = logging.getLogger(__name__)

DEFAULT_UDS_PATH = os.path.join(tempfile.gettempdir(), "cascade.sock")
DEFAULT_TELEMETRY_UDS_PATH = os.path.join(tempfile.gettempdir(), "cascade-telemetry.sock")
#: Seconds between looks at the table where nobody can be woken through a socket.
POLL_INTERVAL = 0.2
#: Seconds between looks all the same: a change may come from somebody who wakes nobody.
SAFETY_INTERVAL = 1.0

_TELEMETRY = "cascade/telemetry/"


class UDSServerProtocol(asyncio.DatagramProtocol):
    """Calls ``on_recv.set()`` for each datagram, whatever it says."""

    def __init__(self, on_recv: asyncio.Event | Wakeup) -> None:
        self._on_recv = on_recv

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Tell whoever waits."""
        self._on_recv.set()


class LocalConnector(Connector):
    """Takes constraints from the SQLite file ``db_path`` and serves telemetry to observers on the same machine.

    Other topics reach the subscribers of this process that use the same file. Several engines may have the same
    settings: each has sockets of its own beside those of the first. Where sockets cannot be made, that is reported
    once, the table is looked at every ``POLL_INTERVAL`` seconds, and nobody can observe.
    """

    #: Messages on other topics, by file.
    _brokers: ClassVar[WeakValueDictionary[str, Broker]] = WeakValueDictionary()

    def __init__(
        self,
        db_path: str = "~/.cascade/control.db",
        uds_path: str = DEFAULT_UDS_PATH,
        telemetry_uds_path: str = DEFAULT_TELEMETRY_UDS_PATH,
    ) -> None:
        self.db_path = Path(db_path).expanduser()
        self.uds_path = str(uds_path)
        self.telemetry_uds_path = str(telemetry_uds_path)
        self._is_connected = False
        #: Whether the table is looked at often because nobody can wake this connector.
        self._use_polling = not hasattr(socket, "AF_UNIX")
        self._store = ConstraintStore(str(self.db_path))
        self._telemetry_server: UdsTelemetryServer | None = None
        self._broker = self._brokers.setdefault(os.path.abspath(self.db_path), Broker())
        self._subscriptions: list[Subscription] = []
        #: Tasks that watch the table for a subscription.
        self._watchers: dict[Subscription, asyncio.Task[None]] = {}
        #: Set when the table may have changed.
        self._wakeup = Wakeup()
        self._is_listening = False
        #: What ``disconnect`` has to undo.
        self._open = AsyncExitStack()

    @property
    def _conn(self) -> sqlite3.Connection | None:
        """The database connection while connected."""
        return self._store.connection

    # -- lifecycle ---

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        await self.disconnect()

    async def connect(self) -> Self:  # type: ignore[override]  # the protocol has no use for the connector itself
        """Open the database and begin to serve observers, unless that was done.

        Raises:
            ControlDatabaseError: the database cannot be used, for example as a newer version has written it.
        """
        if self._is_connected:
            return self
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self._store.close)
            await asyncio.to_thread(self._store.open)
            if not self._use_polling:
                await self._serve_telemetry(stack)
            stack.push_async_callback(self._end_subscriptions)
            self._open = stack.pop_all()
        self._is_connected = True
        return self

    async def disconnect(self) -> None:
        """End the subscriptions, give observers what is on its way to them, and close everything."""
        self._is_connected = False
        self._is_listening = False
        await self._open.aclose()

    async def _serve_telemetry(self, stack: AsyncExitStack) -> None:
        server = UdsTelemetryServer(self.telemetry_uds_path)
        try:
            await server.start()
        except OSError as error:
            self._fall_back(self.telemetry_uds_path, error)
            return
        self._telemetry_server = server
        stack.push_async_callback(self._stop_telemetry)

    async def _stop_telemetry(self) -> None:
        server, self._telemetry_server = self._telemetry_server, None
        if server is not None:
            await server.stop()

    async def _listen(self) -> None:
        """Have others wake this connector; from the first subscription on, as a controller needs no socket."""
        if self._is_listening or self._use_polling:
            return
        self._is_listening = True
        try:
            claim = await claimed(self.uds_path, socket.SOCK_DGRAM)
        except OSError as error:
            self._fall_back(self.uds_path, error)
            return
        self._open.callback(claim.release)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: UDSServerProtocol(self._wakeup), sock=claim.socket)
        self._open.callback(transport.close)

    def _fall_back(self, path: str, error: OSError) -> None:
        """Report it, and ask for no other socket: one report is enough for all of them."""
        self._use_polling = True
        _log.warning(
            "no socket can be made at %s (%s): constraints are looked for every %s s, and telemetry may not be "
            "watched. Give LocalConnector uds_path and telemetry_uds_path in a directory that you may write to",
            path,
            error.strerror or error,
            POLL_INTERVAL,
        )

    # -- publishing ---

    async def publish(  # type: ignore[override]  # any option of any connector is taken
        self, topic: str, payload: dict[str, Any], **kwargs: Any
    ) -> None:
        """Store a constraint (or delete those of a scope), send telemetry to observers, or hand on anything else.

        Of the options of other connectors only ``retain`` means something, and only for what is handed on.

        Raises:
            RuntimeError: not connected.
            ValueError: the payload on a constraint topic is no constraint.
        """
        self._check_connected("publish")
        if is_constraint_topic(topic):
            if payload:
                await asyncio.to_thread(self._store.put, payload)
            else:
                await asyncio.to_thread(self._store.delete, scope_of(topic))
            self._wakeup.set()
            await self._send_uds_signal()
        elif topic.startswith(_TELEMETRY):
            if self._telemetry_server is not None:
                await self._telemetry_server.broadcast(payload)
        else:
            self._broker.publish(topic, payload, bool(kwargs.get("retain")))

    async def _send_uds_signal(self) -> None:
        """Have everybody who listens look at the table."""
        if not hasattr(socket, "AF_UNIX"):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for path in siblings(self.uds_path):
                with suppress(OSError):  # gone, or has more signals than it has looked at
                    sender.sendto(b"1", path)

    # -- subscribing ---

    async def subscribe(self, topic: str, callback: Callback) -> SubscriptionHandle:
        """Deliver the stored constraints that match, and what else is retained, at once; later ones as they come.

        Raises:
            RuntimeError: not connected.
        """
        self._check_connected("subscribe")
        subscription = Subscription(topic, callback, _on_error, self._leave)
        self._broker.add(subscription)
        self._subscriptions.append(subscription)
        try:
            for retained_topic, payload in self._broker.retained_for(topic):
                await subscription.call(retained_topic, payload)
            if may_cover(topic):
                await self._begin_to_watch(subscription)
            subscription.start()
        except BaseException:
            await subscription.unsubscribe()
            raise
        return subscription

    async def _begin_to_watch(self, subscription: Subscription) -> None:
        """Tell what is in the table, then have a task tell what changes."""
        await self._listen()
        generation = self._wakeup.generation
        await self._sync_and_notify(subscription.callback)
        if not subscription.is_over:
            self._watchers[subscription] = asyncio.create_task(self._watch(subscription, generation))

    async def _watch(self, subscription: Subscription, generation: int) -> None:
        """Look at the table whenever somebody says so, and from time to time."""
        is_broken = False
        while not subscription.is_over:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL if self._use_polling else SAFETY_INTERVAL):
                    await self._wakeup.wait_beyond(generation)
            generation = self._wakeup.generation
            try:
                await self._sync_and_notify(subscription.callback)
                is_broken = False
            except ControlDatabaseError as error:
                if not is_broken:
                    _log.error("constraints cannot be read, those in force stay: %s", error)
                is_broken = True

    async def _sync_and_notify(self, callback: Callback) -> None:
        """Tell a callback what has changed in the table; everything, if it has not subscribed."""
        subscriptions = [one for one in self._subscriptions if one.callback == callback]
        rows = await self._rows()
        for subscription in subscriptions or [Subscription("#", callback, _on_error, self._leave)]:
            known: dict[str, Row] = subscription.known
            matching = [row for row in rows if matches(subscription.topic, topic_of(row.scope))]
            messages = news(known, matching)
            subscription.known = {row.id: row for row in matching}
            for topic, payload in messages:
                if not subscription.is_over:
                    await subscription.call(topic, payload)

    async def _rows(self) -> list[Row]:
        return await asyncio.to_thread(self._store.rows)

    async def _leave(self, subscription: Subscription) -> None:
        self._broker.remove(subscription)
        self._subscriptions.remove(subscription)
        watcher = self._watchers.pop(subscription, None)
        if watcher is not None and watcher is not asyncio.current_task():
            watcher.cancel()
            await asyncio.wait([watcher])

    async def _end_subscriptions(self) -> None:
        async with AsyncExitStack() as rest:  # where this is cancelled at one, the others are ended all the same
            for subscription in self._subscriptions:
                rest.push_async_callback(subscription.unsubscribe)

    def _check_connected(self, action: str) -> None:
        if not self._is_connected:
            raise RuntimeError(f"LocalConnector is not connected: call connect() before {action}()")

    def _scope_to_topic(self, scope: str) -> str:
        return topic_of(scope)

    def _topic_to_scope(self, topic: str) -> str:
        return scope_of(topic)


def _on_error(topic: str, error: Exception) -> None:
    _log.error("callback for %s failed: %s: %s", topic, type(error).__name__, error, exc_info=error)
