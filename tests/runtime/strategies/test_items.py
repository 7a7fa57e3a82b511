"""Items of a map: which of them run in order, what each has for itself, and what they share."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.build import build_graph
from cascade.runtime._concurrency import drive
from cascade.runtime.events import TaskEvent, TaskExecutionStarted, TaskSkipped
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._runs import Run, Scope
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task, task
from tests.engines import make_engine, run, watch


@task
def ident(x: Any) -> Any:
    return x


@task
async def aident(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


@pytest.fixture(params=["hot", "cold"])
def hot(request: pytest.FixtureRequest) -> bool:
    """Both kinds of engine."""
    return bool(request.param == "hot")


class Factory:
    """Makes the call of an item from a function of its value."""

    name = "factory"

    def __init__(self, make: Any) -> None:
        self.make = make

    def __call__(self, x: Any) -> Any:
        return self.make(x)

    def map(self, **kwargs: Any) -> Any:
        mapped = ident.map(**kwargs)
        mapped.factory = self
        return mapped


def test_synchronous_items_run_in_order_before_the_others(hot: bool) -> None:
    """An item with an asynchronous call anywhere in its expression waits for those that have none."""
    log = []

    @task
    def note(x: Any) -> Any:
        log.append(x)
        return x

    def make(x: int) -> Any:
        return note(aident(x)) if x % 2 == 0 else note(ident(x))

    engine = make_engine(hot=hot)
    for _ in range(2):
        log.clear()
        assert run(Factory(make).map(x=list(range(6))), engine) == list(range(6))
        assert log[:3] == [1, 3, 5]
        assert sorted(log[3:]) == [0, 2, 4]


def test_synchronous_items_run_in_the_runs_own_task(hot: bool) -> None:
    """They need no asyncio Task; asynchronous ones have one each."""

    @task
    def look(x: Any) -> Any:
        return asyncio.current_task()

    async def alook(x: Any) -> Any:
        return asyncio.current_task()

    async def main() -> None:
        engine = make_engine(hot=hot)
        me = asyncio.current_task()
        assert await engine.run(look.map(x=[1, 2])) == [me, me]
        others = await engine.run(Task(alook).map(x=[1, 2]))
        assert len({me, *others}) == 3

    asyncio.run(main())


def test_asynchronous_items_run_concurrently(hot: bool) -> None:
    """Items that wait for each other end."""

    async def main() -> Any:
        everybody = asyncio.Barrier(3)

        async def meet(x: int) -> int:
            await everybody.wait()
            return x

        return await asyncio.wait_for(make_engine(hot=hot).run(Task(meet).map(x=[1, 2, 3])), 10)

    assert asyncio.run(main()) == [1, 2, 3]


def test_a_failing_synchronous_item_is_the_last_to_start(hot: bool) -> None:
    """What comes after it in the order of the items is not called."""
    log = []

    @task
    def note(x: Any) -> Any:
        log.append(x)
        if x == 3:
            raise ValueError("three")
        return x

    with pytest.raises(ValueError, match="three"):
        run(note.map(x=[1, 3, 4]), hot=hot)
    assert log == [1, 3]


def test_each_item_has_results_and_skip_marks_of_its_own(hot: bool) -> None:
    """What is skipped or chosen in one item is nothing to the next, and no two share a node's id."""
    engine = make_engine(hot=hot, observe="steps")
    seen = watch(engine, TaskEvent)

    @task
    def take(*xs: Any) -> Any:
        return xs

    def make(x: int) -> Any:
        return take(x, Router(ident(x % 2), {0: ident("even"), 1: ident("odd")}))

    assert run(Factory(make).map(x=[0, 1, 2]), engine) == [(0, "even"), (1, "odd"), (2, "even")]
    assert len([event for event in seen if type(event) is TaskSkipped]) == 3
    started = [event.task_id for event in seen if type(event) is TaskExecutionStarted]
    assert len(started) == len(set(started)) == 1 + 3 * 3


def test_ids_of_items_are_stable_from_run_to_run() -> None:
    """The same item of the same map has the same id in the next run of the engine."""
    engine = make_engine(hot=False)
    found = []
    for _ in range(2):
        seen = watch(engine, TaskExecutionStarted)
        run(ident.map(x=[1, 2]), engine)
        found.append([event.task_id for event in seen])

    assert len(set(found[0])) == 3
    assert found[0][:3] == found[1]


