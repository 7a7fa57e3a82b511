"""Declarations of workflow parameters and environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["EnvSpec", "InputSpec", "ParamSpec"]


@dataclass(frozen=True)
class InputSpec:
    """An input that a workflow declares."""

    name: str
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class ParamSpec(InputSpec):
    """A parameter given to ``run(..., params={...})``; ``type`` is used by command lines only."""

    type: Any = str


@dataclass(frozen=True)
class EnvSpec(InputSpec):
    """A variable read from the process environment."""
