"""Runs the items of a map, each as an expression of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from cascade import _kernel
from cascade.graph.model import Node
from cascade.runtime._concurrency import Expand, drive, run_together
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.strategies._runs import Run, Scope
from cascade.runtime.strategies._telling import hot_id
from cascade.spec.protocols import StateBackend

__all__ = ["Items"]


class Items:
    """The sub-graph runner of one step, or of the maps of a hot program that begin together."""

    __slots__ = ("_turn", "inline", "run", "scope", "strategy", "told")

    def __init__(self, strategy: Any, run: Run, scope: Scope, told: bool = False) -> None:
        self.strategy = strategy
        self.run = run
        self.scope = scope
        #: Whether the executor's class says that it calls synchronous functions directly; calls that another one
        #: awaits run together. A subclass of one that does so is taken at its word too, unless it says False.
        self.inline = bool(getattr(type(strategy.node_processor.executor), "inline", False))
        #: Whether somebody hears of each item: of a map that is processed in full, not of one in a hot program.
        self.told = told and (strategy.tell.wants(TaskExecutionStarted) or strategy.tell.wants(TaskExecutionFinished))
        #: Held while the synchronous items of a map run: those of the next map wait, whenever this one lets others run.
        self._turn: asyncio.Lock | None = None

    async def __call__(self, target: Any, params: dict[str, Any], state_backend: StateBackend) -> Any:
        """Evaluate one expression with the resources of this step."""
        return await drive(self.strategy.evaluation(target, self.run, self._nested("")))

    def _nested(self, where: str) -> Scope:
        through = self.run.backend if self.run.through and self.scope.top else None
        return self.scope.nested(where, through)

    async def of_call(self, frame: Any, op: int) -> Any:
        """Evaluate the items of a map that a hot program calls; the frame has its arguments."""
        _, kwargs = frame.arguments(op)
        node = Node(
            structural_id=f"{hot_id(frame.program, op)}{frame.path:x}",
            name=frame.name_of(op),
            node_type="map",
            mapping_factory=frame.factory_of(op),
            retry_policy=frame.retry_of(op),
        )
        run, processor = self.run, self.strategy.node_processor
        return await processor._execute_map_node(
            node, kwargs, self.scope.resources, run.run_id, run.params, run.backend, self
        )

    def bulk(self, node: Node, kwargs: dict[str, Any], count: int) -> dict[str, list[Any]] | None:
        """Return the arguments of all items, by parameter, if their calls can run one after the other in one frame.

        Then the items are synchronous, and nothing but a retry policy comes between their arguments and the function.
        """
        task = node.mapping_factory
        if type(task) is not _kernel.Task or task.is_async or task.mode is not None or not self.inline:
            return None
        if not count or self.told or node.cache_policy is not None or node.constraints or self.run.through:
            return None
        columns = {name: _listed(values, count) for name, values in kwargs.items()}
        return None if _kernel.holds_calls(list(columns.values())) else columns

    async def in_bulk(self, node: Node, columns: dict[str, list[Any]], count: int) -> list[Any]:
        """Evaluate the calls whose arguments ``bulk`` has returned, in order."""
        values: list[Any] = []
        names, lists = tuple(columns), list(columns.values())
        await self._take_turn()
        frame = self._frame()
        try:
            while len(values) < count:
                signal = _kernel.run_items(
                    frame, node.mapping_factory, names, lists, node.retry_policy, values, self.run.until
                )
                if signal == _kernel.YIELD and not frame.depth:  # between two items
                    await self._yield()
                elif signal != _kernel.DONE:
                    going_on, frame = self._adopted(frame, signal, node, len(values)), None
                    values.append(await going_on)
                    frame = self._frame()
        finally:
            if frame is not None:
                self.run.let_go(frame)
            self._end_turn()
        return values

    def _frame(self) -> Any:
        self.scope.follow(self.run.resources)
        return _kernel.Frame(self.strategy._cycle_cache, self.scope.resources)

    async def _yield(self) -> None:
        self.run.look_again(self.strategy.gate, await self.run.breathe())

    def _adopted(self, frame: Any, signal: int, node: Node, index: int) -> Coroutine[Any, Any, Any]:
        """Let an item that needs something be evaluated like any other expression."""
        scope = self._nested(f"{node.structural_id}[{index}]")
        evaluation = self.strategy.evaluation(None, self.run, scope)
        evaluation.adopt(frame, signal)
        return self.run.taking_part(Expand(evaluation))

    async def together(self, node: Node, items: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        """Evaluate all items, made of these arguments: synchronous ones in order, then the others concurrently."""
        first: list[int] = []
        if self.inline and not _await_only(node.mapping_factory, kwargs, len(items)):
            first = [index for index, item in enumerate(items) if _is_synchronous(item)]
        values = await self._in_turn(node, items, first) if first else {}
        waiting = [index for index in range(len(items)) if index not in values]
        if waiting:
            found = await run_together(self._begun(node, items, index) for index in waiting)
            values.update(zip(waiting, found, strict=True))
        return [values[index] for index in range(len(items))]

    async def _in_turn(self, node: Node, items: list[Any], indices: list[int]) -> dict[int, Any]:
        """Evaluate items one by one, after those of the maps that began before."""
        await self._take_turn()
        try:
            return {index: await self._begun(node, items, index) for index in indices}
        finally:
            self._end_turn()

    async def _take_turn(self) -> None:
        if self._turn is None:
            self._turn = asyncio.Lock()
        await self.run.away(self._turn.acquire())

    def _end_turn(self) -> None:
        assert self._turn is not None
        self._turn.release()

    def _begun(self, node: Node, items: list[Any], index: int) -> Coroutine[Any, Any, Any]:
        """Take an item out of the list, so that its expression is let go of with its first step."""
        item, items[index] = items[index], None
        scope = self._nested(f"{node.structural_id}[{index}]")
        evaluation = self.strategy.evaluation(item, self.run, scope)
        evaluation.told = time.monotonic() if self.told else None
        return self.run.taking_part(Expand(evaluation))


def _listed(values: Any, count: int) -> list[Any]:
    """Return the items as they are now, whatever becomes of a list meanwhile."""
    return list(values) if type(values) in (list, tuple, range) else [values[i] for i in range(count)]


def _await_only(factory: Any, kwargs: dict[str, Any], count: int) -> bool:
    """Whether all items are calls of a coroutine function, with arguments that stand for no other calls."""
    if type(factory) is not _kernel.Task or not factory.is_async:
        return False
    return not _kernel.holds_calls([_listed(values, count) for values in kwargs.values()])


def _is_synchronous(item: Any) -> bool:
    """Whether an item's expression has no call that awaits or runs elsewhere; what its calls return may have.

    Raises:
        CycleError, UncalledTaskError: it can never run, so no item may.
    """
    callees = (operation.callee for operation in _kernel.trace(item).operations)
    return all(c is not None and not c.is_async and c.mode is None for c in callees)
