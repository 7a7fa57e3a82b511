"""Gates for tests: a clock that only work moves, and subjects of a known speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from cascade.cli import _gate
from cascade.tools.gate import measuring
from cascade.tools.gate.baseline import Baseline
from cascade.tools.gate.place import here
from cascade.tools.gate.subjects import Counter, Gate, Subject
from cascade.tools.gate.verdicts import Kind, Row
from ci import gate, gate_trials

__all__ = ["Clock", "baseline_of", "virtual"]


class Clock:
    """Stands in for the modules ``time`` and ``gc``: one second for so many units."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spent: list[str] = []

    def collect(self) -> int:
        """Does nothing: real collections would cost these tests more than all the rest."""
        return 0

    freeze = unfreeze = get_freeze_count = collect

    def perf_counter(self) -> float:
        return self.now

    def worker(self, name: str, per_second: float, units: int = 100) -> Callable[[int], int]:
        """Returns a yardstick that works at this rate, whatever its size."""

        def work(size: int) -> int:
            self.spent.append(name)
            self.now += units / per_second
            return units

        return work

    def subject(self, name: str, per_second: float, yardstick: float = 1_000, calls: int | None = None) -> Subject:
        """Returns a subject that works at this rate, against a yardstick of that one."""
        work = self.worker(name, per_second)
        return Subject(name, lambda: work(0), self.worker("yardstick", yardstick), "units", calls)

    def gate(self, counts: Mapping[str, float] | None = None, complete: bool = True, **rates: float) -> Gate:
        """Returns a gate of subjects with these rates and counts of instructions."""
        counter = Counter(list(counts), lambda: counts) if counts else Counter()
        return Gate({name: self.subject(name, rate) for name, rate in rates.items()}, counter, is_complete=complete)


def virtual(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Lets everything be measured in virtual time, in this process."""
    clock = Clock()
    monkeypatch.setattr(measuring, "time", clock)
    monkeypatch.setattr(measuring, "gc", clock)
    monkeypatch.setattr(measuring, "_kept_waiting", lambda: 0.0)
    for module in (_gate, gate, gate_trials):
        monkeypatch.setattr(module, "measured_by", lambda command: None)  # it would have a clock of its own
    return clock


def baseline_of(counts: Mapping[str, float] | None = None, **ratios: float) -> Baseline:
    """Returns a baseline of this place with the least tolerances."""
    times = {name: Row(ratio, Kind.TIME.least) for name, ratio in ratios.items()}
    counted = {name: Row(count, Kind.INSTRUCTIONS.least) for name, count in (counts or {}).items()}
    return Baseline("a test", here(), {Kind.TIME: times, Kind.INSTRUCTIONS: counted})
