"""A broker within the process: for tests, and for programs whose parts share one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from cascade.common.messaging import bus
from cascade.connectors._broker import Broker
from cascade.connectors._subscription import Callback, Subscription
from cascade.connectors._topics import matches
from cascade.spec.protocols import Connector, SubscriptionHandle

__all__ = ["LocalBusConnector"]


class LocalBusConnector(Connector):
    """Talks to all other instances in this process, as through an MQTT broker.

    It may be used at once, without ``connect``. ``disconnect`` ends its subscriptions; what others were sent stays in
    their queues.
    """

    _broker: ClassVar[Broker] = Broker()
    _exact_subscriptions = _broker.exact
    _wildcard_subscriptions = _broker.wildcard
    _retained_messages = _broker.retained
    #: One lock for each event loop, because a lock belongs to the loop that waits for it.
    _locks: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._is_connected = True
        self._subscriptions: list[Subscription] = []

    @property
    def _listener_tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that deliver to subscribers of this instance."""
        return [one.task for one in self._subscriptions if one.task is not None]

    @classmethod
    def _get_lock(cls) -> asyncio.Lock:
        """Return a lock for those who change the broker's state across an await; no method here does."""
        return cls._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    @classmethod
    def _reset_broker_state(cls) -> None:
        """Forget all subscriptions and retained messages of the process."""
        cls._broker.clear()

    async def connect(self) -> None:
        """Open it again after ``disconnect``."""
        self._is_connected = True

    async def disconnect(self) -> None:
        """End all subscriptions of this instance."""
        self._is_connected = False
        async with AsyncExitStack() as rest:  # where this is cancelled at one, the others are ended all the same
            for subscription in self._subscriptions:
                rest.push_async_callback(subscription.unsubscribe)

    async def publish(self, topic: str, payload: Any, qos: int = 0, retain: bool = False) -> None:
        """Hand a message to everybody who has subscribed to its topic; later changes of ``payload`` do not matter."""
        if not self._is_connected:
            return
        self._broker.publish(topic, payload, retain)

    async def subscribe(self, topic: str, callback: Callback) -> SubscriptionHandle:
        """Deliver the retained messages at once, and later ones in order.

        Raises:
            RuntimeError: after ``disconnect``.
        """
        if not self._is_connected:
            raise RuntimeError("LocalBusConnector is not connected: call connect() before subscribe()")
        subscription = Subscription(topic, callback, _on_error, self._leave)
        self._broker.add(subscription)
        self._subscriptions.append(subscription)
        retained = self._broker.retained_for(topic)
        for retained_topic, payload in retained:
            await subscription.call(retained_topic, payload, _on_retained_error)
        subscription.start()
        return subscription

    async def _leave(self, subscription: Subscription) -> None:
        self._broker.remove(subscription)
        self._subscriptions.remove(subscription)

    @staticmethod
    def _topic_matches(subscription: str, topic: str) -> bool:
        return matches(subscription, topic)


def _on_error(topic: str, error: Exception) -> None:
    bus.error("localbus.callback_error", topic=topic, error=str(error))


def _on_retained_error(topic: str, error: Exception) -> None:
    bus.error("localbus.retained_callback_error", topic=topic, error=str(error))
