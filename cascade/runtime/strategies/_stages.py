"""The stage loop of full processing.

    for each stage, until it is empty:
        synchronous inline nodes, one by one in plan order: skip it | defer it | run it and evaluate what it returned
        the others: skip | defer | start together in plan order
        deferred ones are tried again at each wake-up, while the others run
    nodes that only an open choice of a Router needs are held back until the choice is known
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cascade.graph.model import Graph, Node
from cascade.runtime._concurrency import Together
from cascade.runtime.events import TaskBlocked, TaskSkipped
from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.flow import FlowManager
from cascade.runtime.strategies._runs import Run
from cascade.spec.protocols import StateBackend

__all__ = ["StageLoop", "is_inline"]


def is_inline(node: Node) -> bool:
    """Whether a node runs on the event loop's thread without awaiting anything itself."""
    return not node.is_async and node.execution_mode is None and node.node_type != "map"


class StageLoop:
    """Runs the stages of one graph. ``evaluate(node, value)`` returns the final value of what a function returned."""

    def __init__(
        self,
        strategy: Any,
        graph: Graph,
        target_id: str,
        instance_map: Mapping[str, Node],
        state: StateBackend,
        run: Run,
        process: Callable[[Node], Awaitable[Any]],
        evaluate: Callable[[Node, Any], Awaitable[Any]],
    ) -> None:
        self.strategy = strategy
        self.graph = graph
        self.target_id = target_id
        self.state = state
        self.this_run = run
        self.process = process
        self.evaluate = evaluate
        self.flow = FlowManager(graph, target_id, instance_map)
        self.blocked: set[str] = set()
        self.held: list[list[Node]] = []
        self.target_value: Any = None
        self.nodes_run = 0

    async def run(self, plan: Sequence[Sequence[Node]]) -> Any:
        """Run all stages and return what the target's function returned."""
        for stage in plan:
            await self._stage([n for n in stage if n.node_type != "param" and not n.is_shadow])
            await self._release()
        for stage in self.held:  # their selectors were skipped: no choice will come
            for node in stage:
                await self.state.mark_skipped(node.structural_id, "Pruned")
                await self._skip(node)
        return await self._value()

    async def _stage(self, nodes: list[Node]) -> None:
        nodes = await self._hold(nodes)
        others = [n for n in nodes if not is_inline(n)]
        alone = others[0] if len(others) == 1 else None
        together = Together()
        try:
            while nodes:
                seen = self.strategy.wakeups()
                deferred = [n for n in nodes if is_inline(n) and not await self._step_inline(n)]
                others = [n for n in nodes if not is_inline(n)]
                deferred += [n for n in others if not await self._start(n, together, alone, deferred)]
                if len(deferred) == len(nodes):
                    await self.this_run.away(self._wait(seen, together))
                nodes = deferred
            await self.this_run.away(together.wait())
        except BaseException as error:
            await together.end()
            together.note(error)
            raise
        await together.end()
        together.values()

    async def _start(self, node: Node, together: Together, alone: Node | None, deferred: list[Node]) -> bool:
        """Skip or start a node that may await something; False if it must wait."""
        if await self._skip(node):
            return True
        if not self._admit(node):
            return False
        if node is alone and not deferred:
            await self._run_one(node)
        else:
            together.start(self.this_run.taking_part(self._run_one(node)))
        return True

    async def _wait(self, seen: int, together: Together) -> None:
        """Wait for a wake-up, or for what has been started: with it the deferred nodes are looked at again."""
        if not together.is_running:
            together.values()
            await self.strategy.wait_for_wakeup(seen)
            return
        wakeup = asyncio.ensure_future(self.strategy.wait_for_wakeup(seen))
        ended = asyncio.ensure_future(together.wait())
        try:
            await asyncio.wait((wakeup, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            wakeup.cancel()
            ended.cancel()

    async def _hold(self, nodes: list[Node]) -> list[Node]:
        """Set aside the nodes that may turn out not to be needed."""
        if not self.flow.has_routers:
            return nodes
        now: list[Node] = []
        later: list[Node] = []
        for node in nodes:
            known = await self.flow.is_wanted(node, self.state) or await self._is_pruned(node)
            (now if known else later).append(node)
        if later:
            self.held.append(later)
        return now

    async def _is_pruned(self, node: Node) -> bool:
        return await self.state.get_skip_reason(node.structural_id) is not None

    async def _release(self) -> None:
        """Run the held nodes that are needed now; those that never will be are marked when the plan is through."""
        position = 0
        while position < len(self.held):
            before, later = self.held[:position], self.held[position + 1 :]
            stage, self.held = self.held[position], []
            done = self.nodes_run
            await self._stage(stage)
            self.held = before + self.held + later
            # What has run may have made a choice for those before; what has not stays where it is.
            position = 0 if self.nodes_run > done else position + 1

    async def _step_inline(self, node: Node) -> bool:
        """Skip or run a node; False if it must wait."""
        if await self._skip(node):
            return True
        if not self._admit(node):
            return False
        await self._settle(node, await self._final(node, await self.process(node)))
        if self.this_run.is_over():
            await self.this_run.breathe()
        return True

    async def _run_one(self, node: Node) -> None:
        await self._settle(node, await self._final(node, await self.this_run.away(self.process(node))))
        if self.this_run.is_over():
            await self.this_run.breathe()

    async def _final(self, node: Node, value: Any) -> Any:
        """The target's value is continued by the caller, in the next step."""
        if node.structural_id == self.target_id:
            return value
        evaluation = self.evaluate(node, value)
        del value  # an expression is let go of with its first step
        return await evaluation

    async def _settle(self, node: Node, value: Any) -> None:
        self.nodes_run += 1
        if node.structural_id == self.target_id:
            # A lazy value is not a result: it is replaced by the next step's.
            self.target_value = (value,)
            return
        await self.state.put_result(node.structural_id, value)
        await self.flow.register_result(node.structural_id, value, self.state)

    async def _skip(self, node: Node) -> bool:
        reason = await self.flow.should_skip(node, self.state)
        if reason is None:
            return False
        self.nodes_run += 1
        if await self.state.get_skip_reason(node.structural_id) is None:
            await self.state.mark_skipped(node.structural_id, reason)
        await self.flow.register_skip(node.structural_id, self.state)
        self.strategy.publish(TaskSkipped, node, self.this_run.run_id, reason=reason)
        return True

    def _admit(self, node: Node) -> bool:
        if self.strategy.constraint_manager.check_permission(node):
            self.blocked.discard(node.structural_id)
            return True
        if node.structural_id not in self.blocked:
            self.blocked.add(node.structural_id)
            self.strategy.publish(TaskBlocked, node, self.this_run.run_id, reason="ConstraintViolation")
        return False

    async def _value(self) -> Any:
        """Return the target's value.

        Raises:
            DependencyMissingError: the target was skipped (but after a skipped predecessor its value is None).
            KeyError: the plan does not contain the target.
        """
        if self.target_value is not None:
            return self.target_value[0]
        reason = await self.state.get_skip_reason(self.target_id)
        if reason == "UpstreamSkipped_Sequence":
            return None
        target = self.graph.get_node(self.target_id)
        name = target.name if target is not None else self.target_id
        if reason is not None:
            raise DependencyMissingError(name, "<Target Output>", f"of the target itself, skipped: {reason},")
        raise KeyError(f"target task '{name}' did not produce a result: the plan does not contain it")

