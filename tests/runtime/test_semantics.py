"""What every tier shares: scopes, policies, containers, inputs, control in mid-step, and what a user replaced."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest

from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph._problems import UncalledTaskError
from cascade.internal.inputs import _get_env_var
from cascade.runtime.events import RunFinished, TaskExecutionStarted
from cascade.runtime.strategies import _runs
from cascade.runtime.strategies._runs import Run, Scope, StepState
from cascade.runtime.strategies._turns import turns_of
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import ResourceDefinition, inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task, task
from tests.engines import CountingSolver, make_engine, run, watch


@task
def ident(x: Any) -> Any:
    return x


@task
def one() -> Any:
    return 1


@task
def gather(*values: Any) -> Any:
    return list(values)


@pytest.fixture(params=["hot", "cold"])
def hot(request: pytest.FixtureRequest) -> bool:
    """Both kinds of engine."""
    return bool(request.param == "hot")


# ----------------------------------------------------------------------------------------------------------- sharing


def counter() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @task
    def count() -> int:
        calls.append(len(calls))
        return calls[-1]

    return count, calls


def test_an_instance_runs_once_in_an_expression(hot: bool) -> None:
    """However often and in whatever place it is used: argument, container, condition, predecessor."""
    count, calls = counter()
    engine = make_engine(hot=hot)
    for number in range(2):
        lazy = count()
        assert run(gather(lazy, [lazy, {"k": lazy}], ident(lazy)), engine) == [number, [number, {"k": number}], number]
    lazy = count()
    assert run(gather(lazy, one().run_if(ident(lazy)), one().after(lazy)), engine) == [2, 1, 1]
    assert len(calls) == 3


def test_two_calls_are_two_nodes_unless_the_task_is_pure() -> None:
    """Equal calls of a default task both run; of a pure task one does, type-strictly, in every run anew."""
    calls = []

    def function(x: Any) -> Any:
        calls.append(x)
        return x

    impure, pure = Task(function), Task(function, pure=True)
    engine = make_engine()
    for _ in range(2):
        calls.clear()
        assert run(gather(impure(1), impure(1)), engine) == [1, 1]
        assert calls == [1, 1]
        calls.clear()
        assert run(gather(pure(1), pure(1), pure(True), pure(1.0), pure(2)), engine) == [1, 1, True, 1.0, 2]
        assert [repr(x) for x in calls] == ["1", "True", "1.0", "2"]


def test_each_step_evaluates_a_captured_lazy_anew(hot: bool) -> None:
    """A lazy result that every step uses runs once for each of them."""
    count, _ = counter()
    captured = count()

    @task
    def loop(n: int, seen: Any = (), x: Any = None) -> Any:
        return loop(n - 1, (*seen, x), captured) if n else (*seen, x)

    assert run(loop(4), hot=hot) == (None, 0, 1, 2, 3)


def test_each_expansion_evaluates_a_captured_lazy_anew(hot: bool) -> None:
    """An inner call that returns a lazy of the outer expression runs it again, in a scope of its own."""
    count, _ = counter()
    engine = make_engine(hot=hot)
    captured = count()

    @task
    def inner() -> Any:
        return captured

    assert run(gather(captured, inner(), inner(), captured), engine) == [0, 1, 2, 0]
    assert run(gather(captured, inner(), inner(), captured), engine) == [3, 4, 5, 3]


def test_each_run_evaluates_a_target_anew(hot: bool) -> None:
    """A lazy result has no memory."""
    count, _ = counter()
    engine, target = make_engine(hot=hot), ident(count())

    assert [run(target, engine) for _ in range(3)] == [0, 1, 2]


def test_skip_marks_of_a_step_do_not_reach_what_it_returns(hot: bool) -> None:
    """An instance that was skipped in a step is judged anew in an expansion and in the next step."""
    flags = {"open": False}

    @task
    def is_open() -> bool:
        return flags["open"]

    @task
    def look() -> bool:
        return flags["open"]

    captured = one().run_if(is_open())
    side = ident(captured)  # skipped with its input

    @task
    def opens(_: Any) -> Any:
        flags["open"] = True
        return side

    engine = make_engine(hot=hot)
    for wrap in (lambda call: call, lambda call: gather(call)):
        for _ in range(2):
            flags["open"] = False
            # Pruned in this step, as a route that nobody chooses; needed in the one that follows.
            target = wrap(opens(Router(look(), {False: 0, True: side})))
            assert run(target, engine) in (1, [1])


def test_expansions_are_scopes_of_their_own(hot: bool) -> None:
    """Nodes of the same place in two expansions have ids of their own; the run's backend sees none of their results."""
    log: list[Any] = []

    class State(InMemoryStateBackend):
        transient = False

        async def put_result(self, node_id: str, result: Any) -> None:
            log.append(result)
            await super().put_result(node_id, result)

        async def clear(self) -> None:
            log.append("clear")
            await super().clear()

    @task
    def inner(n: int) -> Any:
        return inner(ident(n - 1)) if n else ident("end")

    engine = make_engine(hot=hot, observe="steps", state_backend_factory=State)
    seen = watch(engine, TaskExecutionStarted)
    assert run(gather(inner(1), inner(1)), engine) == ["end", "end"]

    names = [event.task_name for event in seen]
    assert names == [*["inner", "ident", "inner", "ident"] * 2, "gather"]
    mine, theirs = ({event.task_id for event in part} for part in (seen[:4], seen[4:8]))
    assert mine.isdisjoint(theirs)
    assert log == ["end", "end", ["end", "end"]]


