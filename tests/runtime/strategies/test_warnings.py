"""The warning CS-W001: when it is given, what it says, and when it comes."""

from __future__ import annotations

from typing import Any

import pytest

from cascade.graph.build import build_graph
from cascade.runtime.events import RunStarted, StaticAnalysisWarning
from cascade.spec.resource import inject, resource
from cascade.spec.task import task
from tests.engines import make_engine, names_of, run, watch


@task
def one() -> Any:
    return 1


@task
def less(n: int) -> Any:
    return n - 1


@task
def dynamic(n: int) -> Any:
    if n <= 0:
        return "end"
    return dynamic(less(n))


@task
def mapped(n: Any) -> Any:
    if not n or n == [0]:
        return "end"
    return mapped(less.map(n=[1]))


@task
def static(n: int) -> Any:
    if n <= 0:
        return "end"
    return static(n - 1)


@task
def outer(x: Any) -> Any:
    return x


@pytest.fixture(params=["hot", "cold"])
def hot(request: pytest.FixtureRequest) -> bool:
    """Both kinds of engine."""
    return bool(request.param == "hot")


@pytest.mark.parametrize(
    ("target", "warned"),
    [
        (dynamic(3), {"dynamic"}),
        (mapped([2]), {"mapped"}),
        (static(3), set()),
        (outer(dynamic(3)), {"dynamic"}),
        (outer([dynamic(1), mapped([1]), static(1)]), {"dynamic", "mapped"}),
        (dynamic.map(n=[1, 2]), set()),
    ],
)
def test_nodes_know_that_their_task_recurses_with_calls_as_arguments(target: Any, warned: set[str]) -> None:
    """``warns_dynamic_recursion`` is set on exactly the nodes of such tasks; never on shadow nodes."""
    graph, _ = build_graph(target)

    assert {node.name for node in graph.nodes if node.warns_dynamic_recursion} == warned
    assert not any(node.warns_dynamic_recursion for node in graph.nodes if node.is_shadow)


def test_the_warning_says_what_is_true(hot: bool) -> None:
    """Code, task, id of the node; the text does not claim that the loop is slow, because it is not."""
    engine = make_engine(hot=hot)
    warnings = watch(engine, StaticAnalysisWarning)
    started = watch(engine, RunStarted)
    assert run(dynamic(5), engine) == "end"

    (warning,) = warnings
    assert (warning.warning_code, warning.task_name, warning.run_id) == ("CS-W001", "dynamic", started[0].run_id)
    assert len(warning.task_id) == 64
    assert "'dynamic'" in warning.message
    assert "compiled once" in warning.message
    assert engine.stats.cold == 2


def test_the_warning_comes_once_for_each_task_of_a_strategy(hot: bool) -> None:
    """Neither further steps, nor further runs, nor other nodes of the task repeat it; another engine does."""
    engine = make_engine(hot=hot)
    warnings = watch(engine, StaticAnalysisWarning)
    for _ in range(2):
        run(outer([dynamic(2), dynamic(3)]), engine)
    run(outer(mapped([1])), engine)
    assert [warning.task_name for warning in warnings] == ["dynamic", "mapped"]
    assert engine.graph_strategy._issued_warnings == {"dynamic", "mapped"}

    other = make_engine(hot=hot)
    warnings = watch(other, StaticAnalysisWarning)
    run(dynamic(1), other)
    assert len(warnings) == 1


@pytest.mark.row("05-events-and-messages", "Order", "warning")
def test_the_warning_comes_before_anything_of_its_step(hot: bool) -> None:
    """It is published before resources are set up and before any task of the step starts, wherever the task stands."""

    @resource
    def db() -> Any:
        yield 1

    @task
    def first(d: Any = inject("db")) -> Any:
        return d

    engine = make_engine(hot=hot, resources=[db])
    seen = watch(engine)
    run(outer([first(), dynamic(0)]), engine)
    assert names_of(seen)[:4] == [
        "RunStarted",
        "StaticAnalysisWarning dynamic",
        "ResourceAcquired",
        "TaskExecutionStarted first",
    ]

    @task
    def later() -> Any:
        return outer([first(), mapped([])])

    seen.clear()
    run(later(), engine)
    names = names_of(seen)
    assert names.index("TaskExecutionFinished later") < names.index("StaticAnalysisWarning mapped")
    assert names.index("StaticAnalysisWarning mapped") < names.index("TaskExecutionStarted first")


def test_a_listener_changes_nothing(hot: bool) -> None:
    """It is only a warning: values and tiers are the same with and without somebody who listens."""
    found = []
    for listens in (False, True):
        engine = make_engine(hot=hot)
        if listens:
            watch(engine, StaticAnalysisWarning)
        value = run(dynamic(30), engine)
        found.append((value, engine.stats.hot, engine.stats.warm, engine.stats.cold))

    assert found[0] == found[1]
