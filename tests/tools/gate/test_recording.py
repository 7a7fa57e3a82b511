"""How a baseline is learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade.tools.gate.errors import OtherPlace
from cascade.tools.gate.measuring import ROUNDS
from cascade.tools.gate.place import here
from cascade.tools.gate.recording import REPEATS, record
from cascade.tools.gate.subjects import Counter
from cascade.tools.gate.verdicts import Kind, Row
from tests.gates import Clock, baseline_of


def test_everything_is_recorded(clock: Clock) -> None:
    """Ratio and tolerance of each subject, counts of those that are counted, the reason and the place."""
    told: list[str] = []
    found = record(clock.gate({"a": 900}, a=500, b=250), "because", None, told.append)

    assert (found.reason, found.place) == ("because", here())
    assert found.rows == {
        Kind.TIME: {"a": Row(0.5, Kind.TIME.least), "b": Row(0.25, Kind.TIME.least)},
        Kind.INSTRUCTIONS: {"a": Row(900, Kind.INSTRUCTIONS.least)},
    }
    assert f"measured {REPEATS} of {REPEATS} times" in told


def test_repeats_go_round(clock: Clock) -> None:
    """All subjects are measured once before any is measured again, so that a busy minute meets them all."""
    record(clock.gate(a=500, b=250), "r", None, lambda line: None)
    order = [name for name, before in zip(clock.spent, ["", *clock.spent], strict=False) if name != before]

    firsts = [name for name in order if name != "yardstick"]
    turns = [name for name, before in zip(firsts, ["", *firsts], strict=False) if name != before]
    assert turns == ["a", "b"] * REPEATS


def test_restless_subject_is_told(clock: Clock) -> None:
    """Who deviates by more than can be tolerated may fail unchanged, and the one who records it is told."""
    rates = iter([*[500.0] * (ROUNDS + 1), *[1_000.0] * 1_000])
    gate = clock.gate(a=500)
    subject = replace(gate.subjects["a"], work=lambda: clock.worker("a", next(rates))(0))
    told: list[str] = []

    found = record(replace(gate, subjects={"a": subject}), "r", None, told.append)

    assert found.rows[Kind.TIME]["a"] == Row(1.0, Kind.TIME.most)
    assert [line for line in told if line.startswith("a is restless")]


def test_rows_of_others_stay(clock: Clock) -> None:
    """Recording a few rows keeps those of others, in both kinds; a complete gate keeps none."""
    old = baseline_of({"b": 7}, a=0.1, b=0.2)

    few = record(clock.gate(complete=False, a=500), "r", old, lambda line: None)
    everything = record(clock.gate(a=500), "r", old, lambda line: None)

    assert {name: row.value for name, row in few.rows[Kind.TIME].items()} == {"a": 0.5, "b": 0.2}
    assert few.rows[Kind.INSTRUCTIONS] == old.rows[Kind.INSTRUCTIONS]
    assert everything.rows[Kind.TIME].keys() == {"a"}
    assert everything.rows[Kind.INSTRUCTIONS] == {}


def test_rows_of_two_places_are_not_mixed(clock: Clock) -> None:
    """A file names one place, so rows can only stay that were recorded there."""
    old = baseline_of(a=0.1, b=0.2)
    old = replace(old, place=replace(old.place, processor="abacus"))

    with pytest.raises(OtherPlace, match="record all of them anew"):
        record(clock.gate(complete=False, a=500), "r", old, lambda line: None)
    assert record(clock.gate(complete=False, a=500, b=250), "r", old, lambda line: None).place == here()


def test_counts_that_cannot_be_made_have_no_rows(clock: Clock) -> None:
    """Without valgrind a baseline is recorded all the same, and it is said what it lacks."""
    gate = replace(clock.gate(a=500), counter=Counter(["a"], why_not="valgrind is not installed"))
    told: list[str] = []

    found = record(gate, "r", None, told.append)

    assert found.rows[Kind.INSTRUCTIONS] == {}
    assert "instructions were not counted, and have no rows: valgrind is not installed" in told
