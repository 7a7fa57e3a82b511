"""Executes targets on the register machine: compile to a blueprint, run it with the target's arguments."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from cascade import _kernel
from cascade.graph.compiler import BlueprintBuilder
from cascade.runtime.stats import RunStats
from cascade.runtime.vm import VirtualMachine
from cascade.spec.protocols import StateBackend

__all__ = ["VMExecutionStrategy"]


class VMExecutionStrategy:
    """Runs targets on a machine of their own; ``graph_strategy`` evaluates what registers cannot express."""

    def __init__(
        self, resource_manager: Any, constraint_manager: Any, wakeup_event: Any, *, graph_strategy: Any = None
    ) -> None:
        self.resource_manager = resource_manager
        self.constraint_manager = constraint_manager
        self.wakeup_event = wakeup_event
        self.graph_strategy = graph_strategy
        self._stats: dict[str, RunStats] = {}

    async def execute(
        self,
        target: Any,
        run_id: str,
        params: dict[str, Any],
        state_backend: StateBackend,
        run_stack: ExitStack,
        active_resources: dict[str, Any],
    ) -> Any:
        """Compile ``target`` with its arguments as inputs, and run that with them.

        Raises:
            Exception: whatever a task raised, unchanged.
        """
        blueprint = BlueprintBuilder().build(target, template=True)
        machine = VirtualMachine(self.resource_manager, self.constraint_manager, self.wakeup_event)

        async def evaluate(lazy: Any) -> Any:
            graph, box = self.graph_strategy, [lazy]
            del lazy
            try:
                return await graph.execute(box.pop(), run_id, params, state_backend, run_stack, active_resources)
            finally:
                self._count(run_id, graph)

        if self.graph_strategy is not None:
            machine.evaluate = evaluate
        _, values, names = _kernel.call_of(target)
        npos = len(values) - len(names)
        named = dict(zip(names, values[npos:], strict=True))
        running = machine.execute(blueprint, initial_args=list(values[:npos]), initial_kwargs=named)
        del target, values, named  # an argument is let go of with its round
        try:
            return await running
        finally:
            self._add(run_id, machine.stats)

    def take_stats(self, run_id: str) -> RunStats:
        """Return the counters of a run that has ended, once."""
        return self._stats.pop(run_id, RunStats())

    def _count(self, run_id: str, strategy: Any) -> None:
        take = getattr(strategy, "take_stats", None)
        if take is not None:
            self._add(run_id, replace(take(run_id), duration=0.0))  # it is within the machine's

    def _add(self, run_id: str, stats: Any) -> None:
        if isinstance(stats, RunStats):
            self._stats[run_id] = self._stats.get(run_id, RunStats()) + stats
