"""The tail-call loop: tiers, plans, what is kept between steps, what a user may replace, what a step leaves behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from unittest import mock

import pytest

from cascade import _kernel
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.build import build_graph
from cascade.internal.inputs import _get_param_value
from cascade.runtime.events import LoopProgress
from cascade.runtime.strategies import graph as strategy_module
from cascade.spec.resource import inject, resource
from cascade.spec.task import Task, task
from tests.engines import CountingSolver, make_engine, names_of, run, watch


@task
def add(a, b):
    return a + b


@task
def one():
    return 1


@task
def double(x):
    return 2 * x


@task
def countdown(n):
    return countdown(n - 1) if n else "end"


@task
def even(n):
    return odd(n - 1) if n else True


@task
def odd(n):
    return even(n - 1) if n else False


@task
def total(n, acc=0):
    return total(n - 1, acc=add(acc, n)) if n else acc


@task
def tree(n):
    return add(tree(n - 1), tree(n - 2)) if n > 1 else n


@task
def stairs(n):
    return add(n, stairs(n - 1)) if n else 0


@task
async def acount(n):
    await asyncio.sleep(0)
    return acount(n - 1) if n else "end"


@pytest.fixture(params=["hot", "cold"])
def hot(request):
    """Both kinds of engine."""
    return request.param == "hot"


# ------------------------------------------------------------------------------------------------------ right answers


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (lambda: countdown(300), "end"),
        (lambda: even(101), False),
        (lambda: total(100), 5050),
        (lambda: tree(10), 55),
        (lambda: stairs(200), 20100),
        (lambda: acount(50), "end"),
    ],
)
def test_every_kind_of_recursion_has_its_value(hot, target, value):
    """Tail, mutual, accumulating, tree, non-tail and async recursion give the values that plain functions give."""
    assert run(target(), hot=hot) == value


def test_two_tasks_of_one_name_are_two(hot):
    """A program belongs to the task itself, never to its name."""

    def make(value):
        def same(n):
            return made[1 - value](n - 1) if n else value

        return Task(same)

    made = [make(0), make(1)]

    assert [run(made[0](n), hot=hot) for n in (4, 5)] == [0, 1]


def test_one_call_under_different_conditions(hot):
    """The same call with a true, a false and no condition is three different things to do."""

    @task
    def flip(n, seen=()):
        if not n:
            return list(seen)
        call = add(n, 1)
        return flip(n - 1, seen=keep(seen, call.run_if(truth(n % 2)) if n % 3 else call))

    @task
    def truth(x):
        return bool(x)

    @task
    def keep(seen, value=None):
        return (*seen, value)

    class Done(Exception):
        pass

    def expected(n, seen=()):
        while n:
            if n % 3 and not n % 2:
                return "missing"
            seen, n = (*seen, n + 1), n - 1
        return list(seen)

    engine = make_engine(hot=hot)
    for n in range(7):
        try:
            found = run(flip(n), engine)
        except Exception as error:
            found = "missing" if type(error).__name__ == "DependencyMissingError" else error
        assert found == expected(n)


def test_a_literal_beside_a_lazy_keeps_its_position(hot):
    """``f(lazy, 5)`` calls the function with the lazy's value first and 5 second."""

    @task
    def pair(a, b, c=0, *, d):
        return (a, b, c, d)

    assert run(pair(one(), 5, d=one()), hot=hot) == (1, 5, 0, 1)
    assert run(pair(5, one(), one(), d=2), hot=hot) == (5, 1, 1, 2)


# --------------------------------------------------------------------------------------------------- builds and plans


def counted(target, **options):
    """Run a target and return its value with the numbers of solver.resolve and build_graph calls."""
    solver = CountingSolver()
    engine = make_engine(solver, **options)
    with mock.patch("cascade.runtime.strategies.graph.build_graph", side_effect=build_graph) as build:
        value = run(target, engine)
    return value, solver.calls, build.call_count