def test_items_share_resources_of_the_step(hot: bool) -> None:
    """What the map's own step has set up is not set up again, whatever its scope; nothing is torn down in between."""
    log = []

    @resource(scope="task")
    def conn() -> Any:
        log.append("+")
        yield len(log)
        log.append("-")

    @task
    def use(x: Any, c: Any = inject("conn")) -> Any:
        log.append(x)
        return c

    assert run(use.map(x=["a", "b"]), hot=hot, resources=[conn]) == [1, 1]
    assert log == ["+", "a", "b", "-"]


def test_a_resource_that_only_an_item_needs_lives_for_that_item(hot: bool) -> None:
    """What the expression behind an item injects (scope: task) is set up with the item and ends with it."""
    log = []

    @resource(scope="task")
    def conn() -> Any:
        log.append("+")
        yield "conn"
        log.append("-")

    @task
    def use(x: Any, c: Any = inject("conn")) -> Any:
        log.append(x)
        return c

    assert run(Factory(lambda x: use(ident(x))).map(x=["a", "b"]), hot=hot, resources=[conn]) == ["conn"] * 2
    assert log == ["+", "a", "-", "+", "b", "-"]


@pytest.mark.parametrize("durable", [True, False])
def test_items_of_the_runs_own_steps_are_in_its_backend(hot: bool, durable: bool) -> None:
    """What inner calls of items gave is seen by a backend that wants to see everything; not so within expansions."""
    puts: list[Any] = []

    class State(InMemoryStateBackend):
        async def put_result(self, node_id: str, result: Any) -> None:
            puts.append((node_id, result))
            await super().put_result(node_id, result)

    class Brief(State):
        transient = True  # declared beside the methods, so believed
        put_result = State.put_result
        mark_skipped = State.mark_skipped
        clear = State.clear

    def mapped() -> Any:
        return Factory(lambda x: ident(ident(x))).map(x=[1, 2])

    engine = make_engine(hot=hot, state_backend_factory=State if durable else Brief)
    assert run(mapped(), engine) == [1, 2]
    assert [result for _, result in puts] == ([1, 2, [1, 2]] if durable else [[1, 2]])
    assert len({node_id for node_id, _ in puts}) == len(puts)

    puts.clear()
    assert run(ident(Task(mapped)()), engine) == [1, 2]
    assert [result for _, result in puts] == [[1, 2]] * 2


def test_the_runner_evaluates_a_single_expression_too() -> None:
    """Called directly it is what ``NodeProcessor.process`` documents: target, params, backend."""

    async def main() -> Any:
        strategy = make_engine().graph_strategy
        run_ = Run("r", {}, InMemoryStateBackend("r"), ExitStack(), {}, False)
        items = Items(strategy, run_, Scope({}, "", True, None))
        strategy._look_again()
        node = build_graph(ident.map(x=[1]))[0].nodes[-1]
        alone = await drive(items(ident(ident(3)), {}, InMemoryStateBackend("r")))
        return alone, await drive(items.together(node, [ident(1), aident(2)], {}))

    assert asyncio.run(main()) == (3, [1, 2])


@pytest.mark.filterwarnings("error")
def test_items_that_never_start_leave_no_coroutine(hot: bool) -> None:
    """Neither later synchronous items nor asynchronous ones begin, and no coroutine is left that was never awaited."""
    log = []

    @task
    def note(x: Any) -> Any:
        log.append(x)
        if x == 3:
            raise ValueError("three")
        return x

    with pytest.raises(ValueError, match="three"):
        run(Factory(lambda x: note(aident(x)) if x < 2 else note(x)).map(x=list(range(6))), hot=hot)
    assert log == [2, 3]


@pytest.mark.parametrize("count", [2, 3])
def test_synchronous_items_of_two_maps_do_not_mingle(hot: bool, count: int) -> None:
    """Wherever a map lets others run, the maps beside it wait until its synchronous items are through."""
    log: list[Any] = []

    @task
    def note(x: Any) -> Any:
        log.append(x)
        return twice(x)

    @task
    def twice(x: Any) -> Any:
        log.append(-x)
        return 2 * x

    @task
    def together(*maps: Any) -> Any:
        return maps

    maps = [note.map(x=[10 * n + 1, 10 * n + 2]) for n in range(count)]
    with mock.patch.object(Run, "_deadline", return_value=0.0):  # at every control point
        values = run(together(*maps), hot=hot)

    assert values == tuple([20 * n + 2, 20 * n + 4] for n in range(count))
    assert log == [s * (10 * n + k) for n in range(count) for k in (1, 2) for s in (1, -1)]
