"""Regression gate of the engine: the workloads of ``benchmarks/workloads.py`` against ``ci/baseline.json``.

    python ci/gate.py                                   exit status 1 on a regression, 2 if nothing could be judged
    python ci/gate.py --only heavy --only fib
    python ci/gate.py --update --reason "why it moved"  records a new baseline

Measures time as ratios to yardsticks, and instructions where valgrind is installed; prints a table and draws it into
``build/gate.png``. How, and what the tolerances mean: ``cascade.tools.gate``, which does it all. ``cascade gate FILE``
does the same for a user's own workflows.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.instructions import COUNTED
from benchmarks.measure import need_compiled
from benchmarks.workloads import WORKLOADS, Workload
from cascade.tools.gate import command, instructions
from cascade.tools.gate.baseline import read
from cascade.tools.gate.errors import GateError
from cascade.tools.gate.measuring import ROUNDS
from cascade.tools.gate.processes import measured_by, tell_ratios
from cascade.tools.gate.subjects import Counter, Gate, Subject

__all__ = ["choice", "gate_of", "main"]

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "ci" / "baseline.json"
PICTURE = ROOT / "build" / "gate.png"


def subject_of(workload: Workload, scale: float = 1.0) -> Subject:
    """Returns what the gate measures of a workload; ``scale`` shrinks it and its yardstick, for trials."""
    size = workload.size if scale == 1 else workload.small
    work = functools.partial(workload.work, size)
    return Subject(workload.name, work, workload.yardstick, workload.counts, scale=scale)


def counter_of(names: Sequence[str]) -> Counter:
    """Returns how the instructions of workloads are counted."""
    program = [sys.executable, str(ROOT / "benchmarks" / "instructions.py"), *names]
    return Counter(names, lambda: instructions.count(program), instructions.why_not())


def gate_of(options: argparse.Namespace) -> Gate:
    """Returns the gate of the workloads that the options choose."""
    chosen = [name for name in WORKLOADS if not options.only or name in options.only]
    counted = [name for name in chosen if name in COUNTED] if options.instructions is not False else []
    subjects = {name: subject_of(WORKLOADS[name], options.scale) for name in chosen}
    rounds = options.rounds or ROUNDS
    alike = ["--scale", str(options.scale), "--no-instructions", "--tell-ratios"]
    again = measured_by(lambda names: [sys.executable, __file__, *alike, *choice(rounds, names)])
    return Gate(subjects, counter_of(counted), rounds, is_complete=not options.only, elsewhere=again)


def choice(rounds: int, names: Sequence[str]) -> list[str]:
    """Returns the options that choose workloads, and how many rounds they are measured in."""
    return ["--rounds", str(rounds), *(option for name in names for option in ("--only", name))]


def main(arguments: list[str] | None = None) -> int:
    """Runs the gate and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_options(parser)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS), help="this workload; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: small sizes, for a trial")
    options = parser.parse_args(arguments)
    command.check_options(parser, options)
    wrong = need_compiled()
    if wrong:
        return _stop(wrong)
    path = options.baseline or BASELINE
    if options.tell_ratios:
        return tell_ratios(gate_of(options))
    try:
        if options.update:
            old = read(path) if path.exists() and options.only else None
            return command.update(gate_of(options), old, path, options.reason, _tell)
        return command.check(gate_of(options), read(path), options, _tell, draw_to=PICTURE)
    except GateError as error:
        return _stop(str(error))


def _stop(why: str) -> int:
    _tell(why)
    return command.IMPOSSIBLE


def _tell(line: str) -> None:
    print(f"gate: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
