"""Regression gate: has a workload become slower, against plain Python loops, than the committed baseline allows?

    python ci/gate.py                                   compares with ci/baseline.json; exit status 1 on a regression
    python ci/gate.py --only heavy --only fib
    python ci/gate.py --update --reason "why it moved"  records a new baseline

A row is the ratio of a workload's units per second to the steps per second of its yardstick, both measured in this
process, in turn, with the median of the rounds. So the speed of the machine cancels out, but not its character: a
baseline holds for one family of machines and one Python version, which it names.

Tolerances are learnt, not guessed: ``--update`` measures everything several times over and allows each row twice the
largest deviation that it saw, and never less than 30%: beside a busy loop on every core, rows fell by up to 21%. A row
below its limit is measured again before it counts: a regression is there every time, a busy neighbour is not.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import ROUNDS, compare, need_compiled
from benchmarks.workloads import WORKLOADS, Workload
from benchmarks.yardsticks import STEPS

__all__ = ["Row", "Verdict", "judge", "learn", "main", "ratio_of"]

BASELINE = Path(__file__).with_name("baseline.json")
#: How often ``--update`` measures everything, and how often a row may try to reach its limit.
REPEATS, TRIES = 5, 3
#: The smallest tolerance: what a noisy machine may do on a day other than that of the update.
LEAST_TOLERANCE = 0.3
#: Deviations from the median that a row may make, in units of the largest one seen.
SAFETY = 2.0
#: Steps of a yardstick that ``STEPS`` does not know.
STEPS_OF_OTHERS = 1_000


@dataclass(frozen=True)
class Row:
    """What the baseline says of a workload: its ratio, and the part of it that may be lost."""

    ratio: float
    tolerance: float

    @property
    def limit(self) -> float:
        """The smallest ratio that passes."""
        return self.ratio * (1 - self.tolerance)


@dataclass(frozen=True)
class Verdict:
    """What became of a workload; ``row`` is None if the baseline does not have it."""

    name: str
    ratio: float
    row: Row | None

    @property
    def word(self) -> str:
        """``ok``, ``SLOWER``, ``ABSENT`` from the baseline, or ``faster`` than it by more than the tolerance."""
        if self.row is None:
            return "ABSENT"
        if not self.ratio >= self.row.limit:
            return "SLOWER"
        return "faster" if self.ratio > self.row.ratio * (1 + self.row.tolerance) else "ok"

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through."""
        return self.word in ("ok", "faster")

    def __str__(self) -> str:
        limits = f"{self.row.ratio:9.3g} {self.row.limit:9.3g}" if self.row else f"{'-':>9} {'-':>9}"
        return f"{self.word:<7} {self.name:<10} {self.ratio:9.3g} {limits}"


def ratio_of(workload: Workload, scale: float = 1.0, rounds: int = ROUNDS) -> float:
    """Measures a workload against its yardstick; ``scale`` shrinks both, for trials."""
    size = workload.size if scale == 1 else workload.small
    steps = max(int(STEPS.get(workload.yardstick, STEPS_OF_OTHERS) * scale), 10)
    return compare(lambda: workload.work(size), workload.yardstick, steps, rounds).ratio


def judge(workload: Workload, row: Row | None, scale: float = 1.0, rounds: int = ROUNDS) -> Verdict:
    """Measures a workload until it reaches its limit, at most ``TRIES`` times; the best time counts."""
    verdict = Verdict(workload.name, ratio_of(workload, scale, rounds), row)
    for _ in range(TRIES - 1):
        if row is None or verdict.passed:
            break
        verdict = Verdict(workload.name, max(verdict.ratio, ratio_of(workload, scale, rounds)), row)
    return verdict


