"""What the caller of a task bound to one of its parameters."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Binding"]

#: A literal argument of a call, kept as it was given.
Binding: TypeAlias = Any
