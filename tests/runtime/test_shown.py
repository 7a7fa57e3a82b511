"""What events show of results, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade.runtime._shown import preview
from cascade.runtime.events import TaskExecutionFinished
from tests.engines import make_engine, run, watch


@cs.task
def fetch(url: str, headers: Any = None) -> str:
    return "fetched"


@cs.task
def one(n: int) -> Any:
    """Return calls n times, so that the last ones are made by hot steps."""
    return one(n - 1) if n else fetch("http://user:hunter2@host/?key=abcdef", headers={"Authorization": "s3cret"})


@cs.task
def many() -> Any:
    return [fetch("x", headers={"Authorization": "s3cret"})] * 2


@cs.task
def flaky(tries: list[int]) -> Any:
    tries.append(1)
    if len(tries) < 2:
        raise ValueError
    return "http://user:hunter2@host/"


@pytest.mark.parametrize("observe", ["loops", "steps"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: one(5),
        lambda: many(),
        lambda: cs.Env("SECRET_OF_A_TEST"),
        lambda: fetch(cs.Env("SECRET_OF_A_TEST")),
        lambda: flaky([]).with_retry(max_attempts=1, delay=0),
    ],
)
def test_events_show_no_secrets_of_results(make: Any, observe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the environment holds, nor arguments of calls that a task returns, nor credentials in URLs."""
    monkeypatch.setenv("SECRET_OF_A_TEST", "s3cret")
    engine = make_engine(observe=observe)
    events = watch(engine)
    for _ in range(3):  # cold, then from what is known
        run(make(), engine)

    assert [event for event in events if any(s in repr(event) for s in ("hunter2", "abcdef", "s3cret"))] == []
    assert any(isinstance(event, TaskExecutionFinished) and event.result_preview for event in events)


@pytest.mark.parametrize(
    "value, shown",
    [
        ("x" * 200, "'" + "x" * 99),
        ("http://host/path", "'http://host/path'"),
        ("http://host/?a=1", "'http://host/?a=***'"),
        ({"n": [1, None]}, "{'n': [1, None]}"),
    ],
)
def test_other_results_are_shown_by_their_repr(value: Any, shown: str) -> None:
    """Its first hundred characters."""
    assert preview(value, "task") == shown


def test_calls_are_shown_by_the_name_of_their_task() -> None:
    """Also calls of maps, and those in containers."""
    assert preview(fetch("x"), "task") == "<LazyResult fetch(...)>"
    assert preview([fetch.map(url=["x"]), 1], "task").startswith("[<MappedLazyResult fetch")
    assert "'x'" not in preview([fetch.map(url=["x"]), 1], "task")
