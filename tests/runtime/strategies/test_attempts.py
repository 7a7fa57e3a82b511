"""Calls of a hot program that need more than the kernel: awaits, retries, and the events of a failure.

Each test runs its target once to have it compiled, and then looks at the hot run.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cascade.runtime.engine import Engine
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted, TaskRetrying
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.strategies import _attempts
from cascade.spec.task import Task, task
from tests.engines import make_engine, names_of, run, watch


@task
def ident(x: Any) -> Any:
    return x


@task
def gather(*values: Any) -> Any:
    return list(values)


class Flaky:
    """A task that fails so many times in each round."""

    def __init__(self, failures: int, error: Any = ValueError, is_async: bool = False) -> None:
        self.calls: list[Any] = []
        self.failures = failures
        self.error = error

        def body(*args: Any) -> Any:
            self.calls.append(args)
            if len(self.calls) <= self.failures:
                raise self.error(f"call {len(self.calls)}")
            return len(self.calls)

        async def abody(*args: Any) -> Any:
            await asyncio.sleep(0)
            return body(*args)

        self.task = Task(abody if is_async else body, "flaky")


_following: list[Any] = []


@task
def lead() -> Any:
    return _following.pop()


def led(target: Any, engine: Engine) -> Any:
    """Run a target as the second step: the first one is processed in full where somebody hears of its calls."""
    _following.append(target)
    return run(lead(), engine)


def compiled(target: Any, engine: Engine | None = None) -> tuple[Engine, Any]:
    """Run a target for its program; return the engine and the list of the events of its tasks to come."""
    engine = engine or make_engine()
    led(target, engine)
    seen: list[TaskEvent] = []
    engine.bus.subscribe(TaskEvent, lambda event: seen.append(event) if event.task_name != "lead" else None)
    return engine, seen


def hot_run(target: Any, engine: Engine) -> Any:
    """Run a target as the second step, and see that this was hot."""
    before = engine.stats
    value = led(target, engine)
    assert (engine.stats.hot - before.hot, engine.stats.cold) == (1, before.cold)
    return value


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("where", ["target", "inner", "group"])
def test_a_call_is_tried_again_wherever_it_stands(is_async: bool, where: str) -> None:
    """Attempts, arguments and events are those of full processing: one Started, each Retrying, one Finished."""
    calls: list[Any] = []
    failures = {"left": 0}

    def body(x: Any) -> Any:
        calls.append(x)
        if x == "flaky" and failures["left"]:
            failures["left"] -= 1
            raise ValueError(f"{failures['left']} left")
        return x

    async def abody(x: Any) -> Any:
        await asyncio.sleep(0)
        return body(x)

    flaky = Task(abody if is_async else body, "flaky")

    def target() -> Any:
        call = flaky("flaky").with_retry(2)
        return {"target": call, "inner": ident(call), "group": gather(call, flaky("other"))}[where]

    engine, seen = compiled(target())
    failures["left"] = 2
    calls.clear()
    hot_run(target(), engine)

    assert calls.count("flaky") == 3
    retried = [event for event in seen if type(event) is TaskRetrying]
    assert [(e.attempt, e.max_attempts, e.error) for e in retried] == [(1, 3, "1 left"), (2, 3, "0 left")]
    mine = [event for event in seen if event.task_id == retried[0].task_id]
    assert [type(e) for e in mine] == [TaskExecutionStarted, TaskRetrying, TaskRetrying, TaskExecutionFinished]
    assert mine[-1].status == "Succeeded"


def test_delays_grow_by_the_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first delay is the policy's, each later one is longer by the factor."""
    flaky = Flaky(0)
    engine, seen = compiled(flaky.task().with_retry(3, 0.5, 3))
    flaky.calls.clear()
    flaky.failures = 3
    slept = []

    async def sleep(delay: float) -> None:
        slept.append(delay)

    monkeypatch.setattr(_attempts.asyncio, "sleep", sleep)
    assert hot_run(flaky.task().with_retry(3, 0.5, 3), engine) == 4
    assert slept == [0.5, 1.5, 4.5]
    assert [event.delay for event in seen if type(event) is TaskRetrying] == slept


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_failure_is_the_original_object(is_async: bool) -> None:
    """The exception of the last attempt is raised as it is, and told with type and text."""
    made = []

    class Own(Exception):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            made.append(self)

    flaky = Flaky(0, Own, is_async)
    engine, seen = compiled(ident(flaky.task().with_retry(1)))
    flaky.calls.clear()
    flaky.failures = 9
    with pytest.raises(Own) as caught:
        hot_run(ident(flaky.task().with_retry(1)), engine)

    assert caught.value is made[-1]
    assert len(made) == 2
    assert [type(event) for event in seen] == [TaskExecutionStarted, TaskRetrying, TaskExecutionFinished]
    assert (seen[-1].status, seen[-1].error) == ("Failed", "Own: call 2")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_only_exceptions_are_tried_again(error: Any, is_async: bool) -> None:
    """A cancellation or an interrupt ends the call, and its end is told."""
    flaky = Flaky(0, error, is_async)
    engine, seen = compiled(ident(flaky.task().with_retry(5)))
    flaky.calls.clear()
    flaky.failures = 9
    with pytest.raises(error):
        hot_run(ident(flaky.task().with_retry(5)), engine)

    assert len(flaky.calls) == 1
    assert [type(event) for event in seen] == [TaskExecutionStarted, TaskExecutionFinished]
    assert seen[-1].status == "Failed"


