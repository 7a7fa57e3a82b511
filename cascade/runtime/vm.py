"""The register machine: runs blueprints as programs of the kernel, the same that the hot tier runs.

    blueprint --compile--> routine --kernel.run--+--> DONE    the value, or a tail call of another blueprint
                              ^                  +--> YIELD   others run; calls that need permission go one by one
                              |                  +--> AWAIT   an awaitable, or a lazy result that a call has returned
                              +---- tail call ---+--> FAILED  the error is the caller's

A tail call stays within the kernel once its blueprint is compiled: no call of Python is on any stack between two
rounds, and nothing grows with their number. Blueprints are read when an execution first enters them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any

from cascade import _kernel
from cascade.graph.model import Node
from cascade.runtime._concurrency import Started
from cascade.runtime._routines import Frame, compiled
from cascade.runtime._stock import is_stock
from cascade.runtime.exceptions import argument_error
from cascade.runtime.stats import RunStats
from cascade.spec.blueprint import Blueprint, Call, TailCall

__all__ = ["Frame", "VirtualMachine"]

_POLL = 0.1  # seconds between two looks at permissions, where nobody can wake the machine
_LAZY = (_kernel.LazyResult, _kernel.MappedLazyResult)


class VirtualMachine:
    """Executes blueprints.

    Args:
        resource_manager: what the constraints of calls are acquired from.
        constraint_manager: what is asked for permission before each call.
        wakeup_event: is waited for where permission is refused; without it the manager is asked ten times a second.
    """

    def __init__(
        self, resource_manager: Any = None, constraint_manager: Any = None, wakeup_event: Any = None
    ) -> None:
        self.resource_manager = resource_manager
        self.constraint_manager = constraint_manager
        self.wakeup_event = wakeup_event
        #: Evaluates the lazy results that calls return; an engine sets its own.
        self.evaluate: Callable[[Any], Awaitable[Any]] = _evaluate
        #: What the last execution did.
        self.stats = RunStats()
        self._blueprints: dict[str, Blueprint] = {}
        #: Those that tail calls have named, compiled; none is kept from one execution to the next.
        self._routines: dict[str, Any] = {}

    def register_blueprint(self, bp_id: str, blueprint: Blueprint) -> None:
        """Make a blueprint known to tail calls by this id."""
        self._blueprints[bp_id] = blueprint
        self._routines.pop(bp_id, None)

    async def execute(
        self,
        blueprint: Blueprint,
        initial_args: list[Any] | None = None,
        initial_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a blueprint, and what its last call returns tail calls of; return the last result.

        Raises:
            TypeError: an operand is of no known kind, or there is no input for an argument.
            NotImplementedError: an instruction is of no known kind.
            ValueError: a tail call names a blueprint that is not registered.
            Exception: whatever a call raised, unchanged.
        """
        self._routines.clear()
        running = _Execution(self).run(compiled(blueprint), [initial_args or [], initial_kwargs or {}])
        del initial_args, initial_kwargs  # an argument is let go of with its round
        return await running


