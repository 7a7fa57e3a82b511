"""What does a step cost, by the shape of its expression?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.workloads import WORKLOADS, Workload

SHAPES = (
    *("simple", "kwargs", "ring", "stable", "bigstate", "heavy", "fib", "tree", "async", "retry", "injected", "map"),
    *("condition", "router", "maploop"),
)


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("name", SHAPES)
def test_step(measure: Callable[[Workload], None], name: str) -> None:
    """A recursive task runs to its answer; divide the time by ``units``."""
    measure(WORKLOADS[name])
