"""What does a plan cost a node, by shape and size of the graph, and by who makes it?"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.sizes import SHAPES, TASKS
from cascade import _kernel
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph


@pytest.mark.benchmark(group="solver")
@pytest.mark.parametrize("size", [10, 1_000, 10_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_native_solver(benchmark: Any, shape: str, size: int) -> None:
    """The plan has every node once, and a chain has as many stages as nodes."""
    size = min(size, 100) if benchmark.disabled else size
    graph, _ = build_graph(SHAPES[shape](size, TASKS))

    plan = benchmark(NativeSolver().resolve, graph)

    assert sum(map(len, plan)) == len(graph.nodes)
    assert (len(plan) == size) is (shape == "chain")
    benchmark.extra_info["units"] = len(graph.nodes)


@pytest.mark.benchmark(group="solver")
@pytest.mark.parametrize("shape", SHAPES)
def test_edges_out_of_order(benchmark: Any, shape: str) -> None:
    """Edges in another order than the builder's are planned by the slower way, and equally."""
    graph, _ = build_graph(SHAPES[shape](50 if benchmark.disabled else 1_000, TASKS))
    expected = NativeSolver().resolve(graph)
    graph.edges.reverse()

    assert benchmark(NativeSolver().resolve, graph) == expected


@pytest.mark.benchmark(group="solver")
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_layers(benchmark: Any, shape: str) -> None:
    """The kernel's own plan of an expression that is never given a graph has every operation once."""
    size = 50 if benchmark.disabled else 1_000
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(SHAPES[shape](size, TASKS))

    _, indices = benchmark(_kernel.layers, frame)

    assert sorted(indices) == list(range(len(frame.expression.operations)))
