"""sequence, pipeline, select_jump and bind: what they build."""

from __future__ import annotations

from typing import Any

import pytest

from cascade.control_flow import bind, select_jump
from cascade.flow import pipeline, sequence
from cascade.spec.jump import JumpSelector
from cascade.spec.task import task


@task
def step(x: Any = None) -> Any:
    return x


def test_sequence_orders_its_calls() -> None:
    """Each call comes after the one before it, in place, and the last one is returned."""
    a, b, c, before = step(), step.map(x=[1]), step(), step()
    c.after(before)

    assert sequence(one for one in (a, b, c)) is c
    assert [one is expected for one, expected in zip(b._dependencies, [a], strict=True)] == [True]
    assert [one is expected for one, expected in zip(c._dependencies, [before, b], strict=True)] == [True, True]
    assert a._dependencies == []
    assert sequence([a]) is a


def test_sequence_refuses() -> None:
    """Nothing at all, and what is no call; then nothing is changed."""
    a, b = step(), step()

    with pytest.raises(ValueError, match="requires at least one task"):
        sequence([])
    with pytest.raises(TypeError, match="item 2 is a Task"):
        sequence([a, b, step])
    assert b._dependencies == []


def test_pipeline_folds() -> None:
    """Each step gets what the step before returned; steps need not be tasks."""
    lazy = pipeline(10, [step, lambda v: [v], step])

    assert lazy.task is step
    (inner,) = lazy.args[0]
    assert (inner.task, inner.args) == (step, (10,))
    assert pipeline("x", []) == "x"
    assert pipeline(1, iter([lambda v: v + 1, str])) == "2"


@pytest.mark.parametrize(
    "bad, text",
    [
        (step(), "Pipeline steps must be callables"),
        (step.map(x=[1]), "Pipeline steps must be callables"),
        (3, "Invalid pipeline step type int at step 1"),
    ],
)
def test_pipeline_refuses(bad: Any, text: str) -> None:
    """A call in place of a task, and what cannot be called."""
    with pytest.raises(TypeError, match=text):
        pipeline(1, [step, bad])


def test_select_jump_and_bind() -> None:
    """A selector holds the routes, and binding it sets it on the call; the last binding counts."""
    source, other = step(), step()
    routes = {"again": source, "other": other, "stop": None}
    selector = select_jump(routes)

    assert isinstance(selector, JumpSelector)
    assert selector.routes == routes
    assert len({selector, select_jump({})}) == 2
    assert source._jump_selector is None
    assert bind(source, select_jump({})) is None  # type: ignore[func-returns-value]
    assert bind(source, selector) is None  # type: ignore[func-returns-value]
    assert source._jump_selector is selector


def test_jumps_refuse() -> None:
    """Routes must be calls or None, a source a call, a target a selector."""
    with pytest.raises(TypeError, match="route 'x' of select_jump is a Task"):
        select_jump({"x": step})
    with pytest.raises(TypeError, match="bind takes a call of a task, not Task"):
        bind(step, select_jump({}))
    with pytest.raises(TypeError, match="bind takes what select_jump returns, not dict"):
        bind(step(), {})


def test_lists_are_asked_for() -> None:
    """One call, or what cannot be gone through, is told as such."""
    with pytest.raises(TypeError, match="sequence takes a list of calls of tasks, not <LazyResult"):
        sequence(task(len)("a"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pipeline takes a list of steps, not"):
        pipeline(1, len)  # type: ignore[arg-type]
