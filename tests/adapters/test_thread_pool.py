"""How many threads the pool has."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from functools import partial

import pytest

from cascade.adapters.executors._threads import ThreadPool


def test_one_call_after_the_other_needs_one_thread() -> None:
    """Whoever is told the result of a call finds its thread idle, so a loop of calls starts no more threads."""
    pool = ThreadPool("one_by_one", 8)
    names: list[str] = []
    done = threading.Event()

    def call(left: int) -> int:
        names.append(threading.current_thread().name)
        return left - 1

    def next_call(told: Future[int]) -> None:
        if told.result():
            pool.submit(partial(call, told.result())).add_done_callback(next_call)
        else:
            done.set()

    pool.submit(partial(call, 100)).add_done_callback(next_call)
    done.wait()
    pool.close()

    assert names == ["one_by_one_0"] * 100


def test_calls_at_once_get_a_thread_each_up_to_the_limit() -> None:
    """As many calls as there may be threads run together; more of them wait for a thread, and none is forgotten."""
    pool = ThreadPool("at_once", 4)
    together = threading.Barrier(4)
    for _ in range(3):
        waiting = [pool.submit(together.wait) for _ in range(8)]
        assert sorted(future.result() for future in waiting) == [0, 0, 1, 1, 2, 2, 3, 3]
    pool.close()


def test_cancelled_call_keeps_no_thread() -> None:
    """A call that was cancelled before it began leaves its thread to the next one."""
    pool = ThreadPool("cancelled", 1)
    gate = threading.Event()
    first = pool.submit(gate.wait)
    second = pool.submit(gate.wait)

    assert second.cancel()
    gate.set()
    assert first.result()
    assert pool.submit(lambda: "next").result() == "next"
    pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    """Fork copies the pool but none of its threads: what counts as idle there is not; the parent's work is its own."""
    pool, holds = ThreadPool("t", 1), threading.Event()
    assert pool.submit(threading.get_native_id).result(30) != threading.get_native_id()
    held, waits = pool.submit(lambda: holds.wait(30)), pool.submit(os.getpid)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if pool.submit(os.getpid).result(10) == os.getpid() else 2
        finally:
            os._exit(code)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        holds.set()
    assert (held.result(30), waits.result(30)) == (True, os.getpid())
    pool.close()
