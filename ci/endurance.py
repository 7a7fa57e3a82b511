"""Runs long and deep: ten million steps in flat memory, a million levels without recursion.

    python ci/endurance.py memory
    python ci/endurance.py depth
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cascade as cs

STEPS, DEPTH = 10_000_000, 1_000_000
#: Kilobytes that a loop may add to the largest resident size after its first tenth; nothing may grow with its steps.
ALLOWED = 2_048


@cs.task
def count(n: int, total: int = 0) -> Any:
    return count(n - 1, total + 1) if n else total


@cs.task
def increase(value: int) -> int:
    return value + 1


@cs.task
def descend(n: int) -> Any:
    return increase(descend(n - 1)) if n else 0


def largest() -> int:
    """Returns the largest resident size so far, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory() -> None:
    """Ten million steps take no more memory than one million."""
    assert cs.run(count(STEPS // 10), log_level="ERROR") == STEPS // 10, "a tail call must end"
    before = largest()
    assert cs.run(count(STEPS), log_level="ERROR") == STEPS, "a tail call must end"
    grown = largest() - before
    assert grown <= ALLOWED, f"{STEPS:,} steps added {grown} KB"
    print(f"{STEPS:,} steps added {grown} KB")


def depth() -> None:
    """An expression of a million calls within each other, and a million expansions, have their values."""
    nested: Any = 0
    for _ in range(DEPTH):
        nested = increase(nested)
    start = time.monotonic()
    assert cs.run(nested, log_level="ERROR") == DEPTH, "an expression must be evaluated at any depth"
    del nested
    print(f"an expression {DEPTH:,} deep: {time.monotonic() - start:.0f} s")
    start = time.monotonic()
    assert cs.run(descend(DEPTH), log_level="ERROR") == DEPTH, "calls must be expanded at any depth"
    print(f"{DEPTH:,} expansions: {time.monotonic() - start:.0f} s; largest size {largest() // 1024} MB")


if __name__ == "__main__":
    {"memory": memory, "depth": depth}[sys.argv[1]]()
