"""What does an expression cost that has never been seen: to build, to plan, and to run once?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.workloads import WORKLOADS, Workload, layered
from cascade._kernel import trace
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph

WIDTH = 50


def layers(benchmark: Any) -> int:
    """Returns how many layers an expression gets."""
    return 2 if benchmark.disabled else 20


@pytest.mark.benchmark(group="cold")
def test_build(benchmark: Any) -> None:
    """The graph of random layers has a node for each call."""
    count = layers(benchmark)
    target = layered(count, WIDTH)

    graph, _ = benchmark(build_graph, target)

    assert len(graph.nodes) == len(trace(target).operations)


@pytest.mark.benchmark(group="cold")
def test_plan(benchmark: Any) -> None:
    """The solver's plan has every node once."""
    graph, _ = build_graph(layered(layers(benchmark), WIDTH))

    plan = benchmark(NativeSolver().resolve, graph)

    assert sum(map(len, plan)) == len(graph.nodes)


@pytest.mark.benchmark(group="cold")
def test_cold_run(measure: Callable[[Workload], None]) -> None:
    """Built, planned, indexed and run once; divide the time by ``units``."""
    measure(WORKLOADS["cold"])
