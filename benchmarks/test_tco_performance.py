"""Does the program ``tco_performance.py`` measure what it claims, and does it fail where it should?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import tco_performance
from benchmarks.measure import need_compiled
from benchmarks.workloads import INNER_CALLS
from cascade.runtime.stats import RunStats

ROOT = Path(__file__).resolve().parents[1]
compiled_only = pytest.mark.skipif(bool(need_compiled()), reason="measures the compiled kernel, which is not loaded")


def row(stats: RunStats, steps: int = 1_000, hot: float = 1e6, cold: float = 1e4) -> tco_performance.Row:
    return tco_performance.Row("simple", hot, cold, 1e7, 0.1, stats, steps)


@compiled_only
def test_program_passes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run, held to no speed, prints all workloads and finds all steps but the first two hot."""
    monkeypatch.setattr(tco_performance, "FLOORS", dict.fromkeys(tco_performance.FLOORS, 0))
    monkeypatch.setattr(tco_performance, "GAIN", 0)

    status = tco_performance.main(["--scale", "0.002", "--rounds", "1"])

    told = capsys.readouterr()
    assert (status, told.err) == (0, "")
    assert all(title in told.out for title in [*tco_performance.TITLES.values(), "trampoline", "coroutine", "sleep0"])
    assert f"{INNER_CALLS} a step" in told.out


def test_program_refuses_the_python_kernel() -> None:
    """Without the compiled kernel nothing is measured: exit status 1 and one line that says how to get it."""
    done = subprocess.run(
        [sys.executable, "benchmarks/tco_performance.py"],
        env={**os.environ, "CASCADE_PURE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "compiled kernel is needed" in done.stderr
    assert done.stderr.count("\n") == 1


def test_inner_calls_are_counted() -> None:
    """A heavy step calls ``noop`` eleven times, on every kernel."""
    assert tco_performance.inner_calls(20) == 20 * INNER_CALLS == 20 * 11


def test_hot_steps_are_no_problem() -> None:
    """A run whose first step was cold and whose other steps were hot is what is claimed."""
    assert tco_performance.problems(row(RunStats(hot=1_000, cold=1))) == []


@pytest.mark.parametrize(
    "stats, told",
    [
        (RunStats(hot=999, cold=2), "1 steps after the second were cold or warm"),
        (RunStats(hot=990, warm=10, cold=1), "10 steps after the second were cold or warm"),
        (RunStats(hot=900, cold=1), "1001 steps were made, 901 counted"),
    ],
)
def test_wrong_tiers_are_told(stats: RunStats, told: str) -> None:
    """One step in the wrong tier, or one that was not counted, makes the program fail."""
    [problem] = tco_performance.problems(row(stats))

    assert told in problem


@pytest.mark.parametrize("hot, cold, told", [(9e4, 1e3, "short of 100,000"), (1e6, 2e5, "5.0 times as fast")])
def test_slow_rows_are_told(hot: float, cold: float, told: str) -> None:
    """A workload below its floor, or hardly faster hot than not, makes the program fail."""
    [problem] = tco_performance.problems(row(RunStats(hot=1_000, cold=1), hot=hot, cold=cold))

    assert told in problem
