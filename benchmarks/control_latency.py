"""How soon does a running loop obey: pause, resume, a rate limit, a subscriber, a cancellation?

    python benchmarks/control_latency.py                         1,000 random instants each, some minutes
    python benchmarks/control_latency.py --instants 200 --subject program --control pause

Each attempt starts a run, lets it go on for a random while, and does one thing to it: in the event loop that it runs
in, or from another thread. Measured is the time in milliseconds,

    from    the instant: a signal, which comes between any two instructions of a function, asks the event loop to do it
            ("loop"), or another thread does it, once it has Python's lock ("thread")
    until   pause        the last call of a function of the run began
            resume       the first one began again
            limit        the last call began that the rate limit did not admit
            subscriber   it received its first event
            cancel       whoever awaits the run was told

by the wall clock and by the CPU time of the process, which leaves out what neighbours take of a busy machine. Beside it
stands the same measure of a plain Python loop that yields every millisecond and obeys whenever it does. The subjects
call functions that note when they are called; "program" is an expression of 1,000 calls, built anew in each step.

Exit status 1 if a p99 is above 5 ms in three measurements: by CPU time, or by the wall clock and there also above twice
the plain loop's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cascade as cs
from benchmarks.measure import need_compiled
from benchmarks.workloads import engine
from cascade.runtime.events import LoopProgress, TaskBlocked
from cascade.spec.constraint import GlobalConstraint

__all__ = ["CONTROLS", "SUBJECTS", "Row", "attempts", "main"]

INSTANTS, TRIES, LIMIT = 1_000, 3, 5.0  # milliseconds
#: Attempts of a subject before the plain loop has its turn.
BLOCK = 50
#: For so many seconds at most a run goes on before something is done to it.
SPAN = 0.004
NODES = 1_000


def _now() -> Stamp:
    """Returns the time by both clocks."""
    return time.monotonic(), time.process_time()


#: A moment by the wall clock and by the CPU time of the process, or how far two of them are apart.
Stamp = tuple[float, float]


def since(earlier: Stamp, later: Stamp) -> Stamp:
    """Returns how far two moments are apart."""
    return later[0] - earlier[0], later[1] - earlier[1]


class Notes:
    """When functions were called."""

    def __init__(self) -> None:
        self.last = self.last_but_one = (0.0, 0.0)
        self.first: asyncio.Future[Stamp] | None = None  # of the next call, if somebody waits for it

    def note(self) -> None:
        self.last_but_one, self.last = self.last, _now()
        if self.first is not None:
            self.first.set_result(self.last)
            self.first = None

    def next(self) -> asyncio.Future[Stamp]:
        """Returns what will be the moment of the next call."""
        self.first = asyncio.get_running_loop().create_future()
        return self.first


notes = Notes()


# ----------------------------------------------------------------------------------------------------------- subjects


@cs.task
def simple(n: int) -> Any:
    notes.note()
    return simple(n + 1)


@cs.task
async def in_coroutines(n: int) -> Any:
    notes.note()
    return in_coroutines(n + 1)


@cs.task
def noop(_dummy: Any = None) -> None:
    notes.note()


@cs.task
def heavy(n: int, _dummy: Any = None) -> Any:
    notes.note()
    dep = noop()
    for _ in range(10):
        dep = noop(_dummy=dep)
    return heavy(n + 1, _dummy=dep)


@cs.task
def node(x: int, y: int) -> int:
    notes.note()
    return (x + y + sum(range(50))) % 1_000_007


@cs.task
def program(*values: int) -> Any:
    """Each step is an expression of 1,000 calls in 25 layers of 40."""
    notes.note()
    layer = [node(n, n) for n in range(40)]
    for _ in range(NODES // 40 - 1):
        layer = [node(layer[n], layer[n - 1]) for n in range(40)]
    return program(*layer)


#: What is run: targets, by name.
SUBJECTS: dict[str, Callable[[], Any]] = {
    "simple": lambda: simple(0),
    "async": lambda: in_coroutines(0),
    "heavy": lambda: heavy(0),
    "program": lambda: program(),
}


class Engine:
    """A subject in an engine of its own."""

    def __init__(self, name: str) -> None:
        self.on, self.target = engine(), SUBJECTS[name]
        self.blocked: asyncio.Future[Stamp] | None = None
        self.on.bus.subscribe(TaskBlocked, self._hear)

    def _hear(self, event: TaskBlocked) -> None:
        if self.blocked is not None and not self.blocked.done():
            self.blocked.set_result(_now())

    def run(self) -> Awaitable[Any]:
        self.blocked = asyncio.get_running_loop().create_future()
        return self.on.run(self.target())

    async def warm_up(self) -> None:
        """Lets the engine see everything once: what is measured are loops that are running hot."""
        run = asyncio.ensure_future(self.run())
        while self.on.stats.hot < 3:  # noqa: ASYNC110 - nobody tells of hot steps
            await asyncio.sleep(0.001)
        run.cancel()
        await asyncio.wait([run])

    def constrain(self, kind: str, **params: Any) -> None:
        self.on.constraint_manager.update_constraint(GlobalConstraint(kind, "global", kind, params))

    def pause(self) -> None:
        self.constrain("pause")

    def limit(self) -> None:
        self.constrain("rate_limit", rate="10/s", capacity=1)

    def lift(self) -> None:
        self.on.constraint_manager.remove_constraints_by_scope("global")

    def subscribe(self, hear: Callable[[Any], None]) -> None:
        self.on.bus.subscribe(LoopProgress, hear)


class Plain:
    """The yardstick: a Python loop that yields every millisecond, and does what it is told whenever it does.

    It gives Python's lock away, too: an event loop that only turns lets no thread have it for seconds.
    """

    def __init__(self, name: str) -> None:
        self.blocked: asyncio.Future[Stamp] | None = None
        self._paused, self._limited = False, False
        self._listeners: list[Callable[[Any], None]] = []

    async def warm_up(self) -> None:
        """Needs none."""

    async def run(self) -> None:
        self._loop, self._go_on = asyncio.get_running_loop(), asyncio.Event()
        self.blocked = self._loop.create_future()
        while True:
            until = time.monotonic() + 0.001
            while time.monotonic() < until:
                notes.note()
            await asyncio.sleep(0)
            time.sleep(1e-5)  # noqa: ASYNC251
            while self._listeners:
                self._listeners.pop()(None)
            if self._limited:
                notes.note()  # the one call that is admitted
            if self._paused or self._limited:
                self.blocked.set_result(_now())
                await self._go_on.wait()
                self._go_on.clear()

    def pause(self) -> None:
        self._paused = True

    def limit(self) -> None:
        self._limited = True

    def lift(self) -> None:
        self._paused = self._limited = False
        self._loop.call_soon_threadsafe(self._go_on.set)

    def subscribe(self, hear: Callable[[Any], None]) -> None:
        self._listeners.append(hear)


# ----------------------------------------------------------------------------------------------------------- controls

#: Does something at a random instant, and returns that.
Act = Callable[[Callable[[], Any]], Awaitable[Stamp]]

_thread = ThreadPoolExecutor(1)


async def in_the_event_loop(action: Callable[[], Any]) -> Stamp:
    """Acts as soon as the event loop is free, after a signal has asked for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Stamp] = loop.create_future()

    def act(instant: Stamp) -> None:
        action()
        done.set_result(instant)

    # The event loop then wakes up: a signal that comes when it is about to sleep would wait for the next one otherwise.
    loop.add_signal_handler(signal.SIGALRM, lambda: None)
    signal.signal(signal.SIGALRM, lambda *_: loop.call_soon_threadsafe(act, _now()))
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, SPAN))
    return await done