@pytest.mark.row("02-execution", "Plan cache", "argument-less task that tail-calls itself once")
def test_a_task_that_calls_itself_once_is_planned_once(hot):
    """An argument-less task that tail-calls itself once: one build, one plan."""
    calls = []

    @task
    def again():
        calls.append(1)
        return again() if len(calls) < 2 else "done"

    assert counted(again(), hot=hot) == ("done", 1, 1)


@pytest.mark.row(
    "02-execution",
    "Plan cache",
    "the same with an equal dependency rebuilt each time, the first call included",
)
def test_an_equal_dependency_rebuilt_each_time_is_planned_once(hot):
    """The same with an equal dependency in every call, the first included: one build, one plan."""
    calls = []

    @task
    def again(x):
        calls.append(1)
        return again(one()) if len(calls) < 3 else "done"

    assert counted(again(one()), hot=hot) == ("done", 1, 1)


@pytest.mark.row("02-execution", "Plan cache", "countdown(2) → 1 → 0")
def test_a_countdown_is_planned_once(hot):
    """``countdown(2)``: one build, one plan."""
    assert counted(countdown(2), hot=hot) == ("end", 1, 1)


@pytest.mark.row(
    "02-execution",
    "Plan cache",
    "loop whose first call has a literal (or nothing), later ones a lazy in that slot",
)
@pytest.mark.parametrize("first", ["nothing", "literal"])
def test_a_lazy_in_place_of_a_literal_is_a_second_structure(hot, first):
    """A loop whose first call has a literal or nothing, later ones a lazy in that slot: two builds, two plans."""

    @task
    def loop(n, x=0):
        return loop(n - 1, x=one()) if n else x

    target = loop(5, x=0) if first == "literal" else loop(5)

    assert counted(target, hot=hot) == (1, 2, 2)


@pytest.mark.row("02-execution", "Plan cache", "loop whose first call has a lazy, later ones the resolved value")
def test_a_literal_in_place_of_a_lazy_is_a_second_structure(hot):
    """A loop whose first call has a lazy, later ones the resolved value: exactly two builds and two plans."""

    @task
    def loop(n, x):
        return loop(n - 1, x) if n else x

    assert counted(loop(5, one()), hot=hot) == (1, 2, 2)


@pytest.mark.row("02-execution", "Plan cache", "two runs of add(1,2) and add(3,4) on one engine [L]")
def test_two_runs_of_one_structure_are_planned_once(hot):
    """``add(1, 2)`` and ``add(3, 4)`` on one engine: one plan."""
    solver = CountingSolver()
    engine = make_engine(solver, hot=hot)

    assert [run(add(1, 2), engine), run(add(3, 4), engine)] == [3, 7]
    assert solver.calls == 1


def test_no_step_after_the_second_is_cold_or_warm():
    """A loop of one structure is built once and runs hot from then on."""
    engine = make_engine()
    run(countdown(1000), engine)

    assert (engine.stats.cold, engine.stats.warm, engine.stats.hot) == (1, 0, 1000)
    assert engine.stats.nodes == 1001


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_equal_calls_of_a_pure_task_are_one_in_hot_steps_too(kind):
    """A loop over pure calls is planned once for each way in which they are equal; each is called once a step."""
    calls = []

    def square(x):
        calls.append(x)
        return x * x

    async def asquare(x):
        return square(x)

    pure = Task(square if kind == "sync" else asquare, pure=True)

    @task
    def step(n, found):
        return step(n - 1, gather([pure(n % 3), pure(n % 2), pure(pure(n % 2))])) if n else found

    @task
    def gather(found):
        return found

    engine = make_engine()

    assert run(step(60, None), engine) == [1, 1, 1]
    assert (engine.stats.warm, engine.stats.cold) == (0, 3)  # the two calls are equal or not; and the first step
    assert engine.stats.hot == 58
    assert len(calls) == sum(len({n % 3, n % 2}) + 1 for n in range(1, 61))


def test_with_hot_off_every_step_is_processed_in_full():
    """``hot=False`` runs nothing hot, and the programs still serve as plans."""
    engine = make_engine(hot=False)
    run(countdown(50), engine)

    assert (engine.stats.cold, engine.stats.warm, engine.stats.hot) == (1, 50, 0)


