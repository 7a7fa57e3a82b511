"""Errors about graphs: facts, text, pickling."""

from __future__ import annotations

import pickle

import pytest

from cascade.graph.exceptions import CascadeGraphError, CycleError, StaticGraphError, UncacheableError


def test_a_cycle_names_its_tasks() -> None:
    """The text goes once around the cycle and says what to do."""
    error = CycleError(["a", "b"])

    assert error.tasks == ("a", "b")
    assert str(error).startswith("Cycle detected: 'a' -> 'b' -> 'a'. ")
    assert "make a new call" in str(error)


def test_a_long_cycle_is_shortened() -> None:
    """A cycle of a million tasks makes a readable text and keeps all names."""
    error = CycleError([f"t{i}" for i in range(1000)])

    assert "'t0' -> 't1'" in str(error)
    assert "(989 more)" in str(error)
    assert len(error.tasks) == 1000


def test_uncacheable_says_what_where_and_how() -> None:
    """Task, path, reason and remedy are in the text."""
    error = UncacheableError("t", "argument 0[1].k", "is a Lock, which equals only itself")

    assert "task 't' cannot be cached: argument 0[1].k is a Lock" in str(error)
    assert "Pass plain data" in str(error)


@pytest.mark.parametrize(
    "error, builtin",
    [(CycleError(["a"]), ValueError), (UncacheableError("t", "p", "r"), TypeError), (StaticGraphError("x"), Exception)],
)
def test_errors_are_caught_as_builtins_and_survive_pickling(error: Exception, builtin: type) -> None:
    """Each derives from the package's base and from the builtin that users catch, and comes back from pickle."""
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(error, CascadeGraphError)
    assert isinstance(error, builtin)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
