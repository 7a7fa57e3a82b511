"""Runs functions in this process by default, in a thread or in another process where a task asks for it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cascade.adapters.executors._processes import ProcessPool
    from cascade.adapters.executors._threads import ThreadPool
    from cascade.graph.model import Node

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Calls the function of a node where the task's ``mode`` says.

    ============== =====================================================================================
    async function awaited on the event loop
    ``None``       called on the event loop's thread
    ``"blocking"`` called in a thread, with a copy of the caller's context variables
    ``"compute"``  called in another process; function, arguments and result must survive pickling
    ============== =====================================================================================

    Threads and processes are started when first needed, and ended by :meth:`close`, with the executor, or with the
    interpreter, which never waits for them. One executor may serve several event loops.
    """

    #: Declared beside ``execute``: as long as that is not replaced, functions without a mode may be called directly.
    inline = True

    def __init__(self) -> None:
        self._threads: ThreadPool | None = None
        self._processes: ProcessPool | None = None

    async def execute(self, node: Node, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Return what the function of ``node`` returns; a coroutine that a plain function makes is returned as it is.

        Raises:
            TypeError: the node has no function, or its function, arguments or result cannot be sent to a process.
        """
        function = node.callable_obj
        if function is None:
            raise TypeError(f"Node {node.name!r} is not executable: it has no function to call")
        # Stand-ins for nodes often do not say how their function runs, and a mock answers whatever it is asked.
        mode, is_async = getattr(node, "execution_mode", None), getattr(node, "is_async", False) is True
        if is_async or type(mode) is not str:
            value = function(*args, **kwargs)
            if is_async or (type(value) is CoroutineType and iscoroutinefunction(function)):
                return await value
            return value
        if mode == "blocking":
            return await self._in_thread(function, args, kwargs)
        if mode == "compute":
            return await self._in_process(node.name, function, args, kwargs)
        raise ValueError(f"node {node.name!r} has mode {mode!r}: use None, 'blocking' or 'compute'")

    async def _in_thread(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        import asyncio
        from contextvars import copy_context
        from functools import partial

        if self._threads is None:
            from cascade.adapters.executors._threads import ThreadPool

            self._threads = ThreadPool("cascade_blocking")
        job = partial(copy_context().run, _call, function, args, kwargs)
        future = self._threads.submit(job)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # The thread is left alone: its result is dropped when it comes.
            future.add_done_callback(_drop)
            raise

    async def _in_process(
        self, name: str, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        import asyncio

        from cascade.adapters.executors._processes import ProcessPool, Request

        request = Request(name, function, args, kwargs)
        if self._processes is None:
            self._processes = ProcessPool("cascade_compute")
        future = self._processes.submit(request)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            request.abandon()
            raise

    def close(self) -> None:
        """End threads and processes without waiting for what they do; a later call starts new ones."""
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.close()
        self._threads = self._processes = None


def _drop(future: Future[Any]) -> None:
    """Close a coroutine that nobody is left to await, or Python warns of it."""
    if not future.cancelled() and future.exception() is None:
        value = future.result()
        if type(value) is CoroutineType:
            value.close()


def _call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as stop:
        # A future cannot hold it; on the event loop's thread Python itself makes the same error of it.
        raise RuntimeError("coroutine raised StopIteration") from stop
