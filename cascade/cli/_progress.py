"""How far a run is: a live line on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import shutil
import threading
import time
from types import TracebackType
from typing import TextIO

from cascade.runtime.bus import MessageBus
from cascade.runtime.events import LoopProgress, TaskExecutionStarted
from cascade.runtime.stats import RunStats

__all__ = ["Progress", "summary"]

_LIVE_INTERVAL = 0.1  # seconds
_PLAIN_INTERVAL = 5.0  # seconds
_TELLING = 0.1  # seconds: of a shorter run a rate says nothing

_ERASE_LINE = "\r\x1b[2K"


class Progress:
    """Counts by the events of a run and, while it is entered, shows the counts.

    A thread of its own does the showing: the clock goes on while a task holds the event loop. Nodes of full processing
    are counted by their start, because the event of their end would have to contain the start of each result's text.
    """

    def __init__(self, bus: MessageBus, stream: TextIO, plain_interval: float = _PLAIN_INTERVAL) -> None:
        self._stream = stream
        self._is_live = stream.isatty()
        self._interval = _LIVE_INTERVAL if self._is_live else plain_interval
        self._loop = LoopProgress()
        self._name = ""
        self._nodes = 0
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="cascade_progress", daemon=True)
        bus.subscribe(LoopProgress, self._on_loop)
        bus.subscribe(TaskExecutionStarted, self._on_start)

    @property
    def elapsed(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._started

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def line(self) -> str:
        """Return the counts as text."""
        loop = self._loop
        counts = [self._name] if self._name else []
        if loop.steps:
            counts += [f"{loop.steps:,} steps", f"{loop.steps_per_second:,.0f} steps/s"]
        return "  ".join([*counts, f"{max(self._nodes, loop.nodes):,} nodes", f"{self.elapsed:.1f} s"])

    def _on_loop(self, event: LoopProgress) -> None:
        self._loop = event
        self._name = event.task_name

    def _on_start(self, event: TaskExecutionStarted) -> None:
        self._nodes += 1
        self._name = event.task_name

    def _show(self) -> None:
        shown = False
        while not self._over.wait(self._interval):
            shown = True
            self._write(self.line())
        if shown and self._is_live:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()

    def _write(self, line: str) -> None:
        if self._is_live:
            width = shutil.get_terminal_size().columns
            self._stream.write(f"{_ERASE_LINE}{line[: max(width - 1, 1)]}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()


def summary(stats: RunStats) -> str:
    """Return what a run amounted to, on one line."""
    tiers = ", ".join(f"{count:,} {tier}" for tier, count in _tiers(stats) if count)
    rate = f", {stats.steps / stats.duration:,.0f} steps/s" if stats.duration >= _TELLING else ""
    steps, nodes = _count(stats.steps, "step"), _count(stats.nodes, "node")
    return f"{steps} ({tiers or 'none'}), {nodes}, {stats.duration:.2f} s{rate}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _tiers(stats: RunStats) -> tuple[tuple[str, int], ...]:
    return ("hot", stats.hot), ("warm", stats.warm), ("cold", stats.cold)