def test_a_resource_of_the_run_is_one_wherever_it_is_first_needed(hot: bool) -> None:
    """Set up inside an expansion it is there for other expansions and later steps, and ends with the run."""
    log: list[str] = []

    @resource
    def db() -> Any:
        log.append("+")
        yield object()
        log.append("-")

    @task
    def use(d: Any = inject("db")) -> Any:
        log.append("use")
        return d

    @task
    def expands() -> Any:
        return ident(use())

    @task
    def start(values: Any) -> Any:
        return gather(*values, expands(), use())

    engine = make_engine(hot=hot, resources=[db])
    for _ in range(2):
        log.clear()
        values = run(start([expands(), expands(), ident(ident.map(x=[expands()]))]), engine)
        assert log == ["+", *["use"] * 5, "-"]
        assert len({id(value) for value in (*values[:2], *values[2], *values[3:])}) == 1


# ---------------------------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize("wrap", [lambda call: call, ident, lambda call: gather(call, one())])
def test_retries_cover_the_call_and_not_what_it_returns(hot: bool, wrap: Any) -> None:
    """A returned expression that fails is not the failure of the call that returned it."""
    calls = []

    @task
    def bad() -> Any:
        calls.append("bad")
        raise ValueError("bad")

    @task
    def outer() -> Any:
        calls.append("outer")
        return bad().with_retry(1)

    engine = make_engine(hot=hot)
    for _ in range(2):
        calls.clear()
        with pytest.raises(ValueError, match="bad"):
            run(wrap(outer().with_retry(3)), engine)
        assert calls == ["outer", "bad", "bad"]


def test_conditions_predecessors_and_consumers_wait_for_the_final_value(hot: bool) -> None:
    """What a call returned is evaluated before anybody goes on with it."""
    log = []

    @task
    def last(x: Any) -> Any:
        log.append("last")
        return x

    @task
    def steps(x: Any) -> Any:
        log.append("steps")
        return ident(last(ident(x)))

    @task
    def sees(x: Any = None) -> Any:
        log.append("sees")
        return x

    engine = make_engine(hot=hot)
    for _ in range(2):
        for target, value in (
            (sees(steps(5)), 5),
            (sees(6).run_if(steps(1)), 6),
            (sees(7).after(steps(0)), 7),
            (sees([steps(8)]), [8]),
        ):
            log.clear()
            assert run(target, engine) == value
            assert log == ["steps", "last", "sees"]


