"""The stage loop: order within a stage, deferral, what waits for a choice, failures, and targets without value."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.model import Node
from cascade.runtime.events import (
    RunFinished,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.runtime.exceptions import DependencyMissingError
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.routing import Router
from cascade.spec.task import Task, task
from tests.engines import make_engine, names_of, run, watch


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


class Notes:
    """Tasks that write down when they start and end."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def sync(self, name: str, returned: Any = None) -> Any:
        def function(*_: Any) -> Any:
            self.log.append(name)
            return returned() if callable(returned) else returned or name

        return Task(function, name)

    def aio(self, name: str) -> Any:
        async def function(*_: Any) -> Any:
            self.log.append(f"+{name}")
            await asyncio.sleep(0)
            self.log.append(f"-{name}")
            return name

        return Task(function, name)

    def fails(self, name: str) -> Any:
        def function(*_: Any) -> Any:
            self.log.append(name)
            raise ValueError(name)

        return Task(function, name)


def pause(name: str) -> GlobalConstraint:
    return GlobalConstraint(f"pause {name}", f"task:{name}", "pause", {})


# ------------------------------------------------------------------------------------------------------------- order


def test_synchronous_nodes_run_first_and_the_others_start_in_plan_order(hot: bool) -> None:
    """Synchronous nodes one by one, each with its expansion, then asynchronous ones together, whatever the order."""
    notes = Notes()
    inner = notes.sync("inner")
    target = gather(
        notes.aio("a")(),
        notes.sync("s", lambda: ident(inner()))(),
        notes.aio("b")(),
        notes.sync("t")(),
        notes.aio("c")(),
    )
    engine = make_engine(hot=hot)
    for _ in range(2):
        notes.log.clear()
        assert run(target, engine) == ["a", "inner", "b", "t", "c"]
        assert notes.log[:3] == ["s", "inner", "t"]
        assert notes.log[3:6] == ["+a", "+b", "+c"]
        assert sorted(notes.log[6:]) == ["-a", "-b", "-c"]


def test_a_stage_waits_for_the_stage_before_it(hot: bool) -> None:
    """A node of the second stage does not start while one of the first still runs, though its own inputs are there."""
    notes = Notes()
    target = gather(notes.sync("late")(notes.sync("early")()), notes.aio("slow")())
    engine = make_engine(hot=hot)
    for _ in range(2):
        notes.log.clear()
        run(target, engine)
        assert notes.log == ["early", "+slow", "-slow", "late"]


def test_synchronous_nodes_get_no_asyncio_tasks(hot: bool) -> None:
    """Inline nodes, what they return, and a lone asynchronous node run in the Task that awaits the run."""
    seen = []

    def look(*_: Any) -> Any:
        seen.append((asyncio.current_task(), len(asyncio.all_tasks())))

    looks = Task(look)
    expands = Task(lambda: ident(looks()), "expands")

    async def alone() -> Any:
        looks.func()
        await asyncio.sleep(0)
        looks.func()

    async def main() -> Any:
        engine = make_engine(hot=hot)
        for _ in range(2):
            await engine.run(gather(looks(), expands(), Task(alone)(), looks()))
        return asyncio.current_task()

    me = asyncio.run(main())

    assert len(seen) == 10
    assert set(seen) == {(me, 1)}


def test_asynchronous_and_blocking_nodes_of_a_stage_run_together(hot: bool) -> None:
    """A function in a thread and a coroutine function that need each other to go on both end."""
    reached, answered = threading.Event(), threading.Event()

    @task(mode="blocking")
    def in_thread() -> Any:
        reached.set()
        return answered.wait(10)

    @task
    async def in_loop() -> Any:
        while not reached.is_set():  # noqa: ASYNC110 - an event of a thread cannot be awaited
            await asyncio.sleep(0)
        answered.set()
        return True

    assert run(gather(in_thread(), in_loop()), hot=hot) == [True, True]


@pytest.mark.parametrize("where", ["call", "expansion"])
def test_after_the_first_failure_nothing_more_is_started(hot: bool, where: str) -> None:
    """A synchronous node that fails, or whose expansion fails, is the last of its stage to start."""
    notes = Notes()
    bad = notes.fails("bad")
    first = bad() if where == "call" else Task(lambda: ident(bad()), "outer")()
    target = gather(notes.aio("a")(), notes.sync("s")(), first, notes.sync("t")())
    engine = make_engine(hot=hot)
    for _ in range(2):
        notes.log.clear()
        with pytest.raises(ValueError, match="bad"):
            run(target, engine)
        assert notes.log == ["s", "bad"]


