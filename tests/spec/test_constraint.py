"""Amounts of resources that a call needs, and limits that come from outside."""

from __future__ import annotations

import dataclasses

import cascade as cs
from cascade.spec.constraint import GlobalConstraint, ResourceConstraint


def test_amounts_are_true_unless_there_are_none() -> None:
    """No requirements: empty, and false."""
    assert ResourceConstraint({"gpu": 1})
    assert not ResourceConstraint({"gpu": 1}).is_empty()
    assert not ResourceConstraint()
    assert ResourceConstraint().is_empty()


def test_the_function_makes_amounts_and_no_more() -> None:
    """``with_constraints`` of the package is what the method of a call sets."""
    amounts = cs.with_constraints(gpu=1, memory=2.5)

    assert amounts == ResourceConstraint(requirements={"gpu": 1, "memory": 2.5})
    assert cs.with_constraints() == ResourceConstraint()


def test_a_limit_has_its_fields_in_order() -> None:
    """Id, scope, type and parameters, and the time of expiry if there is one."""
    limit = GlobalConstraint("i", "global", "pause", {})

    assert [field.name for field in dataclasses.fields(limit)] == ["id", "scope", "type", "params", "expires_at"]
    assert limit.expires_at is None
