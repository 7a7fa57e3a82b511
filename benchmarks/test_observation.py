"""Does the program ``observation.py`` count what it claims, and does it fail where it should?"""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from benchmarks import observation
from benchmarks.measure import need_compiled
from benchmarks.observation import NEVER, Cost, Count

compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts back what a player changes for its own process."""
    for module, name in [
        (observation._runs, "_SHARED_QUANTUM"),
        (observation._runs, "_MINIMUM_QUANTUM"),
        (observation._runs, "PROGRESS_INTERVAL"),
        (observation._telling, "PROGRESS_INTERVAL"),
    ]:
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.usefixtures("unpatched")
def test_yields_and_events_come_when_they_are_asked_for() -> None:
    """A patient loop yields never and tells its end, a hasty one yields often, and tells each time only if it is to."""
    patient = observation.play(200, NEVER, NEVER, True)
    silent, hasty, told = (
        observation.play(200, 0.0, interval, subscribed)
        for interval, subscribed in ((NEVER, False), (NEVER, True), (0.0, True))
    )

    assert patient == Count(201, 0, 1)
    assert (silent.events, hasty.events) == (0, 1)
    assert hasty.yields > 201 / 20  # at most 16 nodes without a look at the clock
    assert 0 <= told.yields - (told.events - 1) <= 2  # not before the first steps, which are cold


@compiled_only
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
@pytest.mark.slow
def test_instructions_are_counted() -> None:
    """A process under valgrind says what it did, and in how many instructions, those of Python's start included."""
    count = observation.counted(500, NEVER, NEVER, True)

    assert (count.steps, count.yields, count.events) == (501, 0, 1)
    assert 10**7 < count.instructions < 10**11


def test_costs_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of instructions that are made of steps, yields and events each gets what is its own."""

    def counted(steps: int, quantum: float, interval: float, subscribed: bool) -> Count:
        yields = steps // 4 if quantum < NEVER else 0
        events = (yields if interval < NEVER else 1) * subscribed
        return Count(steps, yields, events, 1_000_000 + 7 * steps + 50 * yields + 300 * events)

    monkeypatch.setattr(observation, "counted", counted)

    assert observation.costs(1_000, 9_000, False) == Cost(7, 50, 0)
    assert observation.costs(1_000, 9_000, True) == Cost(7, 50, 300)


@pytest.mark.parametrize(
    "observed, expected",
    [
        (Cost(100, 1_000, 0), 0.0),
        (Cost(103, 1_000, 0), 0.03 / 1.01),
        (Cost(100, 1_000, 300_000), 0.03 / 1.01),
        (Cost(100, 4_000, 0), 0.03 / 1.01),
    ],
)
def test_each_cost_counts_as_often_as_it_comes(observed: Cost, expected: float) -> None:
    """A million steps, a thousand yields and ten events a second."""
    assert observation.share(Cost(100, 1_000), observed, 1e6) == pytest.approx(expected)


@compiled_only
@pytest.mark.parametrize("event, status", [(10_000.0, 0), (1e9, 1)])
def test_program_judges(
    event: float, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints all costs, and its exit status says whether a subscriber costs too much."""
    alone = Cost(1_000, 50_000)
    monkeypatch.setattr(observation, "why_not", lambda: "")
    monkeypatch.setattr(
        observation, "costs", lambda short, long, s: dataclasses.replace(alone, event=event) if s else alone
    )
    monkeypatch.setattr(observation, "steps_per_second", lambda steps: 1e6)

    assert observation.main(["--quick"]) == status
    told = capsys.readouterr()
    assert all(row in told.out for row in ("a step", "a yield", "an event"))
    assert bool(told.err) is bool(status)


@compiled_only
def test_program_says_why_it_counts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without valgrind nothing is claimed and nothing fails."""
    monkeypatch.setattr(observation.shutil, "which", lambda name: None)

    assert observation.main([]) == 0
    assert "skipped, valgrind is not installed" in capsys.readouterr().out
