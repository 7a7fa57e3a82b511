"""Messages on their way to a broker, in the order in which they were handed over.

    put() -> waiting -> sending (at most WINDOW) -> sent
                ^           |
                +--hold()---+      connection lost: back to the front, in order, until release()

What was being sent when the connection broke is sent again, so a receiver may see a message twice, but none is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Letter", "Outbox"]

_log = logging.getLogger(__name__)

#: As many messages may wait for the broker's confirmation at a time; with one, each would cost a round trip.
WINDOW = 20
#: As many may wait for a broker that is away before the oldest are given up: memory is not endless.
LIMIT = 100_000
#: A message on which the connection breaks this often is taken for the reason, and given up.
ATTEMPTS = 25
#: Seconds until another attempt where the broker refused one and stayed connected.
PAUSE = 1.0


@dataclass
class Letter:
    """One message. ``payload`` is the text to send, or the constraint to retain beside the others of its scope."""

    topic: str
    payload: Any
    qos: int = 0
    retain: bool = False
    #: How often it was tried.
    attempts: int = 0

    @property
    def is_constraint(self) -> bool:
        """Whether sending it means to read what is retained first; nothing else is sent meanwhile."""
        return isinstance(self.payload, dict)


class Outbox:
    """Sends letters with ``send(letter)``; ``is_passing(error)`` says whether a failure asks for another attempt."""

    def __init__(self, send: Callable[[Letter], Awaitable[None]], is_passing: Callable[[BaseException], bool]) -> None:
        self._send = send
        self._is_passing = is_passing
        self._waiting: deque[Letter] = deque()
        #: Letters in order, by the task that sends each.
        self._sending: dict[asyncio.Task[None], Letter] = {}
        self._is_held = False
        #: Ends the pause after a refusal.
        self._timer: asyncio.TimerHandle | None = None
        #: Set whenever a letter is gone.
        self._progress = asyncio.Event()
        self._lost = 0
        #: Letters that were given up since this was made.
        self.given_up = 0

    def put(self, letter: Letter) -> None:
        """Send a letter when its turn comes."""
        if len(self._waiting) >= LIMIT:
            self._give_up_oldest()
        self._waiting.append(letter)
        self._pump()

    def hold(self) -> None:
        """Send nothing until :meth:`release`; what is being sent will be sent again."""
        self._is_held = True
        self._stop_timer()
        back = []
        for task, letter in self._sending.items():
            if not _is_done_well(task):
                task.cancel()
                back.append(letter)
        self._sending.clear()
        self._waiting.extendleft(reversed(back))

    def release(self) -> None:
        """Go on after :meth:`hold`."""
        self._is_held = False
        self._stop_timer()
        if self._lost:
            _log.error("MQTT broker was away for too long: %d of the oldest messages were given up", self._lost)
            self._lost = 0
        self._pump()

    async def drain(self, patience: float) -> int:
        """Wait until all letters are gone, or none was for ``patience`` seconds; return how many are left."""
        while self._waiting or self._sending:
            self._progress.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._progress.wait()
            except TimeoutError:
                break
        return len(self._waiting) + len(self._sending)

    def give_up(self) -> None:
        """Give up all letters that are not sent yet."""
        was_held = self._is_held
        self.hold()
        self.given_up += len(self._waiting)
        self._waiting.clear()
        self._is_held = was_held

    def _pump(self) -> None:
        while self._waiting and not self._is_held and self._has_room_for(self._waiting[0]):
            letter = self._waiting.popleft()
            letter.attempts += 1
            task = asyncio.ensure_future(self._send(letter))
            self._sending[task] = letter
            task.add_done_callback(self._on_end)

    def _has_room_for(self, letter: Letter) -> bool:
        if not self._sending:
            return True
        is_alone = letter.is_constraint or next(iter(self._sending.values())).is_constraint
        return len(self._sending) < WINDOW and not is_alone

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if task not in self._sending:  # hold() took its letter back
            if not task.cancelled():
                task.exception()  # it failed like the connection, which is reported elsewhere
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        letter = self._sending[task]
        if error is not None and self._is_passing(error) and letter.attempts < ATTEMPTS:
            self.hold()
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self.release)
            return
        if error is not None:
            self.given_up += 1
            _log.error("message to %s was not sent: %s: %s", letter.topic, type(error).__name__, error)
        del self._sending[task]
        self._progress.set()
        self._pump()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up_oldest(self) -> None:
        self._waiting.popleft()
        self._lost += 1
        self.given_up += 1


def _is_done_well(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
