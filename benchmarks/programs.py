"""Expressions by shape, and programs for them, for benchmarks that talk to the kernel without an engine."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from benchmarks.workloads import add, chain, double, layered, noop, total
from cascade import _kernel

__all__ = ["EXPRESSIONS", "known", "run_once"]

#: Calls that no function is run for until a program does; each call makes a new expression.
EXPRESSIONS: dict[str, Callable[[], Any]] = {
    "one call": lambda: double(1),
    "four arguments": lambda: total(1, 2, 3, 4),
    "keywords": lambda: noop(_dummy=1),
    "a chain of eleven": chain,
    "ten and a sum": lambda: total(*[double(i) for i in range(10)]),
    "one shared": lambda: add(shared := double(1), shared),
    "in a list": lambda: noop([double(1), 2, double(3)]),
    "a retry": lambda: double(1).with_retry(2),
    "plain data": lambda: noop([0.0] * 1_000),
    "a thousand": lambda: layered(20, 50),
}


def known(cache: Any, target: Any) -> Any:
    """Adds the program of an expression to a cache, and returns it."""
    frame = _kernel.Frame(cache, {})
    frame.begin(target)
    offsets, indices = _kernel.layers(frame)
    program = _kernel.compile_program(frame, offsets, array("i", indices))
    frame.close()
    program.open, program.epoch = True, cache.epoch
    cache.add(program)
    return program


def run_once(cache: Any, target: Any) -> Any:
    """Runs an expression whose program a cache has, and returns its value."""
    frame = _kernel.Frame(cache, {})
    frame.begin(target)
    assert _kernel.run(frame, float("inf")) == _kernel.DONE
    value = frame.value
    frame.close()
    return value
