"""How a ratio is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cascade.tools.gate import measuring
from cascade.tools.gate.measuring import ROUNDS, compare
from tests.gates import Clock


def test_rounds_are_interleaved(clock: Clock) -> None:
    """Work and yardstick take turns, at least seven times."""
    compare(lambda: clock.worker("work", 1)(0), clock.worker("yardstick", 2), 1)

    assert ROUNDS >= 7
    assert clock.spent[-2 * ROUNDS :] == ["work", "yardstick"] * ROUNDS


def test_the_fastest_rounds_count(clock: Clock) -> None:
    """All rounds but three may be disturbed as much as they like, and not the same ones of work and yardstick."""
    works = iter([5.0, *[5.0] * (ROUNDS - 3), *[500.0] * 3])
    yardsticks = iter([*[1_000.0] * (21 + 3), *[9.0] * (ROUNDS - 3)])

    found = compare(
        lambda: clock.worker("work", next(works))(0), lambda steps: clock.worker("yardstick", next(yardsticks))(0), 1
    )

    assert (found.ratio, found.per_second, found.yardstick) == pytest.approx((0.5, 500, 1_000))


def test_one_round_is_chance(clock: Clock) -> None:
    """One that is too fast moves the result by a third of what it gains."""
    rates = iter([500.0, 800.0, *[500.0] * (ROUNDS - 1)])

    found = compare(lambda: clock.worker("work", next(rates))(0), clock.worker("yardstick", 1_000), 1)

    assert found.per_second == pytest.approx(600)


@pytest.mark.parametrize("is_frozen", [True, False])
def test_the_collector_sees_afterwards_what_it_saw_before(is_frozen: bool) -> None:
    """What a process had frozen before a measurement is frozen after it, and nothing else is."""
    script = f"""
import gc
from cascade.tools.gate import measuring
frozen = {is_frozen}
if frozen:
    gc.freeze()
before = gc.get_freeze_count()
with measuring._heap_out_of_sight():
    assert gc.get_freeze_count() > 0
assert gc.get_freeze_count() >= before > 0 if frozen else gc.get_freeze_count() == before == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True)


needs_own_time = pytest.mark.skipif(measuring.clock_name() != "own time", reason="this system does not tell own time")


def _spin(seconds: float) -> tuple[float, float, float]:
    """Works for so many seconds of processor time; returns those, own time and wall time."""
    wall, own, used = time.perf_counter(), measuring.now(), time.thread_time()
    while time.thread_time() - used < seconds:
        pass
    return time.thread_time() - used, measuring.now() - own, time.perf_counter() - wall


@needs_own_time
@pytest.mark.slow
def test_own_time_leaves_out_what_others_take() -> None:
    """Beside processes that want the same core, own time stays near what was used, and wall time does not."""
    core = {min(os.sched_getaffinity(0))}
    program = "import os, sys; print(os.sched_setaffinity(0, {int(sys.argv[1])}), flush=True)\nwhile True: pass"
    command = [sys.executable, "-c", program, str(*core)]
    rivals = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for rival in rivals:
            assert rival.stdout is not None
            rival.stdout.readline()
        found = []
        thread = threading.Thread(target=lambda: (os.sched_setaffinity(0, core), found.extend(_spin(0.1))))
        thread.start()
        thread.join()
    finally:
        for rival in rivals:
            rival.kill()
            rival.communicate()
    used, own, wall = found

    assert own < used + (wall - used) / 4
    assert wall > 1.5 * used


def test_own_time_is_what_the_scheduler_leaves(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the time in which others had the processor is left out; a thread that sleeps is not kept waiting."""
    told = tmp_path / "schedstat"
    told.write_text("5000000000 1500000000 7\n", encoding="ascii")
    monkeypatch.setattr(measuring, "_SCHEDSTAT", str(told))
    monkeypatch.setattr(measuring, "_kept_waiting", measuring._best())
    clock.now = 10.0

    assert measuring.clock_name() == "own time"
    assert measuring.now() == 10.0 - 1.5


def test_without_the_scheduler_it_is_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, nothing is left out, and the name of the clock says so."""
    monkeypatch.setattr(measuring, "_SCHEDSTAT", "/no/such/file")
    monkeypatch.setattr(measuring, "_kept_waiting", measuring._best())

    assert measuring.clock_name() == "wall time"
    before = time.perf_counter()
    assert before <= measuring.now() <= time.perf_counter()


def test_own_time_is_read_in_one_go(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is kept waiting between the two clocks reads both again."""
    readings = iter([1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(measuring, "_kept_waiting", lambda: next(readings))
    clock.now = 10.0

    assert measuring.now() == 8.0
