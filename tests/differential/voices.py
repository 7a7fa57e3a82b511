"""Runs a described program in one way or another and says everything about it that must be the same in all of them."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings

from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.runtime.engine import Engine
from cascade.runtime.events import LoopProgress, TaskEvent
from cascade.runtime.strategies import _runs
from cascade.runtime.strategies._turns import turns_of
from cascade.spec.constraint import GlobalConstraint
from tests.differential.worlds import RESOURCES, Halt, World, session
from tests.engines import make_engine, watch
from tests.reference import ERRORS
from tests.reference_jumps import JumpingReference, JumpingStep
from tests.strategies import steady

__all__ = [
    *("UNHURRIED", "Record", "Voice", "agree", "described", "in_loop", "outcome", "patience", "searching"),
    *("target_of", "tell", "tiers"),
]

Outcome = dict[str, Any]

#: How often each program runs: cold, and then as known as it will ever be, with what its caches have kept.
RUNS = 3
#: Functions of ``worlds`` that no voice needs to have in its tracebacks.
HELPERS = {"build", "call", "fail", "note", *(f"_{one}" for one in ("call", "with", "map", "router", "container"))}


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


# ------------------------------------------------------------------------------------------------------ event loops

_loops = threading.local()


def _own_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of this thread: a new one for every run would take longer than the run."""
    loop: asyncio.AbstractEventLoop | None = getattr(_loops, "loop", None)
    if loop is None:
        loop = _loops.loop = asyncio.new_event_loop()
        _loops.complaints = []
        loop.set_exception_handler(lambda _, context: _loops.complaints.append(context))
        if threading.current_thread() is threading.main_thread():
            atexit.register(close_loop)
    return loop


def close_loop() -> None:
    """Close the event loop of this thread."""
    loop = getattr(_loops, "loop", None)
    if loop is not None:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        del _loops.loop


def in_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in this thread's event loop, in which it must leave nothing behind."""
    loop = _own_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = _left_in(loop)
        complaints, _loops.complaints = _loops.complaints, []
        for task in left:
            task.cancel()
        assert not left, f"left in the event loop: {left}"
        assert not complaints, complaints
        runnable = turns_of(loop).runnable
        assert runnable == 0, f"{runnable} runs are still counted as runnable"


