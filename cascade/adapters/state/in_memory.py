"""Keeps the results of one run in dictionaries."""

from __future__ import annotations

from typing import Any

__all__ = ["InMemoryStateBackend"]


class InMemoryStateBackend:
    """Results and skip marks of one run, gone with the object."""

    #: Nobody can read the results of a step later, so the engine may pass over them and store the final one only.
    transient = True

    def __init__(self, run_id: str) -> None:
        #: Whether nobody but the engine has this object; otherwise somebody may look for results of the first step.
        self.is_private = False
        self._run_id = run_id
        self._results: dict[str, Any] = {}
        self._skipped: dict[str, str] = {}

    async def put_result(self, node_id: str, result: Any) -> None:
        """Keep a result, None included."""
        self._results[node_id] = result

    async def get_result(self, node_id: str) -> Any | None:
        """Return the result, or None."""
        return self._results.get(node_id)

    async def has_result(self, node_id: str) -> bool:
        """Tell a stored None from nothing."""
        return node_id in self._results

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Note that a node was skipped."""
        self._skipped[node_id] = reason

    async def get_skip_reason(self, node_id: str) -> str | None:
        """Return why a node was skipped, or None."""
        return self._skipped.get(node_id)

    async def clear(self) -> None:
        """Forget everything, before the next step of a loop."""
        self._results.clear()
        self._skipped.clear()
