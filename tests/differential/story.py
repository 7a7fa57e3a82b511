"""What happens to voices that live long: tasks change, programs come back, runs are paused, cancelled, gathered.

    story = [("define", "t0", "mix", ..), ("run", program), ("replace", "t0", ..), ("repeat", 0), ...]

A ``Story`` holds the reference, a hot engine, one with ``hot=False`` and one with ``observe="steps"``. Each method is
one thing that can happen; those that run something compare what the voices say, and keep it for another kernel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import Event
from cascade.spec.constraint import GlobalConstraint
from tests.differential import worlds
from tests.differential.judge import at_once, cancel, total
from tests.differential.voices import (
    UNHURRIED,
    Outcome,
    Record,
    Voice,
    agree,
    in_loop,
    patience,
    target_of,
    tell,
    tiers,
)
from tests.engines import watch
from tests.strategies import Choices, Grammar, in_order, steady

__all__ = ["KINDS", "LIMITS", "PARAMS", "TOGETHER", "Story", "retell", "story"]

#: What a task may be, or become, without calls that run together, and with.
KINDS = ("mix", "pick", "keeps", "uses_conn", "uses_db", "spread", "defaults", "fails", "flaky", "coro", "stops")
TOGETHER = ("amix", "acomes", "afails", "aflaky", "mixed")
LIMITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("global", "concurrency", {"limit": 3}),
    ("task:t*", "concurrency", {"limit": 1}),
    ("task:mix", "rate_limit", {"rate": "1000000000/s"}),
)
PARAMS: tuple[dict[str, Any], ...] = ({"p": 7, "q": [1, 2]}, {"p": [], "q": None}, {"p": "p", "q": 0, "d": 1})


class OtherExecutor(LocalExecutor):
    """A part of the user's own: what it does must be called for every node."""

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        return await super().execute(*args, **kwargs)


