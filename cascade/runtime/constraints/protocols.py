"""What the constraint manager asks of the handler of one constraint type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cascade.graph.model import Node
from cascade.spec.constraint import GlobalConstraint

if TYPE_CHECKING:
    from cascade.runtime.constraints.manager import ConstraintManager

__all__ = ["ConstraintHandler"]


class ConstraintHandler(Protocol):
    """The meaning of one constraint type."""

    def handles_type(self) -> str:
        """Return the constraint type."""
        ...

    def on_constraint_add(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """A constraint came into force."""
        ...

    def on_constraint_remove(self, constraint: GlobalConstraint, manager: ConstraintManager) -> None:
        """A constraint was removed, replaced or expired."""
        ...

    def check_permission(self, task: Node, constraint: GlobalConstraint, manager: ConstraintManager) -> bool:
        """Return whether the node may start now."""
        ...

    def append_requirements(
        self, task: Node, constraint: GlobalConstraint, requirements: dict[str, Any], manager: ConstraintManager
    ) -> None:
        """Add amounts that the node must hold while it runs."""
        ...
