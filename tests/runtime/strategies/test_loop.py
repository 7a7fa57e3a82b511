"""The loop of one evaluation: what a level of recursion holds, what a run says of itself before and when it ends."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import ExitStack
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest

from cascade import _kernel
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.runtime.events import LoopProgress, TaskExecutionStarted
from cascade.runtime.exceptions import CascadeRuntimeError, ResourceCycleError
from cascade.runtime.strategies import _runs
from cascade.runtime.strategies._runs import Run
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.task import task
from tests.engines import make_engine, run, watch

LEVEL = 1024  # bytes


@task
def add(a: Any, b: Any) -> Any:
    return a + b


def test_a_parked_level_is_small() -> None:
    """A level of recursion in full processing keeps the values of its expression, and neither frame nor graph."""
    sizes: list[int] = []

    @task
    def stairs(n: int) -> Any:
        if n:
            return add(n, stairs(n - 1))
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
        return 0

    engine = make_engine(hot=False)
    run(stairs(20), engine)
    tracemalloc.start()
    try:
        run(stairs(100), engine)
        run(stairs(1100), engine)
    finally:
        tracemalloc.stop()

    spare = 0 if _kernel.kernel_name == "compiled" else 200  # the twin's lazies are larger
    assert (sizes[-1] - sizes[-2]) / 1000 < LEVEL + spare


def test_a_parked_step_keeps_the_values_that_it_began_with() -> None:
    """What a deeper level does to a container or to a lazy's arguments does not reach the levels that wait."""
    box: list[Any] = []

    @task
    def spoil(n: int) -> Any:
        box[1].args = ("spoilt", "spoilt")
        box[0].clear()
        return n

    @task
    def through(n: int) -> Any:
        return add(spoil(n), 0)

    @task
    def keep(first: Any, values: Any, last: Any) -> Any:
        return first, values, last

    @task
    def outer() -> Any:
        box[:] = [[add(1, 1), "x"], None]
        box[1] = keep(add(2, 2), box[0], through(5))
        return add(box[1], ())

    assert run(outer(), hot=False) == run(outer(), hot=True) == (4, [2, "x"], 5)


def test_results_before_a_parked_node_are_there_afterwards() -> None:
    """Earlier results of the step are handed to the consumer, and nothing runs twice."""
    calls: list[Any] = []

    @task
    def note(x: Any) -> Any:
        calls.append(x)
        return x

    @task
    def deep(n: int) -> Any:
        return add(add(note(("a", n)), note(("b", n))), deep(n - 1)) if n else ()

    assert run(deep(3), hot=False) == ("a", 3, "b", 3, "a", 2, "b", 2, "a", 1, "b", 1)
    assert calls == [(which, n) for n in (3, 2, 1) for which in "ab"]


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_a_loop_that_does_not_end_well_says_how_far_it_came(how: str) -> None:
    """One final LoopProgress is published, whatever ends the loop."""

    @task
    def down(n: int) -> Any:
        if n == 0 and how == "fails":
            raise ValueError("floor")
        return down(n - 1)

    async def main() -> list[Any]:
        engine = make_engine()
        seen = watch(engine, LoopProgress)
        running = asyncio.ensure_future(engine.run(down(50)))
        if how == "is cancelled":
            await asyncio.sleep(0.02)
            running.cancel()
        await asyncio.wait([running])
        return seen

    seen = asyncio.run(main())

    assert [event.task_name for event in seen if event.final] == ["down"]
    assert seen[-1].final


def test_stats_include_runs_that_go_on() -> None:
    """``engine.stats`` counts while a run goes on, and comes to the same afterwards."""
    engine = make_engine()
    during: list[int] = []

    @task
    def down(n: int) -> Any:
        during.append(engine.stats.steps)
        return down(n - 1) if n else "end"

    run(down(100), engine)

    assert during == sorted(during)
    assert 0 < during[50] <= 51
    assert engine.stats.steps == 101


def test_warm_expansions_of_hot_calls_have_ids_of_their_own() -> None:
    """Two expansions of one template within a hot expression are told apart, at every step in the same way."""

    @task
    def leaf(x: Any) -> Any:
        return x

    @task
    def grown(x: Any) -> Any:
        return leaf(x).with_constraints(slots=1)

    @task
    def root(n: int, a: Any, b: Any) -> Any:
        return root(n - 1, grown(1), grown(2)) if n else (a, b)

    engine = make_engine(system_resources={"slots": 2})
    seen = watch(engine, TaskExecutionStarted)
    assert run(root(4, 0, 0), engine) == (1, 2)
    ids = [event.task_id for event in seen if event.task_name == "leaf"][-4:]

    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]


def test_a_resource_cycle_is_an_error_of_the_run() -> None:
    """The error stands in the tree of the runtime's errors and is a ValueError still."""
    assert issubclass(ResourceCycleError, CascadeRuntimeError)
    assert issubclass(ResourceCycleError, ValueError)


