"""Runs that compute and other threads: who waits for Python's lock gets it, as beside any other Python code.

A thread asks for the lock when it has waited for ``sys.getswitchinterval()`` without a sign of life. Each turn of the
event loop is such a sign: it lets go of the lock for a microsecond, which wakes the waiter, and has taken it again
before the waiter is there (https://github.com/python/cpython/issues/52194). Runs that yield every millisecond would
keep threads waiting for seconds that way, so they give the lock away themselves, as often as Python would.
"""

from __future__ import annotations

import sys
import time
from _thread import _count

__all__ = ["Handover"]

#: Seconds, to which Linux adds some fifty microseconds: a thread needs as long to wake up. Windows would add hundreds.
_NAP = 0.0 if sys.platform == "win32" else 1e-5


class Handover:
    """Lets threads have the lock from time to time; one for each event loop."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    def give(self) -> None:
        """Give the lock to who waits for it, if that is due and there are other threads at all."""
        if not _count():
            return
        if time.monotonic() >= self._due:
            time.sleep(_NAP)
            self._due = time.monotonic() + sys.getswitchinterval()  # who took the lock may have kept it for as long
