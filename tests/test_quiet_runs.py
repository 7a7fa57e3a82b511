"""Runs with a quiet log: they show what a talkative one shows at that level, and no call pays for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.common.renderers import rank_of
from cascade.runtime.events import TaskExecutionStarted


@cs.task
def ok(x: int = 0) -> int:
    return x


@cs.task
def bad(x: int = 0) -> int:
    raise ValueError("no")


@cs.task
async def bad_later(x: int = 0) -> int:
    raise ValueError("no")


@cs.task
def total(*numbers: int) -> int:
    return sum(numbers)


@cs.task
def size(numbers: list[int]) -> int:
    return len(numbers)


@cs.task
def tail(n: int) -> Any:
    return tail(n - 1) if n else bad(n)


@cs.task
def nested(n: int) -> Any:
    return total(nested(n - 1), 1) if n else bad(0)


@cs.task
def no() -> bool:
    return False


@cs.task
def grows(n: int) -> Any:
    if n == 0:
        return "end"
    return grows(ok(n - 1))


def flaky() -> Any:
    """A call that fails twice."""
    attempts = iter(range(3))

    @cs.task
    def third() -> int:
        if next(attempts) < 2:
            raise KeyError("x")
        return 1

    return third().with_retry(5, delay=0)


TARGETS: dict[str, Callable[[], Any]] = {
    "argument": lambda: total(ok(1), bad(2)),
    "target": bad,
    "coroutine": lambda: total(bad_later(), ok()),
    "tail": lambda: tail(3),
    "nested": lambda: nested(3),
    "map": lambda: bad.map(x=[1, 2, 3]),
    "map within": lambda: total(size(ok.map(x=[1, 2])), size(bad.map(x=[1]))),
    "retry": lambda: bad().with_retry(2, delay=0),
    "retried": lambda: total(flaky()),
    "condition": lambda: total(ok().run_if(no())),
    "after": lambda: total(ok().after(bad())),
    "arguments": lambda: ok(1, 2, 3),
    "warning": lambda: grows(3),
    "list": lambda: [ok(), bad()],
    "good": lambda: total(ok(1), ok(2)),
}


def shown(name: str, level: str, least: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, list[Any]]:
    """Runs a target at a log level; returns how it ended, and the messages that are at least of another level."""
    ended = cs.run_outcome(TARGETS[name](), log_level=level, log_format="json")
    records = map(json.loads, capsys.readouterr().err.splitlines())
    told = [record for record in records if rank_of(record["level"]) >= rank_of(least)]
    for record in told:
        del record["timestamp"]
        record["data"].pop("duration", None)
    return ended.status, told


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_shown_does_not_depend_on_what_else_would_be(
    name: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failures, retries and warnings are those of a run that shows everything."""
    talkative = shown(name, "INFO", level, capsys)

    assert shown(name, level, level, capsys) == talkative


@pytest.mark.parametrize("level, talks", [("INFO", True), ("WARNING", False), ("ERROR", False)])
def test_only_what_is_shown_is_paid_for(level: str, talks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no call is shown, an expression runs hot the first time, and nobody makes an event of any call."""
    made: list[str] = []
    original = TaskExecutionStarted.__init__

    def noted(self: TaskExecutionStarted, *args: Any, **facts: Any) -> None:
        made.append(facts["task_name"])
        original(self, *args, **facts)

    monkeypatch.setattr(TaskExecutionStarted, "__init__", noted)

    assert cs.run(total(ok(1), ok(2)), log_level=level) == 3
    assert made == (["ok", "ok", "total"] if talks else [])
