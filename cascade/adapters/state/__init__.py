"""Where the results of a run are kept."""

from __future__ import annotations

from cascade.adapters.state.in_memory import InMemoryStateBackend

__all__ = ["InMemoryStateBackend"]
