"""Limits that operators set on running engines: pause, concurrency, rate."""

from __future__ import annotations

from cascade.runtime.constraints.manager import ConstraintManager

__all__ = ["ConstraintManager"]
