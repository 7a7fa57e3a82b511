"""What tests of connectors share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

__all__ = ["Inbox", "constraint", "open_files", "other_tasks", "until"]


class Inbox:
    """A callback that keeps what it gets, and can be waited for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self._arrived = asyncio.Event()

    async def __call__(self, topic: str, payload: Any) -> None:
        self.seen.append((topic, payload))
        self._arrived.set()

    async def wait_for(self, number: int) -> list[tuple[str, Any]]:
        """Returns what has come once there are so many messages."""
        while len(self.seen) < number:
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), 60)
        return self.seen


async def until(condition: Callable[[], object], patience: float = 60.0, pause: float = 0.001) -> None:
    """Returns when the condition holds; nothing tells of it, so it is looked at again and again."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(pause)


def constraint(
    scope: str, type_: str, *, id_: str = "", expires_at: float | None = None, **params: Any
) -> dict[str, Any]:
    """A constraint message as controllers send it."""
    return {
        "id": id_ or f"{type_}-{scope}",
        "scope": scope,
        "type": type_,
        "params": params,
        "expires_at": expires_at,
    }


def other_tasks() -> set[asyncio.Task[Any]]:
    """All tasks of the running loop but the one that asks."""
    return asyncio.all_tasks() - {asyncio.current_task()}


def open_files() -> list[str]:
    """What the process has open: files, sockets, pipes."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue  # that of listdir itself
    return sorted(found)