class Story:
    """Voices that live through the same things."""

    def __init__(self) -> None:
        self.voices = {
            "reference": Voice(),
            "hot": Voice(hot=True),
            "cold": Voice(hot=False),
            "steps": Voice(hot=True, observe="steps"),
        }
        self.told = {name: tell(self.voices[name].engine) for name in ("cold", "steps")}
        #: Programs that have run, and lazy results that have, by voice.
        self.programs: list[Any] = []
        self.kept: list[dict[str, Any]] = []
        #: What another kernel must do too.
        self.record: list[Any] = []
        self.comparable = True
        self.counted = 3
        self.variable: str | None = None

    @property
    def engines(self) -> dict[str, Voice]:
        return {name: voice for name, voice in self.voices.items() if voice.engine is not None}

    @property
    def worlds(self) -> list[worlds.World]:
        return [voice.world for voice in self.voices.values()]

    def happen(self, what: tuple[Any, ...]) -> None:
        """Let one thing happen.

        Raises:
            AssertionError: the voices do not agree.
        """
        name, *details = what
        with patience(UNHURRIED), variable(self.variable):
            getattr(self, name)(*details)

    # What runs.

    def run(self, program: Any) -> None:
        """Build a program anew and run it."""
        self.programs.append(program)
        self._compare(lambda voice, _: voice.outcome(program))

    def repeat(self, k: int) -> None:
        """Run a program once more that has run before."""
        if self.programs:
            program = self.programs[k % len(self.programs)]
            self._compare(lambda voice, _: voice.outcome(program))

    def keep(self, program: Any) -> None:
        """Build a program, run it, and keep the lazy result."""
        kept = {}
        for name, voice in self.voices.items():
            voice.world.enter()
            kept[name] = target_of(voice.world, program)
        self.kept.append(kept)
        self.rerun(-1)

    def rerun(self, k: int) -> None:
        """Run a lazy result that was kept."""
        if self.kept:
            kept = self.kept[k % len(self.kept) if k >= 0 else k]

            def run(voice: Voice, name: str) -> Outcome:
                voice.world.enter()
                return voice.outcome_of(kept[name])

            self._compare(run)

    def pause(self, program: Any, turns: int) -> None:
        """Pause, start a run, and go on after some turns of the event loop."""

        def run(voice: Voice, name: str) -> Outcome:
            voice.world.enter()
            target = target_of(voice.world, program)
            if voice.engine is not None:
                in_loop(_called(lambda: voice.world.pause(turns)))
            return voice.outcome_of(target)

        self._compare(run)

    def cancel(self, program: Any, moment: int) -> None:
        """Cancel a run; what it has done by then is a matter of time, so nothing may depend on it."""
        program = steady(program)
        for voice in self.engines.values():
            cancel(voice, program, moment)
        for told in self.told.values():
            told()
        self.comparable = False  # so are the counters, from now on

    def gather(self, k: int, times: int) -> None:
        """Run a program several times at once in each engine: each run does what it would do alone."""
        if not self.programs:
            return
        program = steady(self.programs[k % len(self.programs)])
        found = {}
        for name, voice in self.voices.items():
            if voice.engine is None:
                found[name] = [voice.outcome(program) for _ in range(times)]
            else:
                found[name] = in_loop(at_once([voice.engine] * times, program, voice.world))
        self._agree({name: Record(one, self.voices[name].world) for name, one in found.items()})

    def _compare(self, run: Callable[[Voice, str], Outcome]) -> None:
        self._agree({name: Record([run(voice, name)], voice.world) for name, voice in self.voices.items()})

    def _agree(self, found: dict[str, Record]) -> None:
        expected = found["reference"]
        for name in self.engines:
            agree(expected, found[name])
        told = {name: events() for name, events in self.told.items()}
        if any(world.threads for world in self.worlds):
            self.comparable = False
            return
        assert told["cold"] == told["steps"]
        counters = {name: tiers(voice.engine) for name, voice in self.engines.items()}
        if self.comparable:
            # However a step runs, it is one step, of as many nodes; with as many templates, unless some are forgotten.
            assert total(counters["hot"])[: self.counted] == total(counters["cold"])[: self.counted], counters
            # Which of many programs are forgotten first is the kernel's own affair.
            self.record.append((found["hot"].outcomes, counters["hot"] if self.counted == 3 else (), told["cold"]))

    # What changes.

    def define(self, name: str, kind: str, pure: bool) -> None:
        """Put another task in the place of one, under the same name."""
        for world in self.worlds:
            world.tasks[name] = worlds.made(kind, name, pure)

    def replace(self, name: str, kind: str) -> None:
        """Give a task another function."""
        for world in self.worlds:
            world.tasks[name].func = worlds.made(kind, name, False).func

    def turn(self, name: str, attribute: str, value: Any) -> None:
        """Set something else of a task."""
        for world in self.worlds:
            setattr(world.tasks[name], attribute, value)

    def override(self, k: int) -> None:
        """Put another provider in a resource's place."""
        for world in self.worlds:
            world.override(*worlds.OVERRIDES[k])

    def params(self, k: int) -> None:
        """Give the runs to come other parameters."""
        for world in self.worlds:
            world.params = dict(PARAMS[k])

    def env(self, value: str) -> None:
        """Set an environment variable, for the runs of this story."""
        self.variable = value

    def limit(self, k: int) -> None:
        """Set a limit, or lift them all."""
        for voice in self.engines.values():
            manager = voice.engine.constraint_manager  # type: ignore[union-attr]
            if k == len(LIMITS):
                for scope, _, _ in LIMITS:
                    manager.remove_constraints_by_scope(scope)
            else:
                scope, kind, details = LIMITS[k]
                manager.update_constraint(GlobalConstraint(f"limit {k}", scope, kind, details))

    def subscribe(self) -> None:
        """Let somebody listen to the hot engine."""
        watch(self.engines["hot"].engine, Event)  # type: ignore[arg-type]

    def unsubscribe(self) -> None:
        """Let nobody listen to it."""
        self.engines["hot"].engine.bus = MessageBus()  # type: ignore[union-attr]

    def forget(self, size: int) -> None:
        """Let the hot engine keep so many programs."""
        self.engines["hot"].engine.graph_strategy._cycle_cache.max_size = size  # type: ignore[union-attr]
        self.counted = 2

    def part(self, k: int) -> None:
        """Put other parts into the engines."""
        for voice in self.engines.values():
            engine = voice.engine
            assert engine is not None
            if k == 0:
                engine.executor = LocalExecutor()
            elif k == 1:
                engine.executor = OtherExecutor()
            else:
                engine.solver = NativeSolver()


