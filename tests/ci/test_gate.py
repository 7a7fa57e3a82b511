"""The regression gate: what it lets through, what it stops, and what it keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.workloads import WORKLOADS, Workload
from benchmarks.yardsticks import STEPS, trampoline
from ci import gate

ROOT = Path(__file__).resolve().parents[2]
UPDATE = ["--update", "--reason", "a test"]


class Clock:
    """A clock that only work moves: one second for so many units."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spent: list[str] = []

    def collect(self) -> int:
        """Takes the place of ``gc.collect``, which would cost these tests more than all the rest."""
        return 0

    def perf_counter(self) -> float:
        return self.now

    def worker(self, name: str, per_second: float, units: int = 100) -> Callable[[int], int]:
        """Returns a workload or yardstick that works at this rate, whatever its size."""

        def work(size: int) -> int:
            self.spent.append(name)
            self.now += units / per_second
            return units

        return work


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Measures in virtual time, on any kernel."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    monkeypatch.setattr(measure, "gc", clock)
    monkeypatch.setattr(gate, "need_compiled", lambda: "")
    return clock


@pytest.fixture
def plant(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the workloads by one named ``made`` with the rates given."""

    def planted(work: float, yardstick: float = 1_000, **others: float) -> None:
        rates = {"made": work, **others}
        made = {
            name: Workload(name, clock.worker(name, r), clock.worker("yardstick", yardstick), 10, 1, "units")
            for name, r in rates.items()
        }
        monkeypatch.setattr(gate, "WORKLOADS", made)

    return planted


@pytest.fixture
def baseline(tmp_path: Path, plant: Callable[..., None]) -> Path:
    """A baseline that was recorded when ``made`` did 500 units a second, half of what its yardstick does."""
    path = tmp_path / "baseline.json"
    plant(500)
    assert gate.main([*UPDATE, "--baseline", str(path)]) == 0
    return path


def test_unchanged_workload_passes(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is as fast as when it was recorded passes."""
    assert gate.main(["--baseline", str(baseline)]) == 0
    assert "1 workloads within their limits" in capsys.readouterr().out


@pytest.mark.parametrize("work, status", [(351, 0), (349, 1)])
def test_limit_is_the_tolerance(baseline: Path, plant: Callable[..., None], work: float, status: int) -> None:
    """Losing less than the tolerance passes, losing more fails."""
    plant(work)

    assert gate.main(["--baseline", str(baseline)]) == status


def test_machine_cancels_out(baseline: Path, plant: Callable[..., None]) -> None:
    """On a machine of a tenth of the speed, the ratio and the verdict are the same."""
    plant(50, yardstick=100)

    assert gate.main(["--baseline", str(baseline)]) == 0


def test_slower_against_its_yardstick_fails(
    baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A yardstick that became twice as fast is a workload that became half as fast."""
    plant(500, yardstick=2_000)

    assert gate.main(["--baseline", str(baseline)]) == 1
    told = capsys.readouterr()
    assert "SLOWER  made" in told.out
    assert "made fell to 50% of its baseline" in told.err


def test_faster_is_told_and_passes(
    baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A gain passes and is shown, so that somebody records it."""
    plant(900)

    assert gate.main(["--baseline", str(baseline)]) == 0
    assert "faster  made" in capsys.readouterr().out


def test_busy_moment_is_no_regression(baseline: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that falls short once is measured again."""
    slow = clock.worker("made", 100)
    calls = [0]

    def work(size: int) -> int:
        calls[0] += 1
        return slow(size) if calls[0] <= measure.ROUNDS + 1 else clock.worker("made", 500)(size)

    monkeypatch.setattr(gate, "WORKLOADS", {"made": replace(gate.WORKLOADS["made"], work=work)})

    assert gate.main(["--baseline", str(baseline)]) == 0
    assert calls[0] == 2 * (measure.ROUNDS + 1)


def test_row_that_the_baseline_lacks_fails(
    baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A workload without a row is not passed by silence."""
    plant(500, added=500)

    assert gate.main(["--baseline", str(baseline)]) == 1
    assert "added has no row in the baseline" in capsys.readouterr().err


def test_row_that_nobody_measures_fails(
    baseline: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A workload cannot leave without its row."""
    monkeypatch.setattr(gate, "WORKLOADS", {})

    assert gate.main(["--baseline", str(baseline)]) == 1
    assert "made stands in the baseline, but no such workload exists" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"rows": {"made": {"ratio": 1}}}'])
def test_missing_or_broken_baseline_fails(tmp_path: Path, plant: Callable[..., None], content: str | None) -> None:
    """Without a baseline the gate says how to record one."""
    plant(500)
    path = tmp_path / "baseline.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(SystemExit, match="--update"):
        gate.main(["--baseline", str(path)])


def test_update_needs_a_reason(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A baseline is never changed without saying why."""
    before = baseline.read_bytes()

    for reason in ([], ["--reason", "  "]):
        with pytest.raises(SystemExit) as stopped:
            gate.main(["--update", *reason, "--baseline", str(baseline)])

        assert stopped.value.code == 2
    assert baseline.read_bytes() == before


def test_update_keeps_reason_and_place(baseline: Path) -> None:
    """A baseline says why it was recorded, on which Python, and ratio and tolerance of each row."""
    content = json.loads(baseline.read_text(encoding="utf-8"))

    assert content["reason"] == "a test"
    assert content["recorded"]["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert content["rows"] == {"made": {"ratio": 0.5, "tolerance": gate.LEAST_TOLERANCE}}


def test_update_of_one_row_keeps_the_others(baseline: Path, plant: Callable[..., None]) -> None:
    """--only records what it names."""
    plant(700, added=600)

    assert gate.main([*UPDATE, "--only", "added", "--baseline", str(baseline)]) == 0
    rows = gate.read(baseline)
    assert (rows["made"].ratio, rows["added"].ratio) == (0.5, 0.6)


@pytest.mark.parametrize(
    "ratios, ratio, tolerance",
    [
        ([0.5] * 5, 0.5, gate.LEAST_TOLERANCE),
        ([0.4, 0.5, 0.5, 0.5, 0.52], 0.5, 0.4),  # twice the largest deviation, a fifth
        ([0.1, 0.5, 0.9], 0.5, 0.9),  # whatever was seen, a row that falls to a tenth fails
    ],
)
def test_tolerance_is_learnt(ratios: list[float], ratio: float, tolerance: float) -> None:
    """A row is the median of repeated measurements and may lose twice the largest deviation among them."""
    assert gate.learn(ratios) == gate.Row(ratio, tolerance)


def test_rounds_are_interleaved(baseline: Path, clock: Clock) -> None:
    """Workload and yardstick take turns, at least seven times."""
    clock.spent.clear()

    gate.main(["--baseline", str(baseline)])

    turns = clock.spent[-2 * measure.ROUNDS :]
    assert measure.ROUNDS >= 7
    assert turns == ["made", "yardstick"] * measure.ROUNDS


def test_real_workload_with_a_planted_slowdown_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time: a workload passes against its own row, and fails when its yardstick gets fifty times as fast."""
    monkeypatch.setattr(gate, "need_compiled", lambda: "")
    honest = replace(WORKLOADS["simple"], size=2_000)
    row = gate.learn([gate.ratio_of(honest, rounds=3)])
    row = replace(row, tolerance=0.9)

    def claims(n: int) -> int:
        return 50 * trampoline(n)

    monkeypatch.setitem(gate.STEPS, claims, STEPS[trampoline])
    assert gate.judge(honest, row, rounds=3).passed
    assert gate.judge(replace(honest, yardstick=claims), row, rounds=3).word == "SLOWER"


def test_python_kernel_is_refused() -> None:
    """Without the compiled kernel nothing is measured: exit status 1 and a line that says how to get it."""
    done = subprocess.run(
        [sys.executable, "ci/gate.py"],
        env={**os.environ, "CASCADE_PURE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "the compiled kernel is needed" in done.stderr


def test_committed_baseline_has_every_workload() -> None:
    """Each workload has its row, and each row a ratio and a tolerance that can fail."""
    rows = gate.read(gate.BASELINE)

    assert rows.keys() == WORKLOADS.keys()
    assert all(row.ratio > 0 and 0 < row.tolerance < 1 for row in rows.values())
