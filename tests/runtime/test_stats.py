"""Counters and outcomes of runs."""

from __future__ import annotations

import dataclasses

import pytest

from cascade.graph._problems import UncalledTaskError
from cascade.runtime.stats import Outcome, RunStats
from cascade.spec.task import task
from tests.engines import make_engine, run


def test_steps_are_the_sum_of_the_tiers():
    """A step belongs to exactly one tier."""
    assert RunStats(hot=3, warm=2, cold=1).steps == 6
    assert RunStats().steps == 0


def test_counters_are_a_frozen_dataclass():
    """Each counter is where it is declared, by position and by name, and cannot be changed."""
    names = [field.name for field in dataclasses.fields(RunStats)]
    by_position, by_name = RunStats(1, 2, 3, 4, 5, 6, 7.0), RunStats(**{n: i + 1 for i, n in enumerate(names)})

    assert [getattr(by_position, name) for name in names] == [1, 2, 3, 4, 5, 6, 7.0]
    assert by_position == by_name
    assert hash(by_position) == hash(by_name)
    assert dataclasses.replace(by_position, cold=0).cold == 0
    assert [getattr(RunStats(), field.name) for field in dataclasses.fields(RunStats)] == [0] * 6 + [0.0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        by_position.hot = 8  # type: ignore[misc]


def test_an_outcome_has_everything_by_default_but_its_status():
    """Who reads an outcome need not ask whether the counters are there."""
    outcome: Outcome[int] = Outcome("Succeeded", 7)

    assert (outcome.value, outcome.reason, outcome.run_id, outcome.stats) == (7, None, "", RunStats())
    with pytest.raises(dataclasses.FrozenInstanceError):
        outcome.value = 8  # type: ignore[misc]


def test_a_target_that_returns_what_cannot_be_continued_has_run_in_every_tier():
    """A node is counted when its function has returned; that the value is a task nobody called is another matter."""

    @task
    def forgotten():
        return leaf

    @task
    def leaf():
        return 1

    for target in (forgotten, lambda: gather(forgotten())):
        counted = []
        for hot in (True, False):
            engine = make_engine(hot=hot)
            for _ in range(3):
                with pytest.raises(UncalledTaskError):
                    run(target(), engine)
            counted.append((engine.stats.steps, engine.stats.nodes))

        assert counted[0] == counted[1]
    assert counted[0][1] == 0  # an inner call that has no value is none of them


@task
def gather(*values):
    return values
