"""What the engine asks of the parts that users may replace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from cascade.graph.model import Graph, Node

__all__ = [
    "CacheBackend",
    "CachePolicy",
    "Connector",
    "ExecutionPlan",
    "Executor",
    "Graph",
    "LazyFactory",
    "Node",
    "Solver",
    "StateBackend",
    "SubscriptionHandle",
]

#: Stages in order; the nodes of one stage may run together.
ExecutionPlan: TypeAlias = "list[list[Node]]"


class Solver(Protocol):
    """Orders the nodes of a graph."""

    def resolve(self, graph: Graph) -> ExecutionPlan:
        """Return the stages in which the nodes run."""
        ...


class Executor(Protocol):
    """Calls the function of a node."""

    async def execute(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Return what the function of ``node`` returns for these arguments."""
        ...


class StateBackend(Protocol):
    """Keeps the results and skip marks of one run. ``clear`` is optional: see ``InMemoryStateBackend``."""

    async def put_result(self, node_id: str, result: Any) -> None:
        """Keep a result."""
        ...

    async def get_result(self, node_id: str) -> Any | None:
        """Return the result, or None."""
        ...

    async def has_result(self, node_id: str) -> bool:
        """Tell a stored None from nothing."""
        ...

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Note that a node was skipped."""
        ...

    async def get_skip_reason(self, node_id: str) -> str | None:
        """Return why a node was skipped, or None."""
        ...


class CachePolicy(Protocol):
    """Decides whether a call needs to run, and keeps what it returned.

    A policy that can tell a stored None from nothing may have a third method, ``async has(task_id, inputs) -> bool``:
    it is asked when ``check`` returned None.
    """

    async def check(self, task_id: str, inputs: dict[str, Any]) -> Any:
        """Return the cached value, or None."""
        ...

    async def save(self, task_id: str, inputs: dict[str, Any], output: Any) -> None:
        """Keep the value of a call."""
        ...


class CacheBackend(Protocol):
    """A key-value store with expiry in seconds."""

    async def get(self, key: str) -> Any | None:
        """Return the value, or None."""
        ...

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Keep a value."""
        ...


class LazyFactory(Protocol):
    """Something that makes lazy results: a task, or an object that behaves like one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return a lazy result."""
        ...

    def map(self, **kwargs: Any) -> Any:
        """Return a mapped lazy result."""
        ...


class SubscriptionHandle(Protocol):
    """Ends a subscription."""

    async def unsubscribe(self) -> None:
        """Stop the deliveries."""
        ...


class Connector(Protocol):
    """Carries control messages to an engine and telemetry from it."""

    async def connect(self) -> None:
        """Open the connection."""
        ...

    async def disconnect(self) -> None:
        """Send what was handed over, then close the connection."""
        ...

    async def publish(self, topic: str, payload: dict[str, Any], qos: int = 0, retain: bool = False) -> None:
        """Hand over a message."""
        ...

    async def subscribe(
        self, topic: str, callback: Callable[[str, dict[str, Any]], Awaitable[None]]
    ) -> SubscriptionHandle:
        """Deliver the messages of a topic to an async callback."""
        ...


def __getattr__(name: str) -> Any:
    # Node and Graph live a layer up; naming them here must not import upward until somebody asks.
    if name in ("Graph", "Node"):
        from cascade.graph import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