def test_a_false_final_value_is_a_false_condition(hot: bool) -> None:
    """A lazy result is true, what it stands for need not be: the condition is the latter."""
    calls = []

    @task
    def falsy() -> Any:
        return ident(0)

    @task
    def skipped() -> Any:
        calls.append(1)

    for _ in range(2):
        assert run(one().after(skipped().run_if(falsy())), hot=hot) is None
    assert calls == []


def test_policies_changed_in_mid_step_do_not_matter(hot: bool) -> None:
    """Condition, retries, amounts and predecessors of a call are as they were when the step began."""
    calls: list[Any] = []
    engine = make_engine(hot=hot, system_resources={"slot": 1})

    @task
    def flaky(x: Any) -> Any:
        calls.append(x)
        if len(calls) == 1:
            raise ValueError
        return x

    def step(kept: Any) -> Any:
        later = flaky(5).with_retry(1)
        if kept == "all":
            later.run_if(one()).with_constraints(slot=one()).after(one())

        def spoil() -> None:
            later.run_if(False).with_retry(0).with_constraints(slot=99)
            later.after(Task(lambda: calls.append("never"))())

        return gather(Task(spoil, "spoil")(), ident(later))

    for kept in ("retry", "all"):
        for _ in range(2):
            calls.clear()
            assert run(step(kept), engine) == [None, 5]
            assert calls == [5, 5]


# -------------------------------------------------------------------------------------------------------- containers


def test_values_pass_by_identity_unless_they_hold_lazies(hot: bool) -> None:
    """Plain containers, cyclic ones too, sets and objects arrive as the very object; sets and keys are not searched."""
    plain: list[Any] = [1]
    plain.append(plain)
    lazy = one()
    values = (plain, {"k": plain}, {lazy}, {lazy: 1}, OrderedDict(a=1), object(), (plain,))
    engine = make_engine(hot=hot)
    for _ in range(2):
        found = run(gather(*values, ident(0)), engine)
        assert all(a is b for a, b in zip(found, values, strict=False))
        found = run(gather([*values, ident(0)]), engine)[0]
        assert found[-1] == 0
        assert all(a is b for a, b in zip(found, values, strict=False))


class Hostile:
    """A value that must not be looked into."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __repr__(self) -> str:
        raise AssertionError("shown")

    def __bool__(self) -> bool:
        raise AssertionError("judged")


def test_leaves_are_not_looked_into() -> None:
    """A loop compares, hashes, shows and judges none of its values, and asks no lazy result for its identity."""
    made = []

    @task
    def loop(n: int, value: Any, more: Any = None) -> Any:
        lazy: Any = loop(n - 1, value, more=[value, ident(value)]) if n else None
        made.append(lazy)
        return lazy if n else "end"

    engine = make_engine()
    assert run(loop(10, Hostile()), engine) == "end"
    assert engine.stats.hot >= 8
    hidden = [lazy for lazy in made[2:-1] if getattr(lazy, "_uid", None) is not None]
    assert hidden == []


# ------------------------------------------------------------------------------------------------------------ inputs


def test_the_environment_is_that_of_the_start_of_the_run(hot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that changes in mid-run has its old value until the run ends."""
    monkeypatch.setenv("CASCADE_TEST_RUN", "before")
    engine = make_engine(hot=hot)

    @task
    def loop(n: int, seen: Any, value: Any) -> Any:
        monkeypatch.setenv("CASCADE_TEST_RUN", "after")
        monkeypatch.setenv("CASCADE_TEST_NEW", "new")
        seen = (*seen, value)
        return loop(n - 1, seen, [_get_env_var("CASCADE_TEST_RUN"), _get_env_var("CASCADE_TEST_NEW")]) if n else seen

    first = [_get_env_var("CASCADE_TEST_RUN"), _get_env_var("CASCADE_TEST_NEW")]
    assert run(loop(3, (), first), engine) == (["before", None],) * 4
    assert run(loop(0, (), first), engine) == (["after", "new"],)