# ---------------------------------------------------------------------------------------------------------- deferral


async def until(condition: Any) -> None:
    """Let the loop run until something holds."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never held")


@pytest.mark.row("05-events-and-messages", "Order", "pause")
def test_a_deferred_node_holds_up_nobody_and_is_announced_once(hot: bool) -> None:
    """Others of the stage run; a wake-up that changes nothing for it announces nothing; then it runs."""
    notes = Notes()
    target = gather(notes.sync("paused")(), notes.sync("free")(), notes.aio("aio")())

    async def main() -> Any:
        engine = make_engine(hot=hot)
        blocked = watch(engine, TaskBlocked)
        engine.constraint_manager.update_constraint(pause("paused"))
        running = asyncio.ensure_future(engine.run(target))
        await until(lambda: "-aio" in notes.log)
        for name in ("x", "y"):
            engine.constraint_manager.update_constraint(pause(name))
            for _ in range(20):
                await asyncio.sleep(0)
        assert notes.log == ["free", "+aio", "-aio"]
        engine.constraint_manager.remove_constraints_by_scope("task:paused")
        return await running, [(event.task_name, event.reason) for event in blocked]

    assert asyncio.run(main()) == (["paused", "free", "aio"], [("paused", "ConstraintViolation")])
    assert notes.log[-1] == "paused"


@pytest.mark.row("05-events-and-messages", "Order", "pause")
def test_each_blocking_period_is_announced(hot: bool) -> None:
    """A node that was admitted and is denied again in a later step is announced again."""
    notes = Notes()
    target = gather(ident(notes.sync("p", lambda: notes.sync("p")())()))

    async def main() -> Any:
        engine = make_engine(hot=hot)
        blocked = watch(engine, TaskBlocked)
        engine.constraint_manager.update_constraint(pause("p"))
        running = asyncio.ensure_future(engine.run(target))
        await until(lambda: len(blocked) == 1)

        def on_start(event: TaskExecutionStarted) -> None:
            if event.task_name == "p" and len(blocked) == 1:
                engine.constraint_manager.update_constraint(pause("p"))

        engine.bus.subscribe(TaskExecutionStarted, on_start)
        engine.constraint_manager.remove_constraints_by_scope("task:p")
        await until(lambda: len(blocked) == 2)
        engine.constraint_manager.remove_constraints_by_scope("task:p")
        await running
        return len(blocked)

    assert asyncio.run(main()) == 2
    assert notes.log == ["p", "p"]


def test_a_deferred_node_that_fails_ends_those_that_run() -> None:
    """A synchronous node admitted late fails while an asynchronous one runs: that is cancelled and awaited first."""
    log = []

    @task
    async def slow() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("slow ended")

    def fail() -> Any:
        log.append("fails")
        raise ValueError("late")

    async def main() -> None:
        engine = make_engine()
        engine.constraint_manager.update_constraint(pause("late"))
        running = asyncio.ensure_future(engine.run(gather(slow(), slow(), Task(fail, "late")())))
        for _ in range(20):
            await asyncio.sleep(0)
        engine.constraint_manager.remove_constraints_by_scope("task:late")
        with pytest.raises(ValueError, match="late"):
            await running
        assert log == ["fails", "slow ended", "slow ended"]

    asyncio.run(main())


def test_what_fails_on_the_way_out_is_noted_on_the_late_error() -> None:
    """The error of the node that was admitted late is raised; that of a sibling that it ended is its note."""

    @task
    async def stubborn() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("on the way out") from None

    def fail() -> Any:
        raise ValueError("late")

    async def main() -> Any:
        engine = make_engine()
        engine.constraint_manager.update_constraint(pause("late"))
        running = asyncio.ensure_future(engine.run(gather(stubborn(), stubborn(), Task(fail, "late")())))
        for _ in range(20):
            await asyncio.sleep(0)
        engine.constraint_manager.remove_constraints_by_scope("task:late")
        with pytest.raises(ValueError, match="late") as caught:
            await running
        return caught.value.__notes__

    assert asyncio.run(main()) == ["also failed: RuntimeError: on the way out"] * 2


def test_a_failure_ends_the_wait_for_admission(hot: bool) -> None:
    """A node that fails while another is paused ends the run: nobody waits for the pause to be lifted."""
    notes = Notes()

    @task
    async def fails() -> Any:
        await asyncio.sleep(0)
        raise ValueError("now")

    async def main() -> None:
        engine = make_engine(hot=hot)
        engine.constraint_manager.update_constraint(pause("paused"))
        await asyncio.wait_for(engine.run(gather(notes.sync("paused")(), fails(), notes.aio("a")())), 10)

    with pytest.raises(ValueError, match="now"):
        asyncio.run(main())
    assert "paused" not in notes.log


# ----------------------------------------------------------------------------------------------------------- routers


def routed(notes: Notes, choice: Any, **more: Any) -> Any:
    return Router(notes.sync("select", choice)(), {"a": notes.sync("a")(), "b": notes.sync("b")(), **more})


def test_routes_wait_for_their_selector(hot: bool) -> None:
    """Routes without inputs of their own stand in the selector's stage: only the chosen one runs, after the choice."""
    notes = Notes()
    engine = make_engine(hot=hot)
    skipped = watch(engine, TaskSkipped)
    for choice, other in (("a", "b"), ("b", "a")):
        notes.log.clear()
        skipped.clear()
        assert run(ident(routed(notes, choice)), engine) == choice
        assert notes.log == ["select", choice]
        assert [(event.task_name, event.reason) for event in skipped] == [(other, "Pruned")]


