"""Every drawn program has one meaning: the reference's, whatever the tier, the kernel and the manner of running it.

The suite draws the same programs each time. A search at scale, with new ones, is ``ci/fuzz.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cascade import _kernel
from tests.differential import worlds
from tests.differential.cases import verdict
from tests.differential.judge import MANNERS, all_tiers, storm
from tests.differential.story import KINDS, LIMITS, PARAMS, TOGETHER, Story
from tests.differential.twin import Twin
from tests.differential.voices import searching
from tests.strategies import Grammar, from_choices, programs, storms

numbers = st.lists(st.integers(0, 47), min_size=4, max_size=4)


@searching(120)
@given(program=programs)
def test_all_tiers_agree_with_the_reference(program: Any) -> None:
    """Value, error, order of calls, set-ups and teardowns, final state and counters: cold, hot, warm, ``hot=False``."""
    all_tiers(program)


@searching(240)
@given(program=programs, manner=st.sampled_from(sorted(MANNERS.keys() - {"plainly"})), numbers=numbers)
def test_no_manner_of_running_a_program_changes_what_it_means(program: Any, manner: str, numbers: list[int]) -> None:
    """Observed, kept by a backend, at every quantum, in a crowd, in threads, limited, after a cancellation, reused."""
    verdict(("program", manner, numbers, program))


@searching(20)
@given(program=storms)
def test_the_first_error_in_plan_order_is_raised(program: Any) -> None:
    """Of calls that fail together the first in order says why, the others are its notes, the rest is ended first."""
    storm(program)


# ----------------------------------------------------------------------------------------------------- other kernels


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    """A process with the other kernel."""
    with closing(Twin()) as other:
        yield other


@searching(45)
@given(program=programs)
def test_both_kernels_do_the_same(twin: Twin, program: Any) -> None:
    """Outcomes, events and the number of steps and nodes by tier are the same on the other kernel."""
    case = ("program", "observed", [0], program)
    told = twin.ask(case)
    if twin.kernel == _kernel.hot.__name__:
        pytest.skip("there is no compiled kernel")

    assert verdict(case) == told


def test_a_twin_that_dies_says_why_and_has_a_successor() -> None:
    """A process that ends without an answer fails the question with its last words; the next question is answered."""
    with closing(Twin()) as twin:
        with pytest.raises(AssertionError, match="no such call"):
            twin.ask(("program", "plainly", [], ("call", "no such call", [], {}, {})))

        told = twin.ask(("program", "plainly", [], ("lit", 3)))
        assert told[0][0][0]["value"] == ("('mix', (3,), ())", "tuple")


# ---------------------------------------------------------------------------------------------------------- stories

in_story = from_choices(lambda choices: Grammar(choices, worlds.NAMES).program())
names = st.sampled_from(worlds.NAMES)
kinds = st.sampled_from(KINDS + TOGETHER)


class Machine(RuleBasedStateMachine):
    """Voices to which things happen that no single run could show; after each rule they agree."""

    twin: Twin

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.steps: list[tuple[Any, ...]] = []

    def happen(self, *step: Any) -> None:
        self.steps.append(step)
        self.story.happen(step)

    @rule(program=in_story)
    def run(self, program: Any) -> None:
        self.happen("run", program)

    @rule(k=st.integers(0, 3))
    def repeat(self, k: int) -> None:
        self.happen("repeat", k)

    @rule(program=in_story)
    def keep(self, program: Any) -> None:
        self.happen("keep", program)

    @rule(k=st.integers(0, 3))
    def rerun(self, k: int) -> None:
        self.happen("rerun", k)

    @rule(program=in_story, turns=st.integers(0, 5))
    def pause(self, program: Any, turns: int) -> None:
        self.happen("pause", program, turns)

    @rule(program=in_story, moment=st.integers(1, 12))
    def cancel(self, program: Any, moment: int) -> None:
        self.happen("cancel", program, moment)

    @rule(k=st.integers(0, 3), times=st.integers(2, 3))
    def gather(self, k: int, times: int) -> None:
        self.happen("gather", k, times)

    @rule(name=names, kind=kinds, pure=st.booleans())
    def define(self, name: str, kind: str, pure: bool) -> None:
        self.happen("define", name, kind, pure)

    @rule(name=names, kind=kinds)
    def replace(self, name: str, kind: str) -> None:
        self.happen("replace", name, kind)

    @rule(name=names, what=st.sampled_from([("pure", True), ("pure", False), ("name", "t0"), ("name", "other")]))
    def turn(self, name: str, what: tuple[str, Any]) -> None:
        self.happen("turn", name, *what)

    @rule(k=st.integers(0, len(worlds.OVERRIDES) - 1))
    def override(self, k: int) -> None:
        self.happen("override", k)

    @rule(k=st.integers(0, len(PARAMS) - 1))
    def params(self, k: int) -> None:
        self.happen("params", k)

    @rule(value=st.sampled_from(["one", "two"]))
    def env(self, value: str) -> None:
        self.happen("env", value)

    @rule(k=st.integers(0, len(LIMITS)))
    def limit(self, k: int) -> None:
        self.happen("limit", k)

    @rule(what=st.sampled_from(["subscribe", "unsubscribe"]))
    def listen(self, what: str) -> None:
        self.happen(what)

    @rule(size=st.sampled_from([1024, 2, 1]))
    def forget(self, size: int) -> None:
        self.happen("forget", size)

    @rule(k=st.integers(0, 2))
    def part(self, k: int) -> None:
        self.happen("part", k)

    def teardown(self) -> None:
        assert self.twin.ask(("story", self.steps)) == self.story.record


def test_whatever_happens_between_runs_the_voices_agree(twin: Twin) -> None:
    """Tasks, functions, parts, limits and listeners that change, runs that pause, end early or overlap: no difference.

    The other kernel lives through the same story, and its engines do and count the same.
    """
    Machine.twin = twin
    run_state_machine_as_test(Machine, settings=settings(searching(30), stateful_step_count=12))
