"""Ctrl-C: the first one cancels the run, which then does its teardowns; a function in its way is interrupted.

    SIGINT -> cancel the asyncio Task -> the event loop gets control   -> CancelledError at the next control point
                                     `-> it does not, for a moment     -> KeyboardInterrupt in whatever holds it
"""

from __future__ import annotations

import _thread
import asyncio
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]

#: Seconds that a function may hold the thread after Ctrl-C. Longer than the quantum of a hot loop by far, and short
#: enough to look immediate.
_PATIENCE = 0.25


class Interrupts:
    """Handles SIGINT while it is entered. Outside of the main thread it does nothing."""

    def __init__(self) -> None:
        #: How often the user has interrupted.
        self.count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        #: Set when the event loop has run after the first interrupt.
        self._noticed = threading.Event()
        self._insisting = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._noticed.set()  # too late to insist
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def watch(self) -> None:
        """Let interrupts cancel the current asyncio Task."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._insisting:  # our own signal
            self._insisting = False
            if self._noticed.is_set():
                return
            raise KeyboardInterrupt
        self.count += 1
        if self.count > 1 or self._loop is None or self._task is None or self._task.done():
            raise KeyboardInterrupt
        # In this order: what the cancelled Task does next may be a teardown, which must not be interrupted.
        self._loop.call_soon_threadsafe(self._noticed.set)
        self._task.cancel()
        threading.Thread(target=self._insist, name="cascade_interrupt", daemon=True).start()

    def _insist(self) -> None:
        if self._noticed.wait(_PATIENCE):
            return
        self._insisting = True
        if hasattr(signal, "pthread_kill"):  # ends a sleep at once, which a simulated signal would not
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()
