"""Calls of a hot program that need more than the kernel: awaiting, retries, and the events of a failure."""

from __future__ import annotations

import asyncio
import time
from types import CoroutineType
from typing import Any

from cascade import _kernel
from cascade.runtime._concurrency import Started
from cascade.runtime._shown import described, message, preview
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted, TaskRetrying
from cascade.runtime.exceptions import TaskArgumentError, argument_error
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._runs import Run

__all__ = ["Attempts"]


class Attempts:
    """Brings operations of a frame's top level to a value, or to their final error."""

    __slots__ = ("frame", "run", "strategy", "told")

    def __init__(self, strategy: Any, run: Run, frame: Any) -> None:
        self.strategy = strategy
        self.run = run
        self.frame = frame
        self.told = -1  # number of the last step whose target has had its events

    async def resume(self) -> None:
        """Drive what the frame awaits, in this Task, and give the frame its value."""
        frame, turns = self.frame, self.run.turns
        op, started = frame.op, time.perf_counter()
        turns.runnable -= 1
        try:
            if frame.started:
                value = await Started(frame.awaitable, frame.yielded)
            else:
                value = await frame.awaitable
        except BaseException as error:
            value = await self._retry(op, error, started)
        finally:
            turns.runnable += 1
        frame.resume(value)

    async def again(self) -> None:
        """Retry the operation that has failed and give the frame its value."""
        frame = self.frame
        op, error = frame.op, frame.error
        frame.again()
        frame.resume(await self.run.away(self._retry(op, error, time.perf_counter())))

    async def fan_out(self, items: Items) -> None:
        """Evaluate the items of the map whose turn it is and give the frame their values."""
        op = self.frame.op
        self.frame.resume(await self.run.away(self._map(op, items)))

    async def _map(self, op: int, items: Items) -> Any:
        frame, started = self.frame, time.perf_counter()
        try:
            return await items.of_call(frame, op)
        except BaseException as error:
            self._publish(TaskExecutionStarted, op)
            self._finished(op, started, status="Failed", error=described(error))
            raise

    async def call(self, op: int, items: Items) -> Any:
        """Call an operation of a group."""
        if self.frame.factory_of(op) is not None:
            return await self._map(op, items)
        started = time.perf_counter()
        try:
            return await self._invoke(op)
        except BaseException as error:
            return await self._retry(op, error, started)

    async def _invoke(self, op: int) -> Any:
        value = _kernel.hot._execute_hot_node(self.frame, op)
        if type(value) is CoroutineType or self.frame.is_async(op):
            return await value
        return value

    async def _retry(self, op: int, error: BaseException, started: float) -> Any:
        """Return the value of a later attempt, or publish the failure and raise its error."""
        frame = self.frame
        policy, attempt = frame.retry_of(op), 0
        delay = policy.delay if policy is not None else 0.0
        self._publish(TaskExecutionStarted, op)
        while True:
            attempt += 1
            error = self._meaning(op, error)
            final = not isinstance(error, Exception) or isinstance(error, TaskArgumentError)
            if final or policy is None or attempt > policy.max_attempts:
                self._finished(op, started, status="Failed", error=described(error))
                raise error
            attempts = policy.max_attempts + 1
            self._publish(TaskRetrying, op, attempt=attempt, max_attempts=attempts, delay=delay, error=message(error))
            try:
                await asyncio.sleep(delay)
                delay *= policy.backoff
                value = await self._invoke(op)
            except BaseException as again:
                error = again
            else:
                del error  # or it would keep this frame, and with it the arguments, alive
                wanted = self.strategy.tell.wants(TaskExecutionFinished)
                shown = preview(value, frame.name_of(op)) if wanted else None
                self._finished(op, started, status="Succeeded", result_preview=shown)
                if frame.depth == 1 and op == len(frame.program) - 1:
                    self.told = frame.steps
                return value

    def _meaning(self, op: int, error: BaseException) -> BaseException:
        """Return the error as full processing would raise it."""
        if isinstance(error, StopIteration):
            meant = RuntimeError("coroutine raised StopIteration")
            meant.__cause__ = meant.__context__ = error
            return meant
        if isinstance(error, TypeError):
            args, kwargs = self.frame.arguments(op)
            misfit = argument_error(self.frame.name_of(op), self.frame.func_of(op), args, kwargs, error)
            if misfit is not None:
                misfit.__cause__ = error
                return misfit
        return error

    def _finished(self, op: int, started: float, **fields: Any) -> None:
        self._publish(TaskExecutionFinished, op, duration=time.perf_counter() - started, **fields)

    def _publish(self, event: type[Any], op: int, **fields: Any) -> None:
        self.strategy.tell.publish_hot(event, self.frame.program, op, self.run.run_id, **fields)
