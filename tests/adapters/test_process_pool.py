"""The processes of compute tasks: none outlives its pool."""

from __future__ import annotations

from typing import Any

from cascade.adapters.executors._processes import _Crew


class Worker:
    """Stands for a process."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_process_that_starts_while_its_pool_closes_is_ended() -> None:
    """Otherwise nobody would end it, and the interpreter would wait for it for ever."""
    crew: Any = _Crew()
    early, late = Worker(), Worker()
    crew.join(early)
    before = early.closed
    crew.close()
    crew.join(late)

    assert (before, early.closed, late.closed) == (0, 1, 1)


def test_a_process_that_left_is_closed_once() -> None:
    """Closing the pool concerns those that are still there."""
    crew: Any = _Crew()
    worker = Worker()
    crew.join(worker)
    crew.leave(worker)
    crew.close()

    assert worker.closed == 1