def test_index_and_rehydrate_are_inverse():
    """An indexed plan equals a list of lists, and rehydrating it (or that list) gives the stages back."""
    strategy = make_engine().graph_strategy
    graph, _ = build_graph(add(one(), double(one())))
    plan = NativeSolver().resolve(graph)
    indexed = strategy._index_plan(graph, plan)

    assert indexed == [[0, 1], [2], [3]]
    assert list(indexed) == [[0, 1], [2], [3]]
    assert [indexed[-1], indexed[0:2], len(indexed)] == [[3], [[0, 1], [2]], 3]
    assert strategy._rehydrate_plan(graph, indexed) == plan
    assert strategy._rehydrate_plan(graph, [[0, 1], [2], [3]]) == plan


def test_a_custom_plan_is_trusted_in_its_order(hot):
    """Whatever order a solver gives, nodes run in it."""
    order = []

    @task
    def note(x):
        order.append(x)
        return x

    class Backwards:
        def resolve(self, graph):
            first, second, third, last = graph.nodes
            return [[third], [second], [first], [last]]

    @task
    def three(a, b, c):
        return (a, b, c)

    engine = make_engine(Backwards(), hot=hot)
    for _ in range(2):
        assert run(three(note(1), note(2), note(3)), engine) == (1, 2, 3)
    assert order == [3, 2, 1, 3, 2, 1]


def test_a_plan_with_shadow_nodes_is_accepted(hot):
    """A solver may leave shadow nodes in its plan; they never run."""

    class One:
        def resolve(self, graph):
            return [[node] for node in graph.nodes]

    @task
    def ping(n):
        if n == 0:
            return "end"
        return pong(n - 1)

    @task
    def pong(n):
        return ping(n)

    assert run(ping(5), make_engine(One(), hot=hot)) == "end"


@pytest.mark.row(
    "02-execution",
    "Fast path (ours; the older one cached by cycle id and was wrong whenever arguments changed shape)",
    "_cycle_cache",
)
def test_caches_are_bounded_and_read_as_dicts():
    """Programs and plans are kept by key, the least recently used dropped beyond the bound."""
    engine = make_engine()
    strategy = engine.graph_strategy
    strategy._cycle_cache.max_size = 5
    strategy._template_plan_cache.max_size = 5
    for n in range(12):
        run(Task(lambda *args: len(args), name=f"t{n}")(*range(n)), engine)

    assert len(strategy._cycle_cache) <= 5
    assert len(strategy._template_plan_cache) <= 5
    assert all(key in strategy._cycle_cache for key in strategy._cycle_cache)
    strategy._cycle_cache.clear()
    assert len(strategy._cycle_cache) == 0


def test_a_dead_task_drops_its_programs():
    """Programs hold tasks weakly."""
    engine = make_engine()
    brief = Task(lambda: 1, name="brief")
    run(brief(), engine)
    assert len(engine.graph_strategy._cycle_cache) == 1
    del brief
    gc.collect()

    assert len(engine.graph_strategy._cycle_cache) == 0


# ------------------------------------------------------------------------------------------------- no unused twin


def test_hot_runs_call_the_kernels_node_function():
    """Replacing the kernel's ``_execute_hot_node`` makes hot runs fail."""

    def poisoned(frame, i):
        raise ZeroDivisionError("poisoned")

    engine = make_engine()
    assert run(countdown(3), engine) == "end"
    with mock.patch.object(_kernel.hot, "_execute_hot_node", poisoned), pytest.raises(ZeroDivisionError):
        run(countdown(3), engine)


def test_warm_runs_go_through_rehydration():
    """Replacing the kernel's ``rehydrate`` makes warm runs fail."""

    def poisoned(*args):
        raise ZeroDivisionError("poisoned")

    engine = make_engine(hot=False)
    assert run(countdown(3), engine) == "end"
    with mock.patch.object(_kernel.hot, "rehydrate", poisoned), pytest.raises(ZeroDivisionError):
        run(countdown(3), engine)


# ------------------------------------------------------------------------------------------------- nothing bypassed


