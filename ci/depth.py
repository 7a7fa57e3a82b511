"""Runs deep: a million levels without recursion.

    python ci/depth.py
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cascade as cs

DEPTH = 1_000_000


@cs.task
def increase(value: int) -> int:
    return value + 1


@cs.task
def descend(n: int) -> Any:
    return increase(descend(n - 1)) if n else 0


def largest() -> int:
    """Returns the largest resident size so far, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
    depth()
