"""Running coroutines together so that nothing outlives a failure, and evaluating to any depth without recursion."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable
from types import coroutine
from typing import Any

__all__ = ["Expand", "Together", "drive", "pause", "resume_started", "run_together"]


@coroutine
def pause() -> Generator[None, None, None]:
    """Let the event loop run everything that is ready, once."""
    yield


class Expand:
    """Awaited below :func:`drive`: evaluates a coroutine on the driver's stack instead of on the caller's."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class _Driver:
    """Keeps nested evaluations on a list, so that their depth is bounded by memory alone."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        stack: list[Any] = [self.coroutine]
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                if error is None:
                    wanted = stack[-1].send(value)
                else:
                    failure, error = error, None
                    wanted = stack[-1].throw(failure)
            except StopIteration as stop:
                stack.pop()
                value = stop.value
                if not stack:
                    return value
            except BaseException as raised:
                stack.pop()
                if not stack:
                    raise
                error = _without_engine(raised)
            else:
                value = None
                if type(wanted) is Expand:
                    stack.append(wanted.coroutine)
                    continue
                try:
                    value = yield wanted
                except BaseException as raised:
                    error = raised


def _without_engine(error: BaseException) -> BaseException:
    """Drop the engine's entries from the head of the traceback, if there are others; each level would add some."""
    entry = error.__traceback__
    while entry is not None and str(entry.tb_frame.f_globals.get("__name__", "")).startswith("cascade."):
        entry = entry.tb_next
    return error if entry is None else error.with_traceback(entry)


async def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine that may await :class:`Expand`."""
    return await _Driver(coroutine)


class _Started:
    """Awaits the rest of a coroutine that has already yielded once."""

    __slots__ = ("coroutine", "yielded")

    def __init__(self, coroutine: Any, yielded: Any) -> None:
        self.coroutine = coroutine
        self.yielded = yielded

    def __await__(self) -> Generator[Any, Any, Any]:
        wanted = self.yielded
        while True:
            try:
                value = yield wanted
            except GeneratorExit:
                self.coroutine.close()
                raise
            except BaseException as error:
                try:
                    wanted = self.coroutine.throw(error)
                except StopIteration as stop:
                    return stop.value
            else:
                try:
                    wanted = self.coroutine.send(value)
                except StopIteration as stop:
                    return stop.value


async def resume_started(coroutine: Any, yielded: Any) -> Any:
    """Await the rest of a coroutine whose first step gave ``yielded``; it stays in the current asyncio Task."""
    return await _Started(coroutine, yielded)


class Together:
    """Coroutines in asyncio Tasks of their own, of which none outlives a failure: see ``run_together``."""

    __slots__ = ("_failed", "_running", "_tasks", "_waiter")

    def __init__(self) -> None:
        self._tasks: list[asyncio.Future[Any]] = []
        self._running = 0
        self._failed = False
        self._waiter: asyncio.Future[None] | None = None

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start one more."""
        task = asyncio.ensure_future(drive(coroutine))
        self._tasks.append(task)
        self._running += 1
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running -= 1
        self._failed = self._failed or task.cancelled() or task.exception() is not None
        waiter = self._waiter
        if (self._failed or not self._running) and waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def is_running(self) -> bool:
        """Whether one is running and none has failed."""
        return self._running > 0 and not self._failed

    async def wait(self) -> None:
        """Wait until all have ended or one has failed."""
        while self.is_running:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def end(self) -> None:
        """Cancel what is still running and wait for it, even if the wait itself is cancelled again."""
        running = [task for task in self._tasks if not task.done()]
        for task in running:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while running:
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError as again:
                cancelled = again
            running = [task for task in running if not task.done()]
        if cancelled is not None:
            raise cancelled

    def values(self) -> list[Any]:
        """Return the values in order of start, or raise the first error; the others become its notes."""
        if not self._failed:
            return [task.result() for task in self._tasks]
        errors = self._errors()
        if not errors:
            raise asyncio.CancelledError
        self.note(errors[0])
        raise errors[0]

    def note(self, error: BaseException) -> None:
        """Note on an error that others failed too."""
        for other in self._errors():
            if other is not error:
                error.add_note(f"also failed: {type(other).__name__}: {other}")

    def _errors(self) -> list[BaseException]:
        found = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        return [error for error in found if error is not None]


async def run_together(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines in asyncio Tasks of their own, started in order, and return their values in order.

    When one fails, or the caller is cancelled, the others are cancelled and awaited before this returns. The first
    error in order is raised; the others become its notes.
    """
    together = Together()
    for one in coroutines:
        together.start(one)
    try:
        await together.wait()
    finally:
        await together.end()
    return together.values()
