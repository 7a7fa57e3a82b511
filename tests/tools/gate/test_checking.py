"""What the gate lets through, what it stops, and when it refuses to judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cascade.tools.gate import checking
from cascade.tools.gate.baseline import Baseline
from cascade.tools.gate.checking import TRIES, Report
from cascade.tools.gate.errors import OtherPlace, RowsDiffer
from cascade.tools.gate.measuring import ROUNDS
from cascade.tools.gate.subjects import Counter, Gate
from cascade.tools.gate.verdicts import Kind, Row, Verdict
from tests.gates import Clock, baseline_of


def check(gate: Gate, baseline: Baseline) -> Report:
    """Checks, and sees that each verdict is told once."""
    told: list[Verdict] = []
    report = checking.check(gate, baseline, told.append)

    assert len(told) == len(report.verdicts)
    assert all(verdict in told for verdict in report.verdicts)
    return report


def test_unchanged_subjects_pass(clock: Clock) -> None:
    """What is as fast and takes as many instructions as when it was recorded passes, without a word beside."""
    report = check(clock.gate({"a": 900}, a=500, b=250), baseline_of({"a": 900}, a=0.5, b=0.25))

    assert [(v.kind, v.name, v.share, v.word) for v in report.verdicts] == [
        (Kind.TIME, "a", pytest.approx(1), "ok"),
        (Kind.TIME, "b", pytest.approx(1), "ok"),
        (Kind.INSTRUCTIONS, "a", 1, "ok"),
    ]
    assert (report.failed, report.notes) == ([], [])


def test_slowdown_fails_in_its_row_only(clock: Clock) -> None:
    """1.5 times as slow is stopped; what is beside it passes."""
    report = check(clock.gate(a=500 / 1.5, b=250), baseline_of(a=0.5, b=0.25))

    assert [v.name for v in report.failed] == ["a"]


def test_machine_cancels_out(clock: Clock) -> None:
    """On a machine of a tenth of the speed the ratio and the verdict are the same."""
    gate = Gate({"a": clock.subject("a", 50, yardstick=100)})

    assert check(gate, baseline_of(a=0.5)).failed == []


def test_faster_yardstick_is_a_slower_subject(clock: Clock) -> None:
    """A yardstick that became 1.5 times as fast is a subject that became as much slower."""
    gate = Gate({"a": clock.subject("a", 500, yardstick=1_500)})

    [verdict] = check(gate, baseline_of(a=0.5)).failed
    assert verdict.share == pytest.approx(1 / 1.5)


def test_more_instructions_fail(clock: Clock) -> None:
    """A few percent more are stopped, where time would have to change by a fifth."""
    report = check(clock.gate({"a": 950}, a=500), baseline_of({"a": 900}, a=0.5))

    assert [(v.kind, v.word) for v in report.failed] == [(Kind.INSTRUCTIONS, "MORE")]


def test_busy_moment_is_no_regression(clock: Clock) -> None:
    """A row that falls short once is measured again, whole, after all others; no other row is."""
    calls = {"a": 0, "b": 0}

    def work(name: str, first: float) -> Callable[[], int]:
        def one() -> int:
            calls[name] += 1
            return clock.worker(name, first if calls[name] <= ROUNDS + 1 else 500)(0)

        return one

    gate = clock.gate(a=500, b=500)
    subjects = {n: replace(s, work=work(n, 100 if n == "a" else 500)) for n, s in gate.subjects.items()}

    told: list[Verdict] = []
    report = checking.check(replace(gate, subjects=subjects), baseline_of(a=0.5, b=0.5), told.append)

    assert [v.name for v in report.verdicts] == ["a", "b"]
    assert [v.name for v in told] == ["b", "a"]
    assert report.failed == []
    assert calls == {"a": 2 * (ROUNDS + 1), "b": ROUNDS + 1}


def test_regression_is_tried_a_few_times(clock: Clock) -> None:
    """The best of three measurements counts, and then it is enough."""
    check(clock.gate(a=100), baseline_of(a=0.5))

    assert clock.spent.count("a") == TRIES * (ROUNDS + 1)


@pytest.mark.parametrize(
    "gate_rows, baseline_rows, text",
    [
        ({"a": 1, "new": 1}, {"a": 1}, "the baseline has no time of new; .*--update"),
        ({"a": 1}, {"a": 1, "old": 1}, "the baseline has old, but nothing of that name is measured; .*--update"),
    ],
)
def test_rows_and_subjects_must_be_the_same(
    clock: Clock, gate_rows: dict[str, float], baseline_rows: dict[str, float], text: str
) -> None:
    """Neither a subject without a row nor a row without a subject is passed in silence, and nothing is measured."""
    with pytest.raises(RowsDiffer, match=text):
        check(clock.gate(**gate_rows), baseline_of(**baseline_rows))

    assert clock.spent == []


def test_row_of_instructions_must_be_there(clock: Clock) -> None:
    """Who asks for counts gets them or is told why not."""
    with pytest.raises(RowsDiffer, match="no instructions of a"):
        check(clock.gate({"a": 900}, a=500), baseline_of(a=0.5))


def test_some_subjects_may_be_chosen(clock: Clock) -> None:
    """A gate that is not complete leaves the other rows alone."""
    assert len(check(clock.gate(complete=False, a=500), baseline_of(a=0.5, b=1)).verdicts) == 1


def test_other_place_is_refused(clock: Clock) -> None:
    """Ratios of another Python mean nothing: refused before anything is measured, with what to do."""
    baseline = baseline_of(a=0.5)
    other = replace(baseline, place=replace(baseline.place, python="2.7.18"))

    with pytest.raises(OtherPlace, match=r"python 2\.7, here .*--baseline PATH --update --reason TEXT"):
        check(clock.gate(a=500), other)
    assert clock.spent == []


def test_similar_place_is_told(clock: Clock) -> None:
    """On another model of processor ratios are compared, with a word about it."""
    baseline = baseline_of({"a": 900}, a=0.5)
    other = replace(baseline, place=replace(baseline.place, processor="abacus"))
    report = check(clock.gate({"a": 900}, a=500), other)

    [note] = report.notes
    assert "processor abacus, here" in note
    assert len(report.verdicts) == 2


def test_counts_of_another_build_are_not_compared(clock: Clock) -> None:
    """Instructions depend on the compiler: the rows are left out and it is said why; time is judged."""
    baseline = baseline_of({"a": 1}, a=0.5)
    other = replace(baseline, place=replace(baseline.place, build="tcc"))
    report = check(clock.gate({"a": 900}, a=500), other)

    [note] = report.notes
    assert note.startswith("instructions are not compared: the baseline was recorded elsewhere (build tcc, here")
    assert [v.kind for v in report.verdicts] == [Kind.TIME]


def test_counts_that_cannot_be_made_are_told(clock: Clock) -> None:
    """Without valgrind the rows are left out and it is said why."""
    gate = replace(clock.gate(a=500), counter=Counter(["a"], why_not="valgrind is not installed"))
    report = check(gate, baseline_of({"a": 1}, a=0.5))

    assert report.notes == ["instructions are not compared: valgrind is not installed"]
    assert (len(report.verdicts), report.failed) == (1, [])


@pytest.mark.parametrize("calls, told", [(100, False), (109, False), (111, True), (89, True)])
def test_other_number_of_calls_is_told(clock: Clock, calls: int, told: bool) -> None:
    """Who wonders why a run is slower learns that it makes more calls."""
    baseline = baseline_of(a=0.5)
    rows = {**baseline.rows, Kind.TIME: {"a": Row(0.5, 0.2, calls=100)}}
    report = check(Gate({"a": clock.subject("a", 500, calls=calls)}), replace(baseline, rows=rows))

    assert bool(report.notes) is told
    assert all(f"makes {calls} calls; when it was recorded, 100" in note for note in report.notes)


def test_error_of_a_subject_comes_out(clock: Clock) -> None:
    """What a workload raises is not judged but raised."""
    gate = Gate({"a": replace(clock.subject("a", 1), work=lambda: 1 // 0)})

    with pytest.raises(ZeroDivisionError):
        check(gate, baseline_of(a=0.5))
