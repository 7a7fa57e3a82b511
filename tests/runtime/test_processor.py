"""Full processing of one node: retries, cache, amounts, maps."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.build import build_graph
from cascade.runtime.events import (
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.runtime.processor import NodeProcessor
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import Task, task
from tests.engines import make_engine, names_of, run, watch


@task
def add(a, b=0):
    return a + b


@task
def one():
    return 1


@task
def ident(x):
    return x


@pytest.fixture(params=["hot", "cold"])
def hot(request):
    """Both kinds of engine."""
    return request.param == "hot"


# -------------------------------------------------------------------------------------------------------------- retry


def failing(times, error=ValueError):
    calls = []

    @task
    def flaky(x=0):
        calls.append(x)
        if len(calls) <= times:
            raise error(f"call {len(calls)}")
        return len(calls)

    return flaky, calls


def test_n_retries_are_n_plus_one_attempts(hot):
    """``with_retry(n)``: up to n retries, then the original exception."""
    engine = make_engine(hot=hot)
    for _ in range(2):
        flaky, calls = failing(3)
        with pytest.raises(ValueError, match="call 3"):
            run(flaky().with_retry(2), engine)
        assert len(calls) == 3
        assert run(flaky().with_retry(2), engine) == 4


@pytest.mark.row("05-events-and-messages", "Order", "retry, then success")
def test_retries_are_announced_with_growing_delays(hot):
    """TaskRetrying counts from 1, max_attempts is n + 1, delays grow by the backoff; one Started, one Finished."""
    flaky, _ = failing(2)
    engine = make_engine(hot=hot)
    seen = watch(engine, TaskEvent)
    run(ident(flaky().with_retry(3, delay=0.01, backoff=2)), engine)

    mine = [e for e in seen if e.task_name == "flaky"]
    assert [type(e) for e in mine] == [TaskExecutionStarted, TaskRetrying, TaskRetrying, TaskExecutionFinished]
    assert [(e.attempt, e.max_attempts, e.delay, e.error) for e in mine[1:3]] == [
        (1, 4, 0.01, "call 1"),
        (2, 4, 0.02, "call 2"),
    ]
    assert mine[3].status == "Succeeded"
    assert mine[3].duration >= 0.03


@pytest.mark.row("05-events-and-messages", "Order", "failure")
def test_the_last_failure_is_announced(hot):
    """After the last attempt: Finished(Failed) with type and text."""
    flaky, _ = failing(9)
    engine = make_engine(hot=hot)
    for _ in range(2):
        seen = watch(engine, TaskExecutionFinished)
        with pytest.raises(ValueError):
            run(flaky().with_retry(1), engine)
        assert len(seen) == 1
        assert seen[0].error.startswith("ValueError: call")


def test_a_value_that_cannot_be_shown_ends_no_run(hot):
    """Somebody listens, and ``repr`` of the result raises: the preview says so, in each tier and after a retry too."""

    class Shy:
        def __repr__(self):
            raise RuntimeError("no")

    flaky, _ = failing(1)

    @task
    def make(x=None):
        return Shy()

    engine = make_engine(hot=hot)
    seen = watch(engine, TaskExecutionFinished)
    for target in (make(), make(), make(flaky().with_retry(1))):
        assert type(run(target, engine)) is Shy

    shown = [event.result_preview for event in seen if event.task_name == "make"]
    assert shown == ["<Shy whose repr raised RuntimeError>"] * 3


@pytest.mark.parametrize("listened", [True, False])
def test_an_error_that_cannot_be_shown_arrives_all_the_same(hot, listened):
    """The very exception comes out, or is retried, though its text raises; events say what can be said."""

    class Shy(Exception):
        def __str__(self):
            raise RuntimeError("no")

    engine = make_engine(hot=hot)
    seen = watch(engine) if listened else []
    for _ in range(2):
        flaky, calls = failing(2, Shy)
        assert run(flaky().with_retry(2), engine) == 3
        calls.clear()
        with pytest.raises(Shy):
            run(flaky().with_retry(1), engine)

    told = {event.error for event in seen if getattr(event, "error", None)}
    assert told == ({"<its text raised RuntimeError>", "Shy: <its text raised RuntimeError>"} if listened else set())


def test_a_retry_policy_is_that_of_the_call(hot):
    """A new policy object at every step is the one that is asked, hot or not."""
    failures = []

    @task
    def loop(n):
        if failures.count(n) < n % 3:
            failures.append(n)
            raise ValueError(n)
        return loop(n - 1).with_retry((n - 1) % 3) if n else "end"

    assert run(loop(8).with_retry(2), hot=hot) == "end"
    assert len(failures) == sum(n % 3 for n in range(9))


def test_arguments_are_resolved_once_for_all_attempts(hot):
    """A retried call gets the same arguments again."""
    calls = []

    @task
    def keep(x):
        calls.append(x)
        if len(calls) < 3:
            raise ValueError
        return x

    assert run(keep([one()]).with_retry(5), hot=hot) == [1]
    assert calls[0] is calls[1] is calls[2]


def test_resources_stay_held_between_attempts():
    """Amounts are released when the call has ended, not between its attempts."""
    engine = make_engine(system_resources={"slot": 1})
    order = []

    @task
    async def work(name):
        order.append(name)
        if order.count("a") == 1 and name == "a":
            raise ValueError
        return name

    jobs = [work("a").with_retry(1, delay=0.01).with_constraints(slot=1), work("b").with_constraints(slot=1)]

    assert run(jobs, engine) == ["a", "b"]
    assert order == ["a", "a", "b"]


# -------------------------------------------------------------------------------------------------------------- cache


class Cache:
    """A policy that keeps values in a dict."""

    def __init__(self):
        self.values = {}
        self.asked = []
        self.saved = []

    async def check(self, task_id, inputs):
        self.asked.append(inputs)
        return self.values.get(task_id)

    async def save(self, task_id, inputs, output):
        self.values[task_id] = output
        self.saved.append(output)


@pytest.mark.row("05-events-and-messages", "Order", "cache hit")
def test_a_hit_skips_the_call(hot):
    """Equal calls of later runs and other engines are hits: TaskSkipped(CacheHit) only, nothing saved again."""
    cache, calls = Cache(), []

    @task
    def work(x, y):
        calls.append(x)
        return x + y

    for _ in range(3):
        engine = make_engine(hot=hot)
        seen = watch(engine, TaskEvent)
        assert run(work(1, y=one()).with_cache(cache), engine) == 2
    assert calls == [1]
    assert names_of(seen)[2:] == ["TaskSkipped work"]
    assert seen[-1].reason == "CacheHit"
    assert cache.saved == [2]
    assert run(work(2, y=one()).with_cache(cache), engine) == 3


def test_what_a_cached_call_holds_need_not_have_content(hot):
    """Amounts do not change a value, so the calls that they come from are no part of what is looked for."""
    cache, calls = Cache(), []

    @task
    def work(x):
        calls.append(x)
        return x

    for _ in range(2):
        amount = Task(lambda key: 1)(object())
        assert run(work(3).with_constraints(cpu=amount).with_cache(cache), make_engine(hot=hot)) == 3
    assert calls == [3]


def test_a_cached_call_may_have_a_router_that_puts_its_choice_together(hot):
    """Whatever stands for the parts of a Router has content too, the same on each kernel."""
    cache, calls = Cache(), []

    @task
    def work(x):
        calls.append(x)
        return len(calls)

    for _ in range(2):
        router = Router((one(), 2), {(1, 2): [one(), "a"], "b": 3})
        assert run(work(router).with_cache(cache), make_engine(hot=hot)) == 1
    assert calls == [[1, "a"]]
    other = Router((one(), 2), {(1, 2): [one(), "c"], "b": 3})
    assert run(work(other).with_cache(cache), make_engine(hot=hot)) == 2


def test_a_policy_is_asked_with_literals_and_results():
    """Inputs: results of dependencies by argument name, and the call's literals; containers hold values."""
    cache = Cache()
    run(Task(lambda *a, **k: 5)(7, one(), [one(), 2], k=one(), d={"x": one()}).with_cache(cache))

    assert cache.asked == [{"0": 7, "1": 1, "2": [1, 2], "k": 1, "d": {"x": 1}}]


