"""Does the program ``control_latency.py`` measure what it claims, and does it fail where it should?"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import control_latency
from benchmarks.control_latency import CALLERS, CONTROLS, SUBJECTS, Engine, Plain, Row
from benchmarks.measure import need_compiled

compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_obeys_each_control(subject: str, control: str, caller: str) -> None:
    """Every control takes effect on every subject and on the plain loop, from either caller."""
    names = {"pause", "resume"} if control == "pause" else {control}
    for make in (Engine, Plain):
        found = asyncio.run(control_latency.attempts(make, subject, control, caller, 2))

        assert found.keys() == names
        assert all(len(late) == 2 for late in found.values())
        assert all(len(one) == 2 for late in found.values() for one in late)


@compiled_only
def test_program_prints_a_row_for_each_effect(capsys: pytest.CaptureFixture[str]) -> None:
    """A short run tells of pause and resume, and measures no row more than three times."""
    arguments = ["--instants", "2", "--subject", "simple", "--control", "pause", "--caller", "loop"]

    status = control_latency.main(arguments)

    told = capsys.readouterr()
    rows = [line.split()[:3] for line in told.out.splitlines()[2:]]
    assert status in (0, 1)
    assert rows[:2] == [["pause", "simple", "loop"], ["resume", "simple", "loop"]]
    assert len(rows) <= 2 * control_latency.TRIES
    assert bool(told.err) is bool(status)


@pytest.mark.parametrize(
    "late, plain, passed",
    [
        ([(0.001, 0.001)] * 99 + [(0.004, 0.004)], [(0.0, 0.0)], True),
        ([(0.001, 0.001)] * 98 + [(0.006, 0.001)] * 2, [(0.0, 0.0)], False),
        ([(0.001, 0.001)] * 98 + [(0.006, 0.001)] * 2, [(0.004, 0.0)], True),  # neighbours keep the machine busy
        ([(0.001, 0.001)] * 98 + [(0.006, 0.006)] * 2, [(0.004, 0.0)], False),  # but this is nobody else's time
    ],
)
def test_rows_are_judged_by_both_clocks(late: list[control_latency.Stamp], plain: object, passed: bool) -> None:
    """By CPU time, and by the wall clock unless the plain loop is late as well."""
    assert Row("x", late, plain).passed is passed  # type: ignore[arg-type]


@compiled_only
def test_program_fails_after_three_misses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is late three times makes the program fail, and is named."""
    measured = []

    async def measure(subject: str, control: str, caller: str, instants: int) -> list[Row]:
        measured.append(subject)
        return [Row(f"{control} {subject} {caller}", [(0.1, 0.1)], [(0.0, 0.0)])]

    monkeypatch.setattr(control_latency, "measure", measure)

    assert control_latency.main(["--subject", "heavy", "--control", "limit", "--caller", "thread"]) == 1
    assert measured == ["heavy"] * control_latency.TRIES
    assert "limit heavy thread: p99 above 5 ms" in capsys.readouterr().err
