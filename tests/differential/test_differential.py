"""Every drawn program has one meaning: the reference's, whatever the tier, the kernel and the quantum.

The suite draws the same programs each time. For a long search with new ones, on either kernel::

    CASCADE_PROGRAMS=5000 python -m pytest tests/differential
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given

from cascade import _kernel
from tests.differential.twin import Twin, recount
from tests.differential.voices import UNHURRIED, Record, agree, new_engine, patience, play, searching, tell
from tests.strategies import programs, storms


@searching(90)
@given(program=programs)
def test_all_tiers_agree_with_the_reference(program: Any) -> None:
    """Value, error, order of calls, set-ups and teardowns are the reference's: cold, hot, warm, with ``hot=False``."""
    expected = play(program)

    agree(expected, play(program, hot=True))
    agree(expected, play(program, hot=False))


@searching(40)
@given(program=programs)
def test_stopping_at_every_control_point_changes_nothing(program: Any) -> None:
    """A program that lets others run wherever it may has the same meaning."""
    agree(play(program), play(program, patient=0, hot=True), timed=False)


@searching(20)
@given(program=storms)
def test_the_first_error_in_plan_order_is_raised(program: Any) -> None:
    """Of calls that fail together the first in order says why, the others are its notes, the rest is ended first."""
    expected = play(program)

    for options in ({"hot": True}, {"hot": False}, {"hot": True, "patient": 0}):
        found = play(program, **options)
        agree(expected, found)
        assert [sorted(one["log"]) for one in found.outcomes] == [sorted(one["log"]) for one in expected.outcomes]


@searching(30)
@given(program=programs)
def test_steps_are_observed_as_without_hot_tier(program: Any) -> None:
    """With ``observe="steps"`` the events are those of ``hot=False``: class, task, status, and ids by position."""
    found = []
    for options in ({"hot": True, "observe": "steps"}, {"hot": False}):
        engine = new_engine(**options)
        told = tell(engine)
        with patience(UNHURRIED):
            record = Record(engine.run, program)
        found.append(told())

    if not record.threads:
        assert found[0] == found[1]


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    """A process with the other kernel."""
    with closing(Twin()) as other:
        yield other


@searching(45)
@given(program=programs)
def test_both_kernels_do_the_same(twin: Twin, program: Any) -> None:
    """Outcomes, events and the number of steps and nodes by tier are the same on the other kernel."""
    told = twin.ask(program)
    if twin.kernel == _kernel.hot.__name__:
        pytest.skip("there is no compiled kernel")
    mine = recount(program)

    for one, other in zip(mine[:2], told[:2], strict=True):
        agree(one, other)
        if not one.threads:
            assert one.outcomes == other.outcomes
    if not mine[0].threads:
        assert mine[2:] == told[2:]


def test_a_twin_that_dies_says_why_and_has_a_successor() -> None:
    """A process that ends without an answer fails the question with its last words; the next question is answered."""
    with closing(Twin()) as twin:
        with pytest.raises(AssertionError, match="no such call"):
            twin.ask(("call", "no such call", [], {}, {}))

        assert twin.ask(("lit", 3))[0].outcomes[0]["value"] == ("('mix', (3,), ())", "tuple")
