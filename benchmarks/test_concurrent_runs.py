"""What does a step cost when a hundred runs share an engine, or when it goes through the event loop?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.workloads import WORKLOADS, Workload


@pytest.mark.benchmark(group="concurrent runs")
@pytest.mark.parametrize("name", ["loops", "sleepy"])
def test_concurrent_runs(measure: Callable[[Workload], None], name: str) -> None:
    """Runs take turns; divide the time by ``units``."""
    measure(WORKLOADS[name])
