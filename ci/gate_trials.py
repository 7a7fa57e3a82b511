"""Judges the gate itself: does it pass again and again what is unchanged, and stop each row that is 1.5 times as slow?

    python ci/gate_trials.py                 ten unchanged checks and two with a slowdown in every row
    python ci/gate_trials.py --trials 3 --slow 1 --only simple
    python ci/gate_trials.py --record        learns a baseline of its own first, for a machine that has none

Prints the speeds of all rows, check by check, as parts of the recorded ones; exit status 1 if the gate was wrong once.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import need_compiled
from benchmarks.workloads import WORKLOADS
from cascade.tools.gate import checking, recording
from cascade.tools.gate.baseline import Baseline, read
from cascade.tools.gate.errors import GateError
from cascade.tools.gate.processes import measured_by, tell_ratios
from cascade.tools.gate.subjects import Counter, Gate, Subject
from ci.gate import BASELINE, choice, gate_of

__all__ = ["main", "slowed"]


def slowed(subject: Subject) -> Subject:
    """Returns a subject that works three times for every two that it counts: it is 1.5 times as slow."""

    def work() -> int:
        units = [subject.work() for _ in range(3)]
        return sum(units) * 2 // 3

    return dataclasses.replace(subject, work=work)


def all_slowed(gate: Gate) -> Gate:
    """Returns a gate of slowed subjects, in other processes too."""
    subjects = {name: slowed(subject) for name, subject in gate.subjects.items()}
    again = measured_by(lambda names: [sys.executable, __file__, "--tell-slow", *choice(gate.rounds, names)])
    return Gate(subjects, Counter(), gate.rounds, gate.is_complete, again)


def one_check(title: str, gate: Gate, baseline: Baseline) -> list[bool]:
    """Prints a check, and returns for each row of time whether it passed."""
    start = time.perf_counter()
    report = checking.check(gate, baseline, lambda verdict: None)
    speeds = " ".join(f"{v.share * 100:4.0f}{' ' if v.passed else '!'}" for v in report.verdicts)
    print(f"{title:<13} {speeds}  {time.perf_counter() - start:4.0f} s", flush=True)
    return [v.passed for v in report.verdicts]


def trials(gate: Gate, baseline: Baseline, unchanged: int, slow: int) -> int:
    """Returns the exit status."""
    print(f"{'':<13} {' '.join(f'{name[:5]:>5}' for name in gate.subjects)}")
    passed = [all(one_check(f"unchanged {number + 1}", gate, baseline)) for number in range(unchanged)]
    slower = all_slowed(gate)
    stopped = [not any(one_check(f"1.5x slower {number + 1}", slower, baseline)) for number in range(slow)]
    print(f"{sum(passed)} of {unchanged} unchanged checks passed")
    print(f"{sum(stopped)} of {slow} slow checks failed in every row")
    return 0 if all(passed) and all(stopped) else 1


def main(arguments: list[str] | None = None) -> int:
    """Makes the trials and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10, help="unchanged checks")
    parser.add_argument("--slow", type=int, default=2, help="checks with a slowdown")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS))
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--record", action="store_true", help="learn a baseline for this once")
    parser.add_argument("--tell-slow", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # Instructions are left to the gate's own run: they are the same each time.
    gate = gate_of(argparse.Namespace(only=options.only, rounds=options.rounds, scale=1.0, instructions=False))
    wrong = need_compiled()
    if wrong:
        print(f"gate_trials: {wrong}", file=sys.stderr)
        return 2
    if options.tell_slow:
        return tell_ratios(all_slowed(gate))
    try:
        baseline = recording.record(gate, "trials", None, print) if options.record else read(options.baseline)
        return trials(gate, baseline, options.trials, options.slow)
    except GateError as error:
        print(f"gate_trials: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
