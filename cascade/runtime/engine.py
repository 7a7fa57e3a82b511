"""The engine: runs targets, one or many at a time, with one set of parts."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import cache
from typing import Any, cast

from cascade import _kernel
from cascade.internal.inputs import ENVIRONMENT, PARAMS, _internal_gather, environment
from cascade.runtime._link import Link
from cascade.runtime._parts import Part
from cascade.runtime._run_stack import RunStack
from cascade.runtime._shown import described
from cascade.runtime._wakeup import Wakeup
from cascade.runtime.bus import MessageBus
from cascade.runtime.constraints._message import constraint_of
from cascade.runtime.constraints.handlers import (
    ConcurrencyConstraintHandler,
    PauseConstraintHandler,
    RateLimitConstraintHandler,
)
from cascade.runtime.constraints.manager import ConstraintManager
from cascade.runtime.events import ConnectorConnected, ConnectorDisconnected, RunFinished, RunStarted
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resource_container import ResourceContainer
from cascade.runtime.resource_manager import ResourceManager
from cascade.runtime.stats import Outcome, RunStats
from cascade.runtime.strategies.graph import GraphExecutionStrategy
from cascade.runtime.strategies.vm import VMExecutionStrategy
from cascade.spec.protocols import Connector, Executor, Solver, StateBackend
from cascade.spec.resource import ResourceDefinition

__all__ = ["Engine"]


class Engine:
    """Runs lazy results.

    One engine serves several runs, also at once and in successive event loops; it may be made outside of any.

    Args:
        solver: orders the nodes of a graph.
        executor: calls the functions.
        bus: takes the events.
        state_backend_factory: makes the state backend of a run from its id; in memory by default.
        system_resources: capacity by name, for ``with_constraints``.
        connector: brings constraints and carries telemetry.
        cache_backend: kept for tasks and policies that look for it here.
        resource_manager: counts capacity; its own by default.
        hot: whether steps may run as compiled programs.
        observe: ``"loops"`` publishes task events of cold and warm steps and ``LoopProgress`` of hot ones,
            ``"steps"`` publishes the task events of every step (and so runs none hot).

    The parts may be replaced at any time, by assignment.
    """

    solver = Part[Solver]("node_processor", "graph_strategy")
    executor = Part[Executor]("node_processor")
    bus = Part[MessageBus]("resource_container", "node_processor", "graph_strategy")
    resource_manager = Part[ResourceManager]("constraint_manager", "node_processor", "vm_strategy")
    constraint_manager = Part[ConstraintManager]("node_processor", "graph_strategy", "vm_strategy")
    resource_container = Part[ResourceContainer]("graph_strategy")
    node_processor = Part[NodeProcessor]("graph_strategy")
    graph_strategy = Part[GraphExecutionStrategy]("vm_strategy")

    def __init__(
        self,
        solver: Solver,
        executor: Executor,
        bus: MessageBus,
        state_backend_factory: Callable[[str], StateBackend] | None = None,
        system_resources: dict[str, Any] | None = None,
        connector: Connector | None = None,
        cache_backend: Any = None,
        resource_manager: ResourceManager | None = None,
        *,
        hot: bool = True,
        observe: str = "loops",
    ) -> None:
        self.solver = solver
        self.executor = executor
        self.bus = bus
        self.connector = connector
        self.cache_backend = cache_backend
        self.state_backend_factory = state_backend_factory or _in_memory
        self.resource_manager = _resource_manager(resource_manager, system_resources)
        self._wakeup_event = Wakeup()
        self.constraint_manager = ConstraintManager(self.resource_manager)
        for handler in (PauseConstraintHandler(), ConcurrencyConstraintHandler(), RateLimitConstraintHandler()):
            self.constraint_manager.register_handler(handler)
        self.constraint_manager.set_wakeup_callback(self._wake)
        self.resource_container = ResourceContainer(bus)
        self.node_processor = NodeProcessor(executor, bus, self.resource_manager, self.constraint_manager, solver)
        self.graph_strategy = GraphExecutionStrategy(
            solver,
            self.node_processor,
            self.resource_container,
            self.constraint_manager,
            bus,
            self._wakeup_event,
            hot=hot,
            observe=observe,
        )
        self.vm_strategy = VMExecutionStrategy(
            self.resource_manager, self.constraint_manager, self._wakeup_event, graph_strategy=self.graph_strategy
        )
        #: Counters of the runs that have ended.
        self._ended = RunStats()
        self._managed_subscribers: list[Any] = []
        #: The connection of the runs that go on.
        self._link: Link | None = None
        #: Ids of the constraints that have come through the connector since it was last subscribed to.
        self._told: set[Any] = set()

    @property
    def stats(self) -> RunStats:
        """Counters of all runs, those included that have not ended."""
        strategy, total = self.graph_strategy, self._ended
        for one in strategy.running_stats() if hasattr(type(strategy), "running_stats") else ():
            total += one
        return total

    def _state_backend(self, run_id: str) -> StateBackend:
        backend = self.state_backend_factory(run_id)
        if backend is None:
            raise TypeError(f"the state backend of run {run_id} is None: state_backend_factory must return one")
        return backend

    def _wake(self) -> None:
        """Have runs that wait and runs that compute see what has changed, before anything else starts."""
        self._wakeup_event.set()
        if isinstance(self.graph_strategy, GraphExecutionStrategy):
            self.graph_strategy.hurry()

    # --------------------------------------------------------------------------------------------------- resources

    def register(self, resource_def: ResourceDefinition[Any]) -> None:
        """Make a resource known to the tasks that inject it."""
        self.resource_container.register(resource_def)

    def get_resource_provider(self, name: str) -> Callable[..., Any]:
        """Return the generator function of a resource.

        Raises:
            KeyError: no resource of that name is registered.
        """
        return self.resource_container.get_provider(name)

    def override_resource_provider(self, name: str, new_provider: Any) -> None:
        """Use another provider from the next set-up of that name on."""
        self.resource_container.override_provider(name, new_provider)

    def add_subscriber(self, subscriber: Any) -> None:
        """Let the engine shut a subscriber down (``await subscriber.shutdown()``) at the end of each run."""
        self._managed_subscribers.append(subscriber)

    # --------------------------------------------------------------------------------------------------------- runs

    async def run(self, target: Any, params: dict[str, Any] | None = None, use_vm: bool = False) -> Any:
        """Run a lazy result, or a list or tuple of them, and return its final value.

        Raises:
            TypeError: the target is nothing that can run.
            Exception: whatever a task raised, unchanged.
        """
        box = [target]
        del target  # the arguments of the first step are let go of with it
        return await self._run(box, params, use_vm, _Ending())

    async def run_outcome(self, target: Any, params: dict[str, Any] | None = None) -> Outcome[Any]:
        """Run a target and return how it ended instead of raising.

        Only a cancellation of the calling asyncio Task itself is raised, because nobody else may swallow it.
        """
        ending, box = _Ending(), [target]
        del target
        try:
            value = await self._run(box, params, False, ending)
        except Exception as error:
            return Outcome("Failed", None, error, ending.run_id, ending.stats)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Outcome("Cancelled", None, error, ending.run_id, ending.stats)
        return Outcome("Succeeded", value, None, ending.run_id, ending.stats)

    async def _run(self, box: list[Any], params: dict[str, Any] | None, use_vm: bool, ending: _Ending) -> Any:
        """Run the target in the box and leave the box empty.

        All in one function: each that waits for a run takes memory as long as the run lasts.
        """
        if isinstance(box[0], (list, tuple)):
            if not box[0]:
                return []
            box[0] = _internal_gather(*box[0])
        params = _named(params)
        status, text, strategy = "Succeeded", None, None
        try:
            if self.connector is not None:
                await self._connect(ending)
            self._announce(box[0], params, ending)
            strategy = self._strategy(use_vm)
            with RunStack() as run_stack:
                return await strategy.execute(
                    target=box.pop(),
                    run_id=ending.run_id,
                    params=params,
                    state_backend=self._state_backend(ending.run_id),
                    run_stack=run_stack,
                    active_resources={PARAMS: params, ENVIRONMENT: environment()},
                )
        except Exception as error:
            status, text = "Failed", described(error)
            raise
        except BaseException as error:  # cancelled or interrupted: said, and passed on
            status, text = _status_of(error), described(error)
            raise
        finally:
            self._count(strategy, ending)
            await self._end(ending, status, text)

    async def _connect(self, ending: _Ending) -> None:
        assert self.connector is not None
        link = self._link
        if link is None or link.connector is not self.connector or link.loop is not asyncio.get_running_loop():
            link = self._link = Link(self.connector, self._on_constraint_update, self._renewing_constraints)
        ending.link = link
        await link.join(lambda: self.bus.publish(ConnectorConnected(run_id=ending.run_id)))

    @contextmanager
    def _renewing_constraints(self) -> Iterator[None]:
        """Lift what the connector said in earlier runs and does not say again: it may have been lifted in between."""
        earlier, self._told = self._told, set()
        try:
            yield
        except BaseException:
            self._told |= earlier
            raise
        for constraint_id in earlier - self._told:
            self.constraint_manager.remove_constraint(constraint_id)

    def _announce(self, target: Any, params: dict[str, Any], ending: _Ending) -> None:
        """Say that a run starts.

        Raises:
            TypeError: the target is nothing that can run.
        """
        if _wants(self.bus, RunStarted):
            self.bus.publish(RunStarted(run_id=ending.run_id, target_tasks=[_target_name(target)], params=params))
        _check_target(target)
        if self.connector is not None:
            self.register(ResourceDefinition(_yielding(self.connector), "_internal_connector"))

    def _count(self, strategy: Any, ending: _Ending) -> None:
        """Take over what a strategy has counted in a run; one of the user's own, or a mock, need not count."""
        if hasattr(type(strategy), "take_stats"):
            ending.stats = strategy.take_stats(ending.run_id)
            self._ended += ending.stats

    def _strategy(self, use_vm: bool) -> Any:
        return self.vm_strategy if use_vm else self.graph_strategy

    async def _end(self, ending: _Ending, status: str, error: str | None) -> None:
        """Say how the run ended, after the teardown of its resources; then let go of subscribers and connector."""
        if _wants(self.bus, RunFinished):
            duration = time.monotonic() - ending.started
            finished = RunFinished(
                run_id=ending.run_id, status=status, duration=duration, error=error, stats=ending.stats
            )
            self.bus.publish(finished)
        async with AsyncExitStack() as rest:  # one that cannot be shut down does not keep the others from it
            if ending.link is not None:
                rest.push_async_callback(self._disconnect, ending.link, ending.run_id)
            for subscriber in reversed(self._managed_subscribers):
                if hasattr(subscriber, "shutdown"):
                    rest.push_async_callback(subscriber.shutdown)

    async def _disconnect(self, link: Link, run_id: str) -> None:
        if await link.leave() and self._link is link:
            self._link = None
        self.bus.publish(ConnectorDisconnected(run_id=run_id))

    async def _on_constraint_update(self, topic: str, payload: dict[str, Any]) -> None:
        """Take a constraint message: an empty payload lifts what the scope in the topic had."""
        try:
            if not payload:
                self.constraint_manager.remove_constraints_by_scope(":".join(topic.split("/")[2:]))
            else:
                constraint = constraint_of(payload)
                self.constraint_manager.update_constraint(constraint)
                self._told.add(constraint.id)
        except Exception as error:  # whatever an operator sends, the engine goes on
            print(  # noqa: T201 - the text and the stream are part of the interface
                f"[Engine] Error processing constraint on topic '{topic}': {error}", file=sys.stderr
            )
        finally:
            self._wakeup_event.set()

    def _is_simple_task(self, lr: Any) -> bool:
        """Whether a lazy result is a plain call: no policies, and no lazies among its arguments."""
        if type(lr) is not _kernel.LazyResult:
            return False
        expression = _kernel.trace(lr)
        operation = expression.operations[-1]
        return len(expression.operations) == 1 and operation.flags == _kernel.DIRECT and not operation.callee.injects


