"""Helpers for the tests of programs that use Cascade: parts of an engine that record what they are asked, or pretend.

    with override_resource(engine, "db", fake_db):
        ...
    engine = Engine(NativeSolver(), SpyExecutor(), bus)
    seen = SpySubscriber(bus)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import MagicMock

from cascade.runtime.bus import MessageBus
from cascade.runtime.events import Event
from cascade.spec.protocols import Connector, Executor, Solver

if TYPE_CHECKING:
    from cascade.graph.model import Graph, Node
    from cascade.runtime.engine import Engine

__all__ = [
    "MockConnector",
    "MockExecutor",
    "MockSolver",
    "SpyExecutor",
    "SpySolver",
    "SpySubscriber",
    "override_resource",
]

E = TypeVar("E", bound=Event)

#: An async function of topic and payload.
_Callback = Callable[[str, dict[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)


@contextmanager
def override_resource(
    engine: Engine, name: str, new_resource_func: Callable[[], Any]
) -> Generator[None, None, None]:
    """Use another generator function for a resource inside a ``with``; then the original, with its scope, is back.

    Raises:
        KeyError: no resource of that name is registered.
        TypeError: ``engine`` is no engine, or ``new_resource_func`` cannot be called.
    """
    if not hasattr(engine, "override_resource_provider"):
        raise TypeError(f"override_resource takes an engine, not {type(engine).__name__}")
    from cascade.runtime.engine import Engine

    original = engine.get_resource_provider(name)
    if getattr(type(engine), "override_resource_provider", None) is Engine.override_resource_provider:
        with engine.resource_container.override(name, new_resource_func):
            yield
        return
    engine.override_resource_provider(name, new_resource_func)
    try:
        yield
    finally:
        engine.override_resource_provider(name, original)


class SpySubscriber:
    """Records every event of a bus, in order."""

    def __init__(self, bus: MessageBus) -> None:
        self.events: list[Event] = []
        bus.subscribe(Event, self.collect)

    def collect(self, event: Event) -> None:
        """Record one event."""
        self.events.append(event)

    def events_of_type(self, event_type: type[E]) -> list[E]:
        """Return the recorded events of a class and of those derived from it."""
        return [event for event in self.events if isinstance(event, event_type)]


class SpySolver(Solver):
    """Asks another solver; ``resolve`` is a mock, which knows how often and with what it was called."""

    def __init__(self, underlying_solver: Solver) -> None:
        self._underlying_solver = underlying_solver
        self.resolve = MagicMock(side_effect=self.resolve)  # type: ignore[method-assign]

    def resolve(self, graph: Graph) -> list[list[Node]]:
        """Return the plan of the other solver."""
        return self._underlying_solver.resolve(graph)


class MockSolver(Solver):
    """Returns the same plan for every graph."""

    def __init__(self, plan: list[list[Node]]) -> None:
        self._plan = plan

    def resolve(self, graph: Graph) -> list[list[Node]]:
        """Return the plan."""
        return self._plan


class SpyExecutor(Executor):
    """Calls nothing: records the nodes in ``call_log`` and returns ``executed_<name>``."""

    def __init__(self) -> None:
        self.call_log: list[Node] = []

    async def execute(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Record a node."""
        self.call_log.append(node)
        return f"executed_{node.name}"


class MockExecutor(Executor):
    """Calls nothing: sleeps, then returns the first positional argument, else the first keyword's, else a value."""

    def __init__(self, delay: float = 0, return_value: Any = "result") -> None:
        self.delay = delay
        self.return_value = return_value

    async def execute(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Pretend to have called the function of a node."""
        if self.delay > 0:
            await asyncio.sleep(self.delay)
        if args:
            return args[0]
        return next(iter(kwargs.values()), self.return_value)


class MockConnector(Connector):
    """A connector without a network: records what is published, and delivers what a test seeds or triggers."""

    def __init__(self) -> None:
        self.connected = False
        self.disconnected = False
        #: Callbacks by the topic that they subscribed to.
        self.subscriptions: dict[str, list[_Callback]] = {}
        #: Payloads by topic, for those who subscribe later.
        self.retained_messages: dict[str, dict[str, Any]] = {}
        #: ``{"topic": ..., "payload": ..., "retain": ..., "qos": ...}`` for each message, in order.
        self.publish_log: list[dict[str, Any]] = []
        #: Deliveries of retained messages that have not ended.
        self._deliveries: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Note that it was called."""
        self.connected = True

    async def disconnect(self) -> None:
        """Note that it was called, and give up deliveries that have not ended."""
        self.disconnected = True
        for delivery in self._deliveries:
            delivery.cancel()

    async def publish(  # type: ignore[override]  # the older engine's order
        self, topic: str, payload: dict[str, Any], retain: bool = False, qos: int = 0
    ) -> None:
        """Record a message; a retained one is kept for later subscribers, an empty retained one removes it."""
        self.publish_log.append({"topic": topic, "payload": payload, "retain": retain, "qos": qos})
        if retain and payload:
            self.retained_messages[topic] = payload
        elif retain:
            self.retained_messages.pop(topic, None)

    async def subscribe(self, topic: str, callback: _Callback) -> None:  # type: ignore[override]
        """Deliver messages of a topic from now on, and the retained ones in the background."""
        self.subscriptions.setdefault(topic, []).append(callback)
        for retained, payload in self.retained_messages.items():
            if self._topic_matches(topic, retained):
                delivery = asyncio.create_task(_deliver(callback, retained, payload))
                self._deliveries.add(delivery)
                delivery.add_done_callback(self._deliveries.discard)

    def seed_retained_message(self, topic: str, payload: dict[str, Any]) -> None:
        """Keep a message for later subscribers, as if it had been published before the test."""
        self.retained_messages[topic] = payload

    async def _trigger_message(self, topic: str, payload: dict[str, Any]) -> None:
        """Deliver a message to all whose subscription matches, and wait for them."""
        for subscription, callbacks in list(self.subscriptions.items()):
            if self._topic_matches(subscription, topic):
                for callback in list(callbacks):
                    await callback(topic, payload)

    def _topic_matches(self, subscription: str, topic: str) -> bool:
        if subscription.endswith("/#"):
            return f"{topic}/".startswith(subscription[:-1])
        return subscription == topic


async def _deliver(callback: _Callback, topic: str, payload: dict[str, Any]) -> None:
    try:
        await callback(topic, payload)
    except Exception as error:  # a callback that fails is the subscriber's affair
        _log.error("callback for %s failed: %s: %s", topic, type(error).__name__, error, exc_info=error)