async def in_another_thread(action: Callable[[], Any]) -> Stamp:
    """Acts from a thread that the event loop knows nothing of."""

    def act() -> Stamp:
        time.sleep(random.uniform(0.0, SPAN))
        instant = _now()
        action()
        return instant

    return await asyncio.get_running_loop().run_in_executor(_thread, act)


CALLERS: dict[str, Act] = {"loop": in_the_event_loop, "thread": in_another_thread}


async def pause(subject: Any, act: Act, run: asyncio.Task[Any]) -> dict[str, Stamp]:
    """Pauses a run, and resumes it."""
    paused = await act(subject.pause)
    await subject.blocked
    stopped, first = notes.last, notes.next()
    resumed = await act(subject.lift)
    return {"pause": since(paused, stopped), "resume": since(resumed, await first)}


async def limit(subject: Any, act: Act, run: asyncio.Task[Any]) -> dict[str, Stamp]:
    """Lets a run go on at a low rate."""
    limited = await act(subject.limit)
    await subject.blocked
    unlimited = notes.last_but_one
    subject.lift()
    return {"limit": since(limited, unlimited)}


async def subscriber(subject: Any, act: Act, run: asyncio.Task[Any]) -> dict[str, Stamp]:
    """Listens to a run."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[Stamp] = loop.create_future()

    def hear(event: Any) -> None:
        if not heard.done():
            heard.set_result(_now())

    subscribed = await act(lambda: subject.subscribe(hear))
    return {"subscriber": since(subscribed, await heard)}


async def cancel(subject: Any, act: Act, run: asyncio.Task[Any]) -> dict[str, Stamp]:
    """Cancels a run."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Stamp] = loop.create_future()

    async def wait() -> None:
        await asyncio.wait([run])
        told.set_result(_now())

    waiting = asyncio.ensure_future(wait())
    cancelled = await act(lambda: loop.call_soon_threadsafe(run.cancel))
    await waiting
    return {"cancel": since(cancelled, await told)}