def _left_in(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """Return the tasks that are still there when those that were cancelled have had their turns."""
    for _ in range(3):
        left = asyncio.all_tasks(loop)
        if not left:
            break
        loop.run_until_complete(asyncio.sleep(0))
    return left


# ----------------------------------------------------------------------------------------------------------- voices


def target_of(world: World, program: Any) -> Any:
    """Return the lazy result to run; what is none is given to a call."""
    target = world.build(program)
    return target if hasattr(target, "_uuid") else world.tasks["mix"](target)


class _CountedStep(JumpingStep):
    async def process(self) -> Any:
        value = await super().process()
        counts = self.run.counts  # type: ignore[attr-defined]
        counts[0] += 1
        counts[1] += len(self.results) + len(self.skipped)  # what no choice wanted had no turn
        return value


class _Counting(JumpingReference):
    """A reference that counts the steps, and their nodes, that have ended well."""

    step = _CountedStep

    def __init__(self, resources: Any) -> None:
        super().__init__(resources)
        self.counts = [0, 0]


def _unseen(run_id: str) -> InMemoryStateBackend:
    """Return a state backend as engines make their own: nobody looks for the results of single steps."""
    backend = InMemoryStateBackend(run_id)
    backend.is_private = True
    return backend


class Voice:
    """The reference, or an engine with the resources of worlds; each has a world of its own.

    Without options it is the reference.
    """

    def __init__(self, world: World | None = None, **options: Any) -> None:
        self.world = world or World()
        #: State backends of the runs since the last outcome.
        self.backends: list[Any] = []
        self.engine: Engine | None = None
        self.events: Callable[[], list[Any]] | None = None
        if not options:
            reference = _Counting(RESOURCES)
            self._run = reference.run
            self.counts = reference.counts
            self.world.override = lambda name, definition: reference.definitions.update({name: definition})
            return
        make, use_vm = options.pop("backend", _unseen), options.pop("use_vm", False)
        options.setdefault("state_backend_factory", lambda run_id: self._keep(make(run_id)))
        self.engine = engine = make_engine(resources=RESOURCES, **options)
        self._run = partial(engine.run, use_vm=use_vm)
        self.world.override = engine.override_resource_provider
        self.world.pause = self._pause

    def _keep(self, backend: Any) -> Any:
        self.backends.append(backend)
        return backend

    def _pause(self, turns: int) -> None:
        """Pause all tasks, from a task, for some turns of the event loop."""
        assert self.engine is not None
        loop, manager = _own_loop(), self.engine.constraint_manager
        manager.update_constraint(GlobalConstraint("pause", "global", "pause", {}))

        def turn(left: int) -> None:
            if left:
                loop.call_soon(turn, left - 1)
            else:
                manager.remove_constraints_by_scope("global")

        loop.call_soon(turn, turns)

    async def run(self, target: Any) -> Any:
        return await self._run(target, self.world.parameters())

    def outcome(self, program: Any) -> Outcome:
        """Run a program and return what it did."""
        self.world.enter()
        return self.outcome_of(target_of(self.world, program))

    def outcome_of(self, target: Any) -> Outcome:
        """Run a lazy result in the session that has begun."""
        return in_loop(self.within(target))

    async def within(self, target: Any) -> Outcome:
        """Run a lazy result in the session that has begun; several may be under way."""
        return await outcome(self.run(target))

    def state(self) -> list[str]:
        """Return what the last run left in its backend."""
        return [repr(value) for value in self.backends[-1]._results.values()] if self.backends else []

    def play(self, program: Any, runs: int = RUNS) -> Record:
        """Run a program several times; the reference runs one that leaves everything as it was only once."""
        if self.engine is None:
            return self._reference(program, runs)
        return Record([self.outcome(program) for _ in range(runs)], self.world)


    def _reference(self, program: Any, runs: int) -> Record:
        times = runs if program == steady(program) else 1
        outcomes, counts = [], []
        for _ in range(runs // times):
            outcomes += [self.outcome(program)] * times
            counts.append(tuple(self.counts))
        if times > 1:
            counts = [tuple(one * time for one in counts[0]) for time in range(1, times + 1)]
        return Record(outcomes, self.world, counts)


async def outcome(running: Awaitable[Any]) -> Outcome:
    """Await the run of the session that has begun and return everything that it did."""
    log = session.get().log
    value, error = None, None
    try:
        value = await running
    except (Exception, Halt) as raised:
        error = raised
    found: Outcome = {"value": (repr(value), type(value).__name__), "log": list(log)}
    return found if error is None else found | described(error)


def described(error: BaseException) -> Outcome:
    """Return everything about an error, but only the type of one that the engine made: its text is the engine's."""
    kind, frames = type(error).__name__, frames_of(error)
    own = (*ERRORS, "TypeError")
    notes = [":".join(note.split(":")[: 2 if any(one in note for one in own) else None]) for note in notes_of(error)]
    if kind in own and not frames:
        return {"error": kind, "notes": notes}
    cause = type(error.__cause__).__name__
    return {"error": kind, "notes": notes, "arguments": repr(error.args), "cause": cause, "frames": frames}


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def frames_of(error: BaseException) -> list[str]:
    """Return the names of the user's functions in a traceback."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.endswith("worlds.py") and code.co_name not in HELPERS:
            found.append(code.co_name)
        trace = trace.tb_next
    return found


class Record:
    """What a program did when it ran several times in one world."""

    def __init__(self, outcomes: list[Outcome], world: World, counts: list[tuple[int, ...]] | None = None) -> None:
        self.outcomes = outcomes
        #: Steps and nodes so far, after each run, if these were the reference's.
        self.counts = counts or []
        #: Whether calls may have run together, and whether in threads; whether calls changed what later ones did.
        self.is_async, self.threads, self.maps = world.is_async, world.threads, world.maps
        self.changes, self.breathes = world.changes, world.breathes


def agree(expected: Record, found: Record, timed: bool = True) -> None:
    """Compare what two voices did.

    Calls that run together have no order, and after a failure none of them need have started. Which of them fails
    first, or finds in a cache what an equal one has put there, or what another has changed, is the same wherever they
    take the same number of turns: not in threads, nor (``timed`` is false) with other quanta.
    """
    is_async = expected.is_async or (expected.maps and not timed)
    by_chance = expected.threads or (is_async and not timed)
    if by_chance and expected.changes:
        return
    for one, other in zip(expected.outcomes[: len(found.outcomes)], found.outcomes, strict=True):
        if "error" in one and by_chance:
            assert "error" in other, other
            continue
        is_cached = any(entry.startswith(("a?", "b?")) for entry in one["log"])
        logs = [one["log"], other["log"]]
        # Maps of one level have no order either where one of them lets others run between its items.
        takes_turns = is_async or expected.breathes
        if takes_turns:
            told = "error" not in one and not (is_cached and by_chance)
            logs = [Counter(log) if told else None for log in logs]
        if takes_turns and "error" in one:  # whether a sibling failed too before it was ended depends on when it was
            one, other = ({**each, "notes": None} for each in (one, other))
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
    """Leave out ids, and which of several tasks that were not called is found first."""
    if not isinstance(text, str):
        return text
    return re.sub(r"\b[0-9a-f]{64}\b", "<id>", re.sub("^UncalledTaskError: .*", "UncalledTaskError", text))


def tiers(engine: Engine) -> tuple[int, ...]:
    """Return the counters of an engine that are no matter of time."""
    stats = engine.stats
    return (stats.hot, stats.warm, stats.cold, stats.nodes, stats.templates)
