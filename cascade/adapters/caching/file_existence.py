"""A cache policy for tasks that make a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["FileExistenceCache"]


class FileExistenceCache:
    """Skips a call whose file exists already; the value of the call is then the path.

    ``target_path`` is a path, or a function from the inputs of the call to a path.
    """

    def __init__(self, target_path: str | os.PathLike[str] | Callable[[dict[str, Any]], str]) -> None:
        self.target_path = target_path

    def _resolve_path(self, inputs: dict[str, Any]) -> str:
        path = self.target_path(inputs) if callable(self.target_path) else self.target_path
        return os.fspath(path)

    async def check(self, task_id: str, inputs: dict[str, Any]) -> Any:
        """Return the path when there is a file, otherwise None."""
        path = self._resolve_path(inputs)
        return path if os.path.exists(path) else None

    async def save(self, task_id: str, inputs: dict[str, Any], output: Any) -> None:
        """Do nothing: making the file is the task's own business."""