def test_an_override_acts_at_the_next_setup_of_its_name(hot: bool) -> None:
    """Scope "task": at the next step; scope "run": at the next run."""
    seen = []

    def old() -> Any:
        yield "old"

    def new() -> Any:
        yield "new"

    engine = make_engine(hot=hot)
    for name, scope in (("whole", "run"), ("brief", "task")):
        engine.register(ResourceDefinition(old, name, scope))  # type: ignore[arg-type]

    @task
    def loop(n: int, whole: Any = inject("whole"), brief: Any = inject("brief")) -> Any:
        seen.append((whole, brief))
        if n == 2:
            for name, scope in (("whole", "run"), ("brief", "task")):
                engine.override_resource_provider(name, ResourceDefinition(new, name, scope))  # type: ignore[arg-type]
        return loop(n - 1) if n else "end"

    run(loop(3), engine)
    run(loop(0), engine)

    assert seen == [("old", "old"), ("old", "old"), ("old", "new"), ("old", "new"), ("new", "new")]


# ----------------------------------------------------------------------------------------------- control in mid-step


def wait_for_the_next_quantum() -> None:
    """Let the time of a quantum (at most a millisecond) pass."""
    until = time.monotonic() + 0.002
    while time.monotonic() < until:
        pass


def test_a_half_run_program_goes_on_through_full_processing() -> None:
    """A constraint that comes in mid-step holds the next node back; what has run does not run again."""
    log: list[str] = []
    engine = make_engine(hot=hot)

    def step(name: str) -> Any:
        def function(*_: Any) -> Any:
            log.append(name)
            if name == "second" and log.count("second") == 2:
                engine.constraint_manager.update_constraint(GlobalConstraint("p", "task:third", "pause", {}))
            wait_for_the_next_quantum()  # nodes that take long let the kernel ask the clock after each
            return [name, object()]

        return Task(function, name)

    first, second, third, last = (step(name) for name in ("first", "second", "third", "last"))

    def target() -> Any:
        begun = first()
        then = second(begun)
        return gather(last(third(then), begun), begun, then)

    async def main() -> Any:
        await engine.run(target())
        log.clear()
        log.append("second")  # the next call is its second
        running = asyncio.ensure_future(engine.run(target()))
        for _ in range(200):
            await asyncio.sleep(0)
        held = log[1:]
        engine.constraint_manager.remove_constraints_by_scope("task:third")
        return held, await running

    held, value = asyncio.run(main())

    assert held == ["first", "second"]
    assert log[1:] == ["first", "second", "third", "last"]
    assert [value[1][0], value[2][0]] == ["first", "second"]
    assert (engine.stats.warm, engine.stats.cold) == (1, 1)


def test_a_half_run_program_can_be_cancelled(hot: bool) -> None:
    """A cancellation that comes in mid-step is heard before the step is over."""
    log = []

    @task
    def slow(n: int) -> Any:
        log.append(n)
        wait_for_the_next_quantum()
        if n == 3 and log.count(3) == 2:
            asyncio.get_running_loop().call_soon(cancel[0])
        return n

    cancel: list[Any] = []

    async def main() -> None:
        engine = make_engine(hot=hot)
        await engine.run(gather(*(slow(n) for n in range(50))))
        log[:] = [3]
        running = asyncio.ensure_future(engine.run(gather(*(slow(n) for n in range(50)))))
        cancel.append(running.cancel)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert log[1:5] == [0, 1, 2, 3]
    assert len(log) < 10


