"""Threads that run, trace, make and free lazy results of the same tasks at once get what each would get alone."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from tests.engines import make_engine

pytestmark = pytest.mark.skipif(
    sys.gettrace() is not None, reason="a tracer is Python code that runs in the middle of what runs none"
)


@pytest.fixture(autouse=True)
def _hasty() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def total(n: int, so_far: int = 0) -> Any:
    return total(n - 1, add(so_far, n)) if n else so_far


@cs.task
def fibonacci(n: int) -> Any:
    return add(fibonacci(n - 1), fibonacci(n - 2)) if n > 1 else n


@cs.task
def boxed(n: int, box: Any, *, key: Any = None) -> Any:
    return boxed(n - 1, [same(n), {"a": same(box[0])}], key=(same(n), box)) if n else (box[0], key[0])


@cs.task
async def suspending(n: int, value: Any) -> Any:
    await asyncio.sleep(0)
    return suspending(n - 1, same(value)) if n else value


@cs.task
def flaky(n: int, tries: list[int]) -> Any:
    tries.append(n)
    if len(tries) % 2:
        raise ValueError(n)
    return flaky(n - 1, tries).with_retry(1) if n else len(tries)


@cs.task
def failing(n: int, mark: Any) -> Any:
    if n == 0:
        raise KeyError(mark)
    return failing(n - 1, same(mark))


@cs.task(pure=True)
def doubled(n: int) -> int:
    return 2 * n


@cs.task
def mapped(n: int, start: int) -> Any:
    return mapped(n - 1, summed(doubled.map(n=[start, n]))) if n else start


@cs.task
def summed(values: list[int]) -> int:
    return sum(values)


def sums(start: int, count: int) -> int:
    for n in range(count, 0, -1):
        start = 2 * start + 2 * n
    return start


#: What to run, given the number of a thread and of its round, and what must come of it.
WORK: dict[str, Callable[[int, int], tuple[Any, Any]]] = {
    "total": lambda me, n: (total(60 + n, me), (60 + n) * (61 + n) // 2 + me),
    "fibonacci": lambda me, n: (fibonacci(7 + me), (13, 21, 34)[me]),
    "containers": lambda me, n: (boxed(20, [me]), (1, 1)),
    "coroutines": lambda me, n: (suspending(10, (me, n)), (me, n)),
    "retries": lambda me, n: (flaky(10, []).with_retry(1), 22),
    "map": lambda me, n: (mapped(4, me), sums(me, 4)),
}


def together(count: int, act: Callable[[int], None]) -> None:
    """Let threads act at once; raise what went wrong in one of them."""
    start = threading.Barrier(count)
    wrong: list[BaseException] = []

    def work(me: int) -> None:
        try:
            start.wait()
            act(me)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if wrong:
        raise wrong[0]


@pytest.mark.parametrize("name", WORK)
def test_threads_with_an_engine_each_run_the_same_tasks(name: str) -> None:
    """Each thread has its own loop and engine, and gets its own answers, round after round."""

    def act(me: int) -> None:
        engine = make_engine()

        async def main() -> None:
            for n in range(150):
                target, expected = WORK[name](me, n)
                assert await engine.run(target) == expected

        asyncio.run(main())

    together(3, act)


def test_threads_run_different_work_on_the_same_tasks() -> None:
    """What one thread runs is not mixed up with what another does."""
    names = list(WORK)

    def act(me: int) -> None:
        engine = make_engine()

        async def main() -> None:
            for n in range(200):
                target, expected = WORK[names[(n + 2 * me) % len(names)]](me, n)
                assert await engine.run(target) == expected

        asyncio.run(main())

    together(3, act)


def test_errors_stay_in_their_threads() -> None:
    """Each thread catches the very error that its own task raised."""

    def act(me: int) -> None:
        engine = make_engine()

        async def main() -> None:
            for n in range(60):
                mark = object()
                with pytest.raises(KeyError) as caught:
                    await engine.run(failing(n % 5, mark))
                assert caught.value.args[0] is mark

        asyncio.run(main())

    together(3, act)


def test_lazy_results_are_made_traced_and_freed_at_once() -> None:
    """Making, reading, tracing and freeing lazies of one task in three threads leaves each thread with its own."""

    def act(me: int) -> None:
        kept: list[Any] = []
        for n in range(6_000):
            marks = [(me, n, k) for k in range(n % 5)]
            lazy = same([add(*marks[:2]), *marks]) if n % 3 else add(same(me), key=same(marks)).with_retry(n)
            kept.append(lazy)
            if len(kept) > 30:
                del kept[::2]
            if n % 7 == 0:
                assert lazy.kwargs.keys() <= {"key"}
            traced = _kernel.trace(lazy)
            last = traced.operations[-1]
            if n % 3:
                assert last.values[0][1:] == marks
                assert traced.operations[0].values == tuple(marks[:2])
            else:
                assert [one.values for one in traced.operations[:2]] == [(me,), (marks,)]
                assert last.retry.max_attempts == n

    together(3, act)


def test_tasks_come_and_go_while_others_run() -> None:
    """Tasks that are made, run, changed and freed in one thread do not disturb the programs of another."""

    def act(me: int) -> None:
        engine = make_engine()

        async def main() -> None:
            for n in range(60):
                short = cs.task(lambda a, b=me: (a, b), name="short")
                assert await engine.run(short(same(n))) == (n, me)
                short.func = lambda a, b=None: (b, a)
                assert await engine.run(short(same(n), b=same(1))) == (1, n)
                assert await engine.run(total(10, add(me, n))) == 55 + me + n
                if n % 20 == 0:
                    gc.collect()

        asyncio.run(main())

    together(3, act)