def test_an_inner_calls_cached_value_is_its_final_value(hot):
    """What is saved for an inner call is the value of the expression that it returned."""
    cache, calls = Cache(), []

    @task
    def outer(x):
        calls.append(x)
        return add(x, one())

    for _ in range(2):
        assert run(ident(outer(4).with_cache(cache)), hot=hot) == 5
    assert list(cache.values.values()) == [5]
    assert calls == [4]


def test_a_target_that_returns_a_call_is_not_cached_and_says_so_once(hot, caplog):
    """Cache on a root that tail-calls is not saved; one warning says what to do."""
    cache = Cache()

    @task
    def root(x):
        return add(x, 1)

    engine = make_engine(hot=hot)
    with caplog.at_level(logging.WARNING, "cascade"):
        assert [run(root(4).with_cache(cache), engine) for _ in range(2)] == [5, 5]

    assert cache.values == {}
    assert len(caplog.records) == 1
    assert "'root'" in caplog.text


def test_failures_are_not_saved():
    """A failing call leaves no cached value."""
    cache = Cache()
    flaky, _ = failing(1)
    with pytest.raises(ValueError):
        run(flaky().with_cache(cache))

    assert cache.values == {}
    assert run(flaky().with_cache(cache)) == 2
    assert run(flaky().with_cache(cache)) == 2