def test_a_constraint_that_comes_between_steps_is_in_force_at_the_next_quantum() -> None:
    """A hot loop goes on until it next asks the clock, at most 16 nodes; then each step is admitted one by one."""
    engine = make_engine()
    log: list[int] = []

    @task
    def loop(n: int) -> Any:
        log.append(n)
        if n == 50:
            engine.constraint_manager.update_constraint(GlobalConstraint("p", "task:loop", "pause", {}))
            wait_for_the_next_quantum()
        return loop(n - 1) if n else "end"

    async def main() -> Any:
        running = asyncio.ensure_future(engine.run(loop(100)))
        for _ in range(200):
            await asyncio.sleep(0)
        held = len(log)
        engine.constraint_manager.remove_constraints_by_scope("task:loop")
        return held, await running

    held, value = asyncio.run(main())

    assert 51 <= held <= 51 + 16
    assert (value, len(log)) == ("end", 101)


def test_what_another_run_notices_holds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-run program looks again when the engine's epoch has changed, though its quantum is far from over."""
    monkeypatch.setattr(_runs, "_SHARED_QUANTUM", 3600.0)
    log: list[str] = []

    def target(go_on: asyncio.Event) -> Any:
        return gather(after(waits(go_on)))

    @task
    async def waits(go_on: Any) -> Any:
        log.append("waits")
        await go_on.wait()

    @task
    def after(_: Any) -> Any:
        log.append("after")

    async def main() -> None:
        engine = make_engine()
        go_on = asyncio.Event()
        go_on.set()
        await engine.run(target(go_on))
        log.clear()
        go_on = asyncio.Event()
        running = asyncio.ensure_future(engine.run(target(go_on)))
        while not log:  # noqa: ASYNC110 - the node under test waits for an event itself
            await asyncio.sleep(0)
        engine.constraint_manager.update_constraint(GlobalConstraint("p", "task:after", "pause", {}))
        await engine.run(one())
        go_on.set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert log == ["waits"]
        engine.constraint_manager.remove_constraints_by_scope("task:after")
        await running
        assert log == ["waits", "after"]

    asyncio.run(main())


def test_each_event_loop_counts_its_own_runs() -> None:
    """The runs of one event loop share a count, those of another have another, whichever was asked for last."""
    loops = [asyncio.new_event_loop() for _ in range(3)]
    try:
        first = [turns_of(loop) for loop in loops]
        again = [turns_of(loop) for loop in (*loops, *reversed(loops))]

        assert len({id(turns) for turns in first}) == 3
        assert [id(turns) for turns in again] == [id(turns) for turns in (*first, *reversed(first))]
    finally:
        for loop in loops:
            loop.close()


def test_the_quantum_is_shared_by_the_runnable_runs_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 ms divided by the number of runs that would go on, at least 50 us; who waits does not count."""
    now = [100.0]
    monkeypatch.setattr(_runs.time, "monotonic", lambda: now[0])

    async def nothing() -> None:
        assert run_.turns.runnable == runnable - 1

    async def main() -> None:
        nonlocal runnable, run_
        run_ = Run("r", {}, InMemoryStateBackend("r"), ExitStack(), {}, False)
        other = Run("s", {}, InMemoryStateBackend("s"), ExitStack(), {}, False)
        assert run_.turns is other.turns
        for runnable, quantum in ((0, 1e-3), (1, 1e-3), (2, 5e-4), (10, 1e-4), (20, 50e-6), (1000, 50e-6)):
            run_.turns.runnable = runnable
            await run_.breathe()
            assert run_.until == pytest.approx(100.0 + quantum, abs=1e-9)
            assert not run_.is_over()
            now[0] = run_.until
            assert run_.is_over()
            now[0] = 100.0
        assert run_.yields == 6
        await run_.away(nothing())
        assert run_.turns.runnable == 1000

    runnable, run_ = 0, None  # type: ignore[assignment]
    run_: Any
    asyncio.run(main())


def test_nobody_stays_counted_as_runnable(hot: bool) -> None:
    """After runs that succeeded, failed and were cancelled, in every way, the loop's count is back to zero."""

    @task
    async def fails() -> Any:
        await asyncio.sleep(0)
        raise ValueError

    @task
    async def waits() -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        engine = make_engine(hot=hot)
        engine.constraint_manager.update_constraint(GlobalConstraint("p", "task:paused", "pause", {}))
        paused = Task(lambda: 1, "paused")
        for make in (
            lambda: gather(waits(), fails()),
            lambda: gather(ident(1), fails()),
            lambda: gather(fails().with_retry(2), fails()),
            lambda: gather(paused(), fails(), ident(1)),
            lambda: waits.map(),
            lambda: gather(one(), Task(lambda x: ident(x)).map(x=[1, 2])),
        ):
            for _ in range(2):
                await asyncio.gather(engine.run(make()), return_exceptions=True)
        for make in (waits, lambda: gather(waits(), waits()), paused):
            running = asyncio.ensure_future(engine.run(make()))
            for _ in range(10):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
        assert turns_of(asyncio.get_running_loop()).runnable == 0

    asyncio.run(main())