class _Execution:
    """One execution: the kernel says what it needs, the awaiting is here."""

    def __init__(self, machine: VirtualMachine) -> None:
        from cascade.runtime.strategies._runs import Run  # which is made of what imports this module

        self.machine = machine
        nowhere: Any = None
        self.share = Run("", {}, nowhere, ExitStack(), {}, False)  # for its share of the event loop
        self.frame: Any = _kernel.Frame(_kernel.ProgramCache(), {})
        self.frame.routines = machine._routines
        self.epoch: Any = None  # of the constraints, when programs were judged

    async def run(self, routine: Any, arguments: list[Any]) -> Any:
        """Run a routine with the arguments in the list, and leave the list empty."""
        share, frame = self.share, self.frame
        share.turns.runnable += 1
        try:
            while True:
                frame.call(routine, *arguments)
                arguments.clear()
                await self._to_the_end()
                value, frame.value = frame.value, None
                if not isinstance(value, TailCall):
                    return value
                routine = self._routine_of(value.target_blueprint_id)
                arguments += (value.args, value.kwargs)
                del value
        finally:
            share.turns.runnable -= 1
            share.let_go(frame)
            self.machine.stats = share.stats()

    def _routine_of(self, bp_id: Any) -> Any:
        blueprint = self.machine._blueprints.get(bp_id)
        if blueprint is None:
            raise ValueError(f"Unknown target blueprint ID: {bp_id!r}")
        routine = self.machine._routines[bp_id] = compiled(blueprint)
        return routine

    async def _to_the_end(self) -> None:
        """Run until there is a value that no tail call within the kernel continues."""
        frame, share = self.frame, self.share
        while True:
            self._judge(frame.program)
            signal = _kernel.run(frame, share.until)
            if signal == _kernel.DONE:
                return
            if signal == _kernel.AWAIT:
                frame.resume(await share.away(self._awaited()))
            elif signal == _kernel.FAILED:
                raise self._meaning(frame.error)
            elif share.is_over():
                await share.breathe()
            elif not frame.program.open:
                frame.resume(await share.away(self._admitted(frame.take())))

    async def _awaited(self) -> Any:
        """Return the value of what the kernel waits for."""
        frame = self.frame
        wanted = frame.awaitable
        if type(wanted) in _LAZY:
            return await self.machine.evaluate(wanted)
        return await (Started(wanted, frame.yielded) if frame.started else wanted)

    def _meaning(self, error: BaseException) -> BaseException:
        """Return the error of a call as the graph strategy would raise it."""
        frame = self.frame
        if isinstance(error, StopIteration):
            meant = RuntimeError("coroutine raised StopIteration")
            meant.__cause__ = meant.__context__ = error
            return meant
        if isinstance(error, TypeError):
            args, kwargs = frame.arguments(frame.op)
            misfit = argument_error(frame.name_of(frame.op), frame.func_of(frame.op), args, kwargs, error)
            if misfit is not None:
                misfit.__cause__ = error
                return misfit
        return error

    # ------------------------------------------------------------------------------------------------- permissions

    def _judge(self, program: Any) -> None:
        """Decide whether a program may run as a whole; when constraints change, those of other routines are too."""
        epoch = getattr(self.machine.constraint_manager, "epoch", 0)
        if epoch != self.epoch:
            self.epoch = epoch
            self.frame.cache.epoch += 1
        if program is not None:
            program.epoch = self.frame.cache.epoch
            program.open = self._is_free(self.frame.routine.calls)

    def _is_free(self, calls: Sequence[Call]) -> bool:
        """Whether no call has to ask anybody now."""
        machine = self.machine
        manager = machine.constraint_manager
        if machine.resource_manager is not None and any(call.constraints for call in calls):
            return False
        if manager is None:
            return True
        if not is_stock(manager, "stock", "check_permission", "get_extra_requirements", "concerns"):
            return False
        if manager._constraints:
            manager.cleanup_expired_constraints()
        return not manager._constraints or not any(manager.concerns(call.task_name) for call in calls)

    async def _admitted(self, op: int) -> Any:
        """Make one call when it is permitted, and hold what it requires while it runs."""
        call, frame = self.frame.routine.calls[op], self.frame
        node = Node("vm", call.task_name, callable_obj=call.func, constraints=call.constraints)
        amounts = await self._permitted(node)
        manager = self.machine.resource_manager if amounts else None
        if manager is not None:
            await manager.acquire(amounts)
        try:
            try:
                value = _kernel.hot._execute_hot_node(frame, op)
                wanted = frame.wanted(value, False)
                return value if wanted is None or type(wanted) in _LAZY else await wanted
            except (TypeError, StopIteration) as error:
                meant = self._meaning(error)
                if meant is error:
                    raise
                raise meant  # noqa: B904 - it has its cause
        finally:
            if manager is not None:
                await manager.release(amounts)

    async def _permitted(self, node: Node) -> dict[str, Any]:
        """Wait for permission; return the amounts that the call requires."""
        manager, event = self.machine.constraint_manager, self.machine.wakeup_event
        amounts = dict(node.constraints.requirements) if node.constraints else {}
        if manager is None:
            return amounts
        seen = getattr(event, "generation", 0)
        while not manager.check_permission(node):
            if event is None:
                await asyncio.sleep(_POLL)
            elif hasattr(event, "wait_beyond"):
                await event.wait_beyond(seen)
            else:
                await event.wait()
                event.clear()
            seen = getattr(event, "generation", 0)
            cleanup = getattr(manager, "cleanup_expired_constraints", None)
            if cleanup is not None:
                cleanup()
        amounts.update(manager.get_extra_requirements(node))
        return amounts


async def _evaluate(lazy: Any) -> Any:
    """Evaluate a lazy result for a machine without an engine."""
    from cascade.adapters.executors.local import LocalExecutor
    from cascade.adapters.solvers.native import NativeSolver
    from cascade.runtime.bus import MessageBus
    from cascade.runtime.engine import Engine

    return await Engine(NativeSolver(), LocalExecutor(), MessageBus()).run(lazy)
