"""What do ten thousand endless loops in one engine cost: memory of each, throughput of all, waiting for control?

    python benchmarks/many_loops.py                          about a minute and a half
    python benchmarks/many_loops.py --loops 1000 --seconds 2 --kind sync

One row for each kind of loop, each measured in a process of its own:

    sync     a task that returns a call of itself            async    the same as a coroutine function
    turning  a coroutine task that awaits a turn of the event loop in each step      mixed    a third of each

    memory      bytes that a loop adds to the resident size of the process (judged), and of them what Python's
                allocator has handed out (by tracemalloc, in another process still, since tracing takes memory too)
    throughput  steps per CPU second of all loops together, as a ratio to that of one such loop alone
    worst       the longest that anybody had to wait, wall clock: for a turn of the event loop, a timer of a millisecond
                (its lateness), a run's first progress event after subscribing, a cancelled loop to end, a paused one to
                stand still and, resumed, to go on
    shutdown    from the first of the cancellations of all loops until the last of them has ended, wall clock

Exit status 1 if a figure misses its limit three times; a busy neighbour does not stay for ever, a defect does.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cascade as cs
from benchmarks.measure import need_compiled
from benchmarks.workloads import engine
from cascade.runtime.events import LoopProgress, TaskBlocked
from cascade.spec.constraint import GlobalConstraint

__all__ = ["KINDS", "Figures", "main", "measure", "missed"]

LOOPS, SECONDS, TRIES = 10_000, 4.0, 3
MEMORY, THROUGHPUT, WORST, SHUTDOWN = 8_192, 0.6, 1.0, 1.0
#: Attempts of each kind of control, and loops that are there to be controlled.
CONTROLS = 20


@cs.task
def loop(n: int) -> Any:
    return loop(n + 1)


@cs.task
async def async_loop(n: int) -> Any:
    return async_loop(n + 1)


@cs.task
async def turning_loop(n: int) -> Any:
    await asyncio.sleep(0)
    return turning_loop(n + 1)


KINDS = {
    "sync": (loop,),
    "async": (async_loop,),
    "turning": (turning_loop,),
    "mixed": (loop, async_loop, turning_loop),
}


@dataclass(frozen=True)
class Figures:
    """What was measured of one kind of loop; times in seconds, memory in bytes a loop."""

    kind: str
    loops: int
    resident: float
    traced: float
    throughput: float
    waits: dict[str, float]
    shutdown: float
    shutdown_cpu: float
    launch: float

    @property
    def worst(self) -> float:
        """The longest of the waits."""
        return max(self.waits.values())


def missed(figures: Figures) -> list[str]:
    """Returns the limits that were missed."""
    found = []
    if figures.resident > MEMORY:
        found.append(f"{figures.kind}: {figures.resident:,.0f} bytes a loop, not {MEMORY:,}")
    if figures.throughput < THROUGHPUT:
        found.append(f"{figures.kind}: {figures.throughput:.2f} of the throughput of one loop, not {THROUGHPUT}")
    for name, wait in figures.waits.items():
        if wait > WORST:
            found.append(f"{figures.kind}: {name} took {wait:.2f} s, not {WORST:g} s")
    if figures.shutdown > SHUTDOWN:
        found.append(f"{figures.kind}: shutdown took {figures.shutdown:.2f} s, not {SHUTDOWN:g} s")
    return found


def resident() -> int:
    """Returns the resident size of this process in bytes."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


async def rates(on: Any, kinds: int, seconds: float) -> list[float]:
    """Returns the steps in a CPU second of this process, by kind: the runs of an engine are of each kind in turn."""

    def steps() -> list[int]:
        found = [one.steps for one in on.graph_strategy.running_stats()]
        return [sum(found[kind::kinds]) for kind in range(kinds)]

    before, began = steps(), time.process_time()
    await asyncio.sleep(seconds)
    spent = time.process_time() - began
    return [(now - then) / spent for now, then in zip(steps(), before, strict=True)]


async def rates_alone(kind: str, seconds: float) -> list[float]:
    """Returns the steps per CPU second of one loop of each task of a kind, while there is no other."""
    found = []
    for task in KINDS[kind]:
        on = engine()
        running = asyncio.ensure_future(on.run(task(0)))
        await asyncio.sleep(0.01)
        found += await rates(on, 1, seconds)
        await end([running])
    return found


