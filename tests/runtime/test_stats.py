"""Counters and outcomes of runs."""

from __future__ import annotations

import dataclasses

import pytest

from cascade.runtime.stats import Outcome, RunStats


def test_steps_are_the_sum_of_the_tiers():
    """A step belongs to exactly one tier."""
    assert RunStats(hot=3, warm=2, cold=1).steps == 6
    assert RunStats().steps == 0


def test_an_outcome_has_everything_by_default_but_its_status():
    """Who reads an outcome need not ask whether the counters are there."""
    outcome: Outcome[int] = Outcome("Succeeded", 7)

    assert (outcome.value, outcome.reason, outcome.run_id, outcome.stats) == (7, None, "", RunStats())
    with pytest.raises(dataclasses.FrozenInstanceError):
        outcome.value = 8  # type: ignore[misc]