def test_a_new_subscriber_hears_of_what_comes_after_the_next_quantum() -> None:
    """Somebody who asks for every step in mid-loop gets the steps from then on."""
    engine = make_engine()
    seen: list[Any] = []

    @task
    def loop(n: int) -> Any:
        if n == 50:
            seen.extend([watch(engine, TaskExecutionStarted)])
            engine.graph_strategy.observe = "steps"
            wait_for_the_next_quantum()
        return loop(n - 1) if n else "end"

    assert run(loop(100), engine) == "end"
    assert 50 - 16 <= len(seen[0]) <= 50
    assert engine.stats.warm == len(seen[0])


# -------------------------------------------------------------------------------------------------- nothing bypassed


@pytest.mark.parametrize("method", ["put_result", "mark_skipped"])
def test_a_backend_that_overrides_a_method_sees_every_call(hot: bool, method: str) -> None:
    """The inherited flag says nothing of a subclass: what it replaced is called as in the cold tier."""
    log = []

    async def noted(self: Any, node_id: str, what: Any) -> None:
        log.append(what)
        await getattr(InMemoryStateBackend, method)(self, node_id, what)

    backend = type("Own", (InMemoryStateBackend,), {method: noted})

    @task
    def loop(n: int, x: Any) -> Any:
        return loop(n - 1, gather(ident(n), 5)) if n else "end"

    target = gather(one().after(ident(1).run_if(False)).run_if(True), 1) if method == "mark_skipped" else loop(2, 0)
    engine = make_engine(hot=hot, state_backend_factory=backend)
    try:
        run(target, engine)
    except Exception as error:
        log.append(type(error).__name__)

    skips = ["ConditionFalse", "UpstreamSkipped_Sequence", "UpstreamSkipped_Data", "DependencyMissingError"]
    assert log == (skips if method == "mark_skipped" else [2, [2, 5], 1, [1, 5], "end"])
    assert engine.stats.hot == 0


def test_a_backend_replaced_on_the_instance_sees_every_call() -> None:
    """A mocked ``put_result`` is called for every node from the start of the run."""
    backends: list[Any] = []

    def factory(run_id: str) -> Any:
        backend = InMemoryStateBackend(run_id)
        if backends:
            backend.put_result = mock.AsyncMock(side_effect=backend.put_result)  # type: ignore[method-assign]
        backends.append(backend)
        return backend

    engine = make_engine(state_backend_factory=factory)
    for _ in range(2):
        run(gather(ident(1), ident(2)), engine)

    assert [call.args[1] for call in backends[1].put_result.await_args_list] == [1, 2, [1, 2]]


