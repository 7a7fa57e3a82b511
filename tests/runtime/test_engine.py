"""Lifecycle of runs: events around them, cancellation, control while they run, sharing an engine, bad input, depth."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import pickle
import sys
import threading
import time
from collections import Counter

import pytest

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.build import build_graph
from cascade.graph.exceptions import CycleError
from cascade.internal.inputs import _get_param_value
from cascade.runtime.events import (
    LoopProgress,
    ResourceAcquired,
    ResourceReleased,
    RunFinished,
    RunStarted,
    TaskBlocked,
    TaskExecutionStarted,
)
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.stats import RunStats
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import task
from tests.engines import make_engine, names_of, run, watch


@task
def add(a, b):
    return a + b


@task
def one():
    return 1


@task
def ident(x):
    return x


@task
def countdown(n):
    return countdown(n - 1) if n else "end"


@task
def forever(n=0):
    return forever(n + 1)


@task
async def aforever(n=0):
    await asyncio.sleep(0)
    return aforever(n + 1)


@task
def ping(n=0):
    return pong(n + 1)


@task
def pong(n):
    return ping(n)


@task
def twelve(n=0):
    a, b = add(n, 1), add(n, 2)
    return twelve_step(add(add(a, b), add(add(a, 1), add(b, 1))), add(add(a, a), add(b, b)))


@task
def twelve_step(x, y):
    return twelve(0)


@pytest.fixture(params=["hot", "cold"])
def hot(request):
    """Both kinds of engine."""
    return request.param == "hot"


# ---------------------------------------------------------------------------------------------------------- lifecycle


@pytest.mark.row("05-events-and-messages", "Order", "one task")
def test_events_of_one_task(hot):
    """RunStarted, Started, Finished, RunFinished, all with the run's id."""
    engine = make_engine(hot=hot)
    seen = watch(engine)
    run(add(1, 2), engine)

    assert names_of(seen) == ["RunStarted", "TaskExecutionStarted add", "TaskExecutionFinished add", "RunFinished"]
    assert len({event.run_id for event in seen}) == 1
    assert seen[0].target_tasks == ["add"]
    assert seen[2].task_id == seen[1].task_id
    assert (seen[2].status, seen[2].result_preview) == ("Succeeded", "3")
    assert (seen[3].status, seen[3].error) == ("Succeeded", None)
    assert seen[3].stats.nodes == 1


@pytest.mark.parametrize(
    ("target", "name"),
    [(add(1, 2), "add"), (ident.map(x=[1]), "map(ident)"), ([one(), 2], "unknown"), ((one(),), "unknown")],
)
def test_the_target_is_named(target, name):
    """RunStarted names the target's task, ``map(<factory>)``, or says unknown."""
    engine = make_engine()
    seen = watch(engine, RunStarted)
    run(target, engine, {"p": 1})

    assert (seen[0].target_tasks, seen[0].params) == ([name], {"p": 1})


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "teardown")
@pytest.mark.row("05-events-and-messages", "Order", "resources")
def test_resources_are_announced_around_the_tasks():
    """Acquired dependency first, released in reverse order, before RunFinished."""

    @resource
    def inner():
        yield 1

    @resource
    def outer(i=inject("inner")):
        yield i + 1

    @task
    def use(o=inject("outer")):
        return o

    engine = make_engine(resources=[inner, outer])
    seen = watch(engine)
    assert run(use(), engine) == 2

    shown = [getattr(e, "resource_name", None) or type(e).__name__ for e in seen]
    assert shown[1:3] == ["inner", "outer"]
    assert shown[-3:] == ["outer", "inner", "RunFinished"]
    assert [type(e) for e in seen[1:3]] == [ResourceAcquired] * 2
    assert [type(e) for e in seen[-3:-1]] == [ResourceReleased] * 2


