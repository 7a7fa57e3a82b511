"""What a dry run finds, as events."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from cascade.runtime.events import Event

__all__ = ["PlanAnalysisFinished", "PlanAnalysisStarted", "PlanNodeInspected", "ToolEvent"]

_COMMON = frozenset(one.name for one in fields(Event))


@dataclass(frozen=True)
class ToolEvent(Event):
    """Base of the events that tools publish."""

    def _get_payload(self) -> dict[str, Any]:
        """Return what the event says beyond what every event says."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _COMMON}


@dataclass(frozen=True)
class PlanAnalysisStarted(ToolEvent):
    """The graph of a target is built and is going to be planned."""

    target_node_id: str = ""


@dataclass(frozen=True)
class PlanNodeInspected(ToolEvent):
    """A node of the plan, in the order in which they would run; ``index`` counts from 1."""

    index: int = 0
    total_nodes: int = 0
    node_id: str = ""
    node_name: str = ""
    input_bindings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanAnalysisFinished(ToolEvent):
    """All nodes were inspected."""

    total_steps: int = 0
