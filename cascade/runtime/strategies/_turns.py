"""How the runs of one event loop take turns.

    few runs    each yields to the event loop when its share of a millisecond is over
    many runs   their shares would be too short to be worth it, so they stand in line, and each turn of the event loop
                lets as many of them go on as have room in a millisecond:

        ... others | run 1 .. run 18 | others ... | run 19 .. run 36 | others ... | run 37 ..
                   |-- about 1 ms ---|            |-- about 1 ms ----|

So whoever wants to pause or cancel a run waits for a millisecond, and not until each of them has had its turn. Where
everything else takes longer than that, the runs take as long as everything else does.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from cascade.runtime._concurrency import pause
from cascade.runtime.strategies._threads import Handover

__all__ = ["FEW", "Turns", "turns_of"]

#: So many runs yield to the event loop directly.
FEW = 20
_SHARE = 1e-3  # seconds of a turn of the event loop that belong to the runs


class Turns:
    """The runs of one event loop. ``runnable`` of them would go on at once, the one that is going on included."""

    __slots__ = ("_began", "_handover", "_let_go_on", "_line", "_moved", "_moves", "_new", "count", "runnable")

    def __init__(self) -> None:
        self.runnable = 0
        self._handover = Handover()
        #: Grows whenever the line moves.
        self.count = 0
        self._line: deque[asyncio.Future[None]] = deque()
        #: Those that have not begun come first: a short run need not wait for all the endless ones.
        self._new: deque[asyncio.Future[None]] = deque()
        self._moves = False  # whether the line is going to move
        self._moved = 0.0  # when it moved last
        self._began = 0.0  # when the first of those began that went on then
        self._let_go_on = 0  # how many those were

    def begin(self) -> Awaitable[None] | None:
        """Return what a run has to await before it begins, if there is anything."""
        return self._stand_in(self._new) if self.runnable > FEW else None

    def next(self) -> Awaitable[None]:
        """Return what lets others go on when it is awaited; other threads have had a chance already."""
        self._handover.give()
        return self._stand_in(self._line) if self.runnable > FEW else pause()

    def _stand_in(self, line: deque[asyncio.Future[None]]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        line.append(place)
        if not self._moves:
            self._moves = True
            self._began = 0.0
            loop.call_soon(self._move)
        return place

    def _move(self) -> None:
        """Let runs go on; they do so in the next turn of the event loop, between ``_begin`` and this."""
        room = self._room(time.monotonic())
        loop = asyncio.get_running_loop()
        loop.call_soon(self._begin)
        left = room
        while left and (self._new or self._line):
            place = (self._new or self._line).popleft()
            if not place.done():  # else its run was cancelled
                place.set_result(None)
                left -= 1
        self._let_go_on = room - left
        self._moves = self._let_go_on > 0
        self.count += 1
        if self._moves:
            loop.call_soon(self._move)

    def _begin(self) -> None:
        self._began = time.monotonic()

    def _room(self, now: float) -> int:
        """Return how many may go on: as many as would have taken their share of the last turn."""
        moved, self._moved = self._moved, now
        if not self._began:
            return FEW
        share = max(_SHARE, self._began - moved)
        taken = max(now - self._began, 1e-6)
        return max(1, min(int(self._let_go_on * share / taken), 2 * self._let_go_on + 1))


_of_loops: WeakKeyDictionary[Any, Turns] = WeakKeyDictionary()

#: The event loop that was asked for last: nearly always the one that is asked for next.
_latest: tuple[Callable[[], Any], Turns] = (lambda: None), Turns()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the turns that the runs of an event loop take."""
    global _latest
    of, turns = _latest
    if of() is not loop:
        turns = _of_loops.setdefault(loop, Turns())
        _latest = weakref.ref(loop), turns
    return turns