def test_what_only_an_open_choice_needs_waits_though_its_stage_is_long_past(hot: bool) -> None:
    """With a selector three stages deep, whole branches wait, run stage by stage when chosen, or never run."""
    notes = Notes()
    deep = notes.sync("select", "a")(notes.sync("s2")(notes.sync("s1")()))
    branch = {key: notes.sync(key)(notes.sync(f"{key}2")(notes.aio(f"{key}1")())) for key in ("a", "b")}
    engine = make_engine(hot=hot)
    for _ in range(2):
        notes.log.clear()
        assert run(ident(Router(deep, branch)), engine) == "a"
        assert notes.log == ["s1", "s2", "select", "+a1", "-a1", "a2", "a"]


def test_a_choice_inside_a_branch_waits_for_the_choice_of_the_branch(hot: bool) -> None:
    """Routers may be routes of Routers: the inner selector runs only if its branch is chosen."""
    notes = Notes()

    def target(choice: Any) -> Any:
        inner = Router(notes.sync("inner", "y")(), {"x": notes.sync("x")(), "y": notes.sync("y")()})
        return ident(Router(notes.sync("outer", choice)(), {"in": inner, "out": notes.sync("out")()}))

    assert run(target("in"), hot=hot) == "y"
    assert notes.log == ["outer", "inner", "y"]
    notes.log.clear()
    assert run(target("out"), hot=hot) == "out"
    assert notes.log == ["outer", "out"]


def test_what_a_live_node_needs_does_not_wait(hot: bool) -> None:
    """A route that is also a plain argument runs at once, chosen or not; its result serves both."""
    notes = Notes()
    shared = notes.sync("b")()
    target = gather(Router(notes.sync("select", "a")(), {"a": notes.sync("a")(), "b": shared}), shared)

    assert run(target, hot=hot) == ["a", "b"]
    assert sorted(notes.log) == ["a", "b", "select"]
    assert notes.log.index("a") == 2


def test_an_asynchronous_selector_is_heard_as_it_finishes() -> None:
    """The choice prunes when the selector ends, not when its stage ends: a sibling sees the skip mark already."""
    marks = []

    @task
    async def select() -> Any:
        return "a"

    class State(InMemoryStateBackend):
        async def mark_skipped(self, node_id: str, reason: str) -> None:
            marks.append(reason)
            await super().mark_skipped(node_id, reason)

    @task
    async def sibling() -> Any:
        await until(lambda: marks)
        return list(marks)

    target = gather(Router(select(), {"a": one(), "b": ident(one())}), sibling())

    assert run(target, state_backend_factory=State) == [1, ["Pruned", "Pruned"]]


