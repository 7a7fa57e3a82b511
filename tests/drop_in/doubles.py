"""What users of the older engine wrote in their tests: spies, fixed plans, stores of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import Event, LoopProgress

__all__ = ["FixedSolver", "ListeningConnector", "LoggingExecutor", "Spy", "drive", "engine_of"]


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's coroutine in an event loop of its own."""
    return asyncio.run(coroutine)


class Spy:
    """Collects what is published on a bus."""

    def __init__(self, bus: MessageBus) -> None:
        self.events: list[Any] = []
        bus.subscribe(Event, self.events.append)

    def of(self, *types: type[Event]) -> list[Any]:
        """Return the events of these types."""
        return [event for event in self.events if isinstance(event, types)]

    @property
    def names(self) -> list[str]:
        """The classes of all events in order, but for what the older engine did not have."""
        return [type(event).__name__ for event in self.events if not isinstance(event, LoopProgress)]


class FixedSolver:
    """Returns the plan that it was given."""

    def __init__(self, plan: list[list[Any]]) -> None:
        self.plan = plan

    def resolve(self, graph: Any) -> list[list[Any]]:
        return self.plan


class LoggingExecutor:
    """Runs nothing: notes the nodes and answers with their names."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    async def execute(self, node: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        self.log.append((node, args, kwargs))
        return f"{node.name}_result"


class ListeningConnector:
    """A connector in memory: messages are handed to callbacks, retained ones at the subscription."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.callbacks: dict[str, Any] = {}
        self.retained: dict[str, Any] = {}

    async def connect(self) -> None:
        self.log.append("connect")

    async def disconnect(self) -> None:
        self.log.append("disconnect")

    async def publish(self, topic: str, payload: Any, retain: bool = False, qos: int = 0) -> None:
        self.log.append((topic, payload))

    async def subscribe(self, topic: str, callback: Any) -> None:
        self.callbacks[topic] = callback
        for retained, payload in self.retained.items():
            await callback(retained, payload)

    async def tell(self, topic: str, payload: Any) -> None:
        """Deliver a message."""
        await self.callbacks["cascade/constraints/#"](topic, payload)


def engine_of(solver: Any = None, executor: Any = None, **options: Any) -> tuple[Engine, Spy]:
    """Return an engine and a spy on its bus."""
    bus = MessageBus()
    engine = Engine(solver=solver or NativeSolver(), executor=executor or LocalExecutor(), bus=bus, **options)
    return engine, Spy(bus)