def test_a_replaced_function_takes_effect_with_the_next_call(hot):
    """Setting ``task.func`` acts at the next step, in mid-loop too."""

    def second(n):
        return ("second", n)

    @task
    def first(n):
        if n == 3:
            first.func = second
        return first(n - 1)

    assert run(first(10), hot=hot) == ("second", 2)


def test_a_subclassed_executor_is_called_for_every_node():
    """Only the stock ``execute`` may be left out."""

    class Counting(LocalExecutor):
        def __init__(self):
            super().__init__()
            self.names = []

        async def execute(self, node, args, kwargs):
            self.names.append(node.name)
            return await super().execute(node, args, kwargs)

    executor = Counting()
    run(total(3), make_engine(executor=executor))

    assert executor.names == ["total", "add", "total", "add", "total", "add", "total"]


def test_a_mocked_executor_is_called_for_every_node():
    """An executor whose method was replaced on the instance is called, from the moment of the replacement."""
    engine = make_engine()
    run(countdown(3), engine)
    original = engine.executor.execute
    engine.executor.execute = mock.AsyncMock(side_effect=original)

    assert run(countdown(3), engine) == "end"
    assert engine.executor.execute.await_count == 4


@pytest.mark.parametrize(
    ("part", "method"),
    [
        (lambda engine: engine.node_processor, "process"),
        (lambda engine: engine.node_processor, "_execute_internal"),
        (lambda engine: engine.node_processor.arg_resolver, "resolve"),
        (lambda engine: engine.node_processor.constraint_resolver, "resolve"),
    ],
)
def test_a_replaced_part_is_called_for_every_node(part, method):
    """What a user replaced, on class or instance, is honoured in every tier."""
    engine = make_engine()
    run(countdown(3), engine)
    wrapped = mock.AsyncMock(side_effect=getattr(part(engine), method))
    setattr(part(engine), method, wrapped)
    run(countdown(3), engine)

    assert wrapped.await_count == 4


class Recording(InMemoryStateBackend):
    """A backend that is not declared transient, and notes every call."""

    transient = False

    def __init__(self, run_id, log):
        super().__init__(run_id)
        self.log = log

    async def put_result(self, node_id, result):
        self.log.append(("put", result))
        await super().put_result(node_id, result)

    async def mark_skipped(self, node_id, reason):
        self.log.append(("skip", reason))
        await super().mark_skipped(node_id, reason)

    async def clear(self):
        self.log.append(("clear",))
        await super().clear()


@pytest.mark.row("02-execution", "State backend (per run)", "clear()")
def test_a_durable_backend_gets_every_call(hot):
    """A backend that is not transient sees what the cold tier sees: each result, and a clear before each next step."""
    log = []
    value = run(total(2), make_engine(hot=hot, state_backend_factory=lambda run_id: Recording(run_id, log)))

    assert value == 3
    assert log == [("clear",), ("put", 2), ("clear",), ("put", 3), ("put", 3)]


def test_a_transient_backend_gets_the_final_result_only():
    """The stock in-memory backend is told the value of the target, once."""
    backends = []

    def factory(run_id):
        backends.append(InMemoryStateBackend(run_id))
        return backends[-1]

    run(total(3), make_engine(state_backend_factory=factory))

    assert list(backends[0]._results.values()) == [6]


# ------------------------------------------------------------------------------------------- a step leaves nothing


class Token:
    """Something that can be watched dying."""


