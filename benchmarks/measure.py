"""How a ratio is measured: interleaved in one process, collected garbage first, the median of the rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from cascade import _kernel

__all__ = ["ROUNDS", "Measured", "compare", "need_compiled", "rate", "warm_up"]

#: Fewer rounds give a median that one interruption can move.
ROUNDS = 7


@dataclass(frozen=True)
class Measured:
    """Medians over the rounds: units per second, the yardstick's steps per second, and of their ratio."""

    per_second: float
    yardstick: float
    ratio: float


def need_compiled() -> str:
    """Returns what is wrong if another kernel than the compiled one is loaded, and an empty text otherwise."""
    loaded = _kernel.hot.__name__
    if loaded == "cascade._hot":
        return ""
    return (
        f"the compiled kernel is needed for measuring, but {loaded} is loaded: "
        "unset CASCADE_PURE and build the extension (pip install -e .)"
    )


def rate(work: Callable[[], int]) -> float:
    """Returns units per second of one call. The collector runs before, so that no round pays for another's garbage."""
    gc.collect()
    start = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - start)


def warm_up(yardstick: Callable[[int], int]) -> None:
    """Calls a yardstick until the interpreter has specialised it.

    Python 3.11 does that at the eighth call of a function, or at its eighth unconditional jump back; a ``while`` loop
    makes only conditional ones. Without this the trampoline runs its first seven rounds at 60% of its speed.
    """
    for _ in range(20):
        yardstick(1)


def compare(work: Callable[[], int], yardstick: Callable[[int], int], steps: int, rounds: int = ROUNDS) -> Measured:
    """Measures work and so many steps of a yardstick in turn, ``rounds`` times after one that does not count."""
    warm_up(yardstick)
    work(), yardstick(steps)
    pairs = [(rate(work), rate(lambda: yardstick(steps))) for _ in range(rounds)]
    return Measured(
        per_second=statistics.median(w for w, _ in pairs),
        yardstick=statistics.median(y for _, y in pairs),
        ratio=statistics.median(w / y for w, y in pairs),
    )