async def end(runs: list[asyncio.Task[Any]]) -> None:
    """Cancels runs and awaits them; each must have been cancelled."""
    for run in runs:
        run.cancel()
    await asyncio.wait(runs)
    assert all(run.cancelled() for run in runs)


# ----------------------------------------------------------------------------------------------------------- controls


class Victim:
    """An endless loop of a task that has a name of its own."""

    def __init__(self, number: int) -> None:
        self.name = f"victim {number}"
        self.began = 0.0  # when its function was called last
        self.steps: asyncio.Queue[float] | None = None  # when it is called next, if somebody waits for that
        self.task: Any = cs.task(self._step, name=self.name)

    def _step(self, n: int) -> Any:
        self.began = time.perf_counter()
        if self.steps is not None:
            self.steps.put_nowait(self.began)
            self.steps = None
        return self.task(n + 1)


async def wait_for_turn(on: Any, victims: list[Victim]) -> float:
    """Returns how long a turn of the event loop takes."""
    began = time.perf_counter()
    await asyncio.sleep(0)
    return time.perf_counter() - began


async def wait_for_timer(on: Any, victims: list[Victim]) -> float:
    """Returns how late a timer is."""
    began = time.perf_counter()
    await asyncio.sleep(0.001)
    return time.perf_counter() - began - 0.001


async def wait_for_progress(on: Any, victims: list[Victim]) -> float:
    """Returns how long a new subscriber waits for an event."""
    heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def hear(event: LoopProgress) -> None:
        if not heard.done():
            heard.set_result(time.perf_counter())

    began = time.perf_counter()
    on.bus.subscribe(LoopProgress, hear)
    return await heard - began


async def wait_for_pause(on: Any, victims: list[Victim]) -> float:
    """Returns how long a loop goes on after it was paused, or stands still after that: the longer of both."""
    victim, manager = victims.pop(), on.constraint_manager
    blocked = asyncio.Event()
    on.bus.subscribe(TaskBlocked, lambda event: blocked.set() if event.task_name == victim.name else None)
    paused = time.perf_counter()
    manager.update_constraint(GlobalConstraint(victim.name, f"task:{victim.name}", "pause", {}))
    await blocked.wait()  # the loop says so in its next turn, which may be far away
    steps: asyncio.Queue[float] = asyncio.Queue()
    stopped, victim.steps = victim.began, steps
    resumed = time.perf_counter()
    manager.remove_constraints_by_scope(f"task:{victim.name}")
    return max(stopped - paused, await steps.get() - resumed)


CONTROL: dict[str, Callable[[Any, list[Victim]], Any]] = {
    "a turn": wait_for_turn,
    "a timer": wait_for_timer,
    "an event": wait_for_progress,
    "a pause": wait_for_pause,
}


