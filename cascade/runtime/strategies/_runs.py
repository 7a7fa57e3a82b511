"""What one run carries through its steps: inputs, resources, results of the step, counters, its share of the loop."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable
from contextlib import ExitStack
from hashlib import blake2b
from typing import Any

from cascade.runtime.stats import RunStats
from cascade.runtime.strategies._turns import turns_of
from cascade.spec.protocols import StateBackend

__all__ = ["PROGRESS_INTERVAL", "Run", "Scope", "StepState"]

PROGRESS_INTERVAL = 0.1  # seconds between two events of one loop

_MINIMUM_QUANTUM = 50e-6  # seconds
_SHARED_QUANTUM = 1e-3  # seconds, shared by the runnable runs of an event loop, and how often they look at its parts

_ABSENT: Any = object()


class Run:
    """One run. ``turns`` is shared by the runs of one event loop."""

    __slots__ = (
        *("backend", "cold", "frame", "hot_nodes", "hot_steps", "params", "resources", "run_id", "stack", "started"),
        *("heard", "in_full", "leads_on", "next_progress", "nodes", "target_id", "templates", "through", "turns"),
        *("until", "warm", "yields"),
    )

    def __init__(
        self,
        run_id: str,
        params: dict[str, Any],
        backend: StateBackend,
        stack: ExitStack,
        resources: dict[str, Any],
        through: bool,
    ) -> None:
        self.run_id = run_id
        self.params = params
        self.backend = backend
        self.stack = stack
        self.resources = resources  # of run scope, by name
        self.through = through  # whether the backend sees every result, not only the last
        self.target_id: str | None = None  # of the last step, for a backend that keeps the final result
        self.in_full = False  # whether the step that comes is processed in full, whatever is known of it
        self.leads_on = False  # whether the first step has led to another one, so that its results are nobody's
        self.frame: Any = None  # of the run's target, whose counters are not in yet
        self.templates = 0
        self.hot_steps = self.hot_nodes = self.warm = self.cold = self.nodes = self.yields = 0
        self.started = time.monotonic()
        self.heard = 0  # the last subscription to the bus that this run has noticed
        self.next_progress = self.started + PROGRESS_INTERVAL
        self.turns = turns_of(asyncio.get_running_loop())
        self.until = self._deadline(self.started)  # when this run has to let others run

    def stats(self) -> RunStats:
        """Return the counters as they are now."""
        frame = self.frame
        return RunStats(
            hot=self.hot_steps + (frame.steps if frame is not None else 0),
            warm=self.warm,
            cold=self.cold,
            nodes=self.hot_nodes + (frame.nodes if frame is not None else 0) + self.nodes,
            templates=self.templates,
            yields=self.yields,
            duration=time.monotonic() - self.started,
        )

    def let_go(self, frame: Any) -> None:
        """Count what a frame has done, and close it."""
        self.hot_steps += frame.steps
        self.hot_nodes += frame.nodes
        frame.close()

    def _deadline(self, now: float) -> float:
        """The more runs would go on, the sooner."""
        runnable = self.turns.runnable
        quantum = _SHARED_QUANTUM / runnable if runnable > 1 else _SHARED_QUANTUM
        return now + (quantum if quantum > _MINIMUM_QUANTUM else _MINIMUM_QUANTUM)

    def is_over(self) -> bool:
        """Whether this run has to let others run now."""
        return time.monotonic() >= self.until

    def go_on(self) -> float:
        """Begin another quantum; return the time."""
        now = time.monotonic()
        self.until = self._deadline(now)
        return now

    async def breathe(self) -> float:
        """Let others run once; return the time."""
        self.yields += 1
        await self.turns.next()
        return self.go_on()

    def look_again(self, gate: Any, now: float) -> None:
        """Notice what has changed in an engine since this run last went on."""
        gate.look_again(now, _SHARED_QUANTUM)

    async def away(self, awaitable: Awaitable[Any]) -> Any:
        """Await something during which the current asyncio Task would not go on at once."""
        self.turns.runnable -= 1
        try:
            return await awaitable
        finally:
            self.turns.runnable += 1

    async def taking_part(self, awaitable: Awaitable[Any]) -> Any:
        """Await something that goes on at once whenever it may, as one more that does."""
        self.turns.runnable += 1
        try:
            return await awaitable
        finally:
            self.turns.runnable -= 1


class Scope:
    """One evaluation of an expression: of the run's target, of an expansion, or of a map item.

    Each has results and skip marks of its own. ``resources`` are the active ones that it sees; a nested scope shares
    the dict of the one around it until it has to change it.
    """

    __slots__ = ("path", "resources", "shares", "through", "top")

    def __init__(self, resources: dict[str, Any], path: str, top: bool, through: StateBackend | None) -> None:
        self.resources = resources
        self.path = path
        self.top = top
        self.through = through
        self.shares = not top

    def nested(self, where: str, through: StateBackend | None = None) -> Scope:
        """Return the scope of an evaluation inside this one; its path has constant length, however deep it lies."""
        path = blake2b(f"{self.path}/{where}".encode(), digest_size=16).hexdigest()
        return Scope(self.resources, path, False, through)

    def own(self) -> dict[str, Any]:
        """Return the resources, to be changed."""
        if self.shares:
            self.resources = dict(self.resources)
            self.shares = False
        return self.resources

    def follow(self, resources: dict[str, Any]) -> None:
        """Take over what a run has set up or replaced meanwhile."""
        seen = self.resources
        if seen is not resources and any(seen.get(name, _ABSENT) is not one for name, one in resources.items()):
            self.own().update(resources)


class StepState:
    """The state of one step: kept here, and written through to the run's backend if it wants to see every result."""

    __slots__ = ("_reasons", "_results", "run", "scope")

    def __init__(self, run: Run, scope: Scope) -> None:
        self._results: dict[str, Any] = {}
        self._reasons: dict[str, str] = {}
        self.run = run
        self.scope = scope

    async def put_result(self, node_id: str, result: Any) -> None:
        """Keep a result."""
        self._results[node_id] = result
        if self.scope.through is not None:
            await self.scope.through.put_result(node_id, result)

    async def get_result(self, node_id: str) -> Any | None:
        """Return the result, or None."""
        return self._results.get(node_id)

    async def has_result(self, node_id: str) -> bool:
        """Tell a stored None from nothing."""
        return node_id in self._results

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Note that a node was skipped."""
        self._reasons[node_id] = reason
        if self.scope.through is not None:
            await self.scope.through.mark_skipped(node_id, reason)

    async def get_skip_reason(self, node_id: str) -> str | None:
        """Return why a node was skipped, or None."""
        return self._reasons.get(node_id)

    @property
    def has_skips(self) -> bool:
        """Whether a node was skipped."""
        return bool(self._reasons)

    def known(self, node_id: str) -> Any:
        """Return a result that is there."""
        return self._results[node_id]

    def recall(self, node_id: str, result: Any) -> None:
        """Keep a result that was kept, and written through, before."""
        self._results[node_id] = result

    async def clear(self) -> None:
        """Forget everything."""
        self._results.clear()
        self._reasons.clear()
        await clear(self.scope.through)


async def clear(backend: Any) -> None:
    """Clear a backend if it can be cleared."""
    method = getattr(backend, "clear", None)
    if method is not None:
        cleared = method()
        if inspect.isawaitable(cleared):
            await cleared
