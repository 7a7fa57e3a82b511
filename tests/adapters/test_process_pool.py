"""The processes of compute tasks: none outlives its pool, and none is left with half of what it is told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cascade.adapters.executors import _processes
from cascade.adapters.executors._processes import _Crew


class Worker:
    """Stands for a process."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A crew whose members are no processes."""
    monkeypatch.setattr(_processes, "_Worker", Worker)
    return _Crew()


def test_no_process_starts_once_its_pool_is_closed(crew: Any) -> None:
    """Otherwise nobody would end it, and the interpreter would wait for it for ever."""
    early = crew.start()
    before = early.closed
    crew.close()

    assert (before, early.closed) == (0, 1)
    with pytest.raises(RuntimeError, match="closed before a process"):
        crew.start()


def test_closing_waits_for_a_process_that_starts(crew: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose parent ends while it is told what to do complains of that on standard error."""
    starting, go_on, started = threading.Event(), threading.Event(), list[Worker]()

    class Slow(Worker):
        def __init__(self) -> None:
            super().__init__()
            starting.set()
            go_on.wait()

    monkeypatch.setattr(_processes, "_Worker", Slow)
    thread = threading.Thread(target=lambda: started.append(crew.start()))
    thread.start()
    starting.wait()
    closing = threading.Thread(target=crew.close)
    closing.start()
    go_on.set()
    thread.join()
    closing.join()

    assert [worker.closed for worker in started] == [1]


def test_a_process_that_left_is_closed_once(crew: Any) -> None:
    """Closing the pool concerns those that are still there."""
    worker = crew.start()
    crew.leave(worker)
    crew.close()

    assert worker.closed == 1
