"""The tasks that read inputs: params and environment of the run, defaults of the specs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cascade.context import WorkflowContext, _current_context, get_current_context
from cascade.internal.inputs import _get_env_var, _get_param_value, _internal_gather, environment
from cascade.spec.input import EnvSpec, ParamSpec


@pytest.fixture(autouse=True)
def context() -> Iterator[WorkflowContext]:
    """A context for each test."""
    token = _current_context.set(WorkflowContext())
    yield get_current_context()
    _current_context.reset(token)


def read(name: str, **params: Any) -> Any:
    return _get_param_value.func(name=name, params_context=params)


def test_a_parameter_of_the_run(context: WorkflowContext) -> None:
    """What the run was given counts, None included, declared or not."""
    context.register(ParamSpec("a", 1))

    assert read("a", a=2) == 2
    assert read("a", a=None) is None
    assert read("undeclared", undeclared=3) == 3


def test_a_missing_parameter(context: WorkflowContext) -> None:
    """The default of the spec counts, falsy ones too; None is no default, and then the name is missing."""
    context.register(ParamSpec("zero", 0))
    context.register(ParamSpec("none"))

    assert read("zero") == 0
    for name in ("none", "unknown"):
        with pytest.raises(KeyError) as caught:
            read(name)
        assert caught.value.args == (name,)


def test_environment(context: WorkflowContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is read from the snapshot; one that is not set has the default of its spec, else None."""
    monkeypatch.setenv("CASCADE_TEST_SET", "é")
    monkeypatch.setenv("CASCADE_TEST_EMPTY", "")
    context.register(EnvSpec("CASCADE_TEST_SET", "default"))
    context.register(EnvSpec("CASCADE_TEST_EMPTY", "default"))
    context.register(EnvSpec("CASCADE_TEST_UNSET", "default"))
    snapshot = environment()
    monkeypatch.setenv("CASCADE_TEST_SET", "changed")

    def read_variable(name: str) -> Any:
        return _get_env_var.func(name, snapshot)

    assert read_variable("CASCADE_TEST_SET") == "é"
    assert read_variable("CASCADE_TEST_EMPTY") == ""
    assert read_variable("CASCADE_TEST_UNSET") == "default"
    assert read_variable("CASCADE_TEST_UNKNOWN") is None


def test_gather() -> None:
    """The gathering task returns the values of its arguments as a list."""
    assert _internal_gather.func(1, "a", None) == [1, "a", None]
    assert _internal_gather.func() == []
    assert _internal_gather.pure


def test_names() -> None:
    """The names are part of events and graphs."""
    names = [one.name for one in (_get_param_value, _get_env_var, _internal_gather)]

    assert names == ["_get_param_value", "_get_env_var", "_internal_gather"]


def test_runs_share_a_snapshot_until_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of runs at once hold one copy; what a run holds does not change under it."""
    monkeypatch.setenv("CASCADE_TEST_PLACE", "here")
    before = environment()
    assert environment() is before

    monkeypatch.setenv("CASCADE_TEST_PLACE", "there")
    after = environment()
    assert (before.get("CASCADE_TEST_PLACE"), after.get("CASCADE_TEST_PLACE")) == ("here", "there")

    monkeypatch.delenv("CASCADE_TEST_PLACE")
    assert environment().get("CASCADE_TEST_PLACE") is None
    assert after.get("CASCADE_TEST_PLACE") == "there"
