"""What does it cost a hot loop to be observed? Counted in machine instructions, with valgrind.

    python benchmarks/observation.py        about three minutes, most of which Python takes to start under valgrind

A loop of ``simple`` steps runs in processes of their own, for a shorter and for a longer while, so that the difference
has neither the start of Python nor the first, cold step. Three of its costs are told apart, with a subscriber to
``LoopProgress`` and without one:

    a step      where no control point is ever due; nobody looks at the clock
    a yield     one control point: others run, and whatever has changed takes effect
    an event    of a subscriber that is told at each control point

A loop yields a thousand times a second and tells of its progress ten times. With the steps that it makes in a second on
this machine, counted without valgrind, that gives what a subscriber costs, as a part of all instructions. Exit status 1
if that is 3% or more. Where valgrind is missing, nothing can be counted: the program says so and ends with status 0.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import need_compiled
from benchmarks.workloads import engine, simple_countdown
from cascade.runtime.events import LoopProgress
from cascade.runtime.strategies import _runs, _telling

__all__ = ["Cost", "Count", "costs", "main", "play", "share"]

SHORT, LONG, LIMIT = 2_000, 12_000, 0.03
YIELDS_PER_SECOND, EVENTS_PER_SECOND = 1_000, 10
NEVER = 3600.0  # seconds


@dataclass(frozen=True)
class Count:
    """What a process did, and in how many instructions."""

    steps: int
    yields: int
    events: int
    instructions: int = 0

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.steps - other.steps,
            self.yields - other.yields,
            self.events - other.events,
            self.instructions - other.instructions,
        )


@dataclass(frozen=True)
class Cost:
    """Instructions of a step, of a yield, and of an event on top of a yield."""

    step: float
    yield_: float
    event: float = 0.0


def play(steps: int, quantum: float, interval: float, subscribed: bool) -> Count:
    """Runs a loop of so many steps that yields after each quantum and tells of its progress after each interval."""
    _runs._SHARED_QUANTUM = _runs._MINIMUM_QUANTUM = quantum
    _runs.PROGRESS_INTERVAL = _telling.PROGRESS_INTERVAL = interval
    on, events = engine(), [0]

    def hear(event: LoopProgress) -> None:
        events[0] += 1

    if subscribed:
        on.bus.subscribe(LoopProgress, hear)
    assert asyncio.run(on.run(simple_countdown(steps))) == "done"
    return Count(on.stats.steps, on.stats.yields, events[0])


def counted(steps: int, quantum: float, interval: float, subscribed: bool) -> Count:
    """Plays in a process of its own, under valgrind."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        size = [f"--steps={steps}", f"--quantum={quantum}", f"--interval={interval}"]
        child = [sys.executable, __file__, *size, *(["--subscribed"] if subscribed else [])]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run([*valgrind, *child], env=environment, capture_output=True, text=True, check=True)
    collected = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    assert collected is not None, done.stderr
    return Count(**{**json.loads(done.stdout), "instructions": int(collected[1])})


def longer(short: int, long: int, quantum: float, interval: float, subscribed: bool) -> Count:
    """Returns what the longer of two runs does more than the shorter."""
    return counted(long, quantum, interval, subscribed) - counted(short, quantum, interval, subscribed)


def costs(short: int, long: int, subscribed: bool) -> Cost:
    """Counts the instructions of a step, of a yield and of an event."""
    hurried = short // 10, long // 10
    unhurried = longer(short, long, NEVER, NEVER, subscribed)
    step = unhurried.instructions / unhurried.steps
    hasty = longer(*hurried, 0.0, NEVER, subscribed)
    yield_ = (hasty.instructions - step * hasty.steps) / hasty.yields
    if not subscribed:
        return Cost(step, yield_)
    told = longer(*hurried, 0.0, 0.0, subscribed)
    event = (told.instructions - step * told.steps - yield_ * told.yields) / told.events
    return Cost(step, yield_, event)


def share(alone: Cost, observed: Cost, steps_per_second: float) -> float:
    """Returns the part of a loop's instructions that a subscriber adds."""
    added = steps_per_second * (observed.step - alone.step)
    added += YIELDS_PER_SECOND * (observed.yield_ - alone.yield_) + EVENTS_PER_SECOND * observed.event
    return added / (steps_per_second * alone.step + YIELDS_PER_SECOND * alone.yield_)


def steps_per_second(steps: int) -> float:
    """Returns the steps that a loop makes in a CPU second without valgrind."""
    rates = []
    for _ in range(7):
        began = time.process_time()
        play(steps, 1e-3, 0.1, False)
        rates.append(steps / (time.process_time() - began))
    return sorted(rates)[len(rates) // 2]


def why_not() -> str:
    """Returns why nothing can be counted here; empty if it can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed, so instructions cannot be counted"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs, whose figures are not to be quoted")
    parser.add_argument("--steps", type=int, help="of one loop, in this process; prints what it did as JSON")
    parser.add_argument("--quantum", type=float, default=1e-3)
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--subscribed", action="store_true")
    options = parser.parse_args(arguments)
    if options.steps is not None:
        gc.disable()  # it would come at other moments where there are a few objects more
        done = play(options.steps, options.quantum, options.interval, options.subscribed)
        print(json.dumps({"steps": done.steps, "yields": done.yields, "events": done.events}))
        return 0
    wrong = need_compiled()
    if wrong:
        print(f"observation: {wrong}", file=sys.stderr)
        return 1
    if why_not():
        print(f"observation: skipped, {why_not()}")
        return 0
    return report(options.quick)


def report(quick: bool) -> int:
    """Counts, prints and judges."""
    short, long = (500, 1_500) if quick else (SHORT, LONG)
    alone, observed = costs(short, long, False), costs(short, long, True)
    speed = steps_per_second(200 * long // 12)
    part = share(alone, observed, speed)
    print(f"{'instructions':<14} {'nobody listens':>14} {'a subscriber':>14}")
    print(f"{'a step':<14} {alone.step:>14,.1f} {observed.step:>14,.1f}")
    print(f"{'a yield':<14} {alone.yield_:>14,.0f} {observed.yield_:>14,.0f}")
    print(f"{'an event':<14} {'-':>14} {observed.event:>14,.0f}")
    print(f"\n{speed:,.0f} steps a second: a subscriber costs {part:.3%} of a loop's instructions (limit {LIMIT:.0%})")
    if part >= LIMIT:
        print(f"observation: a subscriber costs {part:.2%}, not less than {LIMIT:.0%}", file=sys.stderr)
    return 1 if part >= LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
