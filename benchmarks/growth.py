"""Does a node cost more in a large expression, or a step more in a long loop, and does a loop leave memory behind?

    python benchmarks/growth.py                     measures all and draws pictures: some minutes
    python benchmarks/growth.py --check             draws nothing; exit status 1 if something grows more than it may
    python benchmarks/growth.py --quick --only nodes

Costs are ratios: trampoline steps per node or step, both timed in this process in turn. See ``sizes`` and ``lengths``
for what is measured. What ``--check`` finds too high is measured again before it counts: what grows, grows every time.

    nodes   running a node of 1,000,000 costs at most 1.5 times what it costs among 1,000; so does writing, running and
            freeing it without garbage collector, in units of what plain Python needs for an expression of the same size
            and shape, as so much memory is slower for any program; with collector it grows no more than in plain Python
    steps   a step of the longest loop costs at most 5% more than one of a loop of 100,000 steps (of a tenth of the
            longest, if that is shorter), and so does a step of the last tenth of it
    memory  the last nine tenths of the longest loop add at most half a megabyte to the resident size
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.drawing import draw_nodes, draw_steps, need_matplotlib
from benchmarks.lengths import LOOPS, Length, lengths_of
from benchmarks.measure import need_compiled, warm_up
from benchmarks.sizes import SHAPES, SIZES, Cost, cost_of
from benchmarks.yardsticks import trampoline

__all__ = ["main", "too_costly", "too_long", "too_much"]

PICTURES = Path(__file__).with_name("pictures")
#: What a node may cost in the largest expression, in units of what it costs in one of ``BASE`` nodes.
PER_NODE, BASE = 1.5, 1_000
#: The same in units of plain Python, both with garbage collector.
IN_PLAIN = 1.0
#: The same of a step in the longest loop, against one of ``SHORT`` steps.
PER_STEP, SHORT = 1.05, 100_000
#: Bytes that the last nine tenths of a loop may add.
ALLOWED = 512 * 1024
#: How often a row is measured before it counts as grown.
TRIES = 3
#: With ``--quick``: nodes and steps at most, to see that it works.
QUICK = 1_000

Costs = Mapping[int, Cost]


# ------------------------------------------------------------------------------------------------------------ judging


def too_costly(costs: Costs) -> list[str]:
    """Returns what is wrong with the costs per node of one shape."""
    last = max(costs)
    base, large = costs[min(BASE, last)], costs[last]
    ratios = {
        "running a node": (large.run / base.run, PER_NODE),
        "writing, running and freeing it, in units of plain Python,": (large.in_plain / base.in_plain, IN_PLAIN),
        "the same without collector": (large.in_plain_alone / base.in_plain_alone, PER_NODE),
    }
    return [
        f"{what} costs {ratio:.2f} times as much among {last:,} as among {BASE:,}"
        for what, (ratio, limit) in ratios.items()
        if not ratio <= limit
    ]


def too_long(lengths: Iterable[Length]) -> list[str]:
    """Returns what is wrong with the costs per step of one loop."""
    *others, last = lengths
    base = max((one for one in others if one.steps <= SHORT), key=lambda one: one.steps, default=last)
    costs = {f"of {last.steps:,}": last.cost, f"of the last tenth of {last.steps:,}": last.late}
    return [
        f"a step {which} costs {cost / base.cost:.3f} times one of {base.steps:,}"
        for which, cost in costs.items()
        if not cost <= PER_STEP * base.cost
    ]


def too_much(lengths: Iterable[Length]) -> list[str]:
    """Returns what is wrong with the memory of one loop."""
    *_, last = lengths
    if last.growth <= ALLOWED:
        return []
    return [f"the last nine tenths of {last.steps:,} steps added {last.growth / 1024:,.0f} KB"]


# ---------------------------------------------------------------------------------------------------------- measuring


def measure_nodes(name: str, options: argparse.Namespace) -> tuple[Costs, list[str]]:
    """Measures a shape, prints its rows, and says what is wrong with them."""
    limit = QUICK if options.quick else SIZES[-1]
    costs: dict[int, Cost] = {}
    for n in (size for size in SIZES if size <= limit):
        costs[n] = cost = cost_of(name, n, 1, n) if options.quick else cost_of(name, n, 3 if n > SHORT else 7)
        columns = (
            *(cost.write, cost.run, cost.free, cost.whole, cost.plain, cost.in_plain),
            *(cost.alone, cost.plain_alone, cost.in_plain_alone),
        )
        print(f"{name:<8} {n:>9,} " + " ".join(f"{column:9.2f}" for column in columns), flush=True)
    return costs, too_costly(costs)


def measure_steps(name: str, options: argparse.Namespace) -> tuple[list[Length], list[str]]:
    """Measures a loop, prints its rows, and says what is wrong with them."""
    lengths = lengths_of(LOOPS[name], QUICK if options.quick else None)
    for one in lengths:
        low, high = min(one.resident) / 2**20, max(one.resident) / 2**20
        print(
            f"{name:<8} {one.steps:>11,} {one.cost:9.3f} {one.late:9.3f} {low:9.1f} {high:9.1f}"
            f" {one.growth / 1024:9.1f}",
            flush=True,
        )
    return lengths, [*too_long(lengths), *too_much(lengths)]


def in_order(name: str, measure: Callable[..., tuple[Any, list[str]]], options: argparse.Namespace) -> tuple[Any, int]:
    """Measures, with ``--check`` again where something is wrong; returns what was measured and how much is wrong."""
    for _ in range(TRIES if options.check else 1):
        found, wrong = measure(name, options)
        if not wrong:
            break
    if options.check:
        for text in wrong:
            print(f"growth: {name}: {text}", file=sys.stderr)
    return found, len(wrong)


def part(names: Iterable[str], measure: Any, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Measures all rows of a part; returns them by name and how much is wrong."""
    rows = {name: in_order(name, measure, options) for name in names}
    return {name: found for name, (found, _) in rows.items()}, sum(wrong for _, wrong in rows.values())


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints, draws or judges, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="judge and draw nothing")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--only", choices=["nodes", "steps"], help="this part")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="the directory for the pictures")
    options = parser.parse_args(arguments)
    wrong = need_compiled()
    if wrong:
        print(f"growth: {wrong}", file=sys.stderr)
        return 1
    if not options.check:
        need_matplotlib()
    warm_up(trampoline)
    failed = 0
    # Loops first: what large expressions leave free in the heap would hide what a loop takes.
    if options.only != "nodes":
        print("trampoline steps per step:   run last tenth  from MB     to MB  added KB")
        loops, failed = part(LOOPS, measure_steps, options)
        if not options.check:
            draw_steps(loops, options.pictures / "steps.png")
    if options.only != "steps":
        print(f"{'trampoline steps per node:':<57}|{'with collector':^29}|{'without collector':^30}")
        titles = ("write", "run", "free", *("whole", "plain", "in plain") * 2)
        print(f"{'':<18} " + " ".join(f"{title:>9}" for title in titles))
        shapes, more = part(SHAPES, measure_nodes, options)
        failed += more
        if not options.check:
            draw_nodes(shapes, options.pictures / "nodes.png")
    if options.check and not failed:
        print("growth: nothing grows more than it may")
    return 1 if options.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
