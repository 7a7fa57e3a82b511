"""A pool of processes for functions that are known by module and name.

    event loop --submit--> thread cascade_compute_N --pickle, pipe--> process --pipe--> thread --future--> event loop

Processes are spawned, on every platform: a fork of a program with threads (this one has them) may deadlock, and a
fork server would keep the environment of the moment in which it was started.

``concurrent.futures.ProcessPoolExecutor`` is not used for three reasons: it pickles functions by their name, under
which a module usually has the task and not the function; a call that was cancelled would go on, while the resources
it uses are being closed; and the interpreter would wait for it when it exits.
"""

from __future__ import annotations

import atexit
import multiprocessing.util  # its own exit handler joins all processes: ours must be registered after, to run before
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from cascade.adapters.executors._remote import Answer, serve
from cascade.adapters.executors._threads import ThreadPool
from cascade.graph._lookup import find
from cascade.spec.task import Task

__all__ = ["ProcessPool", "RemoteTraceback", "Request"]

#: Seconds that a process gets to end after it was told to.
_GRACE = 5.0


class RemoteTraceback(Exception):
    """Cause of an error from another process: the traceback it had there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Request:
    """A call to be made in another process.

    Raises:
        TypeError: the function cannot be found by name in another process.
    """

    def __init__(self, task: str, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
        self.task = task
        self._call = (*_reference(task, function), args, kwargs)
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._abandoned = False

    def pickled(self) -> bytes:
        """Return the request as bytes; TypeError if an argument cannot be pickled."""
        try:
            return pickle.dumps(self._call)
        except Exception as error:  # pickling runs methods of any argument
            raise TypeError(
                f"compute task {self.task!r} cannot be sent to another process: its arguments cannot be pickled "
                f"({error}). Pass plain data, or use mode='blocking'"
            ) from error

    def begin(self, worker: _Worker) -> bool:
        """Note who does it; False if nobody waits for it any more."""
        with self._lock:
            self._worker = worker
            return not self._abandoned

    def end(self) -> None:
        """Note that the answer is there, so that the process is not ended for this request."""
        with self._lock:
            self._worker = None

    def abandon(self) -> None:
        """Nobody waits for it any more: end the process that does it."""
        with self._lock:
            self._abandoned = True
            if self._worker is not None:
                self._worker.end()


def _reference(task: str, function: Callable[..., Any]) -> tuple[str, str]:
    """Return module and qualified name under which another process finds the function."""
    start = f"compute task {task!r} cannot be sent to another process: "
    remedy = "Define it at the top of a module, or use mode='blocking'"
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    found = find(module, qualname)
    if module is None or qualname is None or (found.func if isinstance(found, Task) else found) is not function:
        shown = qualname or type(function).__name__
        raise TypeError(f"{start}its function {shown!r} cannot be found by its name in module {module!r}. {remedy}")
    if module == "__main__" and not _has_file(sys.modules["__main__"]):
        raise TypeError(f"{start}its function {qualname!r} is defined in an interactive session. {remedy}")
    return module, qualname


def _has_file(main: Any) -> bool:
    return getattr(main, "__spec__", None) is not None or getattr(main, "__file__", None) is not None


class _Died(Exception):
    """The process ended before it answered."""


class _Worker:
    """A process that answers one request at a time. It ends when this end of the pipe is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_asked = False
        self._is_closed = False
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="cascade_compute")
        self._process.start()
        theirs.close()

    def ask(self, request: bytes) -> Answer:
        with self._lock:
            if self._is_closed:
                raise _Died
            self._is_asked = True
        try:
            self._connection.send_bytes(request)
            answer: Answer = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise _Died from error
        finally:
            with self._lock:
                self._is_asked = False
                if self._is_closed:
                    self._connection.close()
        return answer

    def end(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        """End the process and free what it held here; a pipe in use is freed by the thread that uses it."""
        self._process.terminate()
        self._process.join(_GRACE)
        with self._lock:
            self._is_closed = True
            if not self._is_asked:
                self._connection.close()


class _Crew:
    """The processes that were started and not closed. Once it is closed, none is started any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: set[_Worker] = set()
        self._is_over = False

    def start(self) -> _Worker:
        """Start a process, while nobody can close: one whose parent ends before it is told all complains of that."""
        with self._lock:
            if self._is_over:
                raise RuntimeError("the executor was closed before a process for this task was started")
            worker = _Worker()
            self._members.add(worker)
            return worker

    def leave(self, worker: _Worker) -> None:
        with self._lock:
            self._members.discard(worker)
        worker.close()

    def close(self) -> None:
        with self._lock:
            self._is_over = True
            members, self._members = self._members, set()
        for worker in members:
            worker.close()


class ProcessPool:
    """Makes calls in at most ``limit`` processes, by default one for each processor; starts one when none is idle."""

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._threads = ThreadPool(name, limit or os.cpu_count() or 1)
        #: Processes without a request, the last used one last. Appending and popping are atomic.
        self._idle: list[_Worker] = []
        self._crew = _Crew()
        self._finalizer = weakref.finalize(self, _close, self._crew, self._threads)
        _open_pools.add(self)

    def submit(self, request: Request) -> Future[Any]:
        """Return the future result of a request."""
        return self._threads.submit(lambda: self._answer(request))

    def _answer(self, request: Request) -> Any:
        pickled = request.pickled()
        worker = self._idle.pop() if self._idle else self._crew.start()
        if not request.begin(worker):
            self._idle.append(worker)
            return None
        try:
            answer = worker.ask(pickled)
        except _Died as died:
            self._crew.leave(worker)
            raise RuntimeError(
                f"the process of compute task {request.task!r} ended before the task was done. If it could not even "
                "start, see its own message above: a script needs `if __name__ == '__main__':` around what it runs"
            ) from died.__cause__
        request.end()
        self._idle.append(worker)
        return _value(request.task, answer)

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._finalizer()


def _value(task: str, answer: Answer) -> Any:
    """Return what the function returned, or raise what it raised."""
    error: BaseException | None = None
    try:
        content = pickle.loads(answer.content) if answer.content is not None else None
    except Exception as failure:  # unpickling runs methods of any class
        error = TypeError(f"what compute task {task!r} gave back cannot be rebuilt here: {failure}")
    else:
        if answer.traceback is None:
            return content
        error = content if isinstance(content, BaseException) else RuntimeError(f"{answer.kind}: {answer.text}")
    raise error from (RemoteTraceback(answer.traceback) if answer.traceback is not None else None)


def _close(crew: _Crew, threads: ThreadPool) -> None:
    threads.close()
    crew.close()


_open_pools: weakref.WeakSet[ProcessPool] = weakref.WeakSet()


@atexit.register
def _close_open_pools() -> None:
    for pool in list(_open_pools):
        pool.close()
