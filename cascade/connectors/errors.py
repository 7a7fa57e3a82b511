"""What can be wrong with a connector.

CascadeRuntimeError
 +-- ControlDatabaseError      the file that holds the constraints cannot be used
"""

from __future__ import annotations

from cascade.runtime.exceptions import CascadeRuntimeError

__all__ = ["ControlDatabaseError"]


class ControlDatabaseError(CascadeRuntimeError):
    """The control database at ``path`` cannot be used: ``problem`` says why, and what to do."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(path, problem)

    def __str__(self) -> str:
        return f"control database {self.path}: {self.problem}"
