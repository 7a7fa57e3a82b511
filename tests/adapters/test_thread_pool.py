"""How many threads the pool has."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import partial

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
