"""What goes wrong between values and bytes."""

from __future__ import annotations

from cascade.runtime.exceptions import CascadeRuntimeError

__all__ = ["DeserializationError", "SerializationError"]


class SerializationError(CascadeRuntimeError, TypeError):
    """The part of a value that ``path`` leads to cannot be stored; ``problem`` says why, and what to do."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


class DeserializationError(CascadeRuntimeError, ValueError):
    """Stored bytes are not what this serializer writes; ``problem`` says how that shows."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"stored bytes cannot be read: {self.problem}"
