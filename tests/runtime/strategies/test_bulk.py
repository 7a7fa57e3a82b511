"""Synchronous items of a map run one after the other in one frame, and nobody can tell but by the time it takes.

A map in a hot program has its items evaluated in the frame of the program, one in full processing in a frame for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from cascade import _kernel
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph._problems import UncalledTaskError
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskSkipped
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.strategies._items import Items
from cascade.runtime.strategies._runs import Run
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.task import Task, task
from tests.engines import make_engine, run, watch


@task
def double(x: Any) -> Any:
    return 2 * x


@task
def add(a: Any, b: Any) -> Any:
    return a + b


@pytest.fixture
def adopted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Signals of the items that did not come to their end in the frame they share."""
    found: list[int] = []
    stock = Items._adopted

    def noted(self: Items, frame: Any, signal: int, *rest: Any) -> Any:
        found.append(signal)
        return stock(self, frame, signal, *rest)

    monkeypatch.setattr(Items, "_adopted", noted)
    return found


@pytest.mark.parametrize("processed", [True, False])
@pytest.mark.parametrize("patient", [True, False])
def test_known_items_need_no_evaluation_of_their_own(adopted: list[int], patient: bool, processed: bool) -> None:
    """Only the first item is more than a call: it is new. The steps are counted as ever, also between others' turns."""
    engine = make_engine()
    if processed:
        watch(engine, TaskSkipped)
    with mock.patch.object(Run, "_deadline", return_value=1e18 if patient else 0.0):
        assert run(double.map(x=list(range(100))), engine) == list(range(0, 200, 2))

    assert adopted.count(_kernel.STEP) == processed
    assert (engine.stats.cold, engine.stats.hot, engine.stats.nodes) == (2, 99, 101)
    assert (engine.stats.yields == 0) == patient


def test_the_others_run_between_items() -> None:
    """A map gives way between two items when its time is over, and ends there when it is cancelled."""
    seen: list[int] = []

    @task
    def count(x: int) -> None:
        seen.append(x)
        if x == 500:
            running.cancel()

    async def main() -> int:
        nonlocal running
        running = asyncio.ensure_future(make_engine().run(count.map(x=list(range(10_000)))))
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(seen)

    running: Any = None
    with mock.patch.object(Run, "_deadline", return_value=0.0):
        assert asyncio.run(main()) < 600


@pytest.mark.parametrize("kind", [list, tuple, range, bytes])
def test_arguments_are_those_of_the_beginning(kind: Any) -> None:
    """Any sequence will do; what a task does to a list while the map goes on is too late."""
    given = [5, 6, 7] if kind is list else kind(range(3)) if kind is not range else range(3)
    expected = [2 * x for x in given]

    @task
    def spoil(x: int, all_of_them: Any) -> int:
        if isinstance(given, list):
            given[:] = [0]
        return 2 * x

    assert run(spoil.map(x=given, all_of_them=[given] * 3)) == expected


def test_values_may_be_calls_of_any_depth(adopted: list[int]) -> None:
    """What an item returns is evaluated before the next item begins: tail calls, inner calls, containers."""
    log: list[int] = []

    @task
    def down(n: int) -> Any:
        log.append(n)
        return add(n, down(n - 1)) if n else 0

    @task
    def tail(n: int) -> Any:
        return tail(n - 1) if n else [double(n), (down(1),)]

    engine = make_engine()
    for _ in range(2):
        log.clear()
        adopted.clear()
        with mock.patch.object(Run, "_deadline", return_value=1e18):
            assert run(down.map(n=[2, 0, 1]), engine) == [3, 0, 1]
            assert log == [2, 1, 0, 0, 1, 0]
            assert run(tail.map(n=[1, 20_000]), engine) == [[0, (1,)]] * 2
    assert adopted == []


def test_an_item_that_awaits_goes_on_before_the_next() -> None:
    """A synchronous function that returns a coroutine has it awaited in its turn."""
    log: list[Any] = []

    async def later(x: int) -> int:
        log.append(("begins", x))
        await asyncio.sleep(0)
        log.append(("ends", x))
        return -x

    @task
    def starts(x: int) -> Any:
        return later(x)

    assert run(starts.map(x=[1, 2])) == [-1, -2]
    assert log == [("begins", 1), ("ends", 1), ("begins", 2), ("ends", 2)]


def test_each_item_has_retries_of_its_own() -> None:
    """The policy of the map holds for each call; the first item that has used it up ends the map."""
    calls: list[int] = []

    @task
    def flaky(x: int) -> int:
        calls.append(x)
        if calls.count(x) <= x:
            raise ValueError(x)
        return x

    engine = make_engine()
    assert run(flaky.map(x=[0, 1, 2, 0]).with_retry(2), engine) == [0, 1, 2, 0]
    assert calls == [0, 1, 1, 2, 2, 2, 0]

    calls.clear()
    with pytest.raises(ValueError, match="3") as raised:
        run(flaky.map(x=[1, 3, 0]).with_retry(2), engine)
    assert calls == [1, 1, 3, 3, 3]
    assert raised.traceback[-1].name == "flaky"


def test_a_backend_that_keeps_results_is_told_what_it_ever_was(adopted: list[int]) -> None:
    """What is no transient backend hears of the calls within items, so each item is an evaluation of its own."""
    kept: list[Any] = []

    class Durable(InMemoryStateBackend):
        transient = False

        async def put_result(self, node_id: str, result: Any) -> None:
            kept.append(result)
            await super().put_result(node_id, result)

    @task
    def fourfold(x: int) -> Any:
        return double(double(x))

    found = []
    for hot in (True, True, False):
        kept.clear()
        engine = make_engine(hot=hot, state_backend_factory=Durable)
        assert run(fourfold.map(x=[1, 2, 3]), engine) == [4, 8, 12]
        found.append(list(kept))
    assert found == [[2, 4, 6, [4, 8, 12]]] * 3
    assert adopted == []


