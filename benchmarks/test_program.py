"""What does it cost to run the nodes of a compiled program, and to compile it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.programs import EXPRESSIONS, known, run_once
from benchmarks.workloads import run
from cascade import _kernel


@pytest.mark.benchmark(group="program")
@pytest.mark.parametrize("make", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_run(benchmark: Any, make: Callable[[], Any]) -> None:
    """A known template runs without an engine to the value that it has with one; tracing and look-up are included."""
    target, cache = make(), _kernel.ProgramCache()
    program = known(cache, target)

    assert benchmark(run_once, cache, target) == run(target)
    benchmark.extra_info["units"] = len(program)


@pytest.mark.benchmark(group="compile")
@pytest.mark.parametrize("name", ["one call", "a chain of eleven", "a thousand"])
def test_compile(benchmark: Any, name: str) -> None:
    """A traced expression becomes a plan and a program."""
    target = EXPRESSIONS[name]()

    def compiled() -> Any:
        return known(_kernel.ProgramCache(), target)

    assert len(benchmark(compiled)) == len(_kernel.trace(target).operations)