_NOTHING_RUN = RunStats()


class _Ending:
    """What is known of a run when it ends."""

    __slots__ = ("link", "run_id", "started", "stats")

    def __init__(self) -> None:
        digits = os.urandom(16).hex()
        self.run_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        self.started = time.monotonic()
        self.stats = _NOTHING_RUN
        #: The connection that the run has joined.
        self.link: Link | None = None


def _named(params: Any) -> dict[str, Any]:
    try:
        return dict(params or {})
    except (TypeError, ValueError) as error:
        raise TypeError(f"params are values by name, {{'name': value}}, not {type(params).__name__}") from error


def _in_memory(run_id: str) -> StateBackend:
    backend: Any = _in_memory_class()(run_id)
    backend.is_private = True
    return cast(StateBackend, backend)


@cache
def _in_memory_class() -> Callable[[str], Any]:
    from cascade.adapters.state.in_memory import InMemoryStateBackend

    return InMemoryStateBackend


def _resource_manager(given: ResourceManager | None, capacity: dict[str, Any] | None) -> ResourceManager:
    if given is None:
        return ResourceManager(capacity=capacity)
    if capacity is not None:
        given.set_capacity(capacity)
    return given


def _wants(bus: Any, event: type[Any]) -> bool:
    wants = getattr(bus, "wants", None)
    return wants is None or bool(wants(event))


def _status_of(error: BaseException) -> str:
    cancelled = isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit))
    return "Cancelled" if cancelled else "Failed"


def _target_name(target: Any) -> str:
    if type(target) is _kernel.LazyResult:
        return str(getattr(target.task, "name", "unknown")) if target.task is not _internal_gather else "unknown"
    if type(target) is _kernel.MappedLazyResult:
        return f"map({getattr(target.factory, 'name', 'factory')})"
    return "unknown"


def _check_target(target: Any) -> None:
    if type(target) in (_kernel.LazyResult, _kernel.MappedLazyResult):
        return
    if type(target) is _kernel.Task:
        raise TypeError(
            f"Cannot build graph from type Task: task '{target.name}' was not called; write {target.name}(...)"
        )
    raise TypeError(f"Cannot build graph from type {type(target).__name__}: give a lazy result, that is, call a task")


def _yielding(value: Any) -> Callable[[], Any]:
    def provider() -> Any:
        yield value

    return provider