def learn(ratios: Iterable[float]) -> Row:
    """Makes a row of repeated measurements."""
    ratios = list(ratios)
    middle = statistics.median(ratios)
    spread = max(abs(ratio - middle) for ratio in ratios) / middle
    tolerance = max(LEAST_TOLERANCE, math.ceil(SAFETY * spread * 20) / 20)
    return Row(float(f"{middle:.3g}"), min(tolerance, 0.9))


def read(path: Path) -> dict[str, Row]:
    """Returns the rows of a baseline by name.

    Raises:
        SystemExit: there is none, or it is none.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return {name: Row(**row) for name, row in rows.items()}
    except FileNotFoundError:
        sys.exit(f"gate: there is no {path}; record one with --update --reason TEXT")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"gate: {path} is not a baseline ({type(error).__name__}: {error}); record one with --update")


def write(path: Path, rows: Mapping[str, Row], reason: str) -> None:
    """Writes a baseline with the reason for it and the place where it holds."""
    content: dict[str, Any] = {
        "reason": reason,
        "recorded": {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()},
        "rows": {name: asdict(row) for name, row in rows.items()},
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def update(path: Path, chosen: Mapping[str, Workload], options: argparse.Namespace) -> int:
    """Measures the chosen workloads anew; the rows of others stay."""
    measured: dict[str, list[float]] = {name: [] for name in chosen}
    for repeat in range(REPEATS):
        for name, workload in chosen.items():
            measured[name].append(ratio_of(workload, options.scale, options.rounds))
        print(f"measured {repeat + 1} of {REPEATS} times", flush=True)
    old = read(path) if path.exists() and options.only else {}
    fresh = {name: learn(ratios) for name, ratios in measured.items()}
    rows = {name: fresh.get(name) or old[name] for name in WORKLOADS if name in fresh or name in old}
    write(path, rows, options.reason)
    for name, row in fresh.items():
        print(f"{name:<10} {row.ratio:9.3g}  tolerance {row.tolerance:.2f}")
    return 0


def check(path: Path, chosen: Mapping[str, Workload], options: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    rows = read(path)
    print(f"{'':<7} {'workload':<10} {'ratio':>9} {'baseline':>9} {'limit':>9}  units (yardstick)")
    verdicts = []
    for name, workload in chosen.items():
        verdicts.append(judge(workload, rows.get(name), options.scale, options.rounds))
        print(f"{verdicts[-1]}  {workload.counts} ({workload.yardstick.__name__})", flush=True)
    failed = [v for v in verdicts if not v.passed]
    forgotten = sorted(rows.keys() - WORKLOADS.keys())
    for name in forgotten:
        print(f"gate: {name} stands in the baseline, but no such workload exists; --update", file=sys.stderr)
    for v in failed:
        print(f"gate: {v.name} {_reproach(v)}", file=sys.stderr)
    if not failed and not forgotten:
        print(f"gate: {len(verdicts)} workloads within their limits")
    return 1 if failed or forgotten else 0


def _reproach(verdict: Verdict) -> str:
    if verdict.row is None:
        return "has no row in the baseline; record it with --update --reason TEXT"
    return f"fell to {verdict.ratio / verdict.row.ratio:.0%} of its baseline in each of {TRIES} measurements"


def main(arguments: list[str] | None = None) -> int:
    """Runs the gate and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--only", action="append", choices=list(WORKLOADS), help="this workload; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS} unless for a trial")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: small sizes, for a trial")
    parser.add_argument("--update", action="store_true", help="record a new baseline")
    parser.add_argument("--reason", help="why the baseline changes; needed with --update")
    options = parser.parse_args(arguments)
    if options.update and not (options.reason or "").strip():
        parser.error("--update needs --reason TEXT: the baseline keeps why it was changed")
    wrong = need_compiled()
    if wrong:
        print(f"gate: {wrong}", file=sys.stderr)
        return 1
    chosen = {name: w for name, w in WORKLOADS.items() if not options.only or name in options.only}
    return (update if options.update else check)(options.baseline, chosen, options)


if __name__ == "__main__":
    sys.exit(main())
