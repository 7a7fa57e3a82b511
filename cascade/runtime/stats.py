"""What a run amounted to: its counters and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Outcome", "RunStats"]

T = TypeVar("T")


@dataclass(frozen=True, init=False)
class RunStats:
    """Counters of one run.

    ``hot``, ``warm`` and ``cold`` count steps by tier, ``nodes`` the nodes that ran, ``templates`` the distinct
    templates that were built, ``yields`` how often a loop let others run; ``duration`` is in seconds.
    """

    hot: int = 0
    warm: int = 0
    cold: int = 0
    nodes: int = 0
    templates: int = 0
    yields: int = 0
    duration: float = 0.0

    def __init__(
        self,
        hot: int = 0,
        warm: int = 0,
        cold: int = 0,
        nodes: int = 0,
        templates: int = 0,
        yields: int = 0,
        duration: float = 0.0,
    ) -> None:
        # In one go: each run makes several, and a frozen class's own __init__ sets field by field.
        self.__dict__.update(
            hot=hot, warm=warm, cold=cold, nodes=nodes, templates=templates, yields=yields, duration=duration
        )

    def __add__(self, other: RunStats) -> RunStats:
        return RunStats(
            self.hot + other.hot,
            self.warm + other.warm,
            self.cold + other.cold,
            self.nodes + other.nodes,
            self.templates + other.templates,
            self.yields + other.yields,
            self.duration + other.duration,
        )

    @property
    def steps(self) -> int:
        """Steps of all tiers together."""
        return self.hot + self.warm + self.cold


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How a run ended: ``status`` is Succeeded (see ``value``), or Failed or Cancelled (see ``reason``)."""

    status: str
    value: T | None = None
    reason: BaseException | None = None
    run_id: str = ""
    stats: RunStats = RunStats()
