"""Runs a described program in one way or another and says everything about it that must be the same in all of them."""

from __future__ import annotations

import asyncio
import os
import re
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings

from cascade.runtime.engine import Engine
from cascade.runtime.events import LoopProgress, TaskEvent
from cascade.runtime.strategies import _runs
from tests.differential.worlds import RESOURCES, Halt, World
from tests.engines import make_engine, watch
from tests.reference import ERRORS, Reference

__all__ = [
    *("UNHURRIED", "Record", "agree", "described", "new_engine", "outcome", "patience", "play", "searching"),
    *("target_of", "tell", "tiers"),
]

Outcome = dict[str, Any]
Run = Callable[[Any, Any], Awaitable[Any]]

#: How often each program runs: cold, and then as known as it will ever be, with what its caches have kept.
RUNS = 3
#: Functions of ``worlds`` that no voice needs to have in its tracebacks.
HELPERS = {"build", "call", "fail_once", "note", *(f"_{one}" for one in ("call", "with", "map", "router", "container"))}


def searching(examples: int) -> settings:
    """Return settings for so many programs, always the same; or for ``CASCADE_PROGRAMS``, new ones each time."""
    wanted = int(os.environ.get("CASCADE_PROGRAMS", "0"))
    if wanted:
        return settings(max_examples=wanted, derandomize=False, database=None, suppress_health_check=list(HealthCheck))
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let runs share the event loop by this quantum: with 0 they let others run at every control point."""
    before = _runs._SHARED_QUANTUM, _runs._MINIMUM_QUANTUM
    _runs._SHARED_QUANTUM = _runs._MINIMUM_QUANTUM = seconds
    try:
        yield
    finally:
        _runs._SHARED_QUANTUM, _runs._MINIMUM_QUANTUM = before


#: A quantum that no run uses up, so that what happens is no matter of time.
UNHURRIED = 3600.0


def new_engine(**options: Any) -> Engine:
    """Return an engine that knows the resources of worlds."""
    return make_engine(resources=RESOURCES, **options)


def target_of(world: World, program: Any) -> Any:
    """Return the lazy result to run; what is none is given to a call."""
    target = world.build(program)
    return target if hasattr(target, "_uuid") else world.tasks["mix"](target)


def outcome(world: World, run: Run, program: Any) -> Outcome:
    """Run a program in an event loop of its own."""
    world.enter()
    value, error, target = None, None, target_of(world, program)
    try:
        value = asyncio.run(run(target, world.parameters()))  # type: ignore[arg-type]
    except (Exception, Halt) as raised:
        error = raised
    found: Outcome = {"value": (repr(value), type(value).__name__), "log": list(world.log)}
    return found if error is None else found | described(error)


def described(error: BaseException) -> Outcome:
    """Return everything about an error, but only the type of one that the engine made: its text is the engine's."""
    kind, frames = type(error).__name__, frames_of(error)
    notes = [":".join(note.split(":")[: 2 if any(one in note for one in ERRORS) else None]) for note in notes_of(error)]
    if kind in ERRORS and not frames:
        return {"error": kind, "notes": notes}
    cause = type(error.__cause__).__name__
    return {"error": kind, "notes": notes, "arguments": repr(error.args), "cause": cause, "frames": frames}


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def frames_of(error: BaseException) -> list[str]:
    """Return the names of the user's functions in a traceback."""
    entries = traceback.extract_tb(error.__traceback__)
    return [one.name for one in entries if one.filename.endswith("worlds.py") and one.name not in HELPERS]


class Record:
    """What a program did when it ran several times in one world."""

    def __init__(self, run: Run, program: Any, world: World | None = None) -> None:
        world = world or World()
        self.outcomes = [outcome(world, run, program) for _ in range(RUNS)]
        #: Whether calls may have run together, and whether in threads.
        self.is_async, self.threads, self.maps = world.is_async, world.threads, world.maps


def play(program: Any, patient: float = UNHURRIED, **options: Any) -> Record:
    """Return what a program does in a new engine, or in the reference."""
    with patience(patient):
        return Record(new_engine(**options).run if options else Reference(RESOURCES).run, program)


def agree(expected: Record, found: Record, timed: bool = True) -> None:
    """Compare what two voices did.

    Calls that run together have no order, and after a failure none of them need have started. Which of them fails
    first, or finds in a cache what an equal one has put there, is the same wherever they take the same number of turns:
    not in threads, nor (``timed`` is false) with other quanta.
    """
    is_async = expected.is_async or (expected.maps and not timed)
    by_chance = expected.threads or (is_async and not timed)
    for one, other in zip(expected.outcomes, found.outcomes, strict=True):
        if "error" in one and by_chance:
            assert "error" in other, other
            continue
        is_cached = any(entry.startswith(("a?", "b?")) for entry in one["log"])
        logs = [one["log"], other["log"]]
        if is_async:
            told = "error" not in one and not (is_cached and by_chance)
            logs = [Counter(log) if told else None for log in logs]
        assert other | {"log": logs[1]} == one | {"log": logs[0]}, f"{other}\nis not what was expected:\n{one}"


def tell(engine: Engine) -> Callable[[], list[tuple[Any, ...]]]:
    """Return a function that returns the events since its last call; ids are counted in order of appearance."""
    seen = watch(engine)
    fields = ("task_name", "resource_name", "status", "reason", "attempt", "max_attempts", "error", "steps")

    def told() -> list[tuple[Any, ...]]:
        ids: dict[str, int] = {}
        found = []
        for event in seen:
            if isinstance(event, LoopProgress) and not event.final:
                continue
            known = [(name, without_ids(getattr(event, name))) for name in fields if hasattr(event, name)]
            if isinstance(event, TaskEvent):
                known.append(("id", ids.setdefault(event.task_id, len(ids))))
            found.append((type(event).__name__, *known))
        seen.clear()
        return found

    return told


def without_ids(text: Any) -> Any:
    return re.sub(r"\b[0-9a-f]{64}\b", "<id>", text) if isinstance(text, str) else text


def tiers(engine: Engine) -> tuple[int, ...]:
    """Return the counters of an engine that are no matter of time."""
    stats = engine.stats
    return (stats.hot, stats.warm, stats.cold, stats.nodes, stats.templates)


