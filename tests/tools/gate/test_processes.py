"""Measuring in another process: what it tells is taken, and what it does not tell is an error that says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import pytest

from cascade.tools.gate import checking
from cascade.tools.gate.errors import MeasuringFailed
from cascade.tools.gate.processes import measured_by, tell_ratios
from cascade.tools.gate.recording import record
from cascade.tools.gate.subjects import Gate
from cascade.tools.gate.verdicts import Kind
from tests.gates import Clock, baseline_of


def _saying(text: str) -> list[str]:
    return [sys.executable, "-c", f"print({text!r})"]


def test_ratios_are_taken_over() -> None:
    """What the process prints as JSON is what it measured; its command is made of the names."""
    asked: list[Sequence[str]] = []

    def command(names: Sequence[str]) -> list[str]:
        asked.append(names)
        return _saying('{"a": 0.5, "b": 2}')

    assert measured_by(command)(["a"]) == {"a": 0.5}
    assert asked == [["a"]]


@pytest.mark.parametrize("told", ["nothing", "[]", '{"b": 1}', '{"a": null}'])
def test_other_words_are_an_error(told: str) -> None:
    """What is no ratio of what was asked for is told."""
    with pytest.raises(MeasuringFailed, match="should have told ratios, and told"):
        measured_by(lambda names: _saying(told))(["a"])


def test_failure_is_an_error() -> None:
    """A process that fails is named with its status."""
    with pytest.raises(MeasuringFailed, match=r"a could not be measured in another process .*status 3"):
        measured_by(lambda names: [sys.executable, "-c", "raise SystemExit(3)"])(["a"])


def test_ratios_are_told(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The process that is started prints the ratio of each of its subjects."""
    assert tell_ratios(clock.gate(a=500, b=250)) == 0
    assert json.loads(capsys.readouterr().out) == {"a": pytest.approx(0.5), "b": pytest.approx(0.25)}


@pytest.mark.parametrize("there, tries, failed", [(0.5, 1, []), (0.3, 2, ["a"])])
def test_other_processes_are_asked_last(clock: Clock, there: float, tries: int, failed: list[str]) -> None:
    """A row that fell short here is measured in others, until it passes; no other row is."""
    asked: list[Sequence[str]] = []

    def elsewhere(names: Sequence[str]) -> Mapping[str, float]:
        asked.append(names)
        return dict.fromkeys(names, there)

    here = clock.gate(a=300, b=250)
    report = checking.check(Gate(here.subjects, elsewhere=elsewhere), baseline_of(a=0.5, b=0.25), lambda verdict: None)

    assert asked == [["a"]] * tries
    assert [verdict.name for verdict in report.failed] == failed


def test_a_baseline_is_learnt_in_several_processes(clock: Clock) -> None:
    """This process measures once, others all other times: a row is the median of them."""
    told = iter([{"a": 0.4}, {"a": 0.41}, {"a": 0.42}, {"a": 0.43}])
    here = clock.gate(a=500)

    found = record(Gate(here.subjects, elsewhere=lambda names: next(told)), "r", None, lambda line: None)

    assert found.rows[Kind.TIME]["a"].value == 0.42
    assert next(told, None) is None
