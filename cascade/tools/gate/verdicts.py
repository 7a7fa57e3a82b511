"""What a row allows, how that is learnt, and what becomes of a measurement."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["Kind", "Row", "Verdict", "learn"]

#: Deviations from the median that a row may make, in units of the largest one seen.
_SAFETY = 2.0


class Kind(Enum):
    """What a row counts: a ratio of speeds, of which more is better, or instructions, of which fewer are.

    ``least`` is the smallest tolerance: what another day may do. ``most`` is the largest: beyond it a slowdown that
    the gate is there for could pass. A workload 1.5 times as slow has 0.67 of its speed; with ``most`` for time it
    fails although everything looks a tenth faster than when it was recorded.
    """

    TIME = "time", 0.20, 0.24
    INSTRUCTIONS = "instructions", 0.03, 0.06

    def __init__(self, title: str, least: float, most: float) -> None:
        self.title = title
        self.least = least
        self.most = most


@dataclass(frozen=True)
class Row:
    """What a baseline says: the value, the part of it that may be lost, and how many calls one run made, if known."""

    value: float
    tolerance: float
    calls: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a subject."""

    kind: Kind
    name: str
    value: float
    row: Row
    counts: str = ""

    @property
    def share(self) -> float:
        """Its speed as a part of the baseline's; for instructions, the baseline's count as a part of this one."""
        more_is_better = self.kind is Kind.TIME
        over, under = (self.value, self.row.value) if more_is_better else (self.row.value, self.value)
        return over / under if under else math.nan

    @property
    def limit(self) -> float:
        """The smallest share that passes."""
        return 1 - self.row.tolerance

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through; what is no number does not pass."""
        return self.share >= self.limit

    @property
    def word(self) -> str:
        """``ok``, or what to notice."""
        if not self.passed:
            return "SLOWER" if self.kind is Kind.TIME else "MORE"
        if self.share > 1 + self.row.tolerance:
            return "faster" if self.kind is Kind.TIME else "fewer"
        return "ok"


def learn(kind: Kind, values: Sequence[float], calls: int | None = None) -> tuple[Row, float]:
    """Return the row of repeated measurements, and the largest deviation among them as a part of their median.

    A row may lose twice that deviation, but never less than its kind's least tolerance, nor more than its most.
    """
    middle = statistics.median(values)
    deviation = max(abs(value - middle) for value in values) / middle
    wanted = math.ceil(_SAFETY * deviation * 100) / 100
    tolerance = min(max(wanted, kind.least), kind.most)
    return Row(float(f"{middle:.4g}"), tolerance, calls), deviation