async def _called(function: Callable[[], None]) -> None:
    function()


@contextmanager
def variable(value: str | None) -> Iterator[None]:
    """Let runs find the environment variable of worlds, and put back what was there."""
    before = os.environ.get(worlds.VARIABLE)
    _set(value)
    try:
        yield
    finally:
        _set(before)


def _set(value: str | None) -> None:
    if value is None:
        os.environ.pop(worlds.VARIABLE, None)
    else:
        os.environ[worlds.VARIABLE] = value


# ----------------------------------------------------------------------------------------------------------- drawing


class Teller:
    """Draws what happens."""

    def __init__(self, choices: Choices) -> None:
        self.one, self.below, self.chance = choices.one, choices.below, choices.chance
        self.choices = choices
        #: Whether calls have their places in this story.
        self.in_place = self.below(2) == 0

    def program(self) -> Any:
        made = Grammar(self.choices, worlds.NAMES).program()
        return in_order(made) if self.in_place else made

    def kind(self) -> str:
        return str(self.one(TOGETHER) if not self.in_place and self.chance(4) else self.one(KINDS))

    def name(self) -> str:
        return str(self.one(worlds.NAMES))

    def next(self) -> tuple[Any, ...]:
        """Return the next thing to happen."""
        return getattr(self, self.one(_HAPPENINGS))()  # type: ignore[no-any-return]

    def run(self) -> tuple[Any, ...]:
        return ("run", self.program())

    def keep(self) -> tuple[Any, ...]:
        return ("keep", self.program())

    def repeat(self) -> tuple[Any, ...]:
        return ("repeat", self.below(4))

    def rerun(self) -> tuple[Any, ...]:
        return ("rerun", self.below(4))

    def replace(self) -> tuple[Any, ...]:
        return ("replace", self.name(), self.kind())

    def define(self) -> tuple[Any, ...]:
        return ("define", self.name(), self.kind(), self.chance(4))

    def turn(self) -> tuple[Any, ...]:
        if self.chance(2):
            return ("turn", self.name(), "pure", self.chance(2))
        return ("turn", self.name(), "name", self.one(("t0", "other")))

    def override(self) -> tuple[Any, ...]:
        return ("override", self.below(len(worlds.OVERRIDES)))

    def params(self) -> tuple[Any, ...]:
        return ("params", self.below(len(PARAMS)))

    def env(self) -> tuple[Any, ...]:
        return ("env", self.one(("one", "two")))

    def limit(self) -> tuple[Any, ...]:
        return ("limit", self.below(len(LIMITS) + 1))

    def pause(self) -> tuple[Any, ...]:
        return ("pause", self.program(), self.below(6))

    def cancel(self) -> tuple[Any, ...]:
        return ("cancel", self.program(), 1 + self.below(12))

    def gather(self) -> tuple[Any, ...]:
        return ("gather", self.below(4), 2 + self.below(2))

    def subscribe(self) -> tuple[Any, ...]:
        return ("subscribe",)

    def unsubscribe(self) -> tuple[Any, ...]:
        return ("unsubscribe",)

    def forget(self) -> tuple[Any, ...]:
        return ("forget", self.one((1024, 2, 1)))

    def part(self) -> tuple[Any, ...]:
        return ("part", self.below(3))


_HAPPENINGS = (
    *("run",) * 6,
    *("repeat", "replace", "keep", "rerun", "repeat") * 3,
    *("define", "turn", "override", "pause", "gather") * 2,
    *("params", "env", "limit", "cancel", "subscribe", "unsubscribe", "forget", "part"),
)


def story(choices: Choices) -> list[tuple[Any, ...]]:
    """Draw a story."""
    teller = Teller(choices)
    return choices.several(teller.next, 16, 2)


def retell(steps: list[tuple[Any, ...]]) -> Any:
    """Let a story happen; return what must happen on another kernel too.

    Raises:
        AssertionError: the voices did not agree.
    """
    told = Story()
    for one in steps:
        told.happen(one)
    return told.record
