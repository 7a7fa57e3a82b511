"""The hand-written loops that the engine is measured against: those of the regression gate."""

from __future__ import annotations

from cascade.tools.gate.yardsticks import STEPS, coroutine, sleep0, trampoline

__all__ = ["STEPS", "coroutine", "sleep0", "trampoline"]