def test_a_call_that_does_not_fit_is_not_tried_again() -> None:
    """Arguments are the workflow's fault, not the moment's."""

    @task
    def fits(a: Any) -> Any:
        return a

    engine, _ = compiled(ident(fits(1).with_retry(5)))
    seen = watch(engine, TaskRetrying)
    fits.func.__code__ = (lambda a, b: a).__code__
    with pytest.raises(TaskArgumentError, match="'fits'"):
        run(ident(fits(1).with_retry(5)), engine)

    assert seen == []


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stop_iteration_is_tried_again_as_a_runtime_error(is_async: bool) -> None:
    """What is announced and raised is the RuntimeError that full processing raises."""
    flaky = Flaky(0, StopIteration, is_async)
    engine, seen = compiled(ident(flaky.task().with_retry(1)))
    flaky.calls.clear()
    flaky.failures = 9
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration") as caught:
        hot_run(ident(flaky.task().with_retry(1)), engine)

    assert type(caught.value.__cause__) is StopIteration
    assert len(flaky.calls) == 2
    assert seen[1].error == "coroutine raised StopIteration"


def test_a_run_may_be_cancelled_during_a_delay() -> None:
    """The wait between two attempts ends at once; the call is told as failed and not tried again."""
    flaky = Flaky(0)
    engine, seen = compiled(ident(flaky.task().with_retry(5, delay=3600)))
    flaky.calls.clear()
    flaky.failures = 9

    async def main() -> None:
        running = asyncio.ensure_future(engine.run(ident(flaky.task().with_retry(5, delay=3600))))
        while not any(type(event) is TaskRetrying for event in seen):  # noqa: ASYNC110 - events are told synchronously
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10)

    asyncio.run(main())

    assert len(flaky.calls) == 1
    assert [type(event) for event in seen] == [TaskExecutionStarted, TaskRetrying, TaskExecutionFinished]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_target_that_was_retried_is_told_once(is_async: bool) -> None:
    """Its Started and Finished were told with its attempts; the end of the loop does not tell them again."""
    flaky = Flaky(0, is_async=is_async)
    engine, seen = compiled(flaky.task().with_retry(2))
    flaky.calls.clear()
    flaky.failures = 1
    assert hot_run(flaky.task().with_retry(2), engine) == 2
    told = ["TaskExecutionStarted flaky", "TaskRetrying flaky", "TaskExecutionFinished flaky"]
    assert names_of(seen) == told

    # In a loop whose retried step is not the last, the last step's target is told as ever.
    fails = iter([False, True, False, False, False, False])

    @task
    def loop(n: int) -> Any:
        if next(fails):
            raise ValueError
        return loop(n - 1).with_retry(1) if n else "end"

    engine = make_engine()
    seen = watch(engine, TaskEvent)
    assert run(loop(3).with_retry(1), engine) == "end"
    told = ["TaskExecutionStarted loop", "TaskExecutionFinished loop"]
    assert names_of(seen) == [*told, told[0], "TaskRetrying loop", told[1], *told]


def test_a_policy_of_every_step_is_the_one_that_is_asked_and_keeps_the_loop_hot() -> None:
    """Numbers of a policy are no part of a template: ``with_retry(delay=random())`` makes no loop cold."""
    flaky = {"at": 5, "left": 2}

    @task
    def loop(n: int) -> Any:
        if n == flaky["at"] and flaky["left"]:
            flaky["left"] -= 1
            raise ValueError
        return loop(n - 1).with_retry(n % 4, delay=n * 1e-6, backoff=n) if n else "end"

    engine = make_engine()
    seen = watch(engine, TaskRetrying)

    assert run(loop(20).with_retry(0), engine) == "end"
    assert (engine.stats.cold, engine.stats.warm, engine.stats.hot) == (1, 0, 20)
    assert [(e.max_attempts, e.delay) for e in seen] == [(3, 6e-6), (3, 36e-6)]


def test_what_a_retried_call_returns_is_evaluated_once() -> None:
    """The attempts end with the call: a returned expression that fails is not the call's failure."""
    calls = []

    @task
    def bad() -> Any:
        raise ValueError("bad")

    @task
    def outer(ok: bool) -> Any:
        calls.append(ok)
        return ident(1) if ok else bad()

    for wrap in (lambda call: call, ident, lambda call: gather(call, call)):
        engine = make_engine()
        run(wrap(outer(True).with_retry(3)), engine)
        calls.clear()
        with pytest.raises(ValueError, match="bad"):
            run(wrap(outer(False).with_retry(3)), engine)
        assert calls == [False]


def test_a_coroutine_goes_on_in_the_runs_task_from_its_first_step() -> None:
    """The kernel starts a lone coroutine, the strategy drives the rest: one asyncio Task, first attempt and retry."""
    tasks = []
    fails = iter([False, False, True, False])

    @task
    async def work() -> Any:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        if next(fails):
            raise ValueError
        return 1

    async def main() -> Any:
        engine = make_engine()
        await engine.run(ident(work().with_retry(1)))
        tasks.clear()
        for _ in range(2):
            await engine.run(ident(work().with_retry(1)))
        return engine.stats.hot, asyncio.current_task()

    steps, me = asyncio.run(main())

    assert steps == 2
    assert tasks == [me] * 6
