"""Param and Env: what they declare and what they return."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.context import WorkflowContext, _current_context, get_current_context
from cascade.inputs import Env, Param
from cascade.internal.inputs import _get_env_var, _get_param_value
from cascade.spec.input import EnvSpec, ParamSpec
from tests.engines import make_engine


@pytest.fixture(autouse=True)
def context() -> Iterator[WorkflowContext]:
    """A context for each test."""
    token = _current_context.set(WorkflowContext())
    yield get_current_context()
    _current_context.reset(token)


def test_param(context: WorkflowContext) -> None:
    """A parameter is registered, and its call carries nothing but the name."""
    lazy = Param("size", 3, int, "how many")

    assert context.get_all_specs() == [ParamSpec("size", 3, "how many", int)]
    assert (lazy.task, lazy.args, lazy.kwargs) == (_get_param_value, (), {"name": "size"})
    assert context.input_specs["size"].type is int  # type: ignore[attr-defined]


def test_env(context: WorkflowContext) -> None:
    """A variable is registered, and its call carries nothing but the name."""
    lazy = Env("HOME", default="/", description="where")

    assert context.get_all_specs() == [EnvSpec("HOME", "/", "where")]
    assert (lazy.task, lazy.args, lazy.kwargs) == (_get_env_var, (), {"name": "HOME"})


def test_defaults_and_order(context: WorkflowContext) -> None:
    """Declarations keep their order, the first one of a name counts, and a type is text by default."""
    first, second = Param("b", 1), Param("b", 2)
    Param("a")

    assert [spec.name for spec in context.get_all_specs()] == ["b", "a"]
    assert context.input_specs["b"].default == 1
    assert context.input_specs["a"] == ParamSpec("a", None, "", str)
    assert first is not second


def test_the_function_behind_env_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand nothing is injected: it reads the process's environment."""
    monkeypatch.setenv("CASCADE_TEST", "v")

    assert _get_env_var.func("CASCADE_TEST") == "v"


@pytest.mark.parametrize("hot", [True, False])
def test_a_strategy_serves_inputs_without_an_engine(monkeypatch: pytest.MonkeyPatch, hot: bool) -> None:
    """Whoever executes a strategy by hand gives params, and no resources."""
    monkeypatch.setenv("CASCADE_TEST", "v")
    strategy = make_engine(hot=hot).graph_strategy

    async def main(target: Any) -> Any:
        with ExitStack() as stack:
            return await strategy.execute(
                target=target,
                run_id="r",
                params={"size": 3},
                state_backend=InMemoryStateBackend("r"),
                run_stack=stack,
                active_resources={},
            )

    for _ in range(2):
        assert asyncio.run(main(Env("CASCADE_TEST"))) == "v"
        assert asyncio.run(main(Param("size"))) == 3