@pytest.mark.parametrize("kind", ["sync", "async", "inner", "inner async", "retry", "expansion"])
@pytest.mark.parametrize("tier", ["hot", "warm", "replaced"])
def test_no_argument_or_result_outlives_its_step(kind, tier):
    """While step n runs, arguments and results of the steps before are gone, without the help of the collector."""
    alive: list[int] = []
    known: list[weakref.ref[Token]] = []
    failed = []

    def fresh():
        token = Token()
        known.append(weakref.ref(token))
        return token

    def look(n):
        alive.append(sum(ref() is not None for ref in known))
        return n

    @task
    def make(_):
        return fresh()

    @task
    async def amake(_):
        await asyncio.sleep(0)
        return fresh()

    def following(n):
        if kind == "inner":
            return loop(n - 1, make(fresh()))
        if kind == "inner async":
            return loop(n - 1, amake(fresh()))
        if kind == "retry":
            return loop(n - 1, fresh()).with_retry(1)
        return loop(n - 1, fresh())

    def body(n, token):
        look(n)
        if kind == "retry" and n not in failed:
            failed.append(n)
            raise ValueError(n)
        return following(n) if n else "end"

    async def abody(n, token):
        await asyncio.sleep(0)
        return body(n, token)

    loop = Task(abody if kind == "async" else body, "loop")

    @task
    def outer(x, y=0):
        return x

    options = {"hot": tier == "hot"}
    if tier == "replaced":

        class Own(LocalExecutor):
            async def execute(self, node, args, kwargs):
                return await super().execute(node, args, kwargs)

        options["executor"] = Own()
    engine = make_engine(**options)
    gc.collect()
    gc.disable()
    try:
        target = outer(loop(6, fresh())) if kind == "expansion" else loop(6, fresh()).with_retry(1)
        coroutine = engine.run(target)
        del target
        value = asyncio.run(coroutine)
    finally:
        gc.enable()

    assert value == "end"
    # The token of the call itself, and with retries the one that its failed attempt's traceback holds.
    limit = 2 if kind.startswith("inner") or kind == "expansion" else 1
    assert max(alive[1:]) <= limit, alive


# --------------------------------------------------------------------------------------------------- in mid-step


def test_containers_changed_in_mid_step_do_not_matter(hot):
    """Positions of lazies, and containers that hold them, are as they were when the step began."""
    items, table = [], {}

    @task
    def spoil():
        items.append(99)
        items[0] = "spoilt"
        table.clear()
        return "ok"

    @task
    def show(_, given, named):
        return (given, named)

    engine = make_engine(hot=hot)
    for _ in range(2):
        items[:], table["k"] = [one(), 2], one()
        assert run(show(spoil(), items, table), engine) == ([1, 2], {"k": 1})


def test_a_lazys_attributes_changed_in_mid_step_do_not_matter(hot):
    """Arguments, task and policies of a call are as they were when the step began."""

    @task
    def spoil(lazy):
        lazy.args, lazy.kwargs = (40,), {"b": 50}
        lazy.task = one
        return 0

    engine = make_engine(hot=hot)
    for _ in range(2):
        target = add(1, b=2)
        holder = [target]

        @task
        def spoiling(holder=holder):
            holder[0].args, holder[0].kwargs, holder[0].task = (40,), {"b": 50}, one
            return 0

        @task
        def last(_, x):
            return x

        assert run(last(spoiling(), target), engine) == 3


# ----------------------------------------------------------------------------------------------- params and resources


def test_inputs_do_not_keep_a_loop_from_running_hot():
    """Params and run-scoped resources are there for hot programs too, from the first step on."""
    log = []

    @resource
    def db():
        log.append("+")
        yield 10
        log.append("-")

    @task
    def loop(n, x, p, d=inject("db")):
        return loop(n - 1, add(x, d), _get_param_value("p")) if n else (x, p)

    engine = make_engine(resources=[db])

    assert run(loop(20, 0, _get_param_value("p")), engine, {"p": "P"}) == (200, "P")
    assert log == ["+", "-"]
    assert engine.stats.warm <= 1
    assert engine.stats.hot >= 18


def test_task_scoped_resources_live_for_a_step(hot):
    """A resource of scope "task" is set up and torn down with every step, and sees the failure of its step."""
    log = []

    @resource(scope="task")
    def conn():
        log.append("+")
        try:
            yield len(log)
        except ValueError:
            log.append("!")
            raise
        finally:
            log.append("-")

    @task
    def loop(n, c=inject("conn")):
        if n == 0:
            raise ValueError
        return loop(n - 1)

    with pytest.raises(ValueError):
        run(loop(2), make_engine(resources=[conn], hot=hot))
    assert log == ["+", "-", "+", "-", "+", "!", "-"]


# -------------------------------------------------------------------------------------------------------- hot adapter


