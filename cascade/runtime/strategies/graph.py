"""Executes targets as graphs: what a strategy keeps between steps and runs, and its methods that users may replace.

    _loop.py    the tail-call loop of one evaluation, and one step of it by tier
    _gate.py    which programs may run hot now         _build.py     cold and warm steps, and parked ones
    _stages.py  the stages of full processing          _attempts.py  hot calls that await or fail
    _items.py   the items of a map                     _telling.py   events and warnings
    _runs.py    what a run carries                     _plans.py     plans as integers
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from cascade import _kernel
from cascade.graph.build import build_graph
from cascade.graph.hashing import BlueprintHasher
from cascade.graph.model import Graph, Node
from cascade.graph.registry import NodeRegistry
from cascade.internal.inputs import ENVIRONMENT, PARAMS, environment
from cascade.runtime._concurrency import Driver, Expand
from cascade.runtime._stock import is_stock
from cascade.runtime.bus import MessageBus
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.stats import RunStats
from cascade.runtime.strategies._build import Built, build_cold
from cascade.runtime.strategies._gate import Gate
from cascade.runtime.strategies._loop import Evaluation
from cascade.runtime.strategies._plans import BoundedDict, IndexedPlan
from cascade.runtime.strategies._runs import Run, Scope, StepState, clear
from cascade.runtime.strategies._stages import StageLoop
from cascade.runtime.strategies._telling import Teller
from cascade.spec.protocols import Solver, StateBackend

__all__ = ["GraphExecutionResult", "GraphExecutionStrategy"]


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
        self._stats: BoundedDict[str, RunStats] = BoundedDict()
        #: The runs that have not ended.
        self._running: dict[str, Run] = {}
        self.gate = Gate(self)
        self.tell = Teller(self)

    # ------------------------------------------------------------------------------------------------------- runs

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
        through = not is_stock(state_backend, "transient", "put_result", "mark_skipped", "clear")
        run = Run(run_id, params, state_backend, run_stack, active_resources, through)
        is_seen = getattr(state_backend, "is_private", False) is not True
        run.in_full = is_seen or self.tell.wants_nodes()
        run.heard = getattr(self.bus, "epoch", 0)
        self.gate.look_again()
        self._running[run_id] = run
        run.turns.runnable += 1
        active_resources.setdefault(PARAMS, params)
        if ENVIRONMENT not in active_resources:
            active_resources[ENVIRONMENT] = environment()
        try:
            turn = run.turns.begin()
            if turn is not None:
                await turn
                run.go_on()
            scope = Scope(active_resources, "", True, state_backend if is_seen else None)
            evaluation = Evaluation(self, run, scope, target)
            del target  # it is let go of with its step
            value = await Driver(evaluation)
            if run.target_id is not None:
                await self._keep(run, run.target_id, value)
            return value
        finally:
            run.turns.runnable -= 1
            self._running.pop(run_id, None)
            self._stats[run_id] = run.stats()

    async def _keep(self, run: Run, node_id: str, value: Any) -> None:
        """Give the backend the final result."""
        try:
            if run.leads_on:
                await clear(run.backend)
            await run.backend.put_result(node_id, value)
        except Exception as error:
            error.add_note("The final result of the run was not stored.")
            raise

    def hurry(self) -> None:
        """Have all runs come to a control point after the function that each is calling."""
        for run in list(self._running.values()):
            if run.frame is not None:
                run.frame.hurry()

    def take_stats(self, run_id: str) -> RunStats:
        """Return the counters of a run that has ended, once."""
        return self._stats.pop(run_id, RunStats())

    def running_stats(self) -> list[RunStats]:
        """Return the counters of the runs that have not ended, as they are now."""
        return [run.stats() for run in self._running.values()]

    def evaluation(self, lazy: Any, run: Run, scope: Scope) -> Evaluation:
        """Return the evaluation of an expression in a scope of its own."""
        return Evaluation(self, run, scope, lazy)

    def expansion(self, value: Any, name: str, where: str, run: Run, scope: Scope) -> Expand | None:
        """Return what asks for the value of the expression that an inner call returned; None if it returned none."""
        following = _kernel.continuation(value, name)
        if following is None:
            return None
        return Expand(Evaluation(self, run, scope.nested(where), following))

    # -------------------------------------------------------------------------------------------- full processing

    def _build(self, frame: Any, run: Run) -> Built:
        """Cold: build, solve, index, compile, keep."""
        graph, instance_map = build_graph(frame.lazy, registry=self._node_registry)
        return build_cold(self, frame, run, graph, instance_map)

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
        """Run all nodes of a plan with complete processing; return what the target's function returned.

        A step does the same piece by piece, unless this method was replaced.
        """
        if isinstance(state_backend, StepState):
            state = state_backend
        else:
            run = Run(run_id, params, state_backend, ExitStack(), active_resources, True)
            state = StepState(run, Scope(active_resources, "", True, state_backend))
        built = Built(graph, plan, instance_map, instance_map[target._uuid])
        loop = StageLoop(self, built, state, active_resources)
        loop.params, loop.overrides = params, root_input_overrides
        asked = await loop.advance()
        while asked is not None:
            try:
                value, error = await asked, None
            except BaseException as raised:
                value, error = None, raised
            asked = await loop.advance(value, error)
        return await loop.value()

    @property
    def is_replaced(self) -> bool:
        """Whether somebody has put a method of his own in place of ``_execute_graph``."""
        return type(self)._execute_graph is not _execute_graph or "_execute_graph" in self.__dict__

    @property
    def replaces_hot_node(self) -> bool:
        """Whether steps of known structure call what somebody has put in place of ``_execute_hot_node``."""
        is_own = type(self)._execute_hot_node is not _execute_hot_node or "_execute_hot_node" in self.__dict__
        return is_own and self.hot and self.observe == "loops" and not self.constraint_manager._constraints

    @property
    def is_stock_build(self) -> bool:
        """Whether ``build_graph`` and what this class does with a graph and its plan are the package's own."""
        return build_graph is _build_graph and is_stock(self, "stock", "_build", "_index_plan", "_rehydrate_plan")

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

    #: Its methods may be left out by a hot program, unless a subclass or an instance replaces them.
    stock = True

    def _look_again(self) -> bool:
        """Notice whatever decides which programs may run hot; whether anything has changed."""
        return self.gate.look_again()

    def _why_closed(self, program: Any) -> str:
        """Say why a program that could be hot may not be now; empty if it may."""
        return self.gate.why_closed(program)

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


#: The package's own, to tell whether they were replaced.
_build_graph = build_graph
_execute_graph = GraphExecutionStrategy._execute_graph
_execute_hot_node = GraphExecutionStrategy._execute_hot_node


def _not_executable(node: Node) -> Any:
    raise TypeError(f"node '{node.name}' is not executable: it has no function")