def test_a_list_is_gathered(hot):
    """A list or tuple of targets gives a list of values; literals pass through; an empty one is done at once."""
    engine = make_engine(hot=hot)
    seen = watch(engine)

    assert run([], engine) == run((), engine) == []
    assert seen == []
    assert run([one(), 5, add(1, 1)], engine) == [1, 5, 2]
    assert run((one(),), engine) == [1]


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (lambda: [one(), {"k": (one(), 2)}], [1, {"k": (1, 2)}]),
        (lambda: Router(ident("a"), {"a": one(), "b": 1 / 1}), 1),
        (lambda: ident.map(x=[1, 2]), [1, 2]),
        (lambda: {"plain": [1]}, {"plain": [1]}),
    ],
)
def test_returned_expressions_continue(hot, returned, value):
    """A returned lazy, mapped lazy or Router is continued, a container is searched and gathered; also inside."""

    @task
    def make():
        return returned()

    engine = make_engine(hot=hot)
    for _ in range(2):
        assert run(make(), engine) == value
        assert run(ident(make()), engine) == value


def test_a_coroutine_returned_by_a_plain_function_is_awaited_once(hot):
    """A sync function may return a coroutine; what that returns counts, and is not awaited again."""
    called = []

    async def later():
        called.append(1)
        return add(1, 2)

    @task
    def make():
        return later()

    engine = make_engine(hot=hot)
    for _ in range(2):
        assert run(make(), engine) == 3
        assert run(ident(make()), engine) == 3
    assert len(called) == 4


def test_stop_iteration_becomes_a_runtime_error(hot):
    """StopIteration from a task is a RuntimeError with that cause, in every tier."""

    @task
    def stop():
        raise StopIteration(3)

    engine = make_engine(hot=hot)
    for _ in range(2):
        for target in (stop(), ident(stop())):
            with pytest.raises(RuntimeError) as caught:
                run(target, engine)
            assert type(caught.value.__cause__) is StopIteration


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_interrupts_are_never_retried(hot, error):
    """KeyboardInterrupt, SystemExit and cancellation end the run at once; teardowns run, the run says how it ended."""
    calls, log = [], []

    @resource
    def r():
        yield
        log.append("torn down")

    @resource
    def careful():
        try:
            yield
        finally:
            log.append("torn down")

    @task
    def rude(c=inject("careful")):
        calls.append(1)
        raise error

    engine = make_engine(resources=[careful], hot=hot)
    seen = watch(engine, RunFinished)
    for number in (1, 2):
        with pytest.raises(error):
            run(rude().with_retry(5), engine)
        assert (len(calls), len(log), len(seen)) == (number, number, number)
    assert seen[0].status == seen[1].status == ("Failed" if error is SystemExit else "Cancelled")


def test_statuses_and_outcomes():
    """``RunFinished.status`` is Succeeded, Failed or Cancelled, and an Outcome says the same without raising."""

    @task
    def fail():
        raise ValueError("no")

    @task
    async def cancelled():
        raise asyncio.CancelledError

    engine = make_engine()
    seen = watch(engine, RunFinished)
    outcomes = [asyncio.run(engine.run_outcome(target)) for target in (one(), fail(), cancelled())]

    assert [event.status for event in seen] == ["Succeeded", "Failed", "Cancelled"]
    assert [outcome.status for outcome in outcomes] == ["Succeeded", "Failed", "Cancelled"]
    assert outcomes[0].value == 1
    assert isinstance(outcomes[1].reason, ValueError)
    assert seen[1].error == "ValueError: no"
    assert [o.run_id for o in outcomes] == [e.run_id for e in seen]


