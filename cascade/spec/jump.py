"""Explicit control transfer: what a task returns to jump, and where the jumps lead."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cascade._kernel import Jump

__all__ = ["Jump", "JumpSelector"]


@dataclass
class JumpSelector:
    """Routes from keys to lazy results; ``None`` as a route ends the run with the jump's data."""

    routes: Mapping[Any, Any]
    _uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __hash__(self) -> int:
        return hash(self._uuid)
