"""Running coroutines together so that nothing outlives a failure, and evaluating to any depth without recursion."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable
from types import coroutine
from typing import Any

from cascade.runtime._evaluation import Evaluation

__all__ = ["MOST_AT_ONCE", "Driver", "Expand", "Started", "Together", "drive", "pause", "run_together"]

#: So many coroutines that run together begin in one turn of the event loop.
MOST_AT_ONCE = 1_000


@coroutine
def pause() -> Generator[None, None, None]:
    """Let the event loop run everything that is ready, once."""
    yield


class Expand:
    """Asks for the value of an evaluation (or of a coroutine), computed on the driver's stack, not on the caller's.

    A coroutine awaits it; an evaluation returns it from ``advance`` and is parked until the value is there.
    """

    __slots__ = ("evaluation",)

    def __init__(self, evaluation: Evaluation | Coroutine[Any, Any, Any]) -> None:
        self.evaluation = evaluation

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Driver:
    """Awaits an evaluation, or a coroutine that may await :class:`Expand`.

    Keeps what waits for nested evaluations on a list, so that their depth is bounded by memory alone.
    """

    __slots__ = ("start",)

    def __init__(self, start: Evaluation | Coroutine[Any, Any, Any]) -> None:
        self.start = start

    def __await__(self) -> Generator[Any, Any, Any]:
        owner: Any = self.start  # what ``running`` belongs to: an evaluation, or itself
        running: Any = _running(owner)
        stack: list[Any] = []  # what waits: parked evaluations, and coroutines with their owners
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                if error is None:
                    wanted = running.send(value)
                else:
                    failure, error = error, None
                    wanted = running.throw(failure)
            except StopIteration as stop:
                value = stop.value
                if type(value) is Expand:
                    stack.append(owner)
                    owner, value = value.evaluation, None
                    running = _running(owner)
                    continue
                if not stack:
                    return value
            except BaseException as raised:
                if not stack:
                    raise
                error = _without_engine(raised)
            else:
                value = None
                if type(wanted) is Expand:
                    stack.append((owner, running))
                    owner, wanted = wanted.evaluation, None
                    running = _running(owner)
                    continue
                try:
                    value = yield wanted
                except BaseException as raised:
                    error = raised
                continue
            # What was asked for has a value, or has failed: whoever asked goes on.
            owner = stack.pop()
            if type(owner) is tuple:
                owner, running = owner
            else:
                running = owner.advance(value, error)
                value = error = None


def _running(owner: Any) -> Any:
    """Return the coroutine in which an evaluation begins, or a coroutine itself."""
    return owner.advance() if isinstance(owner, Evaluation) else owner


def _without_engine(error: BaseException) -> BaseException:
    """Drop the engine's entries from the head of the traceback, if there are others; each level would add some."""
    entry = error.__traceback__
    while entry is not None and str(entry.tb_frame.f_globals.get("__name__", "")).startswith("cascade."):
        entry = entry.tb_next
    return error if entry is None else error.with_traceback(entry)


async def drive(start: Evaluation | Coroutine[Any, Any, Any]) -> Any:
    """Await an evaluation, or a coroutine that may await :class:`Expand`."""
    return await Driver(start)


class Started:
    """Awaits the rest of a coroutine whose first step gave ``yielded``; it stays in the current asyncio Task."""

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

    @property
    def has_failed(self) -> bool:
        """Whether one has failed."""
        return self._failed

    async def wait(self) -> None:
        """Wait until all have ended or one has failed.

        One that failed just before the caller was cancelled counts: its error comes out, as from a TaskGroup.
        """
        while self.is_running:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                if not self._errors():
                    raise
                self._failed = True

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

    Those beyond the first ``MOST_AT_ONCE`` are made and started a turn of the event loop later, and so on: of a million
    short ones, few are there at a time, but one that waits for a later one does not wait for ever.
    When one fails, or the caller is cancelled, the others are cancelled and awaited before this returns. The first
    error in order is raised; the others become its notes.
    """
    together = Together()
    try:
        for number, one in enumerate(coroutines, 1):
            together.start(one)
            if number % MOST_AT_ONCE == 0:
                await pause()
                if together.has_failed:
                    break
        await together.wait()
    finally:
        await together.end()
    return together.values()
