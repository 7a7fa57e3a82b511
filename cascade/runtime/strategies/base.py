"""What an engine asks of the way it executes a target."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Protocol

from cascade.spec.protocols import StateBackend

__all__ = ["ExecutionStrategy"]


class ExecutionStrategy(Protocol):
    """Evaluates a target within a run that the engine has opened."""

    async def execute(
        self,
        target: Any,
        run_id: str,
        params: dict[str, Any],
        state_backend: StateBackend,
        run_stack: ExitStack,
        active_resources: dict[str, Any],
    ) -> Any:
        """Return the final value of ``target``; run-scoped resources go on ``run_stack``."""
        ...
