"""Do the bars hold with other names, arities and types of arguments?

    python benchmarks/variety.py                     the table; exit status 1 if a row falls short of its family's bar
    python benchmarks/variety.py --only async --rounds 9

A row below its bar is measured again before it counts. Times are CPU times of this thread. Still a quiet core is needed
for figures to be quoted: a run lets others run once in a millisecond, and where it gets but a part of each millisecond,
it pays for that more often (a tenth of its speed beside twelve busy processes on two cores).
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import ROUNDS, need_compiled, warm_up
from benchmarks.varieties import BARS, VARIETIES, Variety

__all__ = ["main", "ratio_of"]

#: Steps of a yardstick: some 10 ms.
STEPS = 100_000
#: How often a row may try to reach its bar.
TRIES = 3


def rate(work: Callable[[int], int], size: int) -> float:
    """Returns units per second of this thread's CPU time."""
    gc.collect()
    start = thread_time()
    units = work(size)
    return units / (thread_time() - start)


def ratio_of(variety: Variety, rounds: int, small: bool = False) -> float:
    """Returns the best of the tries that it takes to reach the bar."""
    size, steps = (variety.small, STEPS // 100) if small else (variety.size, STEPS)
    warm_up(variety.yardstick)
    variety.work(size), variety.yardstick(steps)
    best = 0.0
    for _ in range(TRIES):
        pairs = [(rate(variety.work, size), rate(variety.yardstick, steps)) for _ in range(rounds)]
        best = max(best, statistics.median(ours / plain for ours, plain in pairs))
        if best >= variety.bar:
            break
    return best


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=sorted(BARS), help="this family; may be repeated")
    parser.add_argument("--row", action="append", choices=sorted(VARIETIES), help="this row; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {ROUNDS} for figures to be quoted")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that it works")
    options = parser.parse_args(arguments)
    wrong = need_compiled()
    if wrong:
        print(f"variety: {wrong}", file=sys.stderr)
        return 1
    short = []
    chosen = [
        v
        for v in VARIETIES.values()
        if (not options.only or v.family in options.only) and (not options.row or v.name in options.row)
    ]
    for variety in chosen:
        ratio = ratio_of(variety, options.rounds, options.small)
        reached = ratio >= variety.bar
        short += [] if reached else [variety.name]
        word = "ok   " if reached else "SHORT"
        print(f"{word} {variety.name:<18} {ratio:7.3f}  bar {variety.bar:.2f}  {variety.counts}", flush=True)
    print(f"variety: {len(chosen) - len(short)} of {len(chosen)} rows reach their bar")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