def test_a_limited_map_limits_its_items(adopted: list[int]) -> None:
    """Each item asks for what the map asks for."""
    engine = make_engine(system_resources={"slot": 1})
    asked: list[Any] = []
    acquire = engine.resource_manager.acquire

    async def noted(amounts: Any) -> None:
        asked.append(amounts)
        await acquire(amounts)

    with mock.patch.object(engine.resource_manager, "acquire", noted):
        assert run(double.map(x=[1, 2, 3]).with_constraints(slot=1), engine) == [2, 4, 6]

    assert len(asked) >= 3
    assert adopted == []


def test_an_item_whose_arguments_do_not_fit_says_so() -> None:
    """The error names the task, and comes when the item's turn comes."""
    with pytest.raises(TaskArgumentError, match="double"):
        run(double.map(y=[1]))


@pytest.mark.parametrize("hidden", [double(4), [double(4)], {"k": (1, [double(4)])}, [inject("db")]])
def test_items_with_calls_among_their_arguments_are_expressions(hidden: Any) -> None:
    """Whatever stands for another value is found wherever it is."""

    @resource
    def db() -> Iterator[int]:
        yield 8

    @task
    def shown(x: Any) -> str:
        return str(x)

    values = run(shown.map(x=[hidden, 1]), make_engine(resources=[db]))

    assert "8" in values[0]
    assert "Lazy" not in values[0]
    assert "Inject" not in values[0]
    assert values[1] == "1"


def test_a_task_that_was_not_called_is_found_before_anything_runs() -> None:
    """An uncalled task among the arguments is an error of the map, not of the item that gets it."""
    seen: list[Any] = []

    @task
    def note(x: Any) -> None:
        seen.append(x)

    with pytest.raises(UncalledTaskError, match="double"):
        run(note.map(x=[1, double]))
    assert seen == []


def test_resources_are_injected_into_each_item(adopted: list[int]) -> None:
    """One of the run is set up once, by the first item that needs it; one of a step lives for its item."""
    log: list[str] = []

    @resource
    def db() -> Iterator[str]:
        log.append("+db")
        yield "db"
        log.append("-db")

    @resource(scope="task")
    def conn(db: str = inject("db")) -> Iterator[str]:
        log.append("+conn")
        yield "conn"
        log.append("-conn")

    @task
    def with_db(x: int, db: str = inject("db")) -> Any:
        return (x, db)

    @task
    def with_conn(x: int, conn: str = inject("conn")) -> Any:
        log.append(str(x))
        return (x, conn)

    engine = make_engine(resources=[db, conn])
    watch(engine, TaskSkipped)
    assert run(with_db.map(x=[1, 2, 3]), engine) == [(1, "db"), (2, "db"), (3, "db")]
    assert log == ["+db", "-db"]
    assert len(adopted) == 1
    log.clear()
    assert run(with_conn.map(x=[1, 2]), engine) == [(1, "conn"), (2, "conn")]
    assert [one for one in log if one != "+db" and one != "-db"] in (
        ["+conn", "1", "-conn", "+conn", "2", "-conn"],
        ["+conn", "1", "2", "-conn"],
    )


def test_events_of_steps_are_those_without_hot_tier() -> None:
    """With ``observe="steps"`` each item has its own Started and Finished, as with ``hot=False``."""
    found = []
    for options in ({"observe": "steps"}, {"hot": False}):
        engine = make_engine(**options)
        seen = watch(engine, TaskEvent)
        for _ in range(2):
            run(double.map(x=[1, 2, 3]), engine)
        found.append([(type(event).__name__, event.task_name) for event in seen])  # type: ignore[attr-defined]

    assert found[0] == found[1]
    assert len(found[0]) == 2 * 2 * 4


def test_an_item_that_fails_is_told() -> None:
    """Its Finished says Failed; those before it were hot and have told nothing, since the map is known."""
    engine = make_engine()

    @task
    def picky(x: int) -> int:
        if x == 3:
            raise LookupError("three")
        return x

    run(picky.map(x=[1, 2]), engine)
    seen = watch(engine, TaskExecutionFinished)
    lead = Task(lambda: picky.map(x=[1, 2, 3, 4]), "lead")  # the first step has all its events anyway
    with pytest.raises(LookupError, match="three"):
        run(lead(), engine)

    told = [(event.task_name, event.status) for event in seen]  # type: ignore[attr-defined]
    assert told == [("lead", "Succeeded"), ("picky", "Failed"), ("map(picky)", "Failed")]


def test_a_constraint_that_comes_in_the_middle_holds_for_the_rest() -> None:
    """From the next control point on the items of the map are admitted one by one."""
    engine = make_engine()

    @task
    def limited(x: int) -> int:
        if x == 10:
            limit = GlobalConstraint("one", "task:limited", "concurrency", {"limit": 1})
            engine.constraint_manager.update_constraint(limit)
        return x

    run(limited.map(x=[0, 1]), engine)
    with mock.patch.object(Run, "_deadline", return_value=0.0):
        assert run(limited.map(x=list(range(50))), engine) == list(range(50))

    assert engine.stats.warm >= 20


@pytest.mark.parametrize(
    ("names", "columns", "error"),
    [((), [], ValueError), (("x",), [[1], [2]], ValueError), (("x",), [(1, 2)], TypeError)],
)
def test_the_kernel_takes_lists_only(names: Any, columns: Any, error: Any) -> None:
    """A column for each name, each of them a list."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})

    with pytest.raises(error):
        _kernel.run_items(frame, double, names, columns, None, [], 0.0)
