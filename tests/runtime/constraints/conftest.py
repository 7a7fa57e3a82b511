"""A virtual clock: event loop, wall clock and rate limiter share one time that moves only when everybody waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from cascade.runtime.constraints import manager as manager_module
from cascade.runtime.constraints import rate_limiter


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to the next timer instead of sleeping."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def time(self):
        return self.clock.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.clock.now = max(self.clock.now, self._scheduled[0]._when)
        super()._run_once()


class Clock:
    """The shared time, in Unix seconds."""

    def __init__(self):
        self.now = 1_000_000.0

    def run(self, coroutine):
        """Run a coroutine on a fresh loop under this clock."""
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(self)) as runner:
            return runner.run(coroutine)


@pytest.fixture
def clock(monkeypatch):
    """The time that constraints and event loops see."""
    made = Clock()
    monkeypatch.setattr(manager_module, "time", SimpleNamespace(time=lambda: made.now))
    monkeypatch.setattr(rate_limiter, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made
