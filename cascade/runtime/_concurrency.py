"""Running coroutines together so that nothing outlives a failure, and evaluating to any depth without recursion."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from types import coroutine
from typing import Any

__all__ = ["Expand", "drive", "pause", "resume_started", "run_together"]


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
        stack = [self.coroutine]
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


async def run_together(coroutines: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines in asyncio Tasks of their own, started in order, and return their values in order.

    When one fails, or the caller is cancelled, the others are cancelled and awaited before this returns. The first
    error in order is raised; the others become its notes.
    """
    tasks = [asyncio.ensure_future(drive(one)) for one in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = any(task.done() and (task.cancelled() or task.exception() is not None) for task in tasks)
        if not failed:
            return [task.result() for task in tasks]
    finally:
        await _end(tasks)
    raise _first_error(tasks)


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel what is still running and wait for it, even if the wait itself is cancelled again."""
    running = [task for task in tasks if not task.done()]
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


def _first_error(tasks: Sequence[asyncio.Future[Any]]) -> BaseException:
    errors = [task.exception() for task in tasks if not task.cancelled()]
    found = [error for error in errors if error is not None]
    if not found:
        return asyncio.CancelledError()
    for other in found[1:]:
        if other is not found[0]:
            found[0].add_note(f"also failed: {type(other).__name__}: {other}")
    return found[0]
