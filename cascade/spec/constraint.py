"""Constraints: amounts that one call needs, and limits that operators set on running engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GlobalConstraint", "ResourceConstraint", "with_constraints"]


@dataclass
class ResourceConstraint:
    """Amounts of named system resources that a call holds while its function runs.

    An amount is a number, or a lazy result whose value is taken when the call is about to start.
    """

    requirements: dict[str, Any] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Whether nothing is required."""
        return not self.requirements

    def __bool__(self) -> bool:
        return not self.is_empty()


def with_constraints(**kwargs: Any) -> ResourceConstraint:
    """Build a :class:`ResourceConstraint` from amounts by resource name."""
    return ResourceConstraint(requirements=kwargs)


@dataclass
class GlobalConstraint:
    """A limit on every matching call of an engine.

    ``scope`` is ``"global"`` or ``"task:<pattern>"`` with shell-style wildcards, ``type`` is ``"pause"``,
    ``"concurrency"`` or ``"rate_limit"``, ``expires_at`` is a Unix time in seconds.
    """

    id: str
    scope: str
    type: str
    params: dict[str, Any]
    expires_at: float | None = None
