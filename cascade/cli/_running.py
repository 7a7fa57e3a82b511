"""From a target to its value, on an engine with the stock parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.cli._interrupts import Interrupts
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine
from cascade.spec.resource import ResourceDefinition

__all__ = ["cancelled_by_a_task", "engine_with", "evaluate"]


def engine_with(resources: Iterable[ResourceDefinition[Any]], executor: LocalExecutor | None = None) -> Engine:
    """Return an engine that knows the resources of a file."""
    engine = Engine(NativeSolver(), executor or LocalExecutor(), MessageBus())
    for resource in resources:
        engine.register(resource)
    return engine


async def evaluate(engine: Engine, target: Any, params: Mapping[str, Any], interrupts: Interrupts) -> Any:
    """Run a target; an interrupt cancels the run. The executor is closed at the end."""
    interrupts.watch()
    try:
        return await engine.run(target, dict(params))
    finally:
        engine.executor.close()  # type: ignore[attr-defined]


def cancelled_by_a_task(error: asyncio.CancelledError | KeyboardInterrupt) -> str:
    """Return what to say of a run that was cancelled although nobody has interrupted it."""
    return f"the run was cancelled by a task ({type(error).__name__})"
