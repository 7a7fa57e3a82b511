"""Plans that the kernel makes without a graph: those of the native solver."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import cascade as cs
from cascade import _hot_py, _kernel
from cascade.adapters.solvers.native import NativeSolver
from cascade.graph.build import build_graph
from cascade.runtime.strategies._plans import IndexedPlan
from tests.engines import make_engine
from tests.kernel.test_keys import KERNELS, Builder, expressions


def layers_of(hot: Any, lazy: Any) -> IndexedPlan:
    frame = hot.Frame(hot.ProgramCache(), {}, False)
    frame.begin(lazy)
    return IndexedPlan.of(*hot.layers(frame))


def solved(lazy: Any) -> IndexedPlan:
    graph, _ = build_graph(lazy)
    indexed = make_engine().graph_strategy._index_plan(graph, NativeSolver().resolve(graph))
    assert indexed is not None
    return indexed


@given(drawn=expressions())
def test_layers_are_the_native_solvers_plan(drawn: Any) -> None:
    """Whatever the expression: arguments, containers, Routers, conditions, amounts, predecessors, equal calls."""
    lazy = Builder(_kernel.hot).build(drawn)
    frame = _kernel.Frame(_kernel.ProgramCache(), {}, False)
    frame.begin(lazy)

    if not frame.unkeyed:
        assert layers_of(_kernel.hot, lazy) == solved(lazy)
    assert layers_of(_kernel.hot, lazy) == layers_of(_hot_py, Builder(_hot_py).build(drawn))


@cs.task
def use(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@cs.task(pure=True)
def pure(*args: Any) -> Any:
    return args


def after_both() -> Any:
    first, second = use(), use(use())
    return use(0, use(first, [second, {"k": use(1)}]), k=use(2)).after(second)


@pytest.mark.parametrize(
    "make, expected",
    [
        (use, [[0]]),
        (lambda: use(use(1), use(use(2))), [[0, 1], [2], [3]]),
        (after_both, [[0, 1, 3, 5], [2], [4], [6]]),
        (lambda: use(1).run_if(use()), [[0], [1]]),
        (lambda: use(1).with_constraints(cpu=use(), memory=2), [[0], [1]]),
        (lambda: use(pure(1), pure(1), pure(pure(1))), [[0], [1], [2]]),
        (lambda: use(cs.Router(use(), {"a": use(1), "b": use(use(2)), "c": 3})), [[0, 1, 2], [3], [4]]),
    ],
)
def test_layers_by_hand(make: Any, expected: list[list[int]]) -> None:
    """Every kind of dependency puts a call behind what it needs; equal calls of a pure task have one place."""
    assert layers_of(_kernel.hot, make()) == expected
    assert solved(make()) == expected


@pytest.mark.parametrize("hot", KERNELS)
def test_only_a_waiting_expression_has_layers(hot: Any) -> None:
    """There must be something to plan."""
    frame = hot.Frame(hot.ProgramCache(), {}, False)

    with pytest.raises(RuntimeError, match="waits"):
        hot.layers(frame)
