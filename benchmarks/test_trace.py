"""What does it cost to read the template off an expression, by its shape?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.programs import EXPRESSIONS
from cascade import _kernel


@pytest.mark.benchmark(group="trace")
@pytest.mark.parametrize("make", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_trace(benchmark: Any, make: Callable[[], Any]) -> None:
    """The walk writes the key that the expression has; no program is known."""
    target, cache = make(), _kernel.ProgramCache()

    def trace() -> Any:
        frame = _kernel.Frame(cache, {})
        frame.begin(target)
        return frame

    frame = benchmark(trace)

    assert frame.program is None
    assert frame.key == _kernel.trace(target).key


@pytest.mark.benchmark(group="trace")
def test_expression_as_objects(benchmark: Any) -> None:
    """What cold and warm steps get instead: an operation for each call, as Python objects."""
    target = EXPRESSIONS["a chain of eleven"]()

    assert len(benchmark(_kernel.trace, target).operations) == 11