def test_an_outcome_does_not_swallow_a_cancellation_from_outside():
    """Cancelling the Task that awaits ``run_outcome`` raises there."""

    async def main():
        waiting = asyncio.ensure_future(make_engine().run_outcome(aforever()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_the_error_arrives_unchanged_with_the_users_frames_first(hot):
    """The very object that a task raised reaches the caller."""
    error = ValueError("mine")

    @task
    def fail():
        raise error

    engine = make_engine(hot=hot)
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            run(ident(fail()), engine)
        assert caught.value is error


# ------------------------------------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("target", [forever, aforever, ping, twelve])
def test_a_loop_is_cancelled_between_nodes(hot, target):
    """A cancelled endless loop ends within 20 ms, with its teardowns done and status Cancelled."""
    log = []

    @resource
    def held():
        log.append("+")
        try:
            yield
        finally:
            log.append("-")

    @task
    def start(h=inject("held")):
        return target()

    async def main():
        engine = make_engine(resources=[held], hot=hot)
        seen = watch(engine, RunFinished)
        began = time.perf_counter()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.run(start()), 0.1)
        return seen, time.perf_counter() - began

    late = []
    for _ in range(5):  # a busy machine may be late now and then, an engine that does not look up is late each time
        log.clear()
        seen, elapsed = asyncio.run(main())
        assert log == ["+", "-"]
        assert seen[0].status == "Cancelled"
        late.append(elapsed - 0.1)
        if late[-1] < 0.02:
            break

    assert min(late) < 0.02


def test_siblings_are_cancelled_and_awaited_before_resources_close(hot):
    """When one call of a stage fails, the others end first; then resources close; then the error is raised."""
    log = []

    @resource
    def held():
        yield
        log.append("closed")

    @resource
    def sees():
        try:
            yield
        finally:
            log.append("closed")

    @task
    async def slow(h=inject("sees")):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            log.append("slow ended")

    @task
    async def fail():
        await asyncio.sleep(0)
        raise ValueError("first")

    @task
    def both(a, b):
        return None

    engine = make_engine(resources=[sees], hot=hot)
    for _ in range(2):
        log.clear()
        with pytest.raises(ValueError, match="first"):
            run(both(slow(), fail()), engine)
        assert log == ["slow ended", "closed"]


def test_the_first_error_in_plan_order_is_raised_and_the_others_are_notes(hot):
    """Two that fail together: the first of the plan is raised unchanged, the other is noted on it."""

    @task
    async def fail(name):
        await asyncio.sleep(0)
        raise ValueError(name)

    @task
    def both(a, b):
        return None

    engine = make_engine(hot=hot)
    for _ in range(2):
        with pytest.raises(ValueError, match="one") as caught:
            run(both(fail("one"), fail("two")), engine)
        assert caught.value.__notes__ == ["also failed: ValueError: two"]


# -------------------------------------------------------------------------------------------------- control in a loop


def pause(scope="task:forever", **more):
    return GlobalConstraint("p", scope, "pause", {}, **more)


def test_a_pause_reaches_a_running_loop_and_a_resume_lets_it_go_on(hot):
    """A constraint takes effect in mid-loop, and its removal too; a blocked task is announced once."""
    steps = []

    @task
    def loop(n):
        steps.append(n)
        return loop(n + 1) if n < 10**9 and not done else n

    done = []

    async def main():
        engine = make_engine(hot=hot)
        blocked = watch(engine, TaskBlocked)
        running = asyncio.ensure_future(engine.run(loop(0)))
        await asyncio.sleep(0.02)
        engine.constraint_manager.update_constraint(pause("task:loop"))
        await asyncio.sleep(0.02)
        first = len(steps)
        await asyncio.sleep(0.02)
        second = len(steps)
        done.append(1)
        engine.constraint_manager.remove_constraints_by_scope("task:loop")
        await asyncio.wait_for(running, 1)
        return first, second, blocked

    first, second, blocked = asyncio.run(main())

    assert 0 < first == second < len(steps) + 1
    assert [event.reason for event in blocked] == ["ConstraintViolation"]


def test_a_pause_reaches_a_deep_expansion(hot):
    """The levels below a paused expansion wait too: none of their calls starts during the pause."""
    calls = []
    steps = 100_000 if hot else 2_000  # more than a quantum has room for

    @task
    def join(n, rest):
        calls.append(n)
        return n + rest

    @task
    def stairs(n):
        return join(n, stairs(n - 1)) if n else 0

    async def main():
        engine = make_engine(hot=hot)
        running = asyncio.ensure_future(engine.run(stairs(steps)))
        while not calls:  # noqa: ASYNC110 - a plain list stays out of the way of the loop under test
            await asyncio.sleep(0)
        engine.constraint_manager.update_constraint(pause("task:join"))
        await asyncio.sleep(0.01)
        first = len(calls)
        await asyncio.sleep(0.03)
        second = len(calls)
        engine.constraint_manager.remove_constraints_by_scope("task:join")
        return first, second, await running

    first, second, value = asyncio.run(main())

    assert first == second < steps
    assert value == steps * (steps + 1) // 2
    assert len(calls) == steps


def test_a_rate_limit_reaches_a_running_loop(hot):
    """A limit that comes in mid-loop spaces the later steps."""
    times = []

    @task
    def loop(n):
        times.append(time.perf_counter())
        return loop(n - 1) if n and len(times) < stop[0] else "end"

    stop = [10**9]

    async def main():
        engine = make_engine(hot=hot)
        running = asyncio.ensure_future(engine.run(loop(10**9)))
        await asyncio.sleep(0.01)
        stop[0] = len(times) + 5
        limit = GlobalConstraint("r", "task:loop", "rate_limit", {"rate": "50/s", "capacity": 1})
        engine.constraint_manager.update_constraint(limit)
        return await running

    assert asyncio.run(main()) == "end"
    assert times[-1] - times[-4] >= 0.05


def test_a_pause_that_expires_lets_the_loop_go_on(hot):
    """A blocked run resumes by itself shortly after the constraint's time is over."""

    async def main():
        engine = make_engine(hot=hot)
        engine.constraint_manager.update_constraint(pause("task:countdown", expires_at=time.time() + 0.1))
        began = time.perf_counter()
        value = await engine.run(countdown(10))
        return value, time.perf_counter() - began

    value, elapsed = asyncio.run(main())

    assert value == "end"
    assert 0.09 <= elapsed < 0.6


def test_a_deferred_call_starts_while_a_slow_sibling_still_runs():
    """A resumed node does not wait for the rest of its stage."""
    order = []

    @task
    async def slow():
        await finish.wait()
        order.append("slow")

    @task
    async def quick():
        order.append("quick")
        finish.set()

    @task
    def brief():
        order.append("brief")

    @task
    def all_of(*values):
        return order

    async def main():
        nonlocal finish
        finish = asyncio.Event()
        engine = make_engine()
        engine.constraint_manager.update_constraint(pause("task:quick"))
        engine.constraint_manager.update_constraint(GlobalConstraint("q", "task:brief", "pause", {}))
        running = asyncio.ensure_future(engine.run(all_of(slow(), quick(), brief())))
        await asyncio.sleep(0.01)
        assert order == []
        engine.constraint_manager.remove_constraints_by_scope("task:brief")
        await asyncio.sleep(0.01)
        assert order == ["brief"]
        engine.constraint_manager.remove_constraints_by_scope("task:quick")
        return await asyncio.wait_for(running, 1)

    finish = None
    assert asyncio.run(main()) == ["brief", "quick", "slow"]


def test_an_async_loop_looks_at_constraints_between_awaits():
    """An async loop that awaits for long each time still notices a pause at its next node."""
    steps = []

    @task
    async def loop(n):
        steps.append(n)
        await asyncio.sleep(0.002)
        return loop(n + 1)

    async def main():
        engine = make_engine()
        running = asyncio.ensure_future(engine.run(loop(0)))
        await asyncio.sleep(0.02)
        engine.constraint_manager.update_constraint(pause("task:loop"))
        await asyncio.sleep(0.01)
        first = len(steps)
        await asyncio.sleep(0.02)
        running.cancel()
        return first

    first = asyncio.run(main())

    assert 0 < first == len(steps)


def test_progress_reaches_a_subscriber_that_comes_late():
    """Hot steps publish LoopProgress at most ten times a second, to whoever listens by then, and a final one."""

    async def main():
        engine = make_engine()
        running = asyncio.ensure_future(engine.run(countdown(10**9)))
        await asyncio.sleep(0.01)
        seen = watch(engine, LoopProgress)
        await asyncio.sleep(0.35)
        running.cancel()
        return seen

    seen = asyncio.run(main())

    assert 2 <= len(seen) <= 6
    assert all(event.task_name == "countdown" for event in seen)
    assert [event.final for event in seen] == [False] * (len(seen) - 1) + [True]  # said once, though it was cancelled
    assert [e.steps for e in seen] == sorted(e.steps for e in seen)

    engine = make_engine()
    seen = watch(engine, LoopProgress)
    run(countdown(100), engine)
    assert [event.final for event in seen] == [True]
    assert seen[0].steps == 101


# ----------------------------------------------------------------------------------------------------------- fairness


@pytest.mark.parametrize("loops", [1, 40])
def test_everybody_gets_a_turn_beside_hot_loops(loops):
    """Each time a coroutine has had a turn it gets another one, however many endless loops run."""

    async def main():
        engine = make_engine()
        steps = Counter()

        @task
        def counting(n, me):
            steps[me] += 1
            return counting(n + 1, me)

        running = [asyncio.ensure_future(engine.run(counting(0, me))) for me in range(loops)]
        for _ in range(20):
            await asyncio.sleep(0)
        turns = dict(steps)
        for _ in range(20):
            await asyncio.sleep(0)
        for one in running:
            one.cancel()
        await asyncio.wait(running)
        return turns, steps

    before, after = asyncio.run(main())

    assert before.keys() == after.keys() == set(range(loops))
    assert all(after[me] > before[me] for me in before)


# -------------------------------------------------------------------------------------------------- sharing an engine


def test_runs_may_be_concurrent(hot):
    """Several runs share an engine, each with its own resources, params and results."""
    live = []

    @resource
    def number():
        live.append(len(live))
        yield live[-1]

    @task
    async def work(i, n=inject("number"), p=None):
        await asyncio.sleep(0.001)
        return (i, n, p)

    async def main():
        engine = make_engine(resources=[number], hot=hot)
        seen = watch(engine, RunStarted)
        for _ in range(2):
            runs = [engine.run(work(i, p=_get_param_value("p")), {"p": i}) for i in range(5)]
            found = await asyncio.gather(*runs)
            assert [(i, p) for i, _, p in found] == [(i, i) for i in range(5)]
            assert len({n for _, n, _ in found}) == 5
        assert len({event.run_id for event in seen}) == 10

    asyncio.run(main())


def test_an_engine_serves_successive_event_loops(hot):
    """An engine made outside of any event loop works in one after the other, constraints included."""
    engine = make_engine(hot=hot, system_resources={"slot": 1})

    @task
    async def work(i):
        await asyncio.sleep(0)
        return i

    for _ in range(3):
        engine.constraint_manager.update_constraint(pause("task:work", expires_at=time.time() + 0.02))
        jobs = [work(i).with_constraints(slot=1) for i in range(3)]
        assert run(jobs, engine) == [0, 1, 2]


def test_constraints_from_another_thread_wake_a_blocked_run():
    """A change made on another thread reaches the waiting stage loop."""

    async def main():
        engine = make_engine()
        engine.constraint_manager.update_constraint(pause("task:one"))
        manager = engine.constraint_manager
        timer = threading.Timer(0.02, manager.remove_constraints_by_scope, ("task:one",))
        timer.start()
        value = await asyncio.wait_for(engine.run(one()), 2)
        timer.join()
        return value

    assert asyncio.run(main()) == 1


def test_lone_nodes_run_in_the_runs_own_task_and_context(hot):
    """Inline and lone async nodes run in the Task and context of the run, concurrent ones in Tasks and copies."""
    var = contextvars.ContextVar("var", default=0)

    @task
    def inline(_=None):
        var.set(var.get() + 1)
        return asyncio.current_task()

    @task
    async def alone(before):
        var.set(var.get() + 1)
        await asyncio.sleep(0)
        return (before, asyncio.current_task())

    @task
    async def several(_):
        var.set(100)
        return asyncio.current_task()

    @task
    def both(a, b):
        return (a, b, var.get())

    async def main():
        engine = make_engine(hot=hot)
        for _ in range(2):
            var.set(0)
            me = asyncio.current_task()
            assert await engine.run(alone(inline())) == (me, me)
            assert var.get() == 2
            first, second, value = await engine.run(both(several(1), several(2)))
            assert value == 2
            assert len({me, first, second}) == 3

    asyncio.run(main())


def test_stats_count_steps_nodes_and_templates(hot):
    """``engine.stats`` adds the counters of all runs up; each run's are in its last event."""
    engine = make_engine(hot=hot)
    seen = watch(engine, RunFinished)
    run(countdown(3), engine)
    run(countdown(3), engine)

    assert isinstance(engine.stats, RunStats)
    assert engine.stats.steps == sum(event.stats.steps for event in seen) == 8
    assert engine.stats.nodes == 8
    assert engine.stats.templates == 1
    assert engine.stats.duration > 0


# --------------------------------------------------------------------------------------------------- inputs, snapshot


def test_params_are_those_of_the_start_of_the_run(hot):
    """Changing the dict that was passed does not change the run."""
    params = {"p": 1}

    @task
    def change(x):
        params["p"] = 2
        return [x, _get_param_value("p")]

    assert run(change(_get_param_value("p")), params=params, hot=hot) == [1, 1]


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("target", [5, "text", {"k": 1}, None, lambda: 1, countdown])
def test_a_target_that_cannot_run_is_a_type_error(target):
    """A target that is no lazy result is refused with a remedy, and the run still ends properly."""
    engine = make_engine()
    seen = watch(engine, RunFinished)
    with pytest.raises(TypeError, match="Cannot build graph from type") as caught:
        run(target, engine)

    assert type(target).__name__ in str(caught.value)
    assert seen[0].status == "Failed"


@pytest.mark.parametrize(
    "target", [lambda: add(1), lambda: add(1, 2, 3), lambda: add(1, b=2, c=3), lambda: add(1, a=2)]
)
def test_arguments_that_do_not_fit_are_a_typed_error(hot, target):
    """Missing and superfluous arguments: a TaskArgumentError (a TypeError) at execution, with task and parameters."""
    engine = make_engine(hot=hot)
    for _ in range(3):
        with pytest.raises(TaskArgumentError) as caught:
            run(ident(target()).with_retry(2), engine)
        assert caught.value.task == "add"
        assert "(a, b)" in str(caught.value)
        assert isinstance(caught.value, TypeError)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_bodys_own_type_errors_are_untouched(hot):
    """A TypeError raised inside the function is the user's, and is retried like any error."""
    calls = []

    @task
    def wrong():
        calls.append(1)
        return add.func(1)

    engine = make_engine(hot=hot)
    for _ in range(2):
        calls.clear()
        with pytest.raises(TypeError) as caught:
            run(wrong().with_retry(1), engine)
        assert type(caught.value) is TypeError
        assert len(calls) == 2


def test_an_unknown_resource_names_itself(hot):
    """A resource that is not registered: NameError with the name and the remedy."""

    @task
    def use(x=inject("nothing")):
        return x

    with pytest.raises(NameError, match="Resource 'nothing' is required but not registered"):
        run(use(), hot=hot)


def test_an_unknown_parameter_is_a_key_error(hot):
    """A parameter without value and default: KeyError with the name."""
    with pytest.raises(KeyError, match="missing"):
        run(_get_param_value("missing"), hot=hot)


def test_an_unknown_route_names_selector_value_and_routes(hot):
    """No route under the selector's value: ValueError with the value and what there is."""
    with pytest.raises(ValueError, match="Router selector for 'ident' returned 'c', but no matching route found in"):
        run(ident(Router(ident("c"), {"a": one()})), hot=hot)


def test_a_cycle_names_its_tasks(hot):
    """A lazy that depends on itself is a CycleError, a ValueError, with the names."""
    first = ident(1)
    second = add(first, 1)
    first.args = (second,)

    for target in (first, second, one().after(first)):
        with pytest.raises(CycleError, match="'ident'") as caught:
            run(target, hot=hot)
        assert set(caught.value.tasks) == {"ident", "add"}


def test_an_uncalled_task_is_named(hot):
    """A task that was passed or returned without being called: a TypeError that says to call it."""

    @task
    def returns():
        return one

    for target in (ident(one), add(1, b=one), returns(), ident(returns()), one().run_if(one)):
        with pytest.raises(TypeError, match=r"'one'.*one\(\.\.\.\)"):
            run(target, hot=hot)


def test_an_impossible_amount_names_resource_and_capacity(hot):
    """A request above the total capacity: ValueError at once."""
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        run(one().with_constraints(gpu=2), hot=hot, system_resources={"gpu": 1})


# ---------------------------------------------------------------------------------------------------------------- depth


@task
def stairs(n):
    return add(n, stairs(n - 1)) if n else 0


def nested(depth):
    target = one()
    for _ in range(depth):
        target = add(target, 1)
    return target


@pytest.mark.parametrize("depth", [5_000])
def test_deep_expressions_and_recursion_have_their_values(hot, depth):
    """Depth costs memory, not stack: nested calls and non-tail recursion, with a low recursion limit."""
    engine = make_engine(hot=hot)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        assert run(nested(depth), engine) == depth + 1
        assert run(stairs(depth), engine) == depth * (depth + 1) // 2
    finally:
        sys.setrecursionlimit(limit)


def test_deep_expressions_are_hashed_compared_pickled_printed_and_freed():
    """Whatever is done to a deep expression, no RecursionError and no crash."""
    target = nested(20_000)

    assert hash(target) == hash(target)
    assert target != nested(20_000)
    copy = pickle.loads(pickle.dumps(target))
    assert copy == target
    assert repr(target).startswith("<LazyResult add(")
    del target
    assert run(copy) == 20_001
    del copy
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("depth", [100_000])
def test_a_hundred_thousand_deep(hot, depth):
    """Table row 6 for ``hot=False`` and the pure kernel."""
    engine = make_engine(hot=hot)

    assert run(nested(depth), engine) == depth + 1
    assert run(stairs(depth), engine) == depth * (depth + 1) // 2


def test_tail_steps_run_in_constant_memory(hot):
    """Nothing grows with the number of steps."""
    import tracemalloc

    engine = make_engine(hot=hot)
    sizes = []

    @task
    def loop(n):
        if n in (6_000, 2_000):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        return loop(n - 1) if n else "end"

    tracemalloc.start()
    try:
        run(loop(8_000), engine)
    finally:
        tracemalloc.stop()

    assert sizes[1] - sizes[0] < 20_000


def test_observers_do_not_disturb_a_run(hot):
    """A handler that raises stops neither the others nor the run."""
    engine = make_engine(hot=hot)

    def broken(event):
        raise RuntimeError("handler")

    engine.bus.subscribe(TaskExecutionStarted, broken)
    seen = watch(engine, TaskExecutionStarted)

    assert run(one(), engine) == 1
    assert len(seen) == 1


@pytest.mark.parametrize("params", [3, "ab", [1], [("a", 1, 2)]])
def test_params_that_have_no_names_are_refused(params):
    """What cannot be values by name is told before anything runs."""
    engine = make_engine()
    seen = watch(engine, RunStarted)

    with pytest.raises(TypeError, match=r"params are values by name, \{'name': value\}, not"):
        asyncio.run(engine.run(one(), params))
    assert seen == []


@pytest.mark.parametrize("values", [5, None, {1}, {"a": 1}, iter([1])])
@pytest.mark.parametrize("hot", [True, False])
def test_inputs_of_a_map_are_sequences(values, hot):
    """What cannot be counted and indexed is told with the map and the input."""
    with pytest.raises(TypeError, match=r"map\(ident\): input 'x' must be a list or another sequence, not"):
        run(ident.map(x=values), make_engine(hot=hot))


def test_a_state_backend_that_is_none_is_told():
    """Before anything has run."""
    called = []

    with pytest.raises(TypeError, match="state_backend_factory must return one"):
        run(task(lambda: called.append(1), name="first")(), make_engine(state_backend_factory=lambda run_id: None))
    assert called == []


SHAPES = {
    "one": lambda: ident(1),
    "nested": lambda: ident(ident(1)),
    "list": lambda: [ident(1), ident(2)],
    "map": lambda: ident.map(x=[1, 2]),
    "map of a call": lambda: ident.map(x=ident([1, 2])),
    "after": lambda: ident(1).after(ident(2)),
    "condition": lambda: ident(ident(1).run_if(ident(True))),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_run_publishes_the_events_of_its_first_step(shape):
    """Whether its program is known or not: what was run before on an engine changes no events."""
    engine = make_engine()
    told = []
    seen = watch(engine)
    for _ in range(3):
        seen.clear()
        run(SHAPES[shape](), engine)
        told.append([(type(e).__name__, getattr(e, "task_name", ""), getattr(e, "status", "")) for e in seen])

    assert told[0] == told[1] == told[2]
    assert "LoopProgress" not in {name for name, _, _ in told[0]}


def test_a_backend_of_the_users_has_the_results_of_the_first_step():
    """By the ids that build_graph gives, skips included; those of later steps are not kept."""
    target = ident(ident(ident(4)).run_if(ident(0)))
    graph, instance_map = build_graph(target)
    backends = []

    def factory(run_id):
        backends.append(InMemoryStateBackend(run_id))
        return backends[-1]

    engine = make_engine(state_backend_factory=factory)
    for _ in range(2):
        assert run(target, engine) == 4
        kept = backends[-1]
        assert kept._results.keys() | kept._skipped.keys() == {node.structural_id for node in graph.nodes}
        assert kept._results[instance_map[target._uuid].structural_id] == 4
        assert list(kept._skipped.values()) == ["ConditionFalse"]


@pytest.mark.parametrize("hot", [True, False])
@pytest.mark.parametrize("target", [lambda: countdown(5), lambda: fork(ident(3)), lambda: countdown(ident(1))])
def test_a_backend_of_the_users_has_only_the_final_result_of_a_loop(hot, target):
    """What a step has left that led to another one is nobody's, in either tier."""
    backends = []

    def factory(run_id):
        backends.append(InMemoryStateBackend(run_id))
        return backends[-1]

    engine = make_engine(hot=hot, state_backend_factory=factory)
    for _ in range(3):
        value = run(target(), engine)
        assert list(backends[-1]._results.values()) == [value]
        assert backends[-1]._skipped == {}


@task
def countdown(n):
    return countdown(n - 1) if n else "end"


@task
def fork(x):
    return add(ident(x), ident(1))


def test_a_task_that_pauses_what_comes_next_is_obeyed():
    """A change of constraints from within a run holds for the next call, hot or not, suspended in between or not."""
    engine = make_engine()
    at = []

    @task
    def pause(value):
        constraint = GlobalConstraint("p", "task:later", "pause", {}, expires_at=time.time() + 0.1)
        engine.constraint_manager.update_constraint(constraint)
        at.append(time.monotonic())
        return value

    @task
    async def apause(value):
        await asyncio.sleep(0)
        return pause.func(value)

    @task
    def later(value):
        return time.monotonic() - at[-1]

    for first in (pause, apause):
        for _ in range(3):
            assert run(later(first(1)), engine) > 0.09
