"""The engine's own regression gate: what it measures, stops, keeps and refuses."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.instructions import COUNTED
from benchmarks.workloads import WORKLOADS, Workload
from cascade.tools.gate import checking, command, instructions, picture, recording
from cascade.tools.gate.baseline import Baseline, read
from cascade.tools.gate.place import here
from cascade.tools.gate.subjects import Gate, Subject
from cascade.tools.gate.verdicts import Kind, Row
from ci import gate, gate_trials
from tests.gates import Clock, virtual

ROOT = Path(__file__).resolve().parents[2]
UPDATE = ["--update", "--reason", "a test"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """Measures in virtual time, on any kernel, without valgrind and into no picture of the tree's."""
    monkeypatch.setattr(gate, "need_compiled", lambda: "")
    monkeypatch.setattr(gate, "PICTURE", tmp_path / "build" / "gate.png")
    monkeypatch.setattr(gate, "COUNTED", {})
    return virtual(monkeypatch)


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
    assert "1 row within its limit" in capsys.readouterr().out


def test_slowdown_fails(baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """A workload that became 1.5 times as slow is named, with exit status 1."""
    plant(500 / 1.5)

    assert gate.main(["--baseline", str(baseline)]) == 1
    told = capsys.readouterr()
    assert "SLOWER  made" in told.out
    assert "gate: made fell to 67% of its recorded speed, at best" in told.err


def test_slowdown_by_the_yardstick_fails(baseline: Path, plant: Callable[..., None]) -> None:
    """A yardstick that became 1.5 times as fast is the same."""
    plant(500, yardstick=1_500)

    assert gate.main(["--baseline", str(baseline)]) == 1


def test_faster_is_told_and_passes(
    baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A gain passes and is shown, so that somebody records it."""
    plant(900)

    assert gate.main(["--baseline", str(baseline)]) == 0
    assert "faster  made" in capsys.readouterr().out


@pytest.mark.skipif(bool(picture.why_not()), reason=picture.why_not() or "draws")
def test_picture_is_drawn_unasked(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check leaves a picture and tells its path."""
    gate.main(["--baseline", str(baseline)])

    assert f"picture: {gate.PICTURE}" in capsys.readouterr().out
    assert gate.PICTURE.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_judges_and_says_so(
    baseline: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that nobody asked for is no reason to fail."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert gate.main(["--baseline", str(baseline)]) == 0
    told = capsys.readouterr()
    assert "no picture was drawn: matplotlib is not installed: pip install 'cascade-hot[plot]'" in told.err
    assert "picture:" not in told.out


@pytest.mark.parametrize("change", ["added", "gone"])
def test_rows_and_workloads_must_be_the_same(
    baseline: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """A workload without a row, or a row without a workload, is not passed by silence: exit status 2."""
    rows = read(baseline).rows[Kind.TIME]
    if change == "added":
        plant(500, added=500)
    else:
        content = json.loads(baseline.read_text(encoding="utf-8"))
        content["time"]["gone"] = content["time"]["made"]
        baseline.write_text(json.dumps(content), encoding="utf-8")

    assert gate.main(["--baseline", str(baseline)]) == command.IMPOSSIBLE
    assert change in capsys.readouterr().err
    assert rows.keys() == {"made"}


def test_missing_baseline_is_told(
    tmp_path: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a baseline the gate says how to record one: exit status 2."""
    plant(500)

    assert gate.main(["--baseline", str(tmp_path / "absent.json")]) == command.IMPOSSIBLE
    assert "gate: there is no baseline" in capsys.readouterr().err


def test_update_needs_a_reason(baseline: Path) -> None:
    """A baseline is never changed without saying why."""
    before = baseline.read_bytes()

    for reason in ([], ["--reason", "  "]):
        with pytest.raises(SystemExit) as stopped:
            gate.main(["--update", *reason, "--baseline", str(baseline)])

        assert stopped.value.code == 2
    assert baseline.read_bytes() == before


def test_update_keeps_reason_and_place(baseline: Path) -> None:
    """A baseline says why it was recorded, where, and value and tolerance of each row."""
    found = read(baseline)

    assert (found.reason, found.place) == ("a test", here())
    assert found.rows[Kind.TIME] == {"made": Row(0.5, Kind.TIME.least)}


def test_update_of_one_row_keeps_the_others(baseline: Path, plant: Callable[..., None]) -> None:
    """--only records what it names."""
    plant(700, added=600)

    assert gate.main([*UPDATE, "--only", "added", "--baseline", str(baseline)]) == 0
    assert {name: row.value for name, row in read(baseline).rows[Kind.TIME].items()} == {"made": 0.5, "added": 0.6}


def test_python_kernel_is_refused() -> None:
    """Without the compiled kernel nothing is measured: exit status 2 and a line that says how to get it."""
    for program in ("ci/gate.py", "ci/gate_trials.py"):
        done = subprocess.run(
            [sys.executable, program],
            env={**os.environ, "CASCADE_PURE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout) == (command.IMPOSSIBLE, "")
        assert "the compiled kernel is needed" in done.stderr


def test_committed_baseline_has_every_workload() -> None:
    """Each workload has its rows, and each row a tolerance that the slowdown cannot hide in."""
    rows = read(gate.BASELINE).rows

    assert rows[Kind.TIME].keys() == WORKLOADS.keys()
    assert rows[Kind.INSTRUCTIONS].keys() == COUNTED.keys()
    assert all(row.tolerance <= kind.most for kind in Kind for row in rows[kind].values())


def test_workloads_are_counted_at_two_sizes() -> None:
    """Instructions are counted in each tier, and there is a difference to count."""
    assert {"simple", "heavy", "fib", "async", "map", "warm", "cold"} <= COUNTED.keys() <= WORKLOADS.keys()
    for one in COUNTED.values():
        assert one.work(one.long) > one.work(one.short) > 0


# --------------------------------------------------------------------------------------------------------- in real time


@pytest.fixture(scope="module")
def real() -> tuple[Gate, Baseline]:
    """Small sizes of three workloads, on whichever kernel, and a baseline learnt of them."""
    if not os.environ.get("CASCADE_MEASURE"):
        pytest.skip("measures for minutes, with the machine to itself: CASCADE_MEASURE=1 lets it, as in .ci/run")
    chosen = {name: WORKLOADS[name] for name in ("simple", "heavy", "async")}
    slower = 1 if here().kernel == "compiled" else 20
    subjects = {
        name: Subject(name, _work(w, w.size // (10 * slower)), w.yardstick, w.counts, scale=0.1)
        for name, w in chosen.items()
    }
    small = Gate(subjects)
    return small, recording.record(small, "a test", None, lambda line: None)


def _work(workload: Workload, size: int) -> Callable[[], int]:
    return lambda: workload.work(size)


@pytest.mark.slow
def test_ten_unchanged_checks_pass(real: tuple[Gate, Baseline]) -> None:
    """Whatever else the machine does, what is unchanged passes ten times of ten."""
    small, learnt = real

    reports = [checking.check(small, learnt, lambda verdict: None) for _ in range(10)]

    assert [[v.name for v in report.failed] for report in reports] == [[]] * 10


@pytest.mark.slow
def test_planted_slowdown_fails(real: tuple[Gate, Baseline]) -> None:
    """A workload that does its work three times for every two that it counts is stopped; the others pass."""
    small, learnt = real
    for name, subject in small.subjects.items():
        planted = Gate({**small.subjects, name: gate_trials.slowed(subject)})
        report = checking.check(planted, learnt, lambda verdict: None)

        assert [v.name for v in report.failed] == [name]


@pytest.mark.slow
@pytest.mark.skipif(here().kernel != "compiled", reason="the gate measures the compiled kernel, which is not loaded")
def test_another_process_measures_what_it_is_asked_for() -> None:
    """What fell short in this process is measured by another one, which tells the ratio and nothing else."""
    options = argparse.Namespace(only=["simple"], rounds=3, scale=0.1, instructions=False)
    elsewhere = gate.gate_of(options).elsewhere
    assert elsewhere is not None

    ratios = elsewhere(["simple"])

    assert ratios.keys() == {"simple"}
    assert ratios["simple"] > 0


@pytest.mark.slow
@pytest.mark.skipif(bool(instructions.why_not()), reason=instructions.why_not() or "counts")
def test_instructions_of_the_engine_are_the_same_each_time() -> None:
    """Two counts of the same workload, on a machine that is busy or not, differ by less than a percent."""
    counter = gate.counter_of(["simple", "fib"])
    first, second = counter.count(), counter.count()

    assert first.keys() == {"simple", "fib"}
    for name, count in first.items():
        assert second[name] == pytest.approx(count, rel=0.01)


# ---------------------------------------------------------------------------------------------------------- the trials


@pytest.mark.parametrize("tries, rate, status", [(1, 500, 0), (10, 390, 1)])
def test_trials_judge_the_gate(
    baseline: Path,
    plant: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tries: int,
    rate: float,
    status: int,
) -> None:
    """They pass if all that is unchanged passes and all that is slow fails, and say how often that was so."""
    plant(rate)
    monkeypatch.setattr(gate_trials, "need_compiled", lambda: "")

    assert gate_trials.main(["--trials", str(tries), "--slow", "2", "--baseline", str(baseline)]) == status
    shown = capsys.readouterr().out
    assert f"{0 if status else tries} of {tries} unchanged checks passed" in shown
    assert "2 of 2 slow checks failed in every row" in shown


def test_trials_notice_a_slowdown_that_passes(
    baseline: Path, plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that lets the slowdown through is not fit to judge."""
    content = json.loads(baseline.read_text(encoding="utf-8"))
    content["time"]["made"]["tolerance"] = 0.5
    baseline.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(gate_trials, "need_compiled", lambda: "")

    assert gate_trials.main(["--trials", "1", "--slow", "1", "--baseline", str(baseline)]) == 1
    assert "0 of 1 slow checks failed in every row" in capsys.readouterr().out
