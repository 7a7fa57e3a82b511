"""What the kernel owns, it gives back: on success, on errors, on cancellation, and in garbage."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime import Engine, MessageBus


class Counted:
    """An object whose living instances are counted."""

    living = 0

    def __init__(self) -> None:
        Counted.living += 1

    def __del__(self) -> None:
        Counted.living -= 1


@pytest.fixture(autouse=True)
def none_left() -> Any:
    """No test leaves a counted object behind."""
    gc.collect()
    before = Counted.living
    yield
    gc.collect()

    assert Counted.living == before


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def pair(a: Any, b: Any) -> Any:
    return [a, b]


@cs.task
def nested(n: int, last: Any, box: Any = None, *, key: Any = None) -> Any:
    if n == 0:
        return None
    box = [same(Counted()), {"a": same(last), Counted(): (same(1), [Counted()])}]
    return nested(n - 1, Counted(), box=box, key=Counted())


@cs.task
def failing(n: int, value: Any) -> Any:
    if n == 0:
        raise ValueError(Counted())
    return failing(n - 1, same(Counted()))


@cs.task
async def waiting(n: int, value: Any) -> Any:
    if n % 3 == 0:
        await asyncio.sleep(0)
    return waiting(n - 1, same(Counted())) if n else None


@cs.task
async def failing_later(n: int, value: Any) -> Any:
    await asyncio.sleep(0)
    if n == 0:
        raise ValueError(Counted())
    return failing_later(n - 1, Counted())


@cs.task
async def made(value: Any) -> Any:
    return Counted()


@cs.task
def uncalled(value: Any) -> Any:
    return same


@cs.task
def cyclic(value: Any) -> Any:
    lazy: Any = same(Counted())
    lazy.args = (lazy,)
    return lazy


@cs.task
def endless(value: Any) -> Any:
    return endless(Counted())


def engine() -> Engine:
    return Engine(solver=NativeSolver(), executor=LocalExecutor(), bus=MessageBus())


PROGRAMS: dict[str, tuple[Any, type[BaseException] | None]] = {
    "containers": (lambda: nested(5, Counted()), None),
    "error": (lambda: failing(3, Counted()), ValueError),
    "coroutines": (lambda: waiting(5, Counted()), None),
    "error in a coroutine": (lambda: failing_later(2, Counted()), ValueError),
    "group": (lambda: pair(made(1), made(2)), None),
    "error in a group": (lambda: pair(made(1), failing_later(1, Counted())), ValueError),
    "retries": (lambda: pair(failing(0, same(Counted())).with_retry(2), 1), ValueError),
    "uncalled task returned": (lambda: uncalled(Counted()), TypeError),
    "uncalled task passed": (lambda: pair(Counted(), same), TypeError),
    "cycle": (lambda: cyclic(1), ValueError),
    "missing argument": (lambda: pair(Counted()), TypeError),
    "superfluous argument": (lambda: same(Counted(), Counted()), TypeError),
}


def run_once(target: Any, error: type[BaseException] | None, on: Engine) -> None:
    try:
        asyncio.run(on.run(target))
    except Exception as raised:
        if error is None or not isinstance(raised, error):
            raise
    else:
        assert error is None


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_keeps_nothing(name: str) -> None:
    """After a run, however it ended, and after many of them, no argument, result or exception is alive."""
    make, error = PROGRAMS[name]
    on = engine()
    for _ in range(20):
        run_once(make(), error, on)
    gc.collect()

    assert Counted.living == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_objects_do_not_pile_up(name: str) -> None:
    """The number of objects that the collector knows is the same after 30 and after 60 runs."""
    make, error = PROGRAMS[name]
    on = engine()
    counts = []
    for _ in range(2):
        for _ in range(30):
            run_once(make(), error, on)
        gc.collect()
        counts.append(len(gc.get_objects()))

    assert counts[1] - counts[0] < 20


def test_a_cancelled_loop_keeps_nothing() -> None:
    """Cancellation between nodes gives everything back."""

    async def main() -> None:
        task = asyncio.ensure_future(engine().run(endless(Counted())))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()

    assert Counted.living == 0


def test_reference_counts_of_tasks_and_values_are_balanced() -> None:
    """A thousand steps change no reference count of task, function or argument."""
    value = Counted()

    @cs.task
    def turn(n: int, kept: Any, *, again: Any = None) -> Any:
        return turn(n - 1, kept, again=kept) if n else None

    on = engine()
    asyncio.run(on.run(turn(5, value)))
    gc.collect()
    before = [sys.getrefcount(x) for x in (turn, turn.func, value)]
    asyncio.run(on.run(turn(1000, value)))
    gc.collect()

    assert [sys.getrefcount(x) for x in (turn, turn.func, value)] == before


def test_lazy_results_in_a_cycle_are_collected() -> None:
    """A lazy result that is its own argument is garbage like any other."""
    lazy: Any = same(Counted())
    lazy.kwargs["me"] = [lazy, Counted()]
    gone = weakref.ref(lazy)
    del lazy
    gc.collect()

    assert gone() is None


def test_a_suspended_run_in_a_cycle_is_collected() -> None:
    """What a waiting frame holds is visible to the garbage collector, so a forgotten run is freed."""

    class Cell:
        run: Any = None

    @cs.task
    async def hang(cell: Any, counted: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def main() -> Any:
        cell = Cell()
        on = engine()
        coroutine = on.run(hang(cell, Counted()))
        coroutine.send(None)
        cell.run = coroutine
        return weakref.ref(cell)

    loop = asyncio.new_event_loop()
    try:
        gone = loop.run_until_complete(main())
        gc.collect()

        assert gone() is None
    finally:
        loop.close()


def test_a_frame_refuses_to_be_entered_twice() -> None:
    """A task that gets hold of the running frame gets an error, not a crash."""
    frames: list[Any] = []

    @cs.task
    def meddle(n: int) -> Any:
        for frame in frames:
            with pytest.raises(RuntimeError):
                _kernel.run(frame, 0.0)
        return meddle(n - 1) if n else "done"

    cache = _kernel.ProgramCache()
    frame = _kernel.Frame(cache, {})
    frame.begin(meddle(3))
    program = _kernel.compile_program(frame, _ints(0, 1), _ints(0))
    program.open, program.epoch = True, cache.epoch
    cache.add(program)
    frame.enter(program)
    if _kernel.kernel_name == "compiled":
        frames.append(frame)
    try:
        assert _kernel.run(frame, 1e300) == _kernel.DONE
        assert frame.value == "done"
    finally:
        frame.close()


def _ints(*values: int) -> Any:
    from array import array

    return array("i", values)


def test_a_finaliser_may_run_an_engine() -> None:
    """A run inside a finaliser that a step triggers disturbs neither of the two."""
    answers: list[Any] = []

    class Last:
        def __del__(self) -> None:
            done: list[Any] = []
            thread = threading.Thread(target=lambda: done.append(asyncio.run(engine().run(pair(same(1), 2)))))
            thread.start()
            thread.join()
            answers.extend(done)

    @cs.task
    def turn(n: int, last: Any) -> Any:
        return turn(n - 1, Last()) if n else "end"

    assert asyncio.run(engine().run(turn(5, Last()))) == "end"
    assert answers == [[1, 2]] * 6


def test_a_task_may_run_an_engine_in_a_thread() -> None:
    """Runs nested through threads do not share scratch memory."""

    @cs.task
    def outer(n: int) -> Any:
        if n == 0:
            return 0
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(asyncio.run(engine().run(pair(same(n), [same(n)])))))
        thread.start()
        thread.join()
        assert found == [[n, [n]]]
        return outer(n - 1)

    assert asyncio.run(engine().run(outer(20))) == 0


def test_an_interpreter_that_exits_in_mid_run_prints_nothing() -> None:
    """Leaving the process while loops run is silent."""
    code = (
        "import asyncio, os, cascade as cs\n"
        "@cs.task\n"
        "def forever(n, keep=None): return forever(n + 1, [n])\n"
        "async def main():\n"
        "    tasks = [asyncio.ensure_future(cs.arun(forever(0), log_level='ERROR')) for _ in range(3)]\n"
        "    await asyncio.sleep(0.02)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