def test_the_solver_is_asked_once_for_each_template(hot: bool) -> None:
    """A solver of the user's own is asked too, and its order is the program's in every tier."""
    log: list[str] = []

    class Backwards(CountingSolver):
        def resolve(self, graph: Any) -> Any:
            return [list(reversed(stage)) for stage in super().resolve(graph)]

    solver = Backwards()
    engine = make_engine(solver, hot=hot)

    def step(name: str) -> Any:
        def function() -> None:
            log.append(name)

        return Task(function, name)

    a, b = step("a"), step("b")
    for _ in range(3):
        run(gather(a(), b()), engine)

    assert log == ["b", "a"] * 3
    assert solver.calls == 1


def test_nothing_of_a_run_is_kept_on_tasks_and_lazy_results(hot: bool) -> None:
    """After a run their attributes are what they were, but for what the analysis of sources says for ever."""
    count = Task(lambda n: n, "count")
    lazy = count(3)
    run(ident(count(1)), hot=hot)
    kept = ("args", "kwargs", "_retry_policy", "_dependencies")
    before = dict(count.__dict__), [getattr(lazy, name) for name in kept]
    engines = [make_engine(hot=hot) for _ in range(3)]
    for engine in engines:
        assert [run(ident(lazy), engine) for _ in range(2)] == [3, 3]

    after = dict(count.__dict__), [getattr(lazy, name) for name in kept]
    assert after == before
    assert all(engine.stats.cold == 1 for engine in engines)


def test_an_engine_of_pure_tasks_keeps_no_nodes() -> None:
    """The engine's registry holds what a graph still needs, however many structures it has seen."""
    engine = make_engine()
    pure = Task(lambda x: x, "pure", pure=True)
    for number in range(100):
        run(gather(pure(number), pure(number + 1)), engine)

    assert len(engine.graph_strategy._node_registry._registry) <= 4


# --------------------------------------------------------------------------------------------------- scopes and state


def test_scopes_are_told_apart_and_their_paths_do_not_grow() -> None:
    """Every place of every depth has a path of its own, of one length; resources are copied before they change."""
    top = Scope({"a": 1}, "", True, None)
    one_, two = top.nested("x"), top.nested("y")
    deep = one_
    for _ in range(100):
        deep = deep.nested("x")

    paths = [top.path, one_.path, two.path, one_.nested("y").path, two.nested("x").path, deep.path]
    assert len(set(paths)) == len(paths)
    assert {len(path) for path in paths[1:]} == {32}
    assert top.nested("x").path == one_.path
    one_.own()["b"] = 2
    assert top.resources == {"a": 1}
    assert (top.top, one_.top) == (True, False)


def test_a_steps_state_writes_through_only_if_its_scope_says_so() -> None:
    """Results and marks are kept here; a backend that wants to see everything gets them too, and the clear."""

    async def main() -> None:
        backend = InMemoryStateBackend("r")
        run_ = Run("r", {}, backend, ExitStack(), {}, True)
        silent, through = (StepState(run_, Scope({}, "", True, one_)) for one_ in (None, backend))
        for state, there in ((silent, False), (through, True)):
            await state.put_result("n", None)
            await state.mark_skipped("m", "why")
            assert (await state.has_result("n"), await state.get_result("n")) == (True, None)
            assert (await state.get_skip_reason("m"), await state.has_result("m")) == ("why", False)
            assert await backend.has_result("n") is there
            assert (await backend.get_skip_reason("m") is not None) is there
            await state.clear()
            assert (await state.has_result("n"), await state.get_skip_reason("m")) == (False, None)
            assert await backend.has_result("n") is False

    asyncio.run(main())


