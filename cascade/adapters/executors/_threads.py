"""A pool of daemon threads.

``concurrent.futures.ThreadPoolExecutor`` is not used because the interpreter waits for its threads when it exits: a
blocking call that was cancelled long ago would hold up the exit for as long as it takes.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, TypeVar

__all__ = ["ThreadPool"]

T = TypeVar("T")
_Job: TypeAlias = "tuple[Future[Any], Callable[[], Any]]"


class ThreadPool:
    """Runs functions in at most ``limit`` threads, named ``<name>_0`` and on; starts one when none is idle."""

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._name = name
        # The work is waiting, not computing; so more threads than processors.
        self._limit = limit or min(32, (os.cpu_count() or 1) + 4)
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """Have neither threads nor jobs."""
        self._started = 0
        #: None tells a thread to end, and to tell the next one.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        # The threads know the queue only, so a pool that nobody holds is freed and its threads end.
        weakref.finalize(self, self._jobs.put, None)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Return the future result of ``function``."""
        future: Future[T] = Future()
        with self._lock:
            self._jobs.put((future, function))
            if not self._idle.acquire(blocking=False) and self._started < self._limit:
                name = f"{self._name}_{self._started}"
                self._started += 1
                threading.Thread(target=_work, args=(self._jobs, self._idle), name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Cancel what has not begun and let every thread end after what it does now."""
        with self._lock:
            while True:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is not None:
                    job[0].cancel()
            self._jobs.put(None)


#: All that there are.
_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


def _begin_all() -> None:
    """Begin anew in a forked process: it has a copy of each pool, but none of the threads."""
    for pool in list(_pools):
        pool._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)


def _work(jobs: SimpleQueue[_Job | None], idle: threading.Semaphore) -> None:
    while True:
        job = jobs.get()
        if job is None:
            jobs.put(None)
            return
        _run(*job, idle)
        del job  # neither arguments nor result may outlive the call


def _run(future: Future[Any], function: Callable[[], Any], idle: threading.Semaphore) -> None:
    """Make a call. The thread counts as idle before the result is told: whoever gets it may have the next call ready.

    While there are more calls than threads it counts as idle too often; no thread can be started then anyway.
    """
    if not future.set_running_or_notify_cancel():
        idle.release()
        return
    try:
        value = function()
    except BaseException as error:  # whoever awaits the future decides
        idle.release()
        future.set_exception(error)
    else:
        idle.release()
        future.set_result(value)
