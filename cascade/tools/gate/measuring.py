"""How a ratio is measured: interleaved in one process, collected garbage first, the fastest of the rounds.

What else a machine does slows rounds down, and none is ever too fast; it also slows an engine, which has more code and
data, more than a plain loop, so that the ratio within a disturbed round is off by a fifth. Hence the fastest rounds
are compared with each other (Chen and Revels, "Robust benchmarking in noisy environments", 2016). Whatever makes only
some rounds slow is not seen.
"""

from __future__ import annotations

import gc
import heapq
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cascade.tools.gate.yardsticks import warm_up

__all__ = ["ROUNDS", "Measured", "calibrate", "clock_name", "compare", "now", "rate"]

#: Enough for a few to be undisturbed beside other work.
ROUNDS = 30
#: The mean of so many counts: a single one may be chance.
_FASTEST = 3
#: Seconds that a round lasts at least: of a few milliseconds, too much is chance.
_ROUND = 0.02
_MOST_TIMES = 4096
#: Where Linux tells how long the calling thread was ready to run while others had the processor, in nanoseconds.
_SCHEDSTAT = "/proc/thread-self/schedstat"


@dataclass(frozen=True)
class Measured:
    """Means of the fastest rounds: units per second, and the yardstick's steps per second."""

    per_second: float
    yardstick: float

    @property
    def ratio(self) -> float:
        """Units in the time of one of the yardstick's steps."""
        return self.per_second / self.yardstick


def now() -> float:
    """Return seconds that run while this thread works or waits, but not while it is kept from working.

    On a machine with twice as many busy processes as cores a ratio of wall times is off by 30% or more, one of these
    by a few percent. Unlike processor time it sees a regression that sleeps.
    """
    while True:
        kept = _kept_waiting()
        moment = time.perf_counter()
        if _kept_waiting() == kept:  # else it was kept waiting between the two
            return moment - kept


def clock_name() -> str:
    """Return ``own time`` where the time can be left out that others had the processor, and ``wall time`` elsewhere."""
    return "wall time" if _kept_waiting is _unknown else "own time"


def _by_scheduler() -> float:
    with open(_SCHEDSTAT, "rb") as file:
        return int(file.read().split()[1]) * 1e-9


def _unknown() -> float:
    return 0.0


def _best() -> Callable[[], float]:
    try:
        _by_scheduler()
    except (OSError, ValueError, IndexError):  # another system, or one that hides it
        return _unknown
    return _by_scheduler


_kept_waiting = _best()


def rate(work: Callable[[], int]) -> float:
    """Return units per second of one call. The collector runs before, so that no round pays for another's garbage."""
    gc.collect()
    start = now()
    units = work()
    return units / (now() - start)


def calibrate(run: Callable[[int], object]) -> tuple[int, float]:
    """Return how often something must be done for a round to be long enough, and the seconds that once takes."""
    times = 1
    while True:
        started = now()
        run(times)
        taken = now() - started
        if taken >= _ROUND or times >= _MOST_TIMES:
            return times, taken / times
        times *= 2


def _repeat(work: Callable[[], int], times: int) -> int:
    return sum(work() for _ in range(times))


def compare(work: Callable[[], int], yardstick: Callable[[int], int], steps: int, rounds: int = ROUNDS) -> Measured:
    """Measure work and so many steps of a yardstick in turn, ``rounds`` times after one that does not count.

    Work that takes less than a round should is repeated in it.
    """
    warm_up(yardstick)
    yardstick(steps)
    times, _ = calibrate(lambda times: _repeat(work, times))
    with _heap_out_of_sight():
        pairs = [(rate(lambda: _repeat(work, times)), rate(lambda: yardstick(steps))) for _ in range(rounds)]
    return Measured(_fastest(w for w, _ in pairs), _fastest(y for _, y in pairs))


def _fastest(rates: Iterable[float]) -> float:
    return statistics.fmean(heapq.nlargest(_FASTEST, rates))


@contextmanager
def _heap_out_of_sight() -> Iterator[None]:
    """Let the collector search only what the block makes, not all that the process happens to hold besides.

    What the process itself had frozen stays so, and with it what it held now: the two cannot be told apart.
    """
    had_frozen = gc.get_freeze_count() > 0
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not had_frozen:
            gc.unfreeze()