@pytest.mark.row("00-index", "Where the two versions disagree", "state_backend.clear")
@pytest.mark.row("02-execution", "State backend (per run)", "clear()")
@pytest.mark.parametrize("clear", [None, "sync", "async"])
def test_a_backend_need_not_be_clearable(clear: str | None) -> None:
    """``clear`` may be absent, plain or a coroutine function; steps go on either way."""
    cleared = []

    class State:
        def __init__(self, run_id: str) -> None:
            self.kept = InMemoryStateBackend(run_id)

        def __getattr__(self, name: str) -> Any:
            if name == "clear":
                if clear is None:
                    raise AttributeError(name)
                return self.wipe if clear == "sync" else self.awipe
            return getattr(self.kept, name)

        def wipe(self) -> None:
            cleared.append("sync")

        async def awipe(self) -> None:
            cleared.append("async")

    @task
    def loop(n: int) -> Any:
        return loop(n - 1) if n else "end"

    assert run(loop(2), state_backend_factory=State, solver=NativeSolver()) == "end"
    assert cleared == ([clear] * 2 if clear else [])


def test_resources_of_a_failing_run_are_torn_down_before_it_is_reported(hot: bool) -> None:
    """By the time of RunFinished every resource has seen the failure and ended."""
    log: list[str] = []

    @resource
    def held() -> Any:
        try:
            yield
        except ValueError as error:
            log.append(f"saw {error}")
            raise
        finally:
            log.append("torn down")

    @task
    def fails(h: Any = inject("held")) -> Any:
        raise ValueError("mine")

    engine = make_engine(hot=hot, resources=[held])
    engine.bus.subscribe(RunFinished, lambda event: log.append(f"{event.status}: {event.error}"))
    for _ in range(2):
        log.clear()
        with pytest.raises(ValueError, match="mine"):
            run(ident(fails()), engine)
        assert log == ["saw mine", "torn down", "Failed: ValueError: mine"]


def test_a_step_belongs_to_one_tier() -> None:
    """A step that is handed over to full processing in its middle is one step."""
    engine = make_engine()

    @task
    def loop(n: int) -> Any:
        if n == 50:
            engine.graph_strategy.observe = "steps"
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass
        return loop(n - 1) if n else "end"

    run(loop(100), engine)
    assert engine.stats.steps == 101


def test_a_router_that_nobody_needs_any_more_lets_go_of_its_routes_once(hot: bool) -> None:
    """A pruned call has let go of all its routes; nothing is due when their selector, needed elsewhere, has a value.

        target( Router("b", {"a": inner(Router(chosen, {"x": shared, "y": 0})), "b": 0}), chosen, shared )
    """
    engine = make_engine(hot=hot)
    for _ in range(3):
        shared, chosen = gather(ident(7)), ident(ident("y"))
        inner = ident(Router(chosen, {"x": shared, "y": 0}))

        assert run(gather(Router(ident("b"), {"a": inner, "b": 0}), chosen, shared), engine) == [0, "y", [7]]


def test_a_call_pruned_after_its_choice_lets_go_of_its_other_routes_no_second_time(hot: bool) -> None:
    """The same, when the choice is known before the call is pruned.

        target( Router(late "b", {"a": inner(Router(chosen, {"x": shared, "y": 0})), "b": 0}), chosen, shared )
    """
    engine = make_engine(hot=hot)
    for _ in range(3):
        shared, chosen = gather(ident(ident(ident(7)))), ident("y")
        inner = ident(Router(chosen, {"x": shared, "y": 0}))

        assert run(gather(Router(ident(ident("b")), {"a": inner, "b": 0}), chosen, shared), engine) == [0, "y", [7]]


def test_resources_of_a_step_see_that_its_target_returned_a_task(hot: bool) -> None:
    """An uncalled task is an error of the step: its resources are torn down with it, and their own error is a note."""

    @resource(scope="task")
    def conn() -> Any:
        try:
            yield 1
        finally:
            raise LookupError("teardown")

    @task
    def wrong(c: Any = inject("conn")) -> Any:
        return wrong

    with pytest.raises(UncalledTaskError, match="wrong") as raised:
        run(wrong(), make_engine(hot=hot, resources=[conn]))

    assert any("teardown" in note for note in raised.value.__notes__)
