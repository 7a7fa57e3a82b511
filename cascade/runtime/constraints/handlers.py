"""The constraint types that every engine knows: pause, concurrency, rate_limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cascade.common.messaging import bus
from cascade.runtime.constraints._rate import finite, tokens_per_second
from cascade.runtime.constraints._scope import matches as _matches
from cascade.runtime.constraints.protocols import ConstraintHandler
from cascade.runtime.constraints.rate_limiter import RateLimiter
from cascade.spec.constraint import GlobalConstraint

if TYPE_CHECKING:
    from cascade.graph.model import Node
    from cascade.runtime.constraints.manager import ConstraintManager

__all__ = ["ConcurrencyConstraintHandler", "PauseConstraintHandler", "RateLimitConstraintHandler"]


class PauseConstraintHandler(ConstraintHandler):
    """``pause``: matching nodes are not admitted."""

    def handles_type(self) -> str:
        """Return ``"pause"``."""
        return "pause"

    def on_constraint_add(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Do nothing."""

    def on_constraint_remove(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Do nothing."""

    def check_permission(self, task: Node, constraint: GlobalConstraint, manager: ConstraintManager) -> bool:
        """Deny matching nodes."""
        return not _matches(constraint.scope, task.name)

    def append_requirements(
        self, task: Node, constraint: GlobalConstraint, requirements: dict[str, Any], manager: ConstraintManager
    ) -> None:
        """Add nothing."""


class ConcurrencyConstraintHandler(ConstraintHandler):
    """``concurrency``: at most ``limit`` (default 1) matching nodes at a time.

    Each matching node holds 1 of the resource ``constraint:concurrency:<scope>``. A limit below 1 admits nothing; its
    resource keeps room for one, so that nodes admitted before it came can still finish, one by one.
    """

    def handles_type(self) -> str:
        """Return ``"concurrency"``."""
        return "concurrency"

    def on_constraint_add(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Set the capacity.

        Raises:
            ValueError: the limit is not a number.
        """
        manager.resource_manager.update_resource(_resource_name(constraint), max(_limit(constraint), 1.0))

    def on_constraint_remove(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Lift the limit, unless another constraint has taken this one's place."""
        if not manager.has_constraint(constraint.scope, constraint.type):
            manager.resource_manager.remove_resource(_resource_name(constraint))

    def check_permission(self, task: Node, constraint: GlobalConstraint, manager: ConstraintManager) -> bool:
        """Admit: the waiting happens for the resource."""
        return _limit(constraint) >= 1.0 or not _matches(constraint.scope, task.name)

    def append_requirements(
        self, task: Node, constraint: GlobalConstraint, requirements: dict[str, Any], manager: ConstraintManager
    ) -> None:
        """Require one of the constraint's resource."""
        if _matches(constraint.scope, task.name):
            requirements[_resource_name(constraint)] = 1


class RateLimitConstraintHandler(ConstraintHandler):
    """``rate_limit``: one token of the scope's bucket per admission."""

    def __init__(self) -> None:
        self.limiter = RateLimiter()

    def handles_type(self) -> str:
        """Return ``"rate_limit"``."""
        return "rate_limit"

    def on_constraint_add(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Make or change the scope's bucket; a rate that cannot be read is reported and taken as one per second."""
        rate = _parse_rate_string(constraint.params.get("rate", "1/s"))
        self.limiter.update_bucket(constraint.scope, rate, _bucket_capacity(constraint))

    def on_constraint_remove(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Forget the bucket, unless another constraint has taken this one's place."""
        if not manager.has_constraint(constraint.scope, constraint.type):
            self.limiter.remove_bucket(constraint.scope)

    def check_permission(self, task: Node, constraint: GlobalConstraint, manager: ConstraintManager) -> bool:
        """Take a token, or ask to be asked again when there will be one."""
        if not _matches(constraint.scope, task.name):
            return True
        wait = self.limiter.try_acquire(constraint.scope)
        if wait > 0.0:
            manager.request_wakeup(wait)
        return wait <= 0.0

    def withdraw_permission(self, task: Node, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """Return the token of a node that another constraint has denied."""
        if _matches(constraint.scope, task.name):
            self.limiter.give_back(constraint.scope)

    def append_requirements(
        self, task: Node, constraint: GlobalConstraint, requirements: dict[str, Any], manager: ConstraintManager
    ) -> None:
        """Add nothing."""


def _resource_name(constraint: GlobalConstraint) -> str:
    return f"constraint:concurrency:{constraint.scope}"


def _limit(constraint: GlobalConstraint) -> float:
    value = constraint.params.get("limit", 1)
    try:
        return _number(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"limit of concurrency constraint {constraint.id!r}: {error}; use a number") from error


def _number(value: Any) -> float:
    number = float(value)
    if math.isnan(number):
        raise ValueError(f"{value!r} is not a number")
    return number


def _parse_rate_string(rate_str: str) -> float:
    """Return tokens per second of ``"N/unit"`` or a bare number; what cannot be read is reported and means 1.0."""
    text = str(rate_str)
    try:
        return tokens_per_second(text)
    except ValueError as error:
        _report(text, error)
        return 1.0


def _bucket_capacity(constraint: GlobalConstraint) -> float | None:
    """Return the capacity asked for, at least one token because a smaller bucket could never admit anything."""
    capacity = constraint.params.get("capacity")
    if capacity is None:
        return None
    try:
        return max(finite(str(capacity)), 1.0)
    except ValueError as error:
        _report(str(capacity), error)
        return None


def _report(raw_value: str, error: ValueError) -> None:
    bus.error("constraint.parse.error", constraint_type="rate_limit", raw_value=raw_value, error=str(error))
