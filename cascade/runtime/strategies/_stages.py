"""The stage loop of full processing.

    for each stage, until it is empty:
        synchronous inline nodes, one by one in plan order: skip it | defer it | run it and evaluate what it returned
        the others: skip | defer | start together in plan order
        deferred ones are tried again at each wake-up, while the others run
    nodes that only an open choice of a Router needs are held back until the choice is known
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

from cascade.graph._shadows import is_drawn_only
from cascade.graph.model import Node
from cascade.runtime._concurrency import Expand, Together
from cascade.runtime.events import TaskBlocked, TaskSkipped
from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.flow import PRUNED, FlowManager
from cascade.runtime.strategies._build import Built, Packed, pack
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._runs import StepState

__all__ = ["StageLoop", "is_inline"]


def is_inline(node: Node) -> bool:
    """Whether a node's function is called on the event loop's thread and awaits nothing itself."""
    return not node.is_async and node.execution_mode is None and node.node_type != "map"


def _is_plain(node: Node) -> bool:
    """Whether a node is a call in this thread without policies."""
    has_policies = node.retry_policy or node.cache_policy or node.constraints
    return not has_policies and node.execution_mode is None and node.node_type == "task"


class StageLoop:
    """Runs the stages of one graph; between two calls of ``advance`` no coroutine of it exists.

    Where a node's function returned an expression, ``advance`` returns what evaluates it and goes on when it is given
    its value. The target's value is continued by the caller, in the next step.
    """

    __slots__ = (
        *("_look", "_taken", "alone", "at", "blocked", "built", "deferred", "flow", "held", "hot_node", "inline"),
        *("items", "nodes_run", "overrides", "params", "queue", "resources", "scope", "seen", "stage", "state"),
        *("strategy", "target_id", "target_value", "this_run", "together", "waiting"),
    )

    def __init__(self, strategy: Any, built: Built, state: StepState, resources: dict[str, Any]) -> None:
        self.strategy = strategy
        self.built = built
        self.target_id = built.target.structural_id
        self.state = state
        self.this_run = state.run
        self.scope = state.scope
        self.resources = resources
        self.params = state.run.params
        self.overrides: dict[str, Any] | None = None  # arguments of the target
        self.items = Items(strategy, state.run, state.scope, told=True)
        self.flow = FlowManager(built.graph, self.target_id, built.instance_map)
        self.blocked: set[str] = set()  # ids of deferred nodes of which that has been said
        self.inline = self.items.inline
        self.hot_node = bool(built.nodes) and strategy.replaces_hot_node  # which is then called for every plain node
        self.stage = -1  # of the plan, or the one that the held stage in hand came after
        self.queue: list[Node] = []  # of the stage in hand: synchronous inline nodes, then the others
        self.at = 0  # position in the queue of the node that comes next
        self.seen = 0  # the last wake-up before the queue was begun
        self.alone: Node | None = None  # the only node of the stage that may await something
        self.deferred: list[Node] = []  # nodes of the queue that must wait for a wake-up
        self.together: Together | None = None  # what runs in asyncio Tasks of its own
        self.waiting: Node | None = None  # the node whose function returned an expression
        self.held: list[list[Node]] = []  # stages, or parts of them, that an open choice may make superfluous
        self._look = 0  # position in ``held`` of the one to look at next
        #: When a held stage is in hand: those before it, those after it, and ``nodes_run`` when it was taken.
        self._taken: tuple[list[list[Node]], list[list[Node]], int] | None = None
        self.target_value: tuple[Any] | None = None
        self.nodes_run = 0

    async def advance(self, value: Any = None, error: BaseException | None = None) -> Expand | None:
        """Go on, with the value or the error of what was asked for; None when all stages are through."""
        try:
            if error is not None:
                raise error
            if self.waiting is not None:
                node, self.waiting = self.waiting, None
                await self._settle(node, await self._saved(node, value))
            del value
            return await self._go_on()
        except BaseException as failure:
            if self.together is not None:
                await self.together.end()
                self.together.note(failure)
            raise

    async def _go_on(self) -> Expand | None:
        while True:
            while self.at < len(self.queue):
                node = self.queue[self.at]
                self.at += 1
                asked = await self._take(node)
                if asked is not None:
                    return asked
            if self.deferred:
                if len(self.deferred) == len(self.queue):
                    await self.this_run.away(self._wait(self.seen, self._tasks()))
                self._begin(self.deferred)
                continue
            if self.together is not None:
                await self._join(self.together)
            nodes = await self._next_stage()
            if nodes is None:
                break
            self.alone = self._only([node for node in nodes if not await self._is_pruned(node)])
            self._begin(nodes)
        for stage in self.held:  # their selectors were skipped: no choice will come
            for node in stage:
                await self.state.mark_skipped(node.structural_id, PRUNED)
                await self._skip(node)
        return None

    def _begin(self, nodes: list[Node], at: int = 0) -> None:
        """Queue the nodes of a stage, or those of it that have waited for a wake-up."""
        if len(nodes) > 1:
            nodes = [n for n in nodes if self._is_inline(n)] + [n for n in nodes if not self._is_inline(n)]
        self.seen = self.strategy.wakeups()
        self.queue, self.at, self.deferred = nodes, at, []

    def _is_inline(self, node: Node) -> bool:
        return self.inline and is_inline(node)

    def _only(self, nodes: list[Node]) -> Node | None:
        """Return the node that may await something, if it is the only one."""
        others = [node for node in nodes if not self._is_inline(node)]
        return others[0] if len(others) == 1 else None

    def _tasks(self) -> Together:
        if self.together is None:
            self.together = Together()
        return self.together

    async def _join(self, together: Together) -> None:
        """Wait for what the stage has started."""
        await self.this_run.away(together.wait())
        self.together = None
        await together.end()
        together.values()

    async def _next_stage(self) -> list[Node] | None:
        """Return the next stage: of those held back until a choice was made, else of the plan; None after the last."""
        if self._taken is not None:
            before, later, done = self._taken
            self._taken = None
            self.held = before + self.held + later
            # What has run may have made a choice for those before; what has not stays where it is.
            self._look = 0 if self.nodes_run > done else self._look + 1
        if self._look < len(self.held):
            held, look = self.held, self._look
            self._taken = held[:look], held[look + 1 :], self.nodes_run
            self.held = []
            return await self._hold(held[look])
        if self.stage + 1 == len(self.built.plan):
            return None
        self.stage += 1
        self._look = 0
        return await self._hold(self._nodes_of(self.stage))

    def _nodes_of(self, stage: int) -> list[Node]:
        return [n for n in self.built.plan[stage] if n.node_type != "param" and not is_drawn_only(n)]

    async def _take(self, node: Node) -> Expand | None:
        """Skip, defer, run or start a node; return the evaluation of what its function returned, if that is lazy."""
        if await self._skip(node):
            return None
        if not self._admit(node):
            self.deferred.append(node)
            return None
        if self._is_inline(node):
            value = await self._process(node)
        elif node is self.alone and not self.deferred:
            value = await self.this_run.away(self._process(node))
        else:
            self._tasks().start(self.this_run.taking_part(self._run_apart(node)))
            return None
        asked = self._expansion(node, value)
        if asked is None:
            await self._settle(node, value)
        else:
            self.waiting = node
        return asked

    def _process(self, node: Node) -> Awaitable[Any]:
        overrides = self.overrides if node.structural_id == self.target_id else None
        if self.hot_node and _is_plain(node):
            return self.strategy._execute_hot_node(  # type: ignore[no-any-return]
                *(node, self.built.graph, self.state, self.resources, self.params, self.built.instance_map, overrides)
            )
        return self.strategy.node_processor.process(  # type: ignore[no-any-return]
            node,
            self.built.graph,
            self.state,
            self.resources,
            self.this_run.run_id,
            self.params,
            self.items,
            self.built.instance_map,
            overrides,
        )

    async def _run_apart(self, node: Node) -> None:
        """Run a node in an asyncio Task of its own, with what it returned."""
        value = await self.this_run.away(self._process(node))
        asked = self._expansion(node, value)
        if asked is not None:
            del value  # an expression is let go of with its first step
            value = await self._saved(node, await asked)
        await self._settle(node, value)

    def _expansion(self, node: Node, value: Any) -> Expand | None:
        if node.structural_id == self.target_id:
            return None
        asked: Expand | None = self.strategy.expansion(
            value, node.name, node.structural_id, self.this_run, self.scope
        )
        return asked

    async def _saved(self, node: Node, value: Any) -> Any:
        """Return the final value of a node whose function returned an expression, when its cache has it."""
        if node.cache_policy is not None:
            await self.strategy.node_processor.save_final(node, self.built.graph, self.state, value)
        return value

    # ------------------------------------------------------------------------------------------------- parked steps

    def packed(self) -> Packed | None:
        """Return a small record from which ``unpacked`` makes this loop again; None if there is more to remember."""
        if self.together is not None or self.deferred or self.blocked or self.flow.has_routers:
            return None
        if self.overrides is not None or self.state.has_skips:
            return None
        results = tuple(self.state.known(node.structural_id) for node in self._done())
        return pack(self.built, self.stage, self.at, results)

    def unpack(self, packed: Packed) -> None:
        """Put a new loop where the packed one was."""
        self.stage, self.at = packed.stage, packed.at
        nodes = self._nodes_of(self.stage)
        self.alone = self._only(nodes)
        self._begin(nodes, packed.at)
        self.waiting = self.queue[self.at - 1]
        for node, result in zip(self._done(), packed.results, strict=True):
            self.state.recall(node.structural_id, result)

    def _done(self) -> Iterator[Node]:
        """The nodes before the one that waits."""
        for stage in range(self.stage):
            yield from self._nodes_of(stage)
        yield from self.queue[: self.at - 1]

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
        return self.flow.has_routers and await self.state.get_skip_reason(node.structural_id) is not None

    async def _settle(self, node: Node, value: Any) -> None:
        self.nodes_run += 1
        self.this_run.nodes += 1
        if node.structural_id == self.target_id:
            # A lazy value is not a result: it is replaced by the next step's.
            self.target_value = (value,)
        else:
            try:
                await self.state.put_result(node.structural_id, value)
            except Exception as error:
                error.add_note(f"The result of task {node.name!r} was not stored.")
                raise
            await self.flow.register_result(node.structural_id, value, self.state)
        del value
        if self.this_run.is_over():
            await self.this_run.breathe()

    async def _skip(self, node: Node) -> bool:
        reason = await self.flow.should_skip(node, self.state)
        if reason is None:
            return False
        self.nodes_run += 1
        self.this_run.nodes += reason != PRUNED  # what no choice wants has no turn
        if await self.state.get_skip_reason(node.structural_id) is None:
            await self.state.mark_skipped(node.structural_id, reason)
        await self.flow.register_skip(node.structural_id, self.state)
        self.strategy.tell.publish(TaskSkipped, node, self.this_run.run_id, reason=reason)
        return True

    def _admit(self, node: Node) -> bool:
        if self.strategy.constraint_manager.check_permission(node):
            self.blocked.discard(node.structural_id)
            return True
        if node.structural_id not in self.blocked:
            self.blocked.add(node.structural_id)
            self.strategy.tell.publish(TaskBlocked, node, self.this_run.run_id, reason="ConstraintViolation")
        return False

    async def value(self) -> Any:
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
        name = self.built.target.name
        if reason is not None:
            what = f"of the target itself, skipped: {reason},"
            raise DependencyMissingError(self.target_id, "<Target Output>", self.target_id, name, what)
        raise KeyError(f"target task '{name}' did not produce a result: the plan does not contain it")