@pytest.mark.parametrize("can_tell", [True, False])
def test_a_stored_none_is_a_hit_where_the_policy_can_tell(hot, can_tell):
    """A policy with a method ``has`` is asked again when it returned None; another's None is nothing."""

    class Telling(Cache):
        async def has(self, task_id, inputs):
            return task_id in self.values

    cache, calls = Telling() if can_tell else Cache(), []

    @task
    def nothing():
        calls.append(1)

    engine = make_engine(hot=hot)
    seen = watch(engine, TaskSkipped)
    assert [run(nothing().with_cache(cache), engine) for _ in range(3)] == [None] * 3

    assert len(calls) == (1 if can_tell else 3)
    assert [event.reason for event in seen] == (["CacheHit"] * 2 if can_tell else [])


def test_a_cache_is_asked_while_the_amounts_are_held(hot):
    """Two equal calls that need the only slot do not both find nothing; a hit gives the slot back."""
    manager, used = ResourceManager({"slot": 1}), []

    class Looking(Cache):
        async def check(self, task_id, inputs):
            used.append(manager._usage["slot"])
            return await super().check(task_id, inputs)

    cache = Looking()
    engine = make_engine(hot=hot, resource_manager=manager)
    for _ in range(2):
        assert run(ident(1).with_constraints(slot=1).with_cache(cache), engine) == 1

    assert used == [1, 1]
    assert manager._usage["slot"] == 0


# ------------------------------------------------------------------------------------------------------------ amounts


@pytest.mark.row("05-events-and-messages", "Order", "capacity wait")
def test_two_calls_that_need_the_only_slot_take_turns():
    """The second is announced as blocked by contention and runs when the first has ended."""
    running, most = [], []

    @task
    async def work(i):
        running.append(i)
        most.append(len(running))
        await asyncio.sleep(0.005)
        running.remove(i)
        return i

    engine = make_engine(system_resources={"slot": 1})
    blocked = watch(engine, TaskBlocked)

    assert run([work(i).with_constraints(slot=1) for i in range(3)], engine) == [0, 1, 2]
    assert max(most) == 1
    assert [event.reason for event in blocked] == ["ResourceContention"] * 2


def test_amounts_are_released_before_a_returned_expression_runs(hot):
    """Policies cover the function call: what it returns may need the same slot."""

    @task
    def outer(n):
        return ident(outer(n - 1).with_constraints(slot=1)) if n else "end"

    target = outer(5).with_constraints(slot=1)

    assert run(ident(target), hot=hot, system_resources={"slot": 1}) == "end"


def test_a_lazy_amount_is_run_first(hot):
    """An amount may be lazy; its value is what is acquired."""
    engine = make_engine(hot=hot, system_resources={"slot": 2})
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        run(one().with_constraints(slot=add(1, 2)), engine)
    assert run(one().with_constraints(slot=add(1, 1)), engine) == 1


# ---------------------------------------------------------------------------------------------------------------- map


