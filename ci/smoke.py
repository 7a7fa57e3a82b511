"""A short program against an installed Cascade: every tier is reached, and what the wheel declares can be loaded."""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from importlib.resources import files

import cascade as cs


@cs.task
def countdown(n: int) -> object:
    return countdown(n - 1) if n else "done"


@cs.task
def add(left: int, right: int) -> int:
    return left + right


@cs.task
async def double(value: int) -> int:
    return 2 * value


def main() -> None:
    """Raises AssertionError with the reason if anything is amiss."""
    assert cs.run(countdown(10_000)) == "done", "a tail call must end"
    assert cs.run(add(double(3), add(1, double(2)))) == 11, "an expression must be evaluated"
    print(cs.explain(countdown(3)))

    installed = distribution("cascade-hot")
    assert installed.version == cs.__version__, "the package must know its own version"
    for entry in installed.entry_points:
        assert entry.load(), f"{entry.value} must be importable"
    assert files("cascade").joinpath("py.typed").is_file(), "the type marker must be installed"
    print(f"cascade-hot {installed.version} works on Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
