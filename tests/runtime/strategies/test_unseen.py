"""New structures are planned and compiled without graph and nodes where nobody would be given them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import cascade.runtime.strategies.graph as graph_module
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph._template import Template
from cascade.runtime.engine import Engine
from cascade.runtime.events import StaticAnalysisWarning, TaskEvent, TaskExecutionFinished
from cascade.runtime.strategies.graph import GraphExecutionStrategy
from cascade.spec.resource import inject, resource
from cascade.spec.task import task
from tests.engines import CountingSolver, make_engine, run, watch


@task
def one() -> Any:
    return 1


@task
def add(a: Any, b: Any = 0) -> Any:
    return a + b


@task(pure=True)
def square(x: Any) -> Any:
    return x * x


@task
def countdown(n: Any) -> Any:
    return countdown(n - 1) if n else "end"


@task
async def later(x: Any) -> Any:
    return x


@task
def total(*values: Any) -> Any:
    return sum(values)


TARGETS: list[tuple[Callable[[], Any], Any]] = [
    (one, 1),
    (lambda: add(add(1, 2), b=add([one()][0], 3)), 7),
    (lambda: total(*(add(n) for n in range(5)), square(2), square(2), square(square(2))), 34),
    (lambda: total(later(1), later(add(2)), add(later(3))), 6),
    (lambda: add(1).with_retry(2), 1),
    (lambda: countdown(add(3)), "end"),
]


@pytest.mark.parametrize("make, value", TARGETS)
def test_no_graph_is_made_where_nobody_would_see_it(make: Callable[[], Any], value: Any) -> None:
    """Neither the first step of a structure nor the later ones bind a node; they are counted as ever."""
    engine = make_engine()
    with mock.patch.object(Template, "bind", side_effect=AssertionError("a graph was made")):
        assert [run(make(), engine) for _ in range(3)] == [value] * 3

    stats = engine.stats
    assert (stats.cold, stats.warm) == (len(engine.graph_strategy._template_plan_cache), 0)
    assert stats.templates == stats.cold == len(engine.graph_strategy._cycle_cache)
    assert stats.nodes == 3 * len_of(make)


@pytest.mark.parametrize("make, value", TARGETS)
def test_steps_without_hot_tier_are_bound_to_what_was_compiled(make: Callable[[], Any], value: Any) -> None:
    """With ``hot=False`` every step gets nodes, as many as an engine makes that builds graphs."""
    engine, other = make_engine(hot=False), make_engine(CountingSolver(), hot=False)
    for _ in range(3):
        assert run(make(), engine) == run(make(), other) == value

    for name in ("cold", "warm", "hot", "nodes", "templates"):
        assert getattr(engine.stats, name) == getattr(other.stats, name)


@pytest.mark.parametrize("hot", [True, False])
def test_calls_that_only_their_values_can_tell_apart_are_built(hot: bool) -> None:
    """Two equal calls of a pure task with containers are one call, which no key says."""
    calls: list[Any] = []

    @task(pure=True)
    def length(values: Any) -> int:
        calls.append(values)
        return len(values)

    engine = make_engine(hot=hot)

    assert [run(total(length([1, 2]), length([1, 2])), engine) for _ in range(2)] == [4, 4]
    assert len(calls) == 2
    assert len(engine.graph_strategy._template_plan_cache) == 0


def len_of(make: Callable[[], Any]) -> int:
    """The number of calls, as an engine counts them that does build graphs."""
    engine = make_engine(CountingSolver())
    run(make(), engine)
    return engine.stats.nodes


def replaced(owner: Any, name: str) -> Any:
    return mock.patch.object(owner, name, autospec=True, side_effect=getattr(owner, name))


def on_instance(name: str) -> Callable[[Engine], Any]:
    def patch(engine: Engine) -> Any:
        strategy = engine.graph_strategy
        return mock.patch.object(strategy, name, side_effect=getattr(strategy, name))

    return patch


@pytest.mark.parametrize(
    "patch",
    [
        lambda engine: replaced(graph_module, "build_graph"),
        lambda engine: replaced(NativeSolver, "resolve"),
        lambda engine: mock.patch.object(engine.solver, "resolve", side_effect=engine.solver.resolve),
        lambda engine: replaced(GraphExecutionStrategy, "_build"),
        lambda engine: replaced(GraphExecutionStrategy, "_index_plan"),
        on_instance("_build"),
        on_instance("_index_plan"),
    ],
)
@pytest.mark.parametrize("hot", [True, False])
def test_what_is_replaced_is_asked_once_for_each_structure(patch: Callable[[Engine], Any], hot: bool) -> None:
    """Whoever replaces a part of planning has it called, with nodes."""
    engine = make_engine(hot=hot)
    with patch(engine) as part:
        assert run(add(one(), 2), engine) == 3
        assert run(add(one(), 3), engine) == 4

    assert part.call_count == 1


def test_a_replaced_rehydration_is_used() -> None:
    """A plan that is known without its program is turned into nodes by the method for it."""
    engine = make_engine()
    strategy = engine.graph_strategy
    run(add(one(), 2), engine)
    strategy._cycle_cache.clear()
    with mock.patch.object(strategy, "_rehydrate_plan", side_effect=strategy._rehydrate_plan) as part:
        assert run(add(one(), 2), engine) == 3

    assert part.call_count == 1


@pytest.mark.parametrize("make, value", TARGETS)
def test_a_known_plan_is_used_again(make: Callable[[], Any], value: Any) -> None:
    """A plan outlives its program, whoever has made it."""
    for solver in (NativeSolver(), CountingSolver()):
        engine = make_engine(solver)
        run(make(), engine)
        plans = dict(engine.graph_strategy._template_plan_cache)
        engine.graph_strategy._cycle_cache.clear()
        engine.solver = NativeSolver()

        assert run(make(), engine) == value
        assert engine.graph_strategy._template_plan_cache == plans
        assert all(engine.graph_strategy._template_plan_cache[key] is plan for key, plan in plans.items())


def test_an_executor_of_the_users_own_is_given_nodes_and_graph() -> None:
    """Everything that it may look at is there, what the analysis of its source says included."""
    seen: list[Any] = []

    class Own(LocalExecutor):
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            seen.append(node)
            return await super().execute(node, args, kwargs)

    @task
    def again(n: Any) -> Any:
        if n:
            return again(n - 1)
        return "end"

    run(again(0), make_engine(executor=Own()))

    assert [(node.name, len(node.tco_cycle_id or "")) for node in seen] == [("again", 32)]


@pytest.mark.parametrize("hot", [True, False])
def test_listeners_hear_of_every_call_of_a_new_structure(hot: bool) -> None:
    """A first step publishes all events of its nodes, whose ids are their places; later ones have the same."""
    engine = make_engine(hot=hot)
    silent = watch(engine, StaticAnalysisWarning)
    run(add(one(), 1), engine)
    told = watch(engine, TaskExecutionFinished)
    run(add(one(), b=square(3)), engine)
    first = [event for event in told if isinstance(event, TaskEvent)]
    told.clear()
    run(add(one(), b=square(3)), engine)
    second = [event for event in told if isinstance(event, TaskEvent)]

    assert not silent
    assert [event.task_name for event in first] == ["one", "square", "add"]
    assert len({event.task_id for event in first}) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", event.task_id) for event in first)
    assert second[-1].task_id == first[-1].task_id
    assert hot or [event.task_id for event in second] == [event.task_id for event in first]


@pytest.mark.parametrize("hot", [True, False])
def test_no_value_is_looked_at(hot: bool) -> None:
    """Nothing hashes, compares or prints the arguments of a call unless somebody asks for what depends on them."""

    class Private:
        def refuse(self, *args: Any) -> Any:
            raise AssertionError("a value was looked at")

        __hash__ = __eq__ = __repr__ = __reduce_ex__ = __getstate__ = refuse  # type: ignore[assignment]

    secret = Private()

    @task(pure=True)
    def first(*values: Any) -> Any:
        return values[0]

    @task
    def same(value: Any) -> Any:
        return value

    assert run(same(first(secret, [1], {"k": secret})), hot=hot) is secret


def test_a_backend_that_sees_every_result_gets_ids_of_the_content() -> None:
    """What is kept beyond a run is kept under ids that say what was computed."""

    class Durable(InMemoryStateBackend):
        transient = False
        kept: list[str]

        async def put_result(self, node_id: str, result: Any) -> None:
            type(self).kept.append(node_id)
            await super().put_result(node_id, result)

    found = []
    for _ in range(2):
        Durable.kept = []
        run(total(square(2), square(3)), make_engine(state_backend_factory=Durable))
        found.append(set(Durable.kept[:2]))

    assert found[0] == found[1]


def test_resources_of_a_step_are_set_up_for_its_nodes(hot: bool) -> None:
    """A structure whose resources last for a step is compiled without a graph, then processed in full."""
    log: list[str] = []

    @resource(scope="task")
    def unit() -> Any:
        log.append("up")
        yield 5
        log.append("down")

    @task
    def uses(x: Any, unit: Any = inject("unit")) -> Any:
        log.append("call")
        return x + unit

    engine = make_engine(resources=[unit], hot=hot)

    assert [run(uses(add(1)), engine), run(uses(add(2)), engine)] == [6, 7]
    assert log == ["up", "call", "down"] * 2
    assert engine.stats.cold == 1


@pytest.fixture(params=[True, False])
def hot(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
