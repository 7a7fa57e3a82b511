"""Runs the items of a map, each as an expression of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from cascade import _kernel
from cascade.graph.model import Node
from cascade.runtime._concurrency import Expand, drive, run_together
from cascade.runtime.strategies._runs import Run, Scope
from cascade.spec.protocols import StateBackend

__all__ = ["Items"]


class Items:
    """The sub-graph runner of one step."""

    __slots__ = ("_turn", "run", "scope", "strategy")

    def __init__(self, strategy: Any, run: Run, scope: Scope) -> None:
        self.strategy = strategy
        self.run = run
        self.scope = scope
        #: Held while the synchronous items of a map run: those of the next map wait, whenever this one lets others run.
        self._turn: asyncio.Lock | None = None

    async def __call__(self, target: Any, params: dict[str, Any], state_backend: StateBackend) -> Any:
        """Evaluate one expression with the resources of this step."""
        return await drive(self.strategy.evaluation(target, self.run, self._nested("")))

    def _nested(self, where: str) -> Scope:
        through = self.run.backend if self.run.through and self.scope.top else None
        return self.scope.nested(where, through)

    async def together(self, node: Node, items: list[Any]) -> list[Any]:
        """Evaluate all items: synchronous ones in order, then the others concurrently."""
        scopes = [self._nested(f"{node.structural_id}[{index}]") for index in range(len(items))]
        first = [index for index, item in enumerate(items) if _is_synchronous(item)]
        values = await self._in_turn(items, scopes, first) if first else {}
        waiting = [index for index in range(len(items)) if index not in values]
        if waiting:
            found = await run_together(self._begun(items, index, scopes[index]) for index in waiting)
            values.update(zip(waiting, found, strict=True))
        return [values[index] for index in range(len(items))]

    async def _in_turn(self, items: list[Any], scopes: list[Scope], indices: list[int]) -> dict[int, Any]:
        """Evaluate items one by one, after those of the maps that began before."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        await self.run.away(self._turn.acquire())
        try:
            return {index: await self._begun(items, index, scopes[index]) for index in indices}
        finally:
            self._turn.release()

    def _begun(self, items: list[Any], index: int, scope: Scope) -> Coroutine[Any, Any, Any]:
        """Take an item out of the list, so that its expression is let go of with its first step."""
        item, items[index] = items[index], None
        return self.run.taking_part(Expand(self.strategy.evaluation(item, self.run, scope)))


def _is_synchronous(item: Any) -> bool:
    """Whether an item's expression has no call that awaits or runs elsewhere; what its calls return may have."""
    callees = (operation.callee for operation in _kernel.trace(item).operations)
    return all(c is not None and not c.is_async and c.mode is None for c in callees)
