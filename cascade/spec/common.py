"""The parameter declaration of the older engine, kept for its users; new code declares with ``cascade.Param``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Param"]


@dataclass
class Param:
    """Name, default, type and description of a workflow parameter."""

    name: str
    default: Any = None
    type: Any = None
    description: str = ""
