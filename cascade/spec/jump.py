"""Explicit control transfer: what a task returns to jump, and where the jumps lead."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Jump", "JumpSelector"]


@dataclass
class Jump:
    """Returned by a target to continue at the route ``target_key`` with ``data`` as its new arguments."""

    target_key: Any
    data: Any = None


@dataclass
class JumpSelector:
    """Routes from keys to lazy results; ``None`` as a route ends the run with the jump's data."""

    routes: Mapping[Any, Any]
    _uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __hash__(self) -> int:
        return hash(self._uuid)