def test_a_skipped_selector_without_a_value_prunes_all_routes(hot: bool) -> None:
    """No choice will come: every route is marked Pruned and announced, the consumer is skipped for its input."""
    notes = Notes()
    engine = make_engine(hot=hot)
    skipped = watch(engine, TaskSkipped)
    select = notes.sync("select", "a")().run_if(False)
    with pytest.raises(DependencyMissingError):
        run(ident(Router(select, {"a": notes.sync("a")(), "b": notes.sync("b")(notes.sync("c")())})), engine)

    assert notes.log == []
    assert sorted((event.task_name, event.reason) for event in skipped) == [
        ("a", "Pruned"),
        ("b", "Pruned"),
        ("c", "Pruned"),
        ("ident", "UpstreamSkipped_Data"),
        ("select", "ConditionFalse"),
    ]


def test_a_skipped_selector_chooses_by_what_it_passes_on(hot: bool) -> None:
    """A selector that was skipped hands on its first input, and that is the choice."""
    notes = Notes()
    select = ident(notes.sync("first", "b")()).run_if(False)

    assert run(ident(Router(select, {"a": notes.sync("a")(), "b": notes.sync("b")()})), hot=hot) == "b"
    assert notes.log == ["first", "b"]


# ---------------------------------------------------------------------------------------------------------- failures


def test_each_node_that_fails_has_its_own_finished_event(hot: bool) -> None:
    """Two of a stage fail together: both publish Finished(Failed), one is raised, the other is its note."""

    async def fail(name: str) -> Any:
        await asyncio.sleep(0)
        raise ValueError(name)

    fails = Task(fail)
    engine = make_engine(hot=hot)
    for _ in range(2):
        finished = watch(engine, TaskExecutionFinished, RunFinished)
        with pytest.raises(ValueError, match="first") as caught:
            run(gather(fails("first"), fails("second")), engine)
        assert [event.error for event in finished] == ["ValueError: first", "ValueError: second", "ValueError: first"]
        assert {event.status for event in finished} == {"Failed"}
        assert caught.value.__notes__ == ["also failed: ValueError: second"]


def test_a_sibling_that_fails_while_it_is_cancelled_becomes_a_note(hot: bool) -> None:
    """An error raised on the way out is not lost, and does not take the place of the first."""

    @task
    async def fails() -> Any:
        await asyncio.sleep(0)
        raise ValueError("first")

    @task
    async def stubborn() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("on the way out") from None

    engine = make_engine(hot=hot)
    for _ in range(2):
        with pytest.raises(ValueError, match="first") as caught:
            run(gather(fails(), stubborn()), engine)
        assert caught.value.__notes__ == ["also failed: RuntimeError: on the way out"]


def test_cancelling_a_run_cancels_and_awaits_its_nodes(hot: bool) -> None:
    """Nodes that run concurrently have ended before the cancelled run ends."""
    log = []

    async def slow(name: str) -> Any:
        try:
            log.append(f"+{name}")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append(f"-{name}")

    slows = Task(slow)

    async def main() -> None:
        engine = make_engine(hot=hot)
        for _ in range(2):
            log.clear()
            running = asyncio.ensure_future(engine.run(gather(slows("a"), slows("b"))))
            await until(lambda: len(log) == 2)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert sorted(log) == ["+a", "+b", "-a", "-b"]

    asyncio.run(main())


# --------------------------------------------------------------------------------------------- targets without value


@pytest.mark.row("02-execution", "Stage loop", "skipped otherwise")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: one().run_if(False), "ConditionFalse"),
        (lambda: one().run_if(ident(0)), "ConditionFalse"),
        (lambda: one().run_if(one().run_if(False)), "UpstreamSkipped_Condition"),
        (lambda: ident(one().run_if(False)), "UpstreamSkipped_Data"),
        (lambda: ident.map(x=[1]).run_if(False), "ConditionFalse"),
        (lambda: ident.map(x=one().run_if(False)), "UpstreamSkipped_Data"),
    ],
)
def test_a_skipped_target_is_an_error_that_says_why(hot: bool, make: Any, reason: str) -> None:
    """DependencyMissingError with the argument ``<Target Output>``, for mapped targets too."""
    engine = make_engine(hot=hot)
    for _ in range(2):
        with pytest.raises(DependencyMissingError, match=reason) as caught:
            run(make(), engine)
        assert caught.value.arg_name == "<Target Output>"