@pytest.mark.row(
    "02-execution",
    "Fast path (ours; the older one cached by cycle id and was wrong whenever arguments changed shape)",
    "_execute_hot_node(...)",
)
def test_the_strategys_node_method_runs_one_node():
    """``_execute_hot_node`` of the strategy: arguments by index, call, store."""

    async def call():
        engine = make_engine()
        graph, instance_map = build_graph(add(2, 3))
        backend = InMemoryStateBackend("r")
        node = graph.nodes[0]
        value = await engine.graph_strategy._execute_hot_node(node, graph, backend, {}, {}, instance_map)
        return value, await backend.get_result(node.structural_id)

    assert asyncio.run(call()) == (5, 5)


def test_unknown_observe_is_refused():
    """``observe`` names one of two modes."""
    with pytest.raises(ValueError, match="observe"):
        make_engine(observe="everything")
    assert strategy_module.GraphExecutionResult(1, "n") == strategy_module.GraphExecutionResult(1, "n")


# ------------------------------------------------------------------------------------------------------------ events


def task_events(target, engine, types=None):
    seen = watch(engine)
    run(target, engine)
    return names_of(seen)


@pytest.mark.row("05-events-and-messages", "Order", "tail call")
def test_steps_are_observed_one_by_one_when_asked(hot):
    """``observe="steps"`` publishes exactly the cold tier's events."""
    expected = ["RunStarted"]
    for n in range(4):
        expected += ["TaskExecutionStarted add", "TaskExecutionFinished add"] if n else []
        expected += ["TaskExecutionStarted total", "TaskExecutionFinished total"]
    expected.append("RunFinished")

    engine = make_engine(hot=hot, observe="steps")
    assert task_events(total(3), engine) == expected
    engine.graph_strategy.observe = "steps"


@pytest.mark.row("05-events-and-messages", "Order", "tail call")
def test_hot_steps_publish_their_target_at_the_end():
    """By default a cold step publishes all its events, hot ones the target's Started and Finished at the end."""
    engine = make_engine()
    seen = watch(engine)
    run(countdown(5), engine)

    first = ["TaskExecutionStarted countdown", "TaskExecutionFinished countdown"]
    assert names_of(seen) == ["RunStarted", *first, *first, "RunFinished"]


def test_a_hot_failure_is_published():
    """A failing node of a hot step publishes Started and Finished(Failed)."""

    @task
    def fall(n):
        if n == 0:
            raise ValueError("floor")
        return fall(n - 1)

    engine = make_engine()
    seen = watch(engine)
    with pytest.raises(ValueError, match="floor"):
        run(fall(4), engine)

    assert names_of(seen)[-3:] == ["TaskExecutionStarted fall", "TaskExecutionFinished fall", "RunFinished"]
    assert [event.final for event in seen if isinstance(event, LoopProgress)] == [True]
    seen = [event for event in seen if not isinstance(event, LoopProgress)]
    assert (seen[-2].status, seen[-2].error) == ("Failed", "ValueError: floor")
    assert (seen[-1].status, seen[-1].error) == ("Failed", "ValueError: floor")


@pytest.mark.row("05-events-and-messages", "Order", "retry, then success")
def test_a_hot_retry_publishes_one_start_and_one_finish():
    """Retry, then success: Started, Retrying(1), Finished(Succeeded), in the hot tier as in the cold."""
    failures = iter([False, True, False, True])

    @task
    def flaky():
        if next(failures):
            return "ok"
        raise ValueError("once")

    @task
    def lead():
        return flaky().with_retry(2)

    engine = make_engine()
    for _ in range(2):
        seen = watch(engine)
        assert run(lead(), engine) == "ok"
        before = ["RunStarted", "TaskExecutionStarted lead", "TaskExecutionFinished lead"]
        expected = ["TaskExecutionStarted flaky", "TaskRetrying flaky", "TaskExecutionFinished flaky"]
        assert names_of(seen) == [*before, *expected, "RunFinished"]
        retrying = seen[4]
        assert (retrying.attempt, retrying.max_attempts, retrying.error) == (1, 3, "once")
    assert engine.stats.hot == 1