def test_a_map_zips_its_inputs_in_order(hot):
    """Items are called with one value of each input, and their values come in input order."""
    assert run(add.map(a=[1, 2], b=ident((10, 20))), hot=hot) == [11, 22]
    assert run(ident.map(x="ab"), hot=hot) == ["a", "b"]
    assert run(ident.map(), hot=hot) == run(ident.map(x=[]), hot=hot) == []


def test_a_map_refuses_inputs_of_different_lengths(hot):
    """Lengths must agree; the error has them by name."""
    with pytest.raises(ValueError, match=r"mismatched lengths.*'a': 1.*'b': 2"):
        run(add.map(a=[1], b=[1, 2]), hot=hot)


@pytest.mark.row("05-events-and-messages", "Order", "map")
def test_map_events(hot):
    """Started(map), each item's own events, Finished(map)."""
    engine = make_engine(hot=hot, observe="steps")
    seen = watch(engine, TaskEvent)
    run(ident.map(x=[1, 2]), engine)

    item = ["TaskExecutionStarted ident", "TaskExecutionFinished ident"]
    expected = ["TaskExecutionStarted map(ident)", *item, *item, "TaskExecutionFinished map(ident)"]
    assert names_of(seen) == expected
    assert len({event.task_id for event in seen}) == 3


@pytest.mark.row("03-flow-and-policies", "Map", "retry")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_retry_on_a_map_is_each_items_own(hot, kind):
    """Three items that fail once each: three TaskRetrying, the map itself is not retried."""
    failed = set()

    def sflaky(x):
        if x not in failed:
            failed.add(x)
            raise ValueError(x)
        return x

    async def aflaky(x):
        return sflaky(x)

    flaky = Task(sflaky if kind == "sync" else aflaky, "flaky")
    engine = make_engine(hot=hot)
    seen = watch(engine, TaskRetrying)

    assert run(flaky.map(x=[1, 2, 3]).with_retry(1), engine) == [1, 2, 3]
    assert [event.task_name for event in seen] == ["flaky"] * 3


@pytest.mark.row("03-flow-and-policies", "Map", "cache")
def test_cache_on_a_map_is_asked_for_the_map_and_for_each_item(hot):
    """A map that is not there asks for its items, and keeps those that are new and the whole; then it is a hit."""
    cache, calls = Cache(), []

    @task
    def work(x):
        calls.append(x)
        return x * x

    engine = make_engine(hot=hot)
    assert run(work(x=2).with_cache(cache), engine) == 4
    assert run(work.map(x=[1, 2, 3]).with_cache(cache), engine) == [1, 4, 9]
    assert calls == [2, 1, 3]
    assert cache.saved == [4, 1, 9, [1, 4, 9]]
    assert len(cache.asked) == 5

    seen = watch(engine, TaskEvent)
    assert run(work.map(x=[1, 2, 3]).with_cache(cache), engine) == [1, 4, 9]
    assert names_of(seen) == ["TaskSkipped map(work)"]
    assert calls == [2, 1, 3]


@pytest.mark.row("03-flow-and-policies", "Map", "constraints")
@pytest.mark.parametrize("capacity", [1, 2])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_constraints_on_a_map_are_each_items_own(hot, kind, capacity):
    """Four items of one slot each, also with capacity 1: the map itself holds nothing while its items wait."""
    running, most = set(), []

    async def work(x):
        running.add(x)
        most.append(len(running))
        await asyncio.sleep(0.001)
        running.remove(x)
        return x

    def swork(x):
        return x

    items = Task(work if kind == "async" else swork)
    target = items.map(x=[1, 2, 3, 4]).with_constraints(slot=1)

    assert run(target, hot=hot, system_resources={"slot": capacity}) == [1, 2, 3, 4]
    assert max(most, default=capacity) == capacity


def test_a_lazy_amount_on_a_map_is_evaluated_once(hot):
    """Items get the amount's value, not the call that makes it."""
    calls = []

    @task
    def amount():
        calls.append(1)
        return 1

    target = ident.map(x=[1, 2, 3]).with_constraints(slot=amount())

    assert run(target, hot=hot, system_resources={"slot": 1}) == [1, 2, 3]
    assert calls == [1]


