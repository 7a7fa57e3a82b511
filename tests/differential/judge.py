"""Judges a drawn program: what all tiers must do, and what must not matter in one of many manners of running it.

    program --> the reference, hot, hot=False      -->  agree?
                again in one of many manners       -->  agree?
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import Event, RunFinished
from cascade.spec.constraint import GlobalConstraint
from tests.differential.voices import (
    RUNS,
    UNHURRIED,
    Outcome,
    Record,
    Voice,
    agree,
    close_loop,
    in_loop,
    outcome,
    patience,
    target_of,
    tell,
    tiers,
    without_ids,
)
from tests.differential.worlds import Halt, World
from tests.engines import watch
from tests.strategies import Choices, steady

__all__ = ["MANNERS", "OFTEN", "all_tiers", "at_once", "cancel", "storm", "total"]

Manner = Callable[[Any, Record, Choices], Any]

#: How often a program runs where the third time is like the second.
AGAIN = 2


def all_tiers(program: Any) -> tuple[Record, Any]:
    """Compare hot and ``hot=False`` with the reference; return what it did, and what another kernel must do too.

    Raises:
        AssertionError: they differ.
    """
    with patience(UNHURRIED):
        expected, hot, cold = Voice().play(program), Voice(hot=True), Voice(hot=False)
        found, other = hot.play(program, AGAIN), cold.play(program, AGAIN)
        agree(expected, found)
        agree(expected, other)
        states, counters = [voice.state() for voice in (hot, cold)], [tiers(voice.engine) for voice in (hot, cold)]
        if "error" not in found.outcomes[-1]:
            assert states[0] == [found.outcomes[-1]["value"][0]]
        found.outcomes += hot.play(program, RUNS - AGAIN).outcomes
        agree(expected, found)
    if expected.threads:
        return expected, None
    assert states[0] == states[1]
    # However a step runs, it is one step, of as many nodes.
    assert total(counters[0]) == total(counters[1]), f"hot, warm, cold, nodes, templates: {counters}"
    if not any("error" in one for one in expected.outcomes):
        assert total(counters[0])[:2] == expected.counts[AGAIN - 1], f"hot, warm, cold, nodes, templates: {counters}"
    return expected, [found.outcomes, tiers(hot.engine)]


def total(counters: tuple[int, ...]) -> tuple[int, ...]:
    return (sum(counters[:3]), *counters[3:])


# ---------------------------------------------------------------------------------------------------------- manners


def plainly(program: Any, expected: Record, choices: Choices) -> None:
    """As it is."""


def observed(program: Any, expected: Record, choices: Choices) -> Any:
    """With ``observe="steps"`` the events are those of ``hot=False``."""
    found = []
    for options in ({"hot": True, "observe": "steps"}, {"hot": False}):
        voice = Voice(**options)
        told = tell(voice.engine)
        with patience(UNHURRIED):
            agree(expected, voice.play(program, AGAIN))
        found.append(told())
    if expected.threads:
        return None
    assert found[0] == found[1]
    return found[0]


class Keeping(InMemoryStateBackend):
    """A backend that wants to see everything, and writes it down."""

    transient = False

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.calls: list[Any] = []

    async def put_result(self, node_id: str, result: Any) -> None:
        self.calls.append(("put", without_ids(node_id)[-8:], repr(result)))
        await super().put_result(node_id, result)

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        self.calls.append(("skip", without_ids(node_id)[-8:], reason))
        await super().mark_skipped(node_id, reason)

    async def clear(self) -> None:
        self.calls.append(("clear",))
        await super().clear()


def kept(program: Any, expected: Record, choices: Choices) -> Any:
    """A backend that keeps results sees the same calls with and without hot tier."""
    found = []
    for hot in (True, False):
        voice = Voice(hot=hot, backend=Keeping)
        with patience(UNHURRIED):
            record = voice.play(program, AGAIN)
        agree(expected, record)
        found.append([backend.calls for backend in voice.backends])
        for outcome_of_run, calls in zip(record.outcomes, found[-1], strict=True):
            if "error" not in outcome_of_run:
                assert calls[-1][0] == "put"
                assert calls[-1][2] == outcome_of_run["value"][0]
    if expected.threads:
        return None
    assert found[0] == found[1]
    return found[0]


def impatient(program: Any, expected: Record, choices: Choices) -> None:
    """Letting others run wherever it may changes nothing."""
    with patience(0):
        agree(expected, Voice(hot=choices.below(3) < 2).play(program, AGAIN), timed=False)


def forgetful(program: Any, expected: Record, choices: Choices) -> None:
    """Nor does it matter how many programs are kept."""
    voice = Voice(hot=True)
    assert voice.engine is not None
    voice.engine.graph_strategy._cycle_cache.max_size = 1
    with patience(UNHURRIED):
        agree(expected, voice.play(program, AGAIN))


def listened_to(program: Any, expected: Record, choices: Choices) -> None:
    """A subscriber that comes at any moment, and goes, changes nothing."""
    voice, come, go = Voice(hot=True), choices.below(8), choices.below(16)

    def at(entries: int) -> None:
        assert voice.engine is not None
        if entries == come:
            watch(voice.engine, Event)
        elif entries == go:
            voice.engine.bus = MessageBus()

    voice.world.watch = at
    with patience(0):
        agree(expected, voice.play(program, AGAIN), timed=False)


def limited(program: Any, expected: Record, choices: Choices) -> None:
    """A limit on how many calls run at once, or how often, delays them at most."""
    voice = Voice(hot=choices.chance(2))
    assert voice.engine is not None
    limit = choices.one(
        (
            GlobalConstraint("one", "global", "concurrency", {"limit": 1}),
            GlobalConstraint("two", "task:*mix", "concurrency", {"limit": 2}),
            GlobalConstraint("often", "global", "rate_limit", {"rate": "1000000000/s"}),
        )
    )
    voice.engine.constraint_manager.update_constraint(limit)
    with patience(UNHURRIED):
        agree(expected, voice.play(program, AGAIN), timed=False)


def expected_alone(program: Any, times: int) -> tuple[Any, Record]:
    """Return a program that leaves everything as it was, and what it does, so many times over."""
    program, voice = steady(program), Voice()
    with patience(UNHURRIED):
        return program, Record([voice.outcome(program) for _ in range(times)], voice.world)


async def at_once(engines: list[Any], program: Any, world: World) -> list[Outcome]:
    """Run a program in each of some engines, all at once, in one world."""

    async def one(engine: Any) -> Outcome:
        world.enter()
        return await outcome(engine.run(target_of(world, program), world.parameters()))

    return list(await asyncio.gather(*(one(engine) for engine in engines)))


def looked_after(program: Any, expected: Record, choices: Choices) -> None:
    """A state backend of the user's has, hot or not, the same results: those of the one step, or a loop's final one."""
    voices = [Voice(hot=hot, backend=InMemoryStateBackend) for hot in (True, False)]
    with patience(UNHURRIED):
        for voice in voices:
            found = voice.play(program, AGAIN)
            agree(expected, found)
    if not expected.threads and "error" not in found.outcomes[-1]:
        assert sorted(voices[0].state()) == sorted(voices[1].state())
        assert found.outcomes[-1]["value"][0] in voices[0].state()


def by_machine(program: Any, expected: Record, choices: Choices) -> None:
    """The register machine gives the values and the errors of the graph strategy."""
    with patience(UNHURRIED):
        agree(expected, Voice(hot=choices.chance(2), use_vm=True).play(program, AGAIN))


def crowded(program: Any, expected: Record, choices: Choices) -> None:
    """Several runs at once, in one engine or in two, do what each would do alone."""
    engines = [Voice(hot=True).engine] * 3
    if choices.chance(2):
        engines[1] = Voice(hot=choices.chance(2), backend=InMemoryStateBackend).engine
    program, expected = expected_alone(program, len(engines))
    timed = choices.chance(2)
    world = World()
    with patience(UNHURRIED if timed else 0):
        found = in_loop(at_once(engines, program, world))
        found = in_loop(at_once(engines, program, world))
    agree(expected, Record(found, world), timed=timed)


def threaded(program: Any, expected: Record, choices: Choices) -> None:
    """Two threads, each with an event loop and an engine, run calls of the same tasks."""
    program, expected = expected_alone(program, 4)
    world, found = World(), [[], []]  # type: ignore[var-annotated]
    failures: list[BaseException] = []

    voices = [Voice(world, hot=True) for _ in found]
    world.pause = lambda turns: None  # a thread that has ended would never lift it for the other

    def work(voice: Voice, outcomes: list[Outcome]) -> None:
        try:
            outcomes += [voice.outcome(program) for _ in range(2)]
            close_loop()
        except BaseException as error:
            failures.append(error)

    with patience(UNHURRIED):
        workers = [threading.Thread(target=work, args=pair) for pair in zip(voices, found, strict=True)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if failures:
        raise failures[0]
    agree(expected, Record(found[0] + found[1], world))


def cancelled(program: Any, expected: Record, choices: Choices) -> None:
    """A run that is cancelled at any moment leaves nothing behind, and the engine runs the program as ever."""
    voice = Voice(hot=choices.below(3) < 2)
    cancel(voice, program, 1 + choices.below(12))
    program = steady(program)
    again = Voice()
    for one in (voice, again):
        one.world.caches = World().caches
    if voice.world.changes:
        return
    with patience(UNHURRIED):
        agree(again.play(program, AGAIN), voice.play(program, AGAIN))


def cancel(voice: Voice, program: Any, moment: int) -> None:
    """Cancel a run when its log has so many entries; teardowns are done, in order, and the end is told."""
    assert voice.engine is not None
    finished, world = watch(voice.engine, RunFinished), voice.world
    world.enter()
    how, left, log = "Succeeded", 0, world.log
    target = target_of(world, program)

    async def run() -> None:
        nonlocal how, left
        running = asyncio.ensure_future(voice.run(target))
        loop = asyncio.get_running_loop()
        # From a thread, or from the run itself: the loop cancels it in its next turn.
        world.watch = lambda entries: loop.call_soon_threadsafe(running.cancel) if entries == moment else None
        try:
            await running
        except asyncio.CancelledError:
            how = "Cancelled"
        except (Exception, Halt):
            how = "Failed"
        world.watch = lambda entries: None
        left = len(asyncio.all_tasks()) - 1

    with patience(0):
        in_loop(run())
    assert left == 0, f"{left} asyncio Tasks are left"
    assert [one.status for one in finished] == [how]  # type: ignore[attr-defined]
    assert Counter(resources_in(log, "+")) == Counter(resources_in(log, "-")), log
    if not (world.is_async or world.maps or world.changes):
        for scope in (("config", "db", "bad_down"), ("conn", "bad_step")):
            within = [entry for entry in log if entry[0] in "+-" and entry.split()[0][1:] in scope]
            assert is_nested(within), within


def resources_in(log: list[str], sign: str) -> list[str]:
    return [entry.split()[0][1:] for entry in log if entry.startswith(sign)]


def is_nested(log: list[str]) -> bool:
    """Whether what was set up last was always torn down first."""
    open_now: list[str] = []
    for entry in log:
        name = entry.split()[0][1:]
        if entry[0] == "+":
            open_now.append(name)
        elif open_now.pop() != name:
            return False
    return not open_now


def reused(program: Any, expected: Record, choices: Choices) -> None:
    """One lazy result that runs again and again is evaluated anew each time."""
    found = []
    for options in ({}, {"hot": True}, {"hot": False}):
        voice = Voice(**options)
        voice.world.enter()
        target = target_of(voice.world, program)
        outcomes = []
        with patience(UNHURRIED):
            for _ in range(2):
                voice.world.enter()
                outcomes.append(voice.outcome_of(target))
        found.append(Record(outcomes, voice.world))
    for other in found[1:]:
        agree(found[0], other)


MANNERS: dict[str, Manner] = {
    one.__name__: one
    for one in (
        *(plainly, observed, kept, impatient, forgetful, listened_to, limited, by_machine, crowded, cancelled),
        *(looked_after, reused),
        threaded,
    )
}
#: The names, as often as each is to be chosen.
OFTEN = [
    *("plainly",) * 8,
    *("observed", "kept", "impatient", "listened_to", "crowded", "cancelled", "reused") * 2,
    *("forgetful", "limited", "threaded", "by_machine", "looked_after"),
]


def storm(program: Any) -> Any:
    """Of calls that fail together the first in order says why, the others are its notes, the rest is ended first."""
    with patience(UNHURRIED):
        expected = Voice().play(program)
    for options, quantum in (({"hot": True}, UNHURRIED), ({"hot": False}, UNHURRIED), ({"hot": True}, 0)):
        with patience(quantum):
            found = Voice(**options).play(program)
        agree(expected, found)
        assert [sorted(one["log"]) for one in found.outcomes] == [sorted(one["log"]) for one in expected.outcomes]
        assert [one.get("notes") for one in found.outcomes] == [one.get("notes") for one in expected.outcomes]
    return expected.outcomes
