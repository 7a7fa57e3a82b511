"""Executes a target as graphs: the tail-call loop, its three tiers, and what it keeps between steps.

    begin(target) --> kernel.run --+--> DONE      the value
          ^                        +--> YIELD     others run; constraints, subscribers and parts are looked at again
          |                        +--> AWAIT     a lone coroutine is driven in this Task
          |                        +--> GROUP     several coroutines run together
          |                        +--> FAILED    retry, or publish and raise
          +------- finish(value) --+--> STEP      known template: hot now, or warm; unknown: cold

The awaiting is all here; the kernel only says what it needs.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from inspect import isawaitable
from typing import Any

from cascade import _kernel
from cascade.graph._identity import Identity, InstanceMap
from cascade.graph.build import build_graph
from cascade.graph.hashing import BlueprintHasher
from cascade.graph.model import Graph, Node
from cascade.graph.registry import NodeRegistry
from cascade.internal.inputs import PARAMS
from cascade.runtime._concurrency import Expand, drive, run_together
from cascade.runtime._stock import is_stock
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import (
    LoopProgress,
    StaticAnalysisWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
)
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.stats import RunStats
from cascade.runtime.strategies._attempts import Attempts
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._plans import BoundedDict, IndexedPlan
from cascade.runtime.strategies._runs import Run, Scope, StepState, clear
from cascade.runtime.strategies._stages import StageLoop
from cascade.spec.protocols import Solver, StateBackend

__all__ = ["GraphExecutionResult", "GraphExecutionStrategy"]

_PROGRESS_INTERVAL = 0.1  # seconds

WARNING_TEXT = (
    "Task '{name}' returns a call of itself whose arguments are calls too. Each new structure of such a call is "
    "compiled once and then runs hot; a structure that differs at every step is built and planned at every step."
)


@dataclass
class GraphExecutionResult:
    """The value of a graph, and the node that it came from."""

    value: Any
    source_node_id: str


class GraphExecutionStrategy:
    """Runs targets; one object serves all runs of an engine, concurrent ones too."""

    def __init__(
        self,
        solver: Solver,
        node_processor: NodeProcessor,
        resource_container: ResourceContainer,
        constraint_manager: Any,
        bus: MessageBus,
        wakeup_event: Any,
        *,
        hot: bool = True,
        observe: str = "loops",
    ) -> None:
        if observe not in ("loops", "steps"):
            raise ValueError(f"observe must be 'loops' or 'steps', not {observe!r}")
        self.solver = solver
        self.node_processor = node_processor
        self.resource_container = resource_container
        self.constraint_manager = constraint_manager
        self.bus = bus
        self.wakeup_event = wakeup_event
        self.hot = hot
        self.observe = observe
        self.blueprint_hasher = BlueprintHasher()
        #: Programs by template key.
        self._cycle_cache = _kernel.ProgramCache()
        #: Indexed plans by template key; they outlive the programs of dead tasks' namesakes only until displaced.
        self._template_plan_cache: BoundedDict[bytes, IndexedPlan] = BoundedDict()
        self._node_registry = NodeRegistry(weak=True)
        self._issued_warnings: set[str] = set()
        #: Names of tasks whose unused cache policy has been warned of.
        self._uncached: set[str] = set()
        self._stats: BoundedDict[str, RunStats] = BoundedDict()
        self._seen: tuple[Any, ...] = ()

    # ------------------------------------------------------------------------------------------------ the loop

    async def execute(
        self,
        target: Any,
        run_id: str,
        params: dict[str, Any],
        state_backend: StateBackend,
        run_stack: ExitStack,
        active_resources: dict[str, Any],
    ) -> Any:
        """Evaluate ``target`` and everything that it returns calls of.

        Raises:
            Exception: whatever a task raised, unchanged.
        """
        through = not is_stock(state_backend, "transient", "put_result", "mark_skipped")
        run = Run(run_id, params, state_backend, run_stack, active_resources, through)
        self._look_again()
        run.load[0] += 1
        active_resources.setdefault(PARAMS, params)
        try:
            scope = Scope(active_resources, "", True, state_backend if through else None)
            evaluation = self.evaluate(target, run, scope)
            del target  # it is let go of with its step
            value = await drive(evaluation)
            if run.target_id is not None:
                await state_backend.put_result(run.target_id, value)
            return value
        finally:
            run.load[0] -= 1
            self._stats[run_id] = self._run_stats(run)

    def take_stats(self, run_id: str) -> RunStats:
        """Return the counters of a run that has ended, once."""
        return self._stats.pop(run_id, RunStats())

    def _run_stats(self, run: Run) -> RunStats:
        return RunStats(
            hot=run.hot_steps,
            warm=run.warm,
            cold=run.cold,
            nodes=run.hot_nodes + run.nodes,
            templates=run.templates,
            yields=run.yields,
            duration=time.monotonic() - run.started,
        )

    async def evaluate(self, lazy: Any, run: Run, scope: Scope) -> Any:
        """Return the final value of an expression: the tail-call loop."""
        frame = _kernel.Frame(self._cycle_cache, scope.resources, not run.through)
        attempts = Attempts(self, run, frame)
        first = True
        try:
            frame.begin(lazy)
            del lazy
            while True:
                signal = _kernel.run(frame, run.until)
                if signal == _kernel.DONE:
                    if scope.top:
                        self._end_of_loop(run, frame, attempts.told)
                    return frame.value
                if signal == _kernel.YIELD:
                    await self._yield(run, frame, scope)
                elif signal == _kernel.STEP:
                    if run.is_over():
                        await self._yield(run, frame, scope)
                    await self._step(frame, run, scope, first)
                    first = False
                elif signal == _kernel.AWAIT:
                    await run.away(attempts.resume())
                elif signal == _kernel.GROUP:
                    members = (run.taking_part(self._member(frame, op, run, scope)) for op in frame.group)
                    frame.settle(await run.away(run_together(members)))
                else:
                    await run.away(attempts.again())
        finally:
            run.hot_steps += frame.steps
            run.hot_nodes += frame.nodes
            frame.close()

    async def _yield(self, run: Run, frame: Any, scope: Scope) -> None:
        """A control point: others run, then whatever they changed takes effect."""
        await run.breathe()
        if scope.top:
            self._progress(run, frame)
        self._look_again()
        if not frame.waiting and not self._gate(frame.program):
            frame.suspend()

    async def _member(self, frame: Any, op: int, run: Run, scope: Scope) -> Any:
        """Call one operation of a group, in an asyncio Task of its own, and return its final value."""
        value = await run.away(Attempts(self, run, frame).call(op))
        expansion = self._expansion(value, frame.name_of(op), str(op), run, scope)
        if expansion is None:
            return value
        del value  # an expression is let go of with its first step
        return await expansion

    def _expansion(self, value: Any, name: str, where: str, run: Run, scope: Scope) -> Expand | None:
        """Return the evaluation of what the function of an inner node returned, in a scope of its own."""
        following = _kernel.continuation(value, name)
        if following is None:
            return None
        nested = scope.nested(where)
        return Expand(self.evaluate(following, run, nested))

    # ------------------------------------------------------------------------------------------- one step, by tier

    async def _step(self, frame: Any, run: Run, scope: Scope, first: bool) -> None:
        """Take the step that waits: hot if its program may run now, else through full processing."""
        if not scope.top:
            scope.resources.update(run.resources)
        program, built = frame.program, None
        if program is None:
            program, built = self._build(frame, run)
            self._warn(built.graph, run.run_id)
        with ExitStack() as step_stack:
            may_enter = self._may_enter(frame, program, built is not None, run)
            if may_enter and not self._set_up(set(program.requires), run, scope, step_stack):
                frame.steps += built is None
                frame.enter(program)
                return
            if built is None:
                built = _rehydrated(frame, program)
                run.warm += 1
            self._set_up(self.resource_container.scan(built.graph), run, scope, step_stack)
            if built.graph._identity is not None:  # tell these nodes from those of the evaluations around this one
                built.graph._identity.scope = scope.path
            value = await self._process(frame, run, scope, built, first)
        self._warn_of_cache(built.instance_map[frame.lazy._uuid], value)
        frame.finish(value)

    def _may_enter(self, frame: Any, program: Any, is_cold: bool, run: Run) -> bool:
        if program is None or run.through or frame.results or not self._gate(program):
            return False
        # A step that has just been built publishes its events; it may be skipped only when nobody would get them.
        return not (is_cold and (self.wants(TaskExecutionStarted) or self.wants(TaskExecutionFinished)))

    def _build(self, frame: Any, run: Run) -> tuple[Any, _Built]:
        """Cold: build, solve, index, compile, keep."""
        graph, instance_map = build_graph(frame.lazy, registry=self._node_registry)
        template = graph._template
        key = frame.key if template is not None else None
        indexed = self._template_plan_cache.get(key) if key is not None else None
        if indexed is None:
            plan = self.solver.resolve(graph)
        else:
            plan = self._rehydrate_plan(graph, indexed)
        program = None
        run.cold += 1
        if key is not None:
            indexed = self._index_plan(graph, plan) if indexed is None else indexed
            if indexed is not None:
                indexed.owned = frame.expression.names
                self._template_plan_cache[key] = indexed
                program = _kernel.compile_program(frame, indexed.offsets, indexed.indices)
                program.plan, program.table = indexed, template
                self._cycle_cache.add(program)
                run.templates += 1
        return program, _Built(graph, plan, instance_map, [])

    def _set_up(self, needed: set[str], run: Run, scope: Scope, step_stack: ExitStack) -> bool:
        """Set up the resources that are not active; whether one of them lasts for this step only.

        Those of run scope are there for the whole run.
        """
        missing = needed - scope.resources.keys()
        if not missing:
            return False
        before = set(scope.resources)
        self.resource_container.setup(missing, scope.resources, run.stack, step_stack, run.run_id)
        made = scope.resources.keys() - before
        lasting = {name for name in made if self.resource_container.scope_of(name) == "run"}
        for name in lasting:
            run.resources.setdefault(name, scope.resources[name])
        return lasting != made

    def _warn(self, graph: Graph, run_id: str) -> None:
        for node in graph.nodes:
            if node.warns_dynamic_recursion and node.name not in self._issued_warnings:
                self._issued_warnings.add(node.name)
                text = WARNING_TEXT.format(name=node.name)
                self.publish(StaticAnalysisWarning, node, run_id, warning_code="CS-W001", message=text)

    def _warn_of_cache(self, node: Node, value: Any) -> None:
        """Say once that a target which returns a call is not cached: its own value is the next step's to find."""
        if node.cache_policy is None or node.name in self._uncached or _kernel.continuation(value, node.name) is None:
            return
        self._uncached.add(node.name)
        import logging  # only needed when something is worth saying

        logging.getLogger("cascade").warning(
            "task %r has a cache policy but returned a call as the target of its expression: nothing is saved for it; "
            "put with_cache on the call that makes the value",
            node.name,
        )

    async def _process(self, frame: Any, run: Run, scope: Scope, built: _Built, first: bool) -> Any:
        """Full processing of a step; operations that have run hot before keep their results."""
        if not first and scope.top:
            await clear(scope.through)
        state = StepState(run, scope)
        plan = built.plan
        if frame.results:
            done = {id(built.nodes[op]): value for op, value in frame.results.items()}
            for op, value in frame.results.items():
                await state.put_result(built.nodes[op].structural_id, value)
            plan = [[node for node in stage if id(node) not in done] for stage in plan]
        value = await self._execute_graph(
            frame.lazy, run.params, scope.resources, run.run_id, state, built.graph, plan, built.instance_map
        )
        if scope.top:
            run.target_id = built.instance_map[frame.lazy._uuid].structural_id
        return value

    async def _execute_graph(
        self,
        target: Any,
        params: dict[str, Any],
        active_resources: dict[str, Any],
        run_id: str,
        state_backend: StateBackend,
        graph: Graph,
        plan: Any,
        instance_map: Mapping[str, Node],
        root_input_overrides: dict[str, Any] | None = None,
    ) -> Any:
        """Run all nodes of a plan with complete processing; return what the target's function returned."""
        if isinstance(state_backend, StepState):
            run, scope = state_backend.run, state_backend.scope
        else:
            run = Run(run_id, params, state_backend, ExitStack(), active_resources, True)
            scope = Scope(active_resources, "", True, state_backend)
            state_backend = StepState(run, scope)
        items = Items(self, run, scope)
        target_id = instance_map[target._uuid].structural_id

        async def process(node: Node) -> Any:
            overrides = root_input_overrides if node.structural_id == target_id else None
            return await self.node_processor.process(
                node, graph, state_backend, active_resources, run_id, params, items, instance_map, overrides
            )

        async def final(node: Node, value: Any) -> Any:
            expansion = self._expansion(value, node.name, node.structural_id, run, scope)
            if expansion is None:
                return value
            del value  # an expression is let go of with its first step
            done = await expansion
            if node.cache_policy is not None:
                await self.node_processor.save_final(node, graph, state_backend, done)
            return done

        loop = StageLoop(self, graph, target_id, instance_map, state_backend, run, process, final)
        try:
            return await loop.run(plan)
        finally:
            run.nodes += loop.nodes_run

    async def _execute_hot_node(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        active_resources: dict[str, Any],
        params: dict[str, Any],
        instance_map: Mapping[str, Node],
        input_overrides: dict[str, Any] | None = None,
    ) -> Any:
        """Call one node's function through the kernel: arguments, call, store; nothing else."""
        args, kwargs = await self.node_processor.arg_resolver.resolve(
            node, graph, state_backend, active_resources, instance_map, params, input_overrides
        )
        task = _kernel.Task(node.callable_obj or _not_executable(node), node.name)
        frame = _kernel.Frame(_kernel.ProgramCache(), active_resources)
        frame.begin(_kernel.LazyResult(task, tuple(args), kwargs))
        program = _kernel.compile_program(frame, array("i", [0, 1]), array("i", [0]))
        frame.enter(program)
        try:
            value = _kernel.hot._execute_hot_node(frame, 0)
        finally:
            frame.close()
        if isawaitable(value):
            value = await value
        await state_backend.put_result(node.structural_id, value)
        return value

    # -------------------------------------------------------------------------------------------------------- plans

    def _index_plan(self, graph: Graph, plan: Any) -> IndexedPlan | None:
        """Return a plan as positions in ``graph.nodes``; None if it has nodes that are not there."""
        positions = {id(node): index for index, node in enumerate(graph.nodes)}
        try:
            return IndexedPlan([positions[id(node)] for node in stage] for stage in plan)
        except KeyError:
            return self._index_foreign_plan(graph, plan)

    def _index_foreign_plan(self, graph: Graph, plan: Any) -> IndexedPlan | None:
        """A solver may return equal nodes of another graph."""
        positions = {node.structural_id: index for index, node in enumerate(graph.nodes)}
        try:
            return IndexedPlan([positions[node.structural_id] for node in stage] for stage in plan)
        except KeyError:
            return None

    def _rehydrate_plan(self, graph: Graph, indexed_plan: Any) -> list[list[Node]]:
        """Return the stages that an indexed plan names: the inverse of ``_index_plan`` for one graph."""
        return [[graph.nodes[index] for index in stage] for stage in indexed_plan]

    # ------------------------------------------------------------------------------------------------------ control

    def _look_again(self) -> bool:
        """Notice whatever decides which programs may run hot; whether anything has changed."""
        manager = self.constraint_manager
        if manager._constraints:
            manager.cleanup_expired_constraints()
        now = (getattr(manager, "epoch", 0), self.hot, self.observe, self._is_stock())
        if now == self._seen:
            return False
        self._seen = now
        self._cycle_cache.epoch += 1
        return True

    def _is_stock(self) -> bool:
        """Whether every part that a hot program leaves out is the package's own."""
        processor = self.node_processor
        return (
            is_stock(processor.executor, "inline", "execute")
            and is_stock(processor, "stock", "process", "_execute_internal")
            and is_stock(processor.arg_resolver, "stock", "resolve")
            and is_stock(processor.constraint_resolver, "stock", "resolve")
            and is_stock(self, "stock", "_execute_graph", "_execute_hot_node")
        )

    #: See ``_is_stock``.
    stock = True

    def _gate(self, program: Any) -> bool:
        """Decide whether a program may run hot in this epoch."""
        if program.epoch != self._cycle_cache.epoch:
            program.epoch = self._cycle_cache.epoch
            program.open = program.hot and not self._why_closed(program)
        return bool(program.open)

    def _why_closed(self, program: Any) -> str:
        """Say why a program that could be hot may not be now; empty if it may."""
        if not self.hot:
            return "hot=False"
        if self.observe == "steps":
            return "observe='steps'"
        if not self._seen[-1]:
            return "a part of the engine was replaced"
        manager = self.constraint_manager
        if manager._constraints and any(manager.concerns(name) for name in set(program.tasks)):
            return "a constraint applies"
        return ""

    def wakeups(self) -> int:
        """Return the number of the last wake-up."""
        return int(getattr(self.wakeup_event, "generation", 0))

    async def wait_for_wakeup(self, seen: int) -> None:
        """Wait until constraints may have changed since wake-up ``seen``."""
        event = self.wakeup_event
        wait_beyond = getattr(event, "wait_beyond", None)
        await (wait_beyond(seen) if wait_beyond is not None else event.wait())
        if wait_beyond is None:
            event.clear()
        self.constraint_manager.cleanup_expired_constraints()

    # ------------------------------------------------------------------------------------------------------- events

    def wants(self, event: type[Any]) -> bool:
        """Whether somebody listens to an event of this class."""
        wants = getattr(self.bus, "wants", None)
        return wants is None or bool(wants(event))

    def publish(self, event: type[Any], node: Node, run_id: str, **fields: Any) -> None:
        """Publish an event about a node if somebody listens."""
        if self.wants(event):
            self.bus.publish(event(run_id=run_id, task_id=node.structural_id, task_name=node.name, **fields))

    def hot_id(self, program: Any, op: int) -> str:
        """Return the id of an operation's node; within this strategy it belongs to the position."""
        template = program.table
        if template.ids is None:
            seed = os.urandom(16).hex()
            template.ids = [sha256(f"{seed}/{i}".encode()).hexdigest() for i in range(len(template.protos))]
        return str(template.ids[template.node_of[op]])

    def _progress(self, run: Run, frame: Any, final: bool = False) -> None:
        """Publish how far a loop is, at most ten times a second."""
        now = time.monotonic()
        if (not final and now - run.last_progress < _PROGRESS_INTERVAL) or not self.wants(LoopProgress):
            return
        run.last_progress = now
        steps = run.hot_steps + frame.steps + run.warm + run.cold
        elapsed = now - run.started
        program = frame.last
        self.bus.publish(
            LoopProgress(
                run_id=run.run_id,
                task_name=program.tasks[-1] if program is not None else "",
                steps=steps,
                nodes=run.hot_nodes + frame.nodes + run.nodes,
                steps_per_second=steps / elapsed if elapsed > 0 else 0.0,
                elapsed=elapsed,
                final=final,
            )
        )

    def _end_of_loop(self, run: Run, frame: Any, told: int) -> None:
        """After hot steps: the last progress, and the start and the end of the target, unless it is ``told``."""
        if frame.steps:
            self._progress(run, frame, final=True)
        program = frame.last
        if program is None:
            return
        run.target_id = self.hot_id(program, len(program) - 1)
        if not frame.steps or told == frame.steps:
            return
        common = {"run_id": run.run_id, "task_id": run.target_id, "task_name": program.tasks[-1]}
        if self.wants(TaskExecutionStarted):
            self.bus.publish(TaskExecutionStarted(**common))
        if self.wants(TaskExecutionFinished):
            duration = time.monotonic() - run.started
            preview = repr(frame.value)[:100]
            self.bus.publish(
                TaskExecutionFinished(**common, status="Succeeded", duration=duration, result_preview=preview)
            )


class _Built:
    """A graph bound to the values of one step, its plan, and its nodes by operation."""

    __slots__ = ("graph", "instance_map", "nodes", "plan")

    def __init__(self, graph: Graph, plan: Any, instance_map: Mapping[str, Node], nodes: Any) -> None:
        self.graph = graph
        self.plan = plan
        self.instance_map = instance_map
        self.nodes = nodes


def _rehydrated(frame: Any, program: Any) -> _Built:
    """Warm: the nodes of a known template, bound to the values of the step that waits."""
    expression = frame.expression
    indexed = program.plan
    graph, plan, nodes = program.table.bind(expression, indexed.offsets, indexed.indices)
    instance_map = InstanceMap([operation.lazy for operation in expression.operations], nodes)
    graph._identity = Identity(nodes, expression.operations, program.table)
    return _Built(graph, plan, instance_map, nodes)


def _not_executable(node: Node) -> Any:
    raise TypeError(f"node '{node.name}' is not executable: it has no function")


