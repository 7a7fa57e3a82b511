"""Reference counts are balanced on every path: success, an error in any call, cancellation between and inside calls."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.runtime import Engine
from tests.engines import make_engine, run

ROUNDS = 20
STATE: dict[str, int] = {}


class Failure(Exception):
    """Raised by the call whose turn it is."""


class Value:
    """An argument, a result, or a detail of an error."""


def count() -> None:
    """Take part in the numbering of calls; the one with the wanted number fails."""
    STATE["calls"] += 1
    if STATE["calls"] == STATE["fail"]:
        raise Failure(Value())


@cs.task
def same(value: Any, *, key: Any = None) -> Any:
    count()
    return value


@cs.task
def pair(one: Any, other: Any) -> Any:
    count()
    return [one, other]


@cs.task
async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    count()
    return value


@cs.task
async def prompt(value: Any) -> Any:
    count()
    return value


@cs.task
def turn(n: int, value: Any, box: Any = None) -> Any:
    count()
    if n == 0:
        return Value()
    return turn(n - 1, pair(same(value, key=Value()), Value()), [same(value), {"k": (same(1), value)}])


@cs.task
def grow(n: int, value: Any) -> Any:
    count()
    return pair(grow(n - 1, value), same(Value())) if n else value


@cs.task
async def together(n: int, value: Any) -> Any:
    count()
    return together(n - 1, pair(later(value), prompt(Value()))) if n else Value()


@cs.task
def retried(n: int, value: Any) -> Any:
    count()
    return retried(n - 1, same(value).with_retry(1)).with_retry(1) if n else Value()


@cs.task
def routed(n: int, value: Any) -> Any:
    count()
    return routed(n - 1, cs.Router(same(n % 2), {0: same(value), 1: [same(Value())]})) if n else Value()


@cs.task
def mapped(n: int, value: Any) -> Any:
    count()
    return mapped(n - 1, same.map(value=[value, Value()])) if n else Value()


TASKS = (same, pair, later, prompt, turn, grow, together, retried, routed, mapped)
SHAPES: dict[str, Callable[[Any], Any]] = {
    "tail calls": lambda value: turn(2, value),
    "expansions": lambda value: grow(3, value),
    "coroutines": lambda value: together(2, value),
    "retries": lambda value: retried(2, value),
    "routers": lambda value: routed(2, value),
    "maps": lambda value: mapped(2, value),
}


@pytest.fixture(params=[True, False], ids=["hot", "not hot"])
def engine(request: Any) -> Engine:
    return make_engine(hot=request.param)


@pytest.fixture(autouse=True)
def _collect_quickly() -> None:
    """Let the collector look only at what a test makes."""
    gc.collect()
    gc.freeze()


def counts(*others: Any) -> list[int]:
    gc.collect()
    watched = [*TASKS, *(task.func for task in TASKS), *others]
    return [sys.getrefcount(one) for one in watched]


def living() -> int:
    gc.collect()
    return sum(type(one) in (Value, Failure, _kernel.LazyResult) for one in gc.get_objects())


def outcome(engine: Engine, make: Callable[[Any], Any], value: Any, fail: int) -> tuple[str, int]:
    """Run with a call of that number failing; say how it ended, and how many calls there were."""
    STATE.update(calls=0, fail=fail)
    try:
        run(make(value), engine)
    except Failure:
        return "failed", STATE["calls"]
    return "succeeded", STATE["calls"]


@pytest.mark.parametrize("name", SHAPES)
def test_success_and_an_error_in_any_call(engine: Engine, name: str) -> None:
    """Whichever call fails, and if none does, tasks and arguments have the references that they had."""
    make, value = SHAPES[name], Value()
    for _ in range(3):
        how, calls = outcome(engine, make, value, 0)
        assert how == "succeeded"
    for fail in range(calls + 1):
        wanted, _ = outcome(engine, make, value, fail)  # and what is kept of it once: a program, a line of a traceback
        before, alive = counts(value), living()
        for _ in range(ROUNDS):
            how, _ = outcome(engine, make, value, fail)

        assert how == wanted
        assert name == "retries" or (how == "failed") == (fail > 0)
        assert max(abs(now - then) for now, then in zip(counts(value), before, strict=True)) < ROUNDS // 2, fail
        assert living() == alive, fail


@pytest.mark.parametrize("name", SHAPES)
def test_cancellation_at_any_turn(engine: Engine, name: str) -> None:
    """Whenever a run is cancelled, between its calls or in one that waits, nothing stays."""
    make, value = SHAPES[name], Value()
    STATE.update(calls=0, fail=0)

    async def cancelled(turns: int) -> bool:
        running = asyncio.ensure_future(engine.run(make(value)))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            return True
        return False

    async def main() -> list[bool]:
        return [await cancelled(turns) for turns in range(25)]

    asyncio.run(main())
    before, alive = counts(value), living()
    ended = asyncio.run(main())
    for _ in range(3):
        asyncio.run(main())

    assert ended[0]
    assert max(abs(now - then) for now, then in zip(counts(value), before, strict=True)) < ROUNDS // 2
    assert living() == alive


def test_a_suspended_coroutine_is_closed_by_cancellation(engine: Engine) -> None:
    """A call that is cancelled inside runs its own cleaning up, once."""
    closed: list[Any] = []

    @cs.task
    async def hangs(value: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(value)

    async def main() -> None:
        for target in (hangs(1), pair(hangs(2), 0), pair(hangs(3), hangs(4))):
            running = asyncio.ensure_future(engine.run(target))
            for _ in range(10):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    STATE.update(calls=0, fail=0)
    asyncio.run(main())

    assert closed == [1, 2, 3, 4]


# ------------------------------------------------------------------------------------------- whoever comes in between


@pytest.fixture
def eager_collector() -> Iterator[None]:
    """Let the garbage collector run at nearly every allocation."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("eager_collector")
