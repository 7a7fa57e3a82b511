"""The start of a value's ``repr``."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade.runtime._shown import preview
from cascade.runtime._start import start_of_repr

ATOMS = [st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just(OrderedDict(a=1))]
LEAVES = st.one_of(ATOMS)
KEYS = st.one_of(st.integers(), st.text(), st.binary(), st.tuples(st.text()), st.frozensets(st.integers()))
VALUES = st.recursive(
    LEAVES | st.sets(KEYS) | st.frozensets(KEYS),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
)


@given(VALUES, st.integers(1, 60))
def test_it_is_what_repr_says(value: Any, limit: int) -> None:
    """As many characters as asked for, or all there are."""
    assert start_of_repr(value, limit)[:limit] == repr(value)[:limit]


@pytest.mark.parametrize("text", ["x" * 9, "'" + "x" * 9, "x" * 9 + "'", "x" * 9 + "'\"", '"' * 9, "\n" * 9, "\\" * 9])
def test_quotes_are_those_of_the_whole_text(text: str) -> None:
    """A quote behind the last character that is shown decides which are put around."""
    assert start_of_repr(text, 5)[:5] == repr(text)[:5]
    assert start_of_repr(text.encode(), 5)[:5] == repr(text.encode())[:5]


def test_what_contains_itself_is_shown_as_by_repr() -> None:
    """Dots stand for it; the same container twice side by side is shown twice."""
    loop: list[Any] = [1]
    loop += [loop, {"a": loop, "b": (loop,)}]
    twice = ["x"]
    for value in (loop, [twice, twice], [twice, [twice]]):
        assert start_of_repr(value, 1000) == repr(value)


def test_no_more_is_looked_at_than_is_shown() -> None:
    """Neither of what is shared again and again, which would take for ever, nor of deep or long values."""

    class Unseen:
        def __repr__(self) -> str:
            raise AssertionError("looked at")

    shared: list[Any] = ["x"]
    for _ in range(200):
        shared = [shared, shared]
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]

    assert preview(shared, "task") == "[" * 100
    assert preview(deep, "task") == "[" * 100
    assert preview(["x" * 5000, Unseen()], "task") == "['" + "x" * 98
    while deep:  # freeing it as a whole takes Python long
        deep = deep[0]


def test_a_run_that_is_listened_to_returns_what_shares_its_parts() -> None:
    """Looking at it as a whole would hold the event loop for ever."""
    shared: list[Any] = ["x"]
    for _ in range(200):
        shared = [shared, shared]

    @cs.task
    def make() -> Any:
        return shared

    assert cs.run(make(), log_level="ERROR") is shared


def test_a_url_that_is_cut_shows_no_credentials() -> None:
    """The mark that would end them may be behind what is looked at."""
    assert "secret" not in preview("http://secret" + "x" * 5000 + "@host/", "task")
