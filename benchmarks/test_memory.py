"""How many bytes does a lazy result take, a level of recursion, and a step that is over?

Bytes stand in the ``extra_info`` of a measurement: those that ``tracemalloc`` sees, and of a level, whose memory is not
Python's alone, those of the resident size.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from benchmarks.lengths import resident
from benchmarks.workloads import add, double, engine, noop, run, simple_countdown
from cascade._kernel import kernel_name

compiled_only = pytest.mark.skipif(kernel_name != "compiled", reason="the Python kernel is not compact")


def taken(make: Callable[[], Any]) -> int:
    """Returns the bytes that are still held when something has been made."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        del kept
    finally:
        tracemalloc.stop()
    return after - before


LAZIES: dict[str, tuple[Callable[[int], Any], int]] = {
    "bare": (lambda i: noop(), 136),
    "one argument": (lambda i: noop(i % 100), 184),
    "two arguments": (lambda i: add(1, 2), 192),
    "a keyword": (lambda i: noop(_dummy=None), 184),
    "a retry policy": (lambda i: double(1).with_retry(2), 240),
}


@compiled_only
@pytest.mark.benchmark(group="memory")
@pytest.mark.parametrize("name", LAZIES)
def test_lazy_result(benchmark: Any, name: str) -> None:
    """A lazy result that is alive takes no more than it needs for its call."""
    make, most = LAZIES[name]
    count = 5_000

    size = taken(lambda: [make(i) for i in range(count)]) / count

    benchmark.extra_info["bytes"] = size
    benchmark(make, 1)
    assert 0 < size <= most


@pytest.mark.benchmark(group="memory")
def test_step(benchmark: Any) -> None:
    """A thousand steps leave no more behind than ten."""
    on = engine()

    def loop(steps: int) -> int:
        return taken(lambda: run(simple_countdown(steps), on))

    loop(10)
    few, many = loop(10), loop(1_000)

    benchmark.extra_info["bytes"] = (many - few) / 990
    benchmark(run, simple_countdown(10), on)
    assert many - few < 990


@cs.task
def increase(value: int) -> int:
    return value + 1


@compiled_only
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident size is read from /proc")
@pytest.mark.parametrize("hot", [True, False], ids=["hot", "warm"])
@pytest.mark.benchmark(group="memory")
def test_level(benchmark: Any, hot: bool) -> None:
    """A level of recursion that waits for the one below takes at most a kilobyte."""
    levels, sizes = 5_000, []

    @cs.task
    def bottom() -> int:
        sizes.append(resident())
        return 0

    @cs.task
    def descend(n: int) -> Any:
        return increase(descend(n - 1)) if n else bottom()

    def dive() -> int:
        gc.collect()
        sizes.append(resident())
        return int(run(descend(levels), engine(hot=hot)))

    assert benchmark.pedantic(dive, rounds=1) == levels
    before, below = sizes[:2]
    benchmark.extra_info["bytes"] = (below - before) / levels
    assert below - before <= 1_024 * levels
