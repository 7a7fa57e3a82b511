"""Constraints as they arrive from outside."""

from __future__ import annotations

import math
from typing import Any

from cascade.spec.constraint import GlobalConstraint

__all__ = ["constraint_of"]


def constraint_of(payload: Any) -> GlobalConstraint:
    """Return the constraint that a message sets.

    Raises:
        KeyError: a field is missing.
        TypeError, ValueError: a field cannot be what it is; found here, because later it would end a run.
    """
    if not isinstance(payload, dict):
        raise TypeError(f"a constraint is an object with id, scope, type and params, not {payload!r:.100}")
    constraint = GlobalConstraint(
        id=payload["id"],
        scope=payload["scope"],
        type=payload["type"],
        params=payload["params"],
        expires_at=payload.get("expires_at"),
    )
    for name, wanted in (("id", (str, int)), ("scope", str), ("type", str), ("params", dict)):
        if not isinstance(getattr(constraint, name), wanted):
            raise TypeError(f"{name!r} of a constraint cannot be {getattr(constraint, name)!r:.100}")
    if constraint.expires_at is not None and math.isnan(float(constraint.expires_at)):
        raise ValueError("'expires_at' of a constraint is not a number")
    return constraint
