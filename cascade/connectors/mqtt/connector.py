"""Control and telemetry through an MQTT broker."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from cascade.connectors import _constraint_topics as constraints
from cascade.connectors._subscription import Callback, Subscription
from cascade.connectors._topics import matches
from cascade.connectors.mqtt._outbox import Letter, Outbox
from cascade.connectors.mqtt._retaining import first_of, retain_beside
from cascade.spec.protocols import Connector, SubscriptionHandle

aiomqtt: Any
try:
    import aiomqtt
except ImportError:
    aiomqtt = None

__all__ = ["MqttConnector"]

_log = logging.getLogger(__name__)

#: Seconds that a broker gets to deliver retained messages.
RETAINED_WAIT = 0.2
#: Seconds between attempts to connect again: the first pause, doubled up to the last.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: Seconds in which the broker must answer the first of these attempts, doubled each time up to the usual.
FIRST_PATIENCE = 0.5
#: Seconds without any message getting through until ``disconnect`` gives the rest up.
PATIENCE = 30.0
#: What :func:`_decoded` returns for payloads that are not JSON.
_UNREADABLE = object()


class MqttConnector(Connector):
    """Talks to an MQTT broker; ``client_kwargs`` go to ``aiomqtt.Client`` (``username``, ``tls_params``, ...).

    ``publish`` returns at once. Messages are sent in the background, in order; those handed over while the broker is
    away wait for it, and ``disconnect`` waits for all of them. A lost connection is reported, established again, and
    subscribed again.

    With ``qos=0`` a message counts as sent when the operating system has it, so the few on their way at the moment
    when a broker dies may be lost. With ``qos=1`` it counts when the broker has confirmed it, and is sent again if that
    does not come: none is lost, and one may arrive twice. Telemetry asks for 1 (``telemetry_qos``); constraints are
    retained, so a reader that was away reads them again.

    An empty constraint message stays with the broker, as ``{}``, so that an engine whose connection was down when a
    pause ended learns of it. Late subscribers are not told of it.
    """

    #: The service that telemetry asks for.
    telemetry_qos = 1

    def __init__(self, hostname: str, port: int = 1883, **kwargs: Any) -> None:
        if aiomqtt is None:
            raise ImportError("The 'aiomqtt' library is required for MqttConnector: pip install 'cascade-hot[mqtt]'")
        self.hostname = hostname
        self.port = port
        self.client_kwargs = kwargs
        self._source_id = f"{socket.gethostname()}-{os.getpid()}"
        #: The client entered last; None while not connected. It stays while a lost connection is restored.
        self._client: Any = None
        #: Subscriptions by filter; none of the lists is empty.
        self._subscriptions: dict[str, list[Subscription]] = {}
        #: Runs :meth:`_message_loop`.
        self._loop_task: asyncio.Task[None] | None = None
        #: Work that needs the present connection: cancelled when that is lost.
        self._link_tasks: set[asyncio.Future[Any]] = set()
        self._is_up = False
        self._leaving = asyncio.Event()
        self._outbox = Outbox(self._send, _is_link_error)
        #: Where the messages of a constraint topic go while a constraint is published there.
        self._echoes: dict[str, asyncio.Queue[Any]] = {}
        #: The last unreadable payload of a topic, so that a retained one is reported once.
        self._unreadable: dict[str, Any] = {}

    # -- lifecycle ---

    async def connect(self) -> None:
        """Connect, unless that was done.

        Raises:
            aiomqtt.MqttError: the broker cannot be reached, or refuses.
        """
        if self._client is not None:
            return
        client = self._new_client()
        try:
            await _enter(client)
        except Exception as error:
            error.add_note(f"while connecting to the MQTT broker at {self.hostname}:{self.port}")
            raise
        self._client, self._is_up = client, True
        self._leaving = asyncio.Event()
        self._outbox = Outbox(self._send, _is_link_error)
        self._loop_task = asyncio.create_task(self._message_loop())

    async def disconnect(self) -> None:
        """Send what was handed over, then close the connection and end all subscriptions."""
        if self._client is None:
            return
        try:
            left = await self._outbox.drain(PATIENCE)
            if left:
                _log.error("MQTT broker %s:%d did not come back: %d messages lost", self.hostname, self.port, left)
        finally:
            await self._close()

    async def _close(self) -> None:
        self._leaving.set()
        self._outbox.hold()
        self._drop_link()
        await self._end_loop()
        subscriptions = [one for subscribers in self._subscriptions.values() for one in subscribers]
        self._subscriptions.clear()
        for subscription in subscriptions:
            await subscription.stop()
        client, self._client = self._client, None
        await _leave(client)

    async def _end_loop(self) -> None:
        """End the message loop: at once where it listens, but never while it connects, which would leak the socket."""
        task, self._loop_task = self._loop_task, None
        if task is None:
            return
        if self._is_up:
            task.cancel()
        self._is_up = False
        await asyncio.wait([task])

    def _new_client(self) -> Any:
        will = aiomqtt.Will(f"cascade/status/{self._source_id}", json.dumps({"status": "offline"}))
        client = aiomqtt.Client(**{"hostname": self.hostname, "port": self.port, "will": will, **self.client_kwargs})
        client.pending_calls_threshold = 100  # more than can be: aiomqtt warns of each message beyond
        return client

    # -- publishing ---

    async def publish(self, topic: str, payload: Any, qos: int = 0, retain: bool = False) -> None:
        """Hand over a message: a dict (sent as JSON) or text. Whatever goes wrong with it later is logged."""
        if self._client is None:
            _log.warning("not connected to an MQTT broker: message to %s is not sent", topic)
            return
        try:
            letter = _letter(topic, payload, qos, retain)
        except (TypeError, ValueError) as error:
            _log.error("message to %s was not sent: it is no JSON: %s", topic, error)
            return
        self._outbox.put(letter)

    async def flush(self, patience: float = PATIENCE) -> None:
        """Wait until everything handed over is sent; give the rest up if nothing is for ``patience`` seconds.

        Raises:
            ConnectionError: something was given up, now or earlier.
        """
        if await self._outbox.drain(patience):
            self._outbox.give_up()
        if self._outbox.given_up:
            raise ConnectionError(
                f"the MQTT broker at {self.hostname}:{self.port} has not taken {self._outbox.given_up} message(s)"
            )

    async def _send(self, letter: Letter) -> None:
        if letter.is_constraint:
            await self._retain(letter)
        else:
            client = self._client
            await client.publish(letter.topic, payload=letter.payload, qos=letter.qos, retain=letter.retain)

    async def _retain(self, letter: Letter) -> None:
        """Publish a constraint together with the others that the broker retains for its scope."""
        client, topic = self._client, letter.topic
        subscribers = self._matching(topic)
        heard = self._echoes[topic] = asyncio.Queue()
        try:
            if subscribers:  # they have been told
                retained = next((one.known[topic] for one in subscribers if topic in one.known), None)
            else:
                await client.subscribe(topic)
                retained = await first_of(heard, RETAINED_WAIT)
            await retain_beside(client, topic, letter.payload, letter.qos, retained, heard, RETAINED_WAIT)
        finally:
            del self._echoes[topic]
        if not subscribers:
            await client.unsubscribe(topic)

    # -- subscribing ---

    async def subscribe(self, topic: str, callback: Callback) -> SubscriptionHandle:
        """Deliver messages to ``callback``, in order; a topic may have several callbacks.

        Raises:
            RuntimeError: not connected.
            ValueError: the broker's client does not take the topic.
        """
        if self._client is None:
            raise RuntimeError("MqttConnector is not connected: call connect() before subscribe()")
        subscription = Subscription(topic, callback, _on_error, self._leave)
        self._subscriptions.setdefault(topic, []).append(subscription)
        subscription.start()
        try:
            await self._on_link(self._client.subscribe(topic))
            await asyncio.sleep(RETAINED_WAIT)
        except BaseException:
            self._forget(subscription)
            await subscription.stop()
            raise
        return subscription

    def _forget(self, subscription: Subscription) -> bool:
        """Take a subscription out; return whether its filter has no other."""
        rest = [one for one in self._subscriptions.get(subscription.topic, ()) if one is not subscription]
        if rest:
            self._subscriptions[subscription.topic] = rest
            return False
        return self._subscriptions.pop(subscription.topic, None) is not None

    async def _leave(self, subscription: Subscription) -> None:
        if self._forget(subscription) and self._is_up:
            try:
                await self._on_link(self._client.unsubscribe(subscription.topic))
            except Exception as error:
                _log.warning("cannot unsubscribe from %s: %s", subscription.topic, error)

    async def _on_link(self, work: Awaitable[Any]) -> None:
        """Await what the broker must confirm; if the connection is lost meanwhile, restoring it sees to the rest."""
        task = asyncio.ensure_future(work)
        self._link_tasks.add(task)
        try:
            await asyncio.wait([task])
            if not task.cancelled():
                _raise_unless_lost(task.exception())
        finally:
            self._link_tasks.discard(task)
            task.cancel()

    def _drop_link(self) -> None:
        for task in list(self._link_tasks):
            task.cancel()

    # -- receiving ---

    async def _message_loop(self) -> None:
        """Deliver what arrives; when the connection is lost, restore it and go on."""
        while True:
            try:
                async for message in self._client.messages:
                    self._receive(message)
            except Exception as error:
                self._on_lost(error)
            else:  # only a client that somebody else has closed
                break
            if not await self._restore():
                return
        for subscribers in list(self._subscriptions.values()):
            for subscription in subscribers:
                await subscription.settle()

    def _receive(self, message: Any) -> None:
        topic = _topic_of(message)
        is_retained = getattr(message, "retain", False) is True
        payload = _decoded(message.payload)
        if payload is _UNREADABLE:
            self._report_unreadable(topic, message.payload, is_retained)
            return
        if topic in self._echoes:
            self._echoes[topic].put_nowait(payload)
        for subscription in self._matching(topic):
            if constraints.is_constraint_topic(topic):
                known = subscription.known.get(topic)
                for part in constraints.changes(known, payload, is_retained):
                    subscription.put(topic, part)
                subscription.known[topic] = payload if is_retained else constraints.joined(known, payload)
            else:
                subscription.put(topic, payload)

    def _matching(self, topic: str) -> list[Subscription]:
        return [one for filter_, subs in self._subscriptions.items() if matches(filter_, topic) for one in subs]

    def _report_unreadable(self, topic: str, payload: Any, is_retained: bool) -> None:
        if not is_retained or self._unreadable.get(topic) != payload:
            _log.error("message on %s is not JSON and was dropped: %.100r", topic, payload)
        if is_retained:
            self._unreadable[topic] = payload

    # -- reconnecting ---

    def _on_lost(self, error: Exception) -> None:
        place = f"{self.hostname}:{self.port}"
        _log.warning("lost the connection to the MQTT broker at %s (%s); trying to restore it", place, error)
        self._is_up = False
        self._outbox.hold()
        self._drop_link()

    async def _restore(self) -> bool:
        """Connect again, however long it takes; return False if ``disconnect`` was faster."""
        await _leave(self._client)
        client, pause, patience = self._new_client(), FIRST_PAUSE, FIRST_PATIENCE
        usual = client.timeout
        while not self._leaving.is_set():
            client.timeout = min(patience, usual)  # a broker that dies before it has answered is not noticed otherwise
            try:
                await client.__aenter__()
            except Exception as error:
                _log.debug("MQTT broker at %s:%d: %s", self.hostname, self.port, error)
                await self._wait_to_leave(pause)
                pause, patience = min(2 * pause, LONGEST_PAUSE), 2 * patience
            else:
                client.timeout = usual
                self._client = client
                self._is_up = not self._leaving.is_set()
                if self._is_up:
                    self._start_renewal()
                return self._is_up
        return False

    def _start_renewal(self) -> None:
        renewal = asyncio.create_task(self._renew())
        self._link_tasks.add(renewal)
        renewal.add_done_callback(self._link_tasks.discard)

    async def _wait_to_leave(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def _renew(self) -> None:
        """Subscribe again, then go on sending."""
        for topic in list(self._subscriptions):
            try:
                await self._client.subscribe(topic)
            except Exception as error:
                _log.error("cannot subscribe to %s again: %s: %s", topic, type(error).__name__, error)
        _log.info("restored the connection to the MQTT broker at %s:%d", self.hostname, self.port)
        self._outbox.release()

    @staticmethod
    def _topic_matches(subscription: str, topic: str) -> bool:
        return matches(subscription, topic)


def _letter(topic: str, payload: Any, qos: int, retain: bool) -> Letter:
    """Return the message to send.

    Raises:
        TypeError, ValueError: the payload cannot be written as JSON.
    """
    is_constraint = retain and constraints.is_constraint_topic(topic)
    if retain and (payload is None or payload in ({}, "", b"")):
        return Letter(topic, "{}" if is_constraint else "", qos, retain)
    if isinstance(payload, (str, bytes)):
        return Letter(topic, payload, qos, retain)
    text = json.dumps(payload)
    if is_constraint and isinstance(payload, dict):
        return Letter(topic, json.loads(text), qos, retain)
    return Letter(topic, text, qos, retain)


def _decoded(payload: Any) -> Any:
    if not payload:
        return {}
    try:
        return json.loads(payload)
    except (TypeError, ValueError, RecursionError):
        return _UNREADABLE


def _topic_of(message: Any) -> str:
    topic = getattr(message.topic, "value", None)
    return topic if isinstance(topic, str) else str(message.topic)


def _on_error(topic: str, error: Exception) -> None:
    _log.error("callback for %s failed: %s: %s", topic, type(error).__name__, error, exc_info=error)


def _is_link_error(error: BaseException) -> bool:
    """Whether an error means that the connection failed rather than the message."""
    return isinstance(aiomqtt.MqttError, type) and isinstance(error, aiomqtt.MqttError)


def _raise_unless_lost(error: BaseException | None) -> None:
    if error is None:
        return
    if not _is_link_error(error):
        raise error
    _log.warning("the MQTT broker has not confirmed: %s", error)


#: What closes clients that were entered in vain.
_leaving: set[asyncio.Task[None]] = set()


async def _enter(client: Any) -> None:
    """Connect a client that is not used if that fails, or if the caller is cancelled: then it leaves no socket behind.

    It is closed in the background. A client cannot be stopped while a thread of its own connects, and a broker that
    did not answer will not do so when it is left.
    """
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except (Exception, asyncio.CancelledError):
        leaving = asyncio.create_task(_leave_entered(client, entering))
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)
        raise


async def _leave_entered(client: Any, entering: asyncio.Future[Any]) -> None:
    try:
        await entering
    except Exception as error:
        if _is_unreached(error):
            return
    await _leave(client)


def _is_unreached(error: BaseException) -> bool:
    """Whether there was not even a socket, so that nothing has to be closed."""
    cause = error.__context__
    return isinstance(cause, OSError) and not isinstance(cause, TimeoutError)


async def _leave(client: Any) -> None:
    """Close a client; a connection that is broken already is no error."""
    try:
        await client.__aexit__(None, None, None)
    except Exception as error:
        _log.debug("while closing the connection to the MQTT broker: %s", error)
    for _ in range(3):  # the client has a task of its own that it cancels in the next turn of the loop
        await asyncio.sleep(0)
