"""Control reaches a program of a thousand calls in the middle; the calls themselves force the order, without clocks.

Quanta are empty here, so that a control point is wherever the kernel looks at the clock: after each of sixteen calls at
most.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cascade.runtime.events import LoopProgress, TaskBlocked, TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.strategies import _runs
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.task import Task, task
from tests.engines import make_engine, watch

CALLS, MIDDLE, CREDIT = 1_000, 400, 16


@pytest.fixture(autouse=True)
def _no_quanta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_runs, "_SHARED_QUANTUM", 0.0)
    monkeypatch.setattr(_runs, "_MINIMUM_QUANTUM", 0.0)


class Program:
    """An expression of a thousand calls, in one of several shapes; the call in the middle does something once."""

    def __init__(self, shape: str) -> None:
        self.calls: list[int] = []
        self.action: Callable[[], object] | None = None
        self.node = task(self._call, name="node")
        self.async_node = task(self._async_call, name="node")
        self.target = {"chain": self._chain, "wide": self._wide, "async chain": self._async_chain}[shape]

    def _call(self, number: int, *before: int) -> int:
        self.calls.append(number)
        if len(self.calls) == MIDDLE and self.action is not None:
            action, self.action = self.action, None
            action()
        return number

    async def _async_call(self, number: int, *before: int) -> int:
        return self._call(number, *before)

    def _chain(self) -> Any:
        return self._nested(self.node)

    def _async_chain(self) -> Any:
        return self._nested(self.async_node)

    def _nested(self, node: Any) -> Any:
        expression = node(0)
        for number in range(1, CALLS):
            expression = node(number, expression)
        return expression

    def _wide(self) -> Any:
        return self.node(CALLS - 1, *(self.node(number) for number in range(CALLS - 1)))


@pytest.fixture(params=["chain", "wide", "async chain"])
def program(request: pytest.FixtureRequest) -> Program:
    """A program in each shape."""
    return Program(request.param)


async def known(program: Program) -> Any:
    """Return an engine that has seen a program, so that it runs hot."""
    engine = make_engine()
    await engine.run(program.target())
    program.calls.clear()
    return engine


async def begun(engine: Any, program: Program, action: Callable[[], object]) -> asyncio.Task[Any]:
    """Start a program which does something in its middle, and return it when nothing goes on any more."""
    program.action = action
    running = asyncio.ensure_future(engine.run(program.target()))
    before = -1
    while len(program.calls) != before or len(program.calls) < MIDDLE:
        before = len(program.calls)
        for _ in range(CREDIT):
            await asyncio.sleep(0)
    return running


def in_place(action: Callable[[], object]) -> None:
    """Do something in the middle of a call."""
    action()


def in_a_thread(action: Callable[[], object]) -> None:
    """Have another thread do something, and wait until it has."""
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


@pytest.mark.parametrize("caller", [in_place, in_a_thread])
@pytest.mark.parametrize("kind, params, admitted", [("pause", {}, 0), ("rate_limit", {"rate": "1/h"}, 1)])
def test_a_constraint_stops_a_program_in_the_middle(
    program: Program, caller: Any, kind: str, params: dict[str, Any], admitted: int
) -> None:
    """No call more begins, unless admitted; once it is lifted, the rest runs, each call once, in order."""

    async def main() -> tuple[int, Any]:
        engine = await known(program)
        blocked = watch(engine, TaskBlocked)
        constraint = GlobalConstraint("c", "task:node", kind, {**params, "capacity": 1})
        update = engine.constraint_manager.update_constraint
        running = await begun(engine, program, lambda: caller(lambda: update(constraint)))
        held, said = len(program.calls), len(blocked)
        engine.constraint_manager.remove_constraints_by_scope("task:node")
        value = await running
        assert said >= 1
        assert (engine.stats.warm, engine.stats.hot) == (1, 0)  # what had begun hot went on in full processing
        return held, value

    held, value = asyncio.run(main())

    assert held == MIDDLE + admitted
    assert program.calls == list(range(CALLS))
    assert value == CALLS - 1


def test_a_cancellation_ends_a_program_in_the_middle(program: Program) -> None:
    """At most sixteen calls more begin after whoever awaits the run was asked to cancel it."""

    async def main() -> None:
        engine = await known(program)
        running: asyncio.Task[Any] | None = None

        def cancel() -> None:
            assert running is not None
            running.cancel()

        program.action = cancel
        running = asyncio.ensure_future(engine.run(program.target()))
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(main())

    assert MIDDLE <= len(program.calls) <= MIDDLE + CREDIT


@pytest.mark.parametrize("caller", [in_place, in_a_thread])
def test_a_subscriber_hears_of_a_program_in_the_middle(program: Program, caller: Any) -> None:
    """Who subscribes in mid-step is told of progress after sixteen more calls at most, and once."""
    heard: list[int] = []

    async def main() -> None:
        engine = await known(program)

        def subscribe() -> None:
            engine.bus.subscribe(LoopProgress, lambda event: heard.append(len(program.calls)))

        program.action = lambda: caller(subscribe)
        await engine.run(program.target())

    asyncio.run(main())

    assert MIDDLE <= heard[0] <= MIDDLE + CREDIT
    assert heard[-1] == CALLS  # the final one


def test_calls_are_observed_from_the_middle_on(program: Program) -> None:
    """With ``observe`` set to steps in mid-step, each call that begins sixteen calls later has its events."""

    async def main() -> list[Any]:
        engine = await known(program)
        seen = watch(engine, TaskExecutionStarted, TaskExecutionFinished)
        program.action = lambda: setattr(engine.graph_strategy, "observe", "steps")
        # As the second step: the first one has all its events anyway.
        await engine.run(Task(program.target, "lead")())
        return [event for event in seen if event.task_name != "lead"]

    seen = asyncio.run(main())
    started = [event.task_id for event in seen if isinstance(event, TaskExecutionStarted)]
    finished = [event.task_id for event in seen if isinstance(event, TaskExecutionFinished)]

    assert CALLS - MIDDLE - CREDIT <= len(started) <= CALLS - MIDDLE
    assert started == finished
    assert program.calls == list(range(CALLS))


def test_a_second_pause_reaches_what_goes_on_in_full_processing(program: Program) -> None:
    """The rest of a program that was paused can be paused again, at once."""

    async def main() -> tuple[int, Any]:
        engine = await known(program)
        manager = engine.constraint_manager
        pause = GlobalConstraint("p", "task:node", "pause", {})
        running = await begun(engine, program, lambda: manager.update_constraint(pause))
        first = len(program.calls)
        manager.remove_constraints_by_scope("task:node")
        while len(program.calls) == first:  # noqa: ASYNC110 - the calls know nothing of who waits
            await asyncio.sleep(0)
        manager.update_constraint(pause)
        second = len(program.calls)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(program.calls) == second
        manager.remove_constraints_by_scope("task:node")
        return second - first, await running

    began, value = asyncio.run(main())

    assert began == 1
    assert program.calls == list(range(CALLS))
    assert value == CALLS - 1
