"""What a recursive task costs: steps per second with the hot tier on and off, beside plain loops.

    python benchmarks/tco_performance.py             about half a minute
    python benchmarks/tco_performance.py --scale 0.1

Prints one row for each workload, then what the engine's counters say: which tier every step ran in, and how many
inner calls each heavy step made. Exit status 1, with the reason, if the compiled kernel is not loaded, if a step after
the second was not hot, if inner calls are missing, or if a workload falls short of its floor.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import ROUNDS, need_compiled, rate, warm_up
from benchmarks.workloads import INNER_CALLS, WORKLOADS, counted, engine, noop
from benchmarks.yardsticks import coroutine, sleep0, trampoline
from cascade.runtime.stats import RunStats

__all__ = ["main"]

#: Steps per second that each workload must reach hot, whatever the machine.
FLOORS = {"simple": 100_000, "stable": 100_000, "heavy": 50_000}
TITLES = {"simple": "simple_countdown", "stable": "stable_complex_loop", "heavy": "heavy_complex_countdown"}
NODES = {"simple": 1, "stable": 1, "heavy": INNER_CALLS + 1}
#: Times that a step must be faster hot than without the hot tier.
GAIN = 10
#: A step without the hot tier costs about this many hot ones; fewer are made so that rounds take equal time.
SLOWER = 50


@dataclass
class Row:
    """Medians of one workload, in steps per second, and the counters of its last hot run."""

    name: str
    hot: float
    cold: float
    plain: float
    ratio: float
    stats: RunStats
    steps: int


def measure(name: str, scale: float, rounds: int) -> Row:
    """Measures a workload with the hot tier on, off, and its yardstick, in turn."""
    workload = WORKLOADS[name]
    steps = max(int(workload.size * scale), 10)
    slow = max(steps // SLOWER, 10)
    loops = max(int(200_000 * scale), 10)
    on = engine()

    def hot() -> int:
        nonlocal on
        on = engine()
        workload.work(steps, on)
        return steps

    def cold() -> int:
        workload.work(slow, engine(hot=False))
        return slow

    warm_up(workload.yardstick)
    hot(), cold(), workload.yardstick(loops)
    rates = [(rate(hot), rate(cold), rate(lambda: workload.yardstick(loops))) for _ in range(rounds)]
    ratio = statistics.median(h * NODES[name] / p for h, _, p in rates)
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    return Row(name, *medians, ratio, on.stats, steps)


def tiers_wrong(row: Row) -> str:
    """Returns what the counters say against the claim that no step after the second is cold or warm.

    A run of two steps is the beginning of every longer one. If the long run has no more cold and warm steps than the
    short one has, all of them lie within those two.
    """
    short = engine()
    WORKLOADS[row.name].work(1, short)  # one step, and the one that ends the countdown
    first, all_ = short.stats.cold + short.stats.warm, row.stats.cold + row.stats.warm
    if short.stats.steps != 2:
        return f"{TITLES[row.name]}: the first two steps were counted as {short.stats.steps}"
    if all_ > first:
        return f"{TITLES[row.name]}: {all_ - first} steps after the second were cold or warm: {row.stats}"
    if row.stats.steps != row.steps + 1:
        return f"{TITLES[row.name]}: {row.steps + 1} steps were made, {row.stats.steps} counted: {row.stats}"
    return ""


def inner_calls(steps: int) -> int:
    """Returns how often ``noop`` was called in a heavy run of so many steps."""
    with counted(noop) as calls:
        WORKLOADS["heavy"].work(steps, engine())
    return calls[0]


def problems(row: Row) -> list[str]:
    """Returns what is wrong with a row: its tiers, its speed, its gain over a run without the hot tier."""
    title, floor = TITLES[row.name], FLOORS[row.name]
    found = [tiers_wrong(row)]
    if row.hot < floor:
        found.append(f"{title}: {row.hot:,.0f} steps/s are short of {floor:,}")
    if row.hot < GAIN * row.cold:
        found.append(f"{title}: hot is {row.hot / row.cold:.1f} times as fast as hot=False, not {GAIN} times")
    return [text for text in found if text]


def show(row: Row) -> None:
    print(
        f"{TITLES[row.name]:<24} {row.hot:>12,.0f} {row.cold:>12,.0f} {row.hot / row.cold:>7.0f} x"
        f" {row.plain:>14,.0f} {row.ratio:>12.3f}"
    )


def show_plain(scale: float, rounds: int) -> None:
    print("\nplain loops, steps/s")
    loops: list[tuple[Callable[[int], int], int]] = [(trampoline, 300_000), (coroutine, 300_000), (sleep0, 30_000)]
    for yardstick, size in loops:
        n = max(int(size * scale), 10)
        warm_up(yardstick)
        median = statistics.median(rate(lambda y=yardstick, n=n: y(n)) for _ in range(rounds))
        print(f"{yardstick.__name__:<24} {median:>12,.0f}")


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of steps")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {ROUNDS} for figures to be quoted")
    options = parser.parse_args(arguments)
    wrong = need_compiled()
    if wrong:
        print(f"tco_performance: {wrong}", file=sys.stderr)
        return 1

    header = f"{'steps/s, median':<24} {'hot':>12} {'hot=False':>12} {'gain':>9} {'plain loop':>14} {'nodes ratio':>12}"
    print(header)
    rows = [measure(name, options.scale, options.rounds) for name in TITLES]
    for row in rows:
        show(row)
    show_plain(options.scale, options.rounds)

    print("\ntiers, steps of one run")
    for row in rows:
        s = row.stats
        print(f"{TITLES[row.name]:<24} cold {s.cold}, warm {s.warm}, hot {s.hot:,}, nodes {s.nodes:,}")
    found = [text for row in rows for text in problems(row)]
    steps = rows[-1].steps
    calls = inner_calls(steps)
    print(f"{TITLES['heavy']:<24} {calls:,} inner calls in {steps:,} steps: {calls / steps:g} a step")
    if calls != steps * INNER_CALLS:
        found.append(f"heavy_complex_countdown: {calls:,} inner calls in {steps:,} steps, not {INNER_CALLS} a step")

    for text in found:
        print(f"tco_performance: {text}", file=sys.stderr)
    if not found:
        print("\nno step after the second was cold or warm; every floor is reached")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
