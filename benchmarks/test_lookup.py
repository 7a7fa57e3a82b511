"""What does it cost to find the program of a known template: the task's last one, or any other in the cache?"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from benchmarks.programs import known
from benchmarks.workloads import noop, total
from cascade import _kernel


def cache_of(programs: int) -> Any:
    """Returns a cache with programs of calls of one task, told apart by the number of their arguments."""
    cache = _kernel.ProgramCache()
    for count in range(1, programs + 1):
        known(cache, total(*[0] * count))
    return cache


@pytest.mark.benchmark(group="look-up")
@pytest.mark.parametrize("programs, templates", [(1, 1), (1_000, 1), (2, 2), (1_000, 2)])
def test_lookup(benchmark: Any, programs: int, templates: int) -> None:
    """The program is found, be it the task's last one or, with two templates in turn, another; tracing is included."""
    cache = cache_of(20 if benchmark.disabled and programs > 20 else programs)
    targets = cycle([total(*[0] * (count + 1)) for count in range(templates)])

    def find() -> Any:
        frame = _kernel.Frame(cache, {})
        frame.begin(next(targets))
        return frame

    assert benchmark(find).program is not None


@pytest.mark.benchmark(group="look-up")
def test_not_found(benchmark: Any) -> None:
    """A template that the cache does not have is told from those that it has."""
    cache, target = cache_of(20), noop(1)

    def find() -> Any:
        frame = _kernel.Frame(cache, {})
        frame.begin(target)
        return frame

    assert benchmark(find).program is None
