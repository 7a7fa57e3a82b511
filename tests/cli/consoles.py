"""What tests of commands share: a message bus that notes, a connector that notes, processes on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cascade

__all__ = ["ConnectorThatNotes", "MessagesThatAreNoted", "environment", "lines_until", "started", "terminal"]

#: Seconds after which something that must come does not.
PATIENCE = 60.0


class MessagesThatAreNoted:
    """Stands for the message bus and notes level, id and data."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, msg_id: str, **data: Any) -> None:
        self.seen.append(("info", msg_id, data))

    def warning(self, msg_id: str, **data: Any) -> None:
        self.seen.append(("warning", msg_id, data))

    def error(self, msg_id: str, **data: Any) -> None:
        self.seen.append(("error", msg_id, data))

    @property
    def ids(self) -> list[str]:
        return [msg_id for _, msg_id, _ in self.seen]


class ConnectorThatNotes:
    """Notes what is done to it, and fails where it is told to."""

    def __init__(self, **fails: BaseException) -> None:
        self.done: list[Any] = []
        self.made_with: dict[str, Any] = {}
        self.retained: list[tuple[str, Any]] = []
        self._fails = fails

    def __call__(self, **given: Any) -> ConnectorThatNotes:
        """Stands for the class, too."""
        self.made_with = given
        return self

    async def connect(self) -> None:
        self._do("connect")

    async def disconnect(self) -> None:
        self._do("disconnect")

    async def publish(self, topic: str, payload: Any, qos: int = 0, retain: bool = False) -> None:
        self._do("publish", topic, payload, retain)

    async def subscribe(self, topic: str, callback: Any) -> None:
        self._do("subscribe", topic)
        for where, payload in self.retained:
            await callback(where, payload)

    def _do(self, what: str, *details: Any) -> None:
        self.done.append((what, *details) if details else what)
        if what in self._fails:
            raise self._fails[what]


def environment(home: Path | None = None, **more: str) -> dict[str, str]:
    """Returns that of a process that finds the package under test, and keeps its files below ``home``."""
    own = {"PYTHONPATH": str(Path(cascade.__file__).parents[1]), "PYTHONUNBUFFERED": "1", "TERM": "xterm"}
    if home is not None:
        own |= {"HOME": str(home), "TMPDIR": str(home)}
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    return {**kept, **own, **more}


@contextlib.contextmanager
def started(*arguments: str, home: Path | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Runs ``python -m ARGUMENTS`` for a while; its streams are pipes unless told otherwise."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-m", *arguments], **{"env": environment(home), **streams, **options})
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Yields a pseudo-terminal: our end and that of a process."""
    ours, theirs = os.openpty()
    try:
        yield ours, theirs
    finally:
        for end in (ours, theirs):
            with contextlib.suppress(OSError):  # closed already
                os.close(end)


def lines_until(descriptor: int, enough: Callable[[str], bool]) -> str:
    """Reads until ``enough(text)`` or the other end is closed; fails if neither happens."""
    shown, until = b"", time.monotonic() + PATIENCE
    while not enough(shown.decode(errors="replace")):
        if time.monotonic() > until:
            raise AssertionError(f"still waiting after {shown.decode(errors='replace')!r}")
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                more = os.read(descriptor, 65536)
            except OSError:  # a terminal whose other end is closed
                break
            if not more:
                break
            shown += more
    return shown.decode(errors="replace")