def test_steps_that_wait_together_are_built_once() -> None:
    """Of items that were all traced before the first of them was built, the others find what it has left."""
    engine = make_engine()

    @task(mode="blocking")
    def away(x: int) -> int:
        return x

    with mock.patch.object(Run, "_deadline", return_value=0.0):  # each lets the others run before it is built
        assert run(away.map(x=list(range(10))), engine) == list(range(10))

    assert (engine.stats.cold, engine.stats.warm, engine.stats.templates) == (2, 9, 2)


def test_nodes_of_expansions_in_a_hot_frame_have_ids_of_their_places() -> None:
    """Equal structures that different hot calls return have ids of their own, the same in every step."""

    @task
    def yes(where: str) -> bool:
        return True

    @task
    def conditional(where: str) -> Any:
        return yes(where).run_if(yes(where)).with_constraints(slots=1)  # an amount: processed in full

    @task
    def deeper(where: str) -> Any:
        return same(conditional(where + "0"), conditional(where + "1"))

    @task
    def same(*values: Any) -> Any:
        return values

    engine = make_engine(system_resources={"slots": 2})
    seen = watch(engine)

    def ids() -> list[str]:
        seen.clear()
        run(same(deeper("0"), deeper("1")), engine)
        return [e.task_id for e in seen if type(e) is TaskExecutionStarted and e.task_name == "yes"]

    ids()
    first, second = ids(), ids()

    assert len(set(first)) == len(first) == 8
    assert first == second


class Minutes:
    """A clock that shows what it is told to show."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_progress_is_told_ten_times_a_second_and_at_once_to_newcomers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who subscribes hears at the next control point; that takes the place of the next regular time."""
    clock, heard = Minutes(), []
    engine = make_engine()
    tell = engine.graph_strategy.tell
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    monkeypatch.setattr(_runs, "time", clock)

    def at(*milliseconds: int) -> list[int]:
        for one in milliseconds:
            before = len(heard)
            tell.progress(run_, frame, 100.0 + one / 1000)
            told.extend([one] * (len(heard) > before))
        return told

    async def main() -> None:
        nonlocal run_
        run_ = Run("r", {}, InMemoryStateBackend("r"), ExitStack(), {}, False)
        run_.heard = engine.bus.epoch
        assert at(50, 150) == []  # nobody listens
        engine.bus.subscribe(LoopProgress, heard.append)
        assert at(155, 200, 254, 256, 300) == [155, 256]  # at once, then every 100 ms
        engine.bus.subscribe(LoopProgress, lambda event: None)
        assert at(310, 360, 455, 457) == [155, 256, 310, 457]  # instead of 356
        engine.bus.subscribe(TaskExecutionStarted, heard.append)
        assert at(458)[-1] == 458
        tell.progress(run_, frame, 100.459, final=True)
        assert heard[-1].final

    run_: Any = None
    told: list[int] = []
    asyncio.run(main())


def test_a_run_that_has_just_waited_does_not_let_others_run_again() -> None:
    """An async step that suspends takes one turn of the event loop, even if its quantum is over."""
    turns: list[int] = []
    counted = [0]

    @task
    async def loop(n: int) -> Any:
        turns.append(counted[0])
        await asyncio.sleep(0)
        return loop(n - 1) if n else "end"

    async def main() -> None:
        engine = make_engine()

        async def count() -> None:
            while True:
                counted[0] += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        assert await engine.run(loop(20)) == "end"
        counting.cancel()
        assert engine.stats.yields == 1  # before the cold step

    with mock.patch.object(Run, "_deadline", return_value=0.0):
        asyncio.run(main())

    assert [later - before for before, later in pairwise(turns[2:])] == [1] * (len(turns) - 3)


def test_an_await_that_does_not_suspend_is_no_rest() -> None:
    """A loop of awaitables that are there at once lets others run like any other loop."""

    class There:
        def __await__(self) -> Any:
            return "there"
            yield

    waits = task(lambda n: There(), name="waits")
    waits.is_async = True

    @task
    def loop(n: int, _: Any = None) -> Any:
        return loop(n - 1, waits(n)) if n else "end"

    engine = make_engine()
    with mock.patch.object(Run, "_deadline", return_value=0.0):
        assert run(loop(20), engine) == "end"

    assert engine.stats.yields >= 36  # two nodes a step


def test_parts_are_looked_at_again_after_a_quantum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many runs need not look at the engine's parts for each other; constraints and switches they look at each time."""
    engine = make_engine()
    gate = engine.graph_strategy.gate
    looked: list[None] = []
    monkeypatch.setattr(type(gate), "_is_stock", lambda self: not looked.append(None))

    def looks(*arguments: float) -> int:
        looked.clear()
        gate.look_again(*arguments)
        return len(looked)

    assert looks() == 1
    assert looks(5.0, 0.5) == 1
    assert looks(5.4, 0.5) == 0
    assert looks(5.6, 0.5) == 1
    engine.constraint_manager.update_constraint(GlobalConstraint("p", "task:x", "pause", {}))
    assert looks(5.7, 0.5) == 1
    engine.graph_strategy.observe = "steps"
    assert looks(5.8, 0.5) == 1
    assert looks(5.9, 0.5) == 0
    assert looks() == looks() == 1  # at the start of a run
    assert looks(6.0, 0.0) == looks(6.0, 0.0) == 1