@pytest.mark.row("02-execution", "Stage loop", "skipped with reason UpstreamSkipped_Sequence")
@pytest.mark.parametrize("make", [one, lambda: ident.map(x=[1])])
def test_a_target_after_a_skipped_predecessor_is_none(hot: bool, make: Any) -> None:
    """``UpstreamSkipped_Sequence`` is the one reason that ends the run without an error."""
    assert run(make().after(one().run_if(False)), hot=hot) is None


@pytest.mark.row("02-execution", "Stage loop", "never produced")
def test_a_plan_without_the_target_is_a_key_error(hot: bool) -> None:
    """A custom solver that forgets the target: KeyError "did not produce a result"."""

    class Forgetful(NativeSolver):
        def resolve(self, graph: Any) -> Any:
            return super().resolve(graph)[:-1]

    with pytest.raises(KeyError, match="'ident' did not produce a result"):
        run(ident(one()), hot=hot, solver=Forgetful())


@pytest.mark.parametrize("transient", [True, False])
def test_skip_marks_end_with_their_step(hot: bool, transient: bool) -> None:
    """A node at the same place of the next step runs, whatever was skipped in the step before, on every backend."""
    seen = []

    class State(InMemoryStateBackend):
        pass

    State.transient = transient

    @task
    def loop(n: int, x: Any = None) -> Any:
        seen.append(x)
        return loop(n - 1, gather(ident(n).run_if(ident(n % 2)), n)) if n else "end"

    engine = make_engine(hot=hot, state_backend_factory=State)
    with pytest.raises(DependencyMissingError):
        run(loop(3), engine)
    assert seen == [None, [3, 3]]

    @task
    def spare(n: int, x: Any = None) -> Any:
        seen.append(x)
        return spare(n - 1, gather(n, ident(ident(n)).run_if(ident(n % 2)))) if n else "end"

    seen.clear()
    assert run(spare(4), engine) == "end"
    assert seen == [None, [4, 4], [3, 3], [2, 2], [1, 1]]


@pytest.mark.row("05-events-and-messages", "Order", "skipped")
def test_events_of_a_skipped_node_are_its_skip_alone(hot: bool) -> None:
    """TaskSkipped only: neither Started nor Finished."""
    engine = make_engine(hot=hot, observe="steps")
    seen = watch(engine)
    with pytest.raises(DependencyMissingError):
        run(ident(one().run_if(False)), engine)

    assert names_of(seen) == ["RunStarted", "TaskSkipped one", "TaskSkipped ident", "RunFinished"]
    assert [e.reason for e in seen[1:3]] == ["ConditionFalse", "UpstreamSkipped_Data"]


@pytest.mark.row("01-tasks-and-graph", "Nodes", "param")
def test_nodes_of_the_old_kind_for_parameters_are_passed_over() -> None:
    """A plan may hold nodes of the type ``param``, which builders made long ago: they are no work, and tell nothing."""

    class Older(NativeSolver):
        def resolve(self, graph: Any) -> Any:
            return [[Node("param-id", "p", node_type="param")], *super().resolve(graph)]

    engine = make_engine(Older())
    seen = watch(engine)

    assert run(ident(one()), engine) == 1
    assert names_of(seen)[1:-1:2] == ["TaskExecutionStarted one", "TaskExecutionStarted ident"]


def test_ids_belong_to_places(hot: bool) -> None:
    """A node at one place of an expression has one id in all steps and runs, and no other node has it."""

    @task
    def loop(n: int, *_: Any) -> Any:
        return loop(n - 1, ident(n), ident(n)) if n else "end"

    found = []
    for observe in ("steps", "loops"):
        engine = make_engine(hot=hot, observe=observe)
        seen = watch(engine, TaskExecutionStarted)
        run(loop(3, ident(0), ident(0)), engine)
        first = [event.task_id for event in seen[:3]]
        assert len(set(first)) == 3
        if observe == "steps":
            assert [event.task_id for event in seen] == first * 4
        assert seen[-1].task_id == first[2]
        found.append(len(seen))

    assert found == [12, 4 if hot else 12]
