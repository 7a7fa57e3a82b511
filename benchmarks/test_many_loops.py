"""Does the program ``many_loops.py`` measure what it claims, and does it fail where it should?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from benchmarks import many_loops
from benchmarks.many_loops import KINDS, Figures
from benchmarks.measure import need_compiled

compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")

GOOD = Figures("sync", 10_000, 6_000.0, 4_500.0, 0.8, {"a turn": 0.002, "a pause": 0.01}, 0.4, 0.4, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_loops_of_each_kind_are_measured(kind: str) -> None:
    """More loops than share a millisecond begin, run, obey each kind of control and end."""
    figures = asyncio.run(many_loops.measure(kind, 50, 0.05, controls=2))

    assert figures.throughput > 0
    assert set(figures.waits) == {"a turn", "a timer", "an event", "a pause", "a cancellation"}
    assert figures.worst == max(figures.waits.values()) > 0


def test_memory_is_seen_by_the_allocator_too() -> None:
    """A loop takes memory, and not nearly as much as the limit allows a hundred."""
    assert 0 < asyncio.run(many_loops.traced("sync", 100)) < 100 * many_loops.MEMORY


@compiled_only
def test_program_prints_a_row_for_each_kind(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run in processes of its own, held to no limit, says everything and passes."""
    monkeypatch.setattr(many_loops, "missed", lambda figures: [])

    status = many_loops.main(["--loops", "30", "--seconds", "0.05", "--controls", "1", "--kind", "sync"])

    told = capsys.readouterr()
    assert (status, told.err) == (0, "")
    assert "sync" in told.out
    assert "a cancellation" in told.out


@compiled_only
def test_program_fails_after_three_misses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that misses a limit is measured three times before that counts."""
    measured = []
    monkeypatch.setattr(many_loops, "apart", lambda kind, options: measured.append(kind) or replace(GOOD, shutdown=2.0))

    assert many_loops.main(["--kind", "sync"]) == 1
    assert measured == ["sync"] * 3
    assert "shutdown took 2.00 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, told",
    [
        ({"resident": 8_193.0}, "8,193 bytes a loop"),
        ({"throughput": 0.59}, "0.59 of the throughput"),
        ({"waits": {"a turn": 0.1, "a timer": 1.01}}, "a timer took 1.01 s"),
        ({"shutdown": 1.01}, "shutdown took 1.01 s"),
    ],
)
def test_each_limit_is_held(change: dict[str, object], told: str) -> None:
    """A figure beyond its limit is told; figures within are not."""
    assert many_loops.missed(GOOD) == []
    [problem] = many_loops.missed(replace(GOOD, **change))
    assert told in problem
