"""Engines for tests, and a note-book for what happens in them."""

from __future__ import annotations

import asyncio
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.runtime.events import Event, LoopProgress, TaskEvent

__all__ = ["CountingSolver", "make_engine", "names_of", "run", "watch"]


class CountingSolver(NativeSolver):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def resolve(self, graph: Any) -> Any:
        self.calls += 1
        return super().resolve(graph)


def make_engine(solver: Any = None, executor: Any = None, resources: Any = (), **options: Any) -> Engine:
    """Return an engine of stock parts, except those given."""
    engine = Engine(solver or NativeSolver(), executor or LocalExecutor(), MessageBus(), **options)
    for one in resources:
        engine.register(one)
    return engine


def run(target: Any, engine: Engine | None = None, params: Any = None, **options: Any) -> Any:
    """Run a target in an event loop of its own."""
    return asyncio.run((engine or make_engine(**options)).run(target, params))


def watch(engine: Engine, *types: type[Event]) -> list[Event]:
    """Return the list that the events of these types (all by default) are put in."""
    seen: list[Event] = []
    for one in types or (Event,):
        engine.bus.subscribe(one, seen.append)
    return seen


def names_of(events: list[Event]) -> list[str]:
    """Return events as ``Type task`` (or ``Type`` alone), without the progress of loops."""
    return [
        f"{type(e).__name__} {e.task_name}" if isinstance(e, TaskEvent) else type(e).__name__
        for e in events
        if not isinstance(e, LoopProgress)
    ]