def test_a_global_limit_of_one_does_not_block_a_map_against_its_items():
    """Global constraints see the map node and its items, but the map holds nothing."""
    engine = make_engine()
    engine.constraint_manager.update_constraint(GlobalConstraint("c", "global", "concurrency", {"limit": 1}))

    assert run(ident.map(x=[1, 2]), engine) == [1, 2]


def test_a_constraint_on_the_task_limits_the_items():
    """``task:<name>`` is about the items; the map node is ``map(<name>)``."""
    engine = make_engine()
    engine.constraint_manager.update_constraint(GlobalConstraint("c", "task:work", "concurrency", {"limit": 2}))
    running, most = set(), []

    @task
    async def work(x):
        running.add(x)
        most.append(len(running))
        await asyncio.sleep(0.001)
        running.remove(x)

    run(work.map(x=list(range(6))), engine)

    assert max(most) == 2


def test_map_items_share_resources_and_may_inject(hot):
    """An item's injected default is set up like any other task's, once for the map."""
    log = []

    @resource(scope="task")
    def conn():
        log.append("+")
        yield len(log)
        log.append("-")

    @task
    def use(x, c=inject("conn")):
        return (x, c)

    assert run(use.map(x=[1, 2]), hot=hot, resources=[conn]) == [(1, 1), (2, 1)]
    assert log == ["+", "-"]


def test_a_failing_item_fails_the_map_with_its_exception(hot):
    """The first failing item's exception is the map's; other items are cancelled first."""
    ended = []

    @task
    async def work(x):
        if x == 2:
            raise ValueError("two")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(x)

    with pytest.raises(ValueError, match="two"):
        run(work.map(x=[1, 2, 3]), hot=hot)
    assert ended == [1] or ended == [1, 3]


def test_items_that_return_calls_are_resolved_further(hot):
    """An item may tail-call, and may return a map."""

    @task
    def down(n):
        return down(n - 1) if n else "end"

    @task
    def inner(x):
        return ident.map(x=[x, x + 1])

    assert run(down.map(n=[0, 1, 50]), hot=hot) == ["end"] * 3
    assert run(inner.map(x=[1, 5]), hot=hot) == [[1, 2], [5, 6]]


def test_a_factory_that_returns_no_lazy_is_refused(hot):
    """A map's factory must return a lazy result for each item."""

    class Factory:
        name = "odd"

        def __call__(self, **kwargs):
            return 5

        def map(self, **kwargs):
            from cascade.spec.lazy_types import MappedLazyResult

            return MappedLazyResult(self, kwargs)

    with pytest.raises(TypeError, match=r"map\(odd\).*int"):
        run(Factory().map(x=[1]), hot=hot)


@pytest.mark.row("03-flow-and-policies", "Map", "run_if, after")
def test_run_if_and_after_apply_to_the_map_node(hot):
    """A map with a false condition is skipped as a whole."""
    engine = make_engine(hot=hot)
    seen = watch(engine, TaskSkipped)

    assert run(ident([one(), 2]).after(ident.map(x=[1]).run_if(False)), engine) is None
    assert [(e.task_name, e.reason) for e in seen] == [
        ("map(ident)", "ConditionFalse"),
        ("ident", "UpstreamSkipped_Sequence"),
    ]


# --------------------------------------------------------------------------------------------------------- stand-ins


def test_a_processor_serves_parts_made_by_hand():
    """A bus without ``wants`` and a runner that is a plain function will do."""
    published = []

    class Bus:
        def publish(self, event):
            published.append(event)

    class Executor:
        async def execute(self, node, args, kwargs):
            return node.callable_obj(*args, **kwargs)

    async def main():
        processor = NodeProcessor(Executor(), Bus(), ResourceManager(), None, None)
        graph, instance_map = build_graph(add.map(a=[1, 2]))

        async def runner(target, params, backend):
            return target.kwargs["a"] * params["by"]

        backend = InMemoryStateBackend("r")
        return await processor.process(graph.nodes[0], graph, backend, {}, "r", {"by": 10}, runner, instance_map)

    assert asyncio.run(main()) == [10, 20]
    assert [type(e) for e in published] == [TaskExecutionStarted, TaskExecutionFinished]