@pytest.mark.parametrize("name", SHAPES)
def test_the_collector_runs_all_the_time(engine: Engine, name: str) -> None:
    """Garbage with finalisers that trace and make lazies is collected in the middle of everything; answers stay."""
    value = Value()
    STATE.update(calls=0, fail=0)

    class Cyclic:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            traced = _kernel.trace(pair(same(1), [same(2), {"k": same(3)}]))
            assert len(traced.operations) == 4

    class Dropping(Value):
        def __del__(self) -> None:
            Cyclic()

    for _ in range(3):
        Cyclic()
        run(SHAPES[name](Dropping()), engine)
        Cyclic()
    assert type(run(turn(3, value), engine)) is Value


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of users are POSIX's")
def test_signal_handlers_run_workflows(engine: Engine) -> None:
    """A handler that runs in the middle of a step may trace, make lazies, and run an engine in a thread."""
    answers: list[Any] = []

    def handle(number: int, frame: Any) -> None:
        def work() -> None:
            answers.append(run(double([triple(len(answers)), 1])))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(_kernel.trace(pair(same(1), [same(2)])).operations) == 3

    @cs.task
    def triple(n: int) -> int:
        return 3 * n

    @cs.task
    def double(values: list[int]) -> list[int]:
        return values * 2

    @cs.task
    def disturbed(n: int, values: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return disturbed(n - 1, [triple(n), double([n])]) if n else values

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        assert run(disturbed(10, None), engine) == [3, [1, 1]]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [[3 * n, 1] * 2 for n in range(11)]


def test_a_task_builds_and_runs_an_engine_in_another_loop(engine: Engine) -> None:
    """A task may run workflows, its own included, with ``cs.run`` or an engine and a loop of its own, in a thread."""

    def away(act: Callable[[], Any]) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(act()))
        thread.start()
        thread.join()
        return found[0]

    @cs.task
    def outer(n: int, seen: Any = None) -> Any:
        if n == 0:
            return seen
        if n % 2:
            inner = away(lambda: cs.run(outer(n - 1, [n]), log_level="ERROR"))
        else:
            loop = asyncio.new_event_loop()
            try:
                inner = away(lambda: loop.run_until_complete(make_engine().run(outer(n - 1, [n]))))
            finally:
                loop.close()
        return outer(0, [inner, n])

    assert run(outer(3), engine) == [[[[1], 1], 2], 3]
