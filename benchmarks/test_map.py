"""What does an item of a map cost: synchronous, asynchronous, or in one of many small maps?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from benchmarks.workloads import double, run


@cs.task
def expanding(x: int) -> Any:
    return double(x)


@cs.task
async def halve(x: int) -> int:
    return x // 2


@cs.task
async def waiting(x: int) -> int:
    await asyncio.sleep(0)
    return x


@cs.task
def plus(x: int, y: int = 1) -> int:
    return x + y


@cs.task
def mapping(n: int, xs: Any = ()) -> Any:
    return xs if n <= 0 else mapping(n - 1, double.map(x=[n, n + 1, n + 2]))


def in_one(task: Any) -> Callable[[int], Any]:
    return lambda n: task.map(x=list(range(n)))


MAPS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any], int]] = {
    "synchronous": (in_one(double), lambda n: [2 * i for i in range(n)], 20_000),
    "two columns": (lambda n: plus.map(x=range(n), y=range(n)), lambda n: [2 * i for i in range(n)], 20_000),
    "asynchronous": (in_one(halve), lambda n: [i // 2 for i in range(n)], 2_000),
    "that wait": (in_one(waiting), lambda n: list(range(n)), 2_000),
    "that return calls": (in_one(expanding), lambda n: [2 * i for i in range(n)], 2_000),
    "with a retry policy": (
        lambda n: double.map(x=list(range(n))).with_retry(2),
        lambda n: [2 * i for i in range(n)],
        2_000,
    ),
    "three a step": (mapping, lambda n: [2, 4, 6], 300),
}


@pytest.mark.benchmark(group="map")
@pytest.mark.parametrize("name", MAPS)
def test_items(benchmark: Any, name: str) -> None:
    """A map returns a value for each item, in order; of small maps there is one in each step."""
    make, expected, size = MAPS[name]
    size = 20 if benchmark.disabled else size

    assert benchmark(lambda: run(make(size))) == expected(size)
    benchmark.extra_info["units"] = size


@pytest.mark.benchmark(group="map")
def test_many_small_maps(benchmark: Any) -> None:
    """Maps side by side in one expression, gathered by one call."""
    count = 5 if benchmark.disabled else 200

    @cs.task
    def lengths(lists: list[list[int]]) -> list[int]:
        return [len(one) for one in lists]

    assert benchmark(lambda: run(lengths([double.map(x=[1, 2, 3]) for _ in range(count)]))) == [3] * count
    benchmark.extra_info["units"] = 3 * count
