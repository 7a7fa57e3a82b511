"""What the benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.workloads import Workload


@pytest.fixture
def measure(benchmark: Any) -> Callable[[Workload], None]:
    """Runs a workload: at full size when benchmarks are enabled, else once and small, to see that it works."""

    def measured(workload: Workload) -> None:
        size = workload.small if benchmark.disabled else workload.size
        units = benchmark(workload.work, size)
        benchmark.extra_info.update(units=units, counts=workload.counts)

    return measured
