"""An alarm that event loops can be asked to ring, by themselves or by other threads."""

from __future__ import annotations

import math
import threading
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Alarm"]


class Alarm:
    """Calls ``ring`` at each moment asked for, on an event loop.

    Moments are rounded up to a millisecond, which is as fine as event loops wait, and moments that round to the same
    millisecond ring once: a thousand nodes that wait for one token cost one timer.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        #: Moments to come, in milliseconds of ``loop.time()``, for every loop that has used the alarm and is open.
        self._moments: dict[AbstractEventLoop, set[int]] = {}
        #: Held while a loop is added.
        self._lock = threading.Lock()

    def note_loop(self) -> None:
        """Remember the running loop, if any, so that other threads can have the alarm rung on it."""
        loop = _get_running_loop()
        if loop is None or loop in self._moments:
            return
        with self._lock:
            live = {known: moments for known, moments in self._moments.items() if not known.is_closed()}
            self._moments = {**live, loop: set()}

    def ring_in(self, delay: float) -> None:
        """Ring after ``delay`` seconds on the running loop; without one, on every loop that has used the alarm."""
        loop = _get_running_loop()
        if loop is None:
            self.ring_everywhere_in(delay)
        else:
            self.note_loop()
            self._schedule(loop, delay)

    def ring_everywhere_in(self, delay: float) -> None:
        """Ring after ``delay`` seconds on the running loop and on every other one that has used the alarm."""
        self.note_loop()
        current = _get_running_loop()
        for loop in self._moments:
            if loop is current:
                self._schedule(loop, delay)
            elif loop.is_running():
                with suppress(RuntimeError):  # it was closed this very moment, so nobody waits on it
                    loop.call_soon_threadsafe(self._schedule, loop, delay)

    def _schedule(self, loop: AbstractEventLoop, delay: float) -> None:
        if not math.isfinite(delay):
            return  # never
        moments = self._moments[loop]
        moment = math.ceil((loop.time() + max(delay, 0.0)) * 1000.0)
        if moment not in moments:
            moments.add(moment)
            loop.call_at(moment / 1000.0, self._fire, moments, moment)

    def _fire(self, moments: set[int], moment: int) -> None:
        moments.discard(moment)
        self._ring()