async def waits_of(on: Any, victims: list[Victim], runs: list[asyncio.Task[Any]], controls: int) -> dict[str, float]:
    """Returns the longest wait for each kind of control, and takes away the runs that were cancelled."""
    waits = {name: max([await wait(on, victims) for _ in range(controls)]) for name, wait in CONTROL.items()}
    cancellations = []
    for _ in range(controls):
        began = time.perf_counter()
        await end([runs.pop(len(runs) // 2)])
        cancellations.append(time.perf_counter() - began)
    return {**waits, "a cancellation": max(cancellations)}


async def measure(kind: str, loops: int, seconds: float, controls: int = CONTROLS) -> Figures:
    """Measures so many loops of a kind in the event loop that is running."""
    alone = [await rates_alone(kind, seconds / 4)]
    on = engine()
    gc.collect()
    before, began = resident(), time.perf_counter()
    runs = await begin(on, kind, loops)
    launch = time.perf_counter() - began
    gc.collect()
    size = resident() - before
    together = await rates(on, len(KINDS[kind]), seconds)
    victims = [Victim(number) for number in range(controls)]
    runs += [asyncio.ensure_future(on.run(victim.task(0))) for victim in victims]
    waits = await waits_of(on, victims, runs, controls)
    began, cpu = time.perf_counter(), time.process_time()
    await end(runs)
    shutdown, cpu = time.perf_counter() - began, time.process_time() - cpu
    alone.append(await rates_alone(kind, seconds / 4))
    # What a CPU second achieves, in seconds that one loop alone would have needed for it.
    ratio = sum(rate / statistics.mean(lone) for rate, lone in zip(together, zip(*alone, strict=True), strict=True))
    return Figures(kind, loops, size / loops, 0.0, ratio, waits, shutdown, cpu, launch)


async def traced(kind: str, loops: int) -> float:
    """Returns the bytes that Python's allocator hands out for each loop."""
    on = engine()
    tracemalloc.start()
    try:
        runs = await begin(on, kind, loops)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    await end(runs)
    return size / loops


async def begin(on: Any, kind: str, loops: int) -> list[asyncio.Task[Any]]:
    """Starts loops and waits until each has had several turns: by then it has all that it will ever have."""
    tasks = KINDS[kind]
    runs = [asyncio.ensure_future(on.run(tasks[i % len(tasks)](0))) for i in range(loops)]
    while True:
        running = on.graph_strategy.running_stats()
        if len(running) == loops and min(one.steps for one in running) > 3:
            return runs
        await asyncio.sleep(0.25)  # to ask all of them takes a while, too


# ------------------------------------------------------------------------------------------------------------- program


def apart(kind: str, options: argparse.Namespace) -> Figures:
    """Measures a kind in two processes, one of them for memory as Python's allocator sees it."""

    def child(*more: str) -> Any:
        size = ["--loops", str(options.loops), "--seconds", str(options.seconds), "--controls", str(options.controls)]
        command = [sys.executable, __file__, "--kind", kind, *size, "--here", *more]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    return Figures(**{**child(), "traced": child("--trace")["traced"]})


def show(one: Figures) -> None:
    print(
        f"{one.kind:<8} {one.resident:>10,.0f} {one.traced:>8,.0f} {one.throughput:>11.2f}"
        f" {one.worst * 1e3:>10,.1f} {one.shutdown * 1e3:>12,.0f} {one.shutdown_cpu * 1e3:>8,.0f} {one.launch:>9.2f}"
    )


def show_limits() -> None:
    print(
        f"{'limit':<8} {MEMORY:>10,} {'':>8} {THROUGHPUT:>11.2f}"
        f" {WORST * 1e3:>10,.1f} {SHUTDOWN * 1e3:>12,.0f} {'':>8} {'':>9}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=LOOPS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for which throughput is measured")
    parser.add_argument("--controls", type=int, default=CONTROLS, help="attempts of each kind of control")
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="only this; may be repeated")
    parser.add_argument("--here", action="store_true", help="in this process, and print JSON")
    parser.add_argument("--trace", action="store_true", help="only the memory that tracemalloc sees")
    options = parser.parse_args(arguments)
    wrong = need_compiled()
    if wrong:
        print(f"many_loops: {wrong}", file=sys.stderr)
        return 1
    kinds = options.kind or [*KINDS]
    if options.here and options.trace:
        print(json.dumps({"traced": asyncio.run(traced(kinds[0], options.loops))}))
        return 0
    if options.here:
        print(json.dumps(asdict(asyncio.run(measure(kinds[0], options.loops, options.seconds, options.controls)))))
        return 0

    print(f"{options.loops:,} endless loops in one engine; bytes a loop, milliseconds, seconds")
    print(
        f"{'loops':<8} {'resident':>10} {'traced':>8} {'throughput':>11}"
        f" {'worst wait':>10} {'shutdown':>12} {'of CPU':>8} {'launch, s':>9}"
    )
    show_limits()
    found: list[str] = []
    for kind in kinds:
        found += judged(kind, options)
    for text in found:
        print(f"many_loops: {text}", file=sys.stderr)
    return 1 if found else 0


def judged(kind: str, options: argparse.Namespace) -> list[str]:
    """Measures a kind until it keeps its limits, at most ``TRIES`` times, and returns those that it misses."""
    wrong: list[str] = []
    for _ in range(TRIES):
        figures = apart(kind, options)
        show(figures)
        print("         " + ", ".join(f"{name} {wait * 1e3:,.1f} ms" for name, wait in figures.waits.items()))
        wrong = missed(figures)
        if not wrong:
            break
    return wrong


if __name__ == "__main__":
    sys.exit(main())
