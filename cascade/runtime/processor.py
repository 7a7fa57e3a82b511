"""Full processing of one node: amounts, arguments, cache, events, retries."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from types import CoroutineType
from typing import Any

from cascade import _kernel
from cascade.graph.model import EdgeType, Graph, Node
from cascade.runtime._concurrency import run_together
from cascade.runtime._shown import described, message, preview
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import (
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.runtime.exceptions import argument_error
from cascade.runtime.resolvers import ArgumentResolver, ConstraintResolver
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.protocols import Executor, Solver, StateBackend

__all__ = ["NodeProcessor"]

SubGraphRunner = Callable[[Any, dict[str, Any], StateBackend], Awaitable[Any]]


class NodeProcessor:
    """Runs nodes, one at a time or many at once; it keeps nothing of any of them."""

    #: Its methods may be left out by a hot program, unless a subclass or an instance replaces them.
    stock = True

    def __init__(
        self,
        executor: Executor,
        bus: MessageBus,
        resource_manager: ResourceManager,
        constraint_manager: Any,
        solver: Solver,
    ) -> None:
        self.executor = executor
        self.bus = bus
        self.resource_manager = resource_manager
        self.constraint_manager = constraint_manager
        self.solver = solver
        self.arg_resolver = ArgumentResolver()
        self.constraint_resolver = ConstraintResolver()

    async def process(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        active_resources: dict[str, Any],
        run_id: str,
        params: dict[str, Any],
        sub_graph_runner: SubGraphRunner,
        instance_map: Mapping[str, Node],
        input_overrides: dict[str, Any] | None = None,
    ) -> Any:
        """Return what the node's function returned, which may be lazy; amounts are released before that is evaluated.

        Raises:
            ValueError: an amount exceeds the total capacity.
            DependencyMissingError, ResourceNotFoundError, TaskArgumentError: see there.
            Exception: whatever the function raised on its last attempt.
        """
        # The items of a map hold the amounts (that there are any is only seen here): it would wait for its own items.
        is_map = node.node_type == "map"
        manager = None if is_map else self.constraint_manager
        amounts = await self.constraint_resolver.resolve(node, graph, state_backend, manager, instance_map)
        if is_map:
            amounts = {}
        if amounts:
            if not self.resource_manager.can_acquire(amounts):
                self._publish(TaskBlocked, node, run_id, reason="ResourceContention")
            await self.resource_manager.acquire(amounts)
        try:
            return await self._execute_internal(
                node,
                graph,
                state_backend,
                active_resources,
                run_id,
                params,
                sub_graph_runner,
                instance_map,
                input_overrides,
            )
        finally:
            if amounts:
                await self.resource_manager.release(amounts)

    async def _execute_internal(
        self,
        node: Node,
        graph: Graph,
        state_backend: StateBackend,
        active_resources: dict[str, Any],
        run_id: str,
        params: dict[str, Any],
        sub_graph_runner: SubGraphRunner,
        instance_map: Mapping[str, Node],
        input_overrides: dict[str, Any] | None = None,
    ) -> Any:
        """Arguments, cache, then the call with its events."""
        args, kwargs = await self.arg_resolver.resolve(
            node, graph, state_backend, active_resources, instance_map, params, input_overrides
        )
        inputs: dict[str, Any] = {}
        policy = node.cache_policy if input_overrides is None else None  # what a jump gives is in no cache id
        if policy is not None:
            inputs = await self._resolve_inputs_for_cache(node, graph, state_backend)
            _check_policy(node)
            cached = await policy.check(node.cache_id, inputs)
            if cached is not None or await _has(policy, node.cache_id, inputs):
                self._publish(TaskSkipped, node, run_id, reason="CacheHit")
                return cached
        if node.node_type == "map":
            mapped = await self._with_amounts(node, graph, state_backend, instance_map)
            call = lambda: self._execute_map_node(  # noqa: E731
                mapped, kwargs, active_resources, run_id, params, state_backend, sub_graph_runner
            )
            value = await self._observed(node, run_id, call)
        else:
            value = await self._observed(node, run_id, lambda: self._attempts(node, run_id, args, kwargs))
        if policy is not None and not _leads_on(value, node.name):
            await policy.save(node.cache_id, inputs, value)
        return value

    async def _with_amounts(
        self, node: Node, graph: Graph, state_backend: StateBackend, instance_map: Mapping[str, Node]
    ) -> Node:
        """Return a map's node with numbers for its lazy amounts, so that its items share one evaluation of them."""
        if not node.constraints:
            return node
        amounts = await self.constraint_resolver.resolve(node, graph, state_backend, None, instance_map)
        mapped = copy.copy(node)
        mapped.constraints = ResourceConstraint(requirements=amounts)
        return mapped

    async def save_final(self, node: Node, graph: Graph, state_backend: StateBackend, value: Any) -> None:
        """Give the cache policy of a node the value of the expression that its function returned; a jump is none."""
        if isinstance(value, _kernel.Jump):
            return
        inputs = await self._resolve_inputs_for_cache(node, graph, state_backend)
        await node.cache_policy.save(node.cache_id, inputs, value)

    async def _observed(self, node: Node, run_id: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Publish the start and the end of a call."""
        started = time.perf_counter()
        self._publish(TaskExecutionStarted, node, run_id)
        try:
            value = await call()
        except BaseException as error:
            self._finished(node, run_id, started, status="Failed", error=described(error))
            raise
        if self._wants(TaskExecutionFinished):
            self._finished(node, run_id, started, status="Succeeded", result_preview=preview(value, node.name))
        return value

    def _finished(self, node: Node, run_id: str, started: float, **fields: Any) -> None:
        self._publish(TaskExecutionFinished, node, run_id, duration=time.perf_counter() - started, **fields)

    def _publish(self, event: type[Any], node: Node, run_id: str, **fields: Any) -> None:
        if self._wants(event):
            self.bus.publish(event(run_id=run_id, task_id=node.structural_id, task_name=node.name, **fields))

    def _wants(self, event: type[Any]) -> bool:
        wants = getattr(self.bus, "wants", None)
        return wants is None or bool(wants(event))

    async def _attempts(self, node: Node, run_id: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function until it succeeds or the policy is used up; only ``Exception`` is retried."""
        policy = node.retry_policy
        attempt, delay = 0, policy.delay if policy is not None else 0.0
        while True:
            attempt += 1
            try:
                return await self._call(node, args, kwargs)
            except TypeError as error:
                misfit = argument_error(node.name, node.callable_obj, args, kwargs, error)
                if misfit is not None:
                    raise misfit from error
                if policy is None or attempt > policy.max_attempts:
                    raise
                self._retrying(node, run_id, attempt, delay, error)
            except Exception as error:
                if policy is None or attempt > policy.max_attempts:
                    raise
                self._retrying(node, run_id, attempt, delay, error)
            await asyncio.sleep(delay)
            delay *= policy.backoff

    def _retrying(self, node: Node, run_id: str, attempt: int, delay: float, error: Exception) -> None:
        attempts = node.retry_policy.max_attempts + 1
        self._publish(
            TaskRetrying, node, run_id, attempt=attempt, max_attempts=attempts, delay=delay, error=message(error)
        )

    async def _call(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        value = await self.executor.execute(node, args, kwargs)
        if type(value) is CoroutineType and not node.is_async:
            return await value
        return value

    async def _resolve_inputs_for_cache(
        self, node: Node, graph: Graph, state_backend: StateBackend
    ) -> dict[str, Any]:
        """Return what a cache policy is asked with: literals, and results of dependencies by argument."""
        if node.call is not None:
            given = await self.arg_resolver.given(node, graph, state_backend)
            own = node.input_bindings
            return {name: value for name, value in given.items() if name in own or not name.startswith("_")}
        inputs = dict(node.input_bindings)
        for edge in graph.incoming(node):
            if edge.edge_type is EdgeType.DATA and not edge.arg_name.startswith("_"):
                inputs[edge.arg_name] = await state_backend.get_result(edge.source.structural_id)
        return inputs

    async def _execute_map_node(
        self,
        node: Node,
        kwargs: dict[str, Any],
        active_resources: dict[str, Any],
        run_id: str,
        params: dict[str, Any],
        parent_state_backend: StateBackend,
        sub_graph_runner: SubGraphRunner,
    ) -> list[Any]:
        """Return the values of all items, in order.

        Raises:
            TypeError: an input is no sequence.
            ValueError: the inputs have different lengths.
        """
        for name, one in kwargs.items():
            if isinstance(one, Mapping) or not (hasattr(one, "__len__") and hasattr(one, "__getitem__")):
                raise TypeError(
                    f"{node.name}: input {name!r} must be a list or another sequence, not {type(one).__name__}"
                )
        lengths = {name: len(values) for name, values in kwargs.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{node.name}: inputs have mismatched lengths: {lengths}")
        count = next(iter(lengths.values()), 0)
        kind: Any = type(sub_graph_runner)  # whatever a mock is asked for, it has
        columns = kind.bulk(sub_graph_runner, node, kwargs, count) if hasattr(kind, "bulk") else None
        if columns is not None:
            values: list[Any] = await kind.in_bulk(sub_graph_runner, node, columns, count)
            return values
        items = [
            self._map_item(node, {name: values[i] for name, values in kwargs.items()}) for i in range(count)
        ]
        if hasattr(kind, "together"):
            found: list[Any] = await kind.together(sub_graph_runner, node, items, kwargs)
            return found
        return await run_together(_awaited(sub_graph_runner(i, params, parent_state_backend)) for i in items)

    def _map_item(self, node: Node, arguments: dict[str, Any]) -> Any:
        item = node.mapping_factory(**arguments)
        if type(item) not in (_kernel.LazyResult, _kernel.MappedLazyResult):
            raise TypeError(
                f"{node.name}: the factory returned {type(item).__name__} for an item; it must return a lazy result"
            )
        if node.retry_policy is not None:
            item._retry_policy = node.retry_policy
        if node.cache_policy is not None:
            item._cache_policy = node.cache_policy
        if node.constraints:
            item._constraints = node.constraints
        return item


def _leads_on(value: Any, name: str) -> bool:
    """Whether what a function returned is not the value of its call, but says what comes next."""
    return isinstance(value, _kernel.Jump) or _kernel.continuation(value, name) is not None


async def _has(policy: Any, task_id: str, inputs: dict[str, Any]) -> bool:
    """Whether a policy that can tell a stored None from nothing has one; a mock that makes up any method cannot."""
    return hasattr(type(policy), "has") and bool(await policy.has(task_id, inputs))


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _check_policy(node: Node) -> None:
    """Refuse what cannot be asked for a value, for instance the class of a cache policy."""
    policy = node.cache_policy
    if isinstance(policy, type):
        raise TypeError(f"with_cache() of task {node.name!r}: give an instance of {policy.__name__}, not the class")
    if not callable(getattr(policy, "check", None)):
        raise TypeError(f"with_cache() of task {node.name!r}: {policy!r} is no cache policy, it has no check()")