#: What is done, by the first of the names that it is measured under.
CONTROLS = {"pause": pause, "limit": limit, "subscriber": subscriber, "cancel": cancel}


async def attempts(make: Callable[[str], Any], subject: str, control: str, caller: str, count: int) -> Samples:
    """Does something to so many runs of a subject; returns how late each was."""
    on, found = make(subject), {}
    await on.warm_up()
    for _ in range(count):
        first = notes.next()
        run = asyncio.ensure_future(on.run())
        await first
        for name, late in (await CONTROLS[control](on, CALLERS[caller], run)).items():
            found.setdefault(name, []).append(late)
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled(), f"{subject} ended: {run}"
    return found


Samples = dict[str, list[Stamp]]


# ------------------------------------------------------------------------------------------------------------- program


@dataclass(frozen=True)
class Row:
    """How late a subject is, and the plain loop beside it."""

    name: str
    late: list[Stamp]
    plain: list[Stamp]

    @property
    def passed(self) -> bool:
        """Whether the p99 keeps the limit by CPU time, and by the wall clock unless the plain loop is late too."""
        wall = max(LIMIT, 2 * part_of(self.plain, WALL, 0.99))
        return part_of(self.late, CPU, 0.99) <= LIMIT and part_of(self.late, WALL, 0.99) <= wall

    def __str__(self) -> str:
        columns = [(self.late, WALL), (self.late, CPU), (self.plain, WALL)]
        figures = [part_of(late, clock, part) for late, clock in columns for part in PARTS]
        return f"{self.name:<28}" + " ".join(f"{figure:8.3f}" for figure in figures)


WALL, CPU = 0, 1
PARTS = {0.5: "p50", 0.99: "p99", 1.0: "max"}


def part_of(late: list[Stamp], clock: int, part: float) -> float:
    """Returns the milliseconds below which this part of the samples lies."""
    found = sorted(max(one[clock] * 1e3, 0.0) for one in late)
    return found[min(int(part * len(found)), len(found) - 1)]


async def measure(subject: str, control: str, caller: str, instants: int) -> list[Row]:
    """Measures a subject and the plain loop, in turn."""
    mine: Samples = {}
    plain: Samples = {}
    left = instants
    while left > 0:
        count = min(BLOCK, left)
        for make, into in ((Engine, mine), (Plain, plain)):
            for name, late in (await attempts(make, subject, control, caller, count)).items():
                into.setdefault(name, []).extend(late)
        left -= count
    return [Row(f"{name:<11} {subject:<8} {caller}", mine[name], plain[name]) for name in mine]


def judged(subject: str, control: str, caller: str, instants: int) -> list[str]:
    """Measures until the limit is kept, at most ``TRIES`` times; prints each row and returns those that failed."""
    rows: list[Row] = []
    for _ in range(TRIES):
        rows = asyncio.run(measure(subject, control, caller, instants))
        for row in rows:
            print(row, "" if row.passed else "  LATE", flush=True)
        if all(row.passed for row in rows):
            break
    return [row.name for row in rows if not row.passed]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instants", type=int, default=INSTANTS, help="attempts of each kind")
    parser.add_argument("--subject", action="append", choices=[*SUBJECTS])
    parser.add_argument("--control", action="append", choices=[*CONTROLS], help="pause includes resume")
    parser.add_argument("--caller", action="append", choices=[*CALLERS])
    options = parser.parse_args(arguments)
    wrong = need_compiled()
    if wrong:
        print(f"control_latency: {wrong}", file=sys.stderr)
        return 1
    clocks = ("wall clock", "CPU time", "plain loop, wall clock")
    print(f"{'milliseconds':<28}" + " ".join(f"{clock:>26}" for clock in clocks))
    print(f"{'':<28}" + " ".join(f"{part:>8}" for part in [*PARTS.values()] * 3))
    late: list[str] = []
    for control in options.control or CONTROLS:
        for subject in options.subject or SUBJECTS:
            for caller in options.caller or CALLERS:
                late += judged(subject, control, caller, options.instants)
    for name in late:
        print(f"control_latency: {' '.join(name.split())}: p99 above {LIMIT:g} ms", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
