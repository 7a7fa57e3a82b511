"""Makes a failure small: the row of numbers that a program was drawn from is cut and lowered while it still fails.

Cost: one judgement for each row tried, at most ``TRIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.strategies import Choices, drawn

__all__ = ["replayed", "row_of", "smallest"]

TRIES = 1500

Row = Sequence[int]


def row_of(seed: int, draw: Callable[[Choices], object]) -> list[int]:
    """Return the numbers that are asked for when something is drawn from a seed."""
    source, row = drawn(seed), []

    def below(limit: int) -> int:
        row.append(source.below(limit))
        return row[-1]

    draw(Choices(below))
    return row


def replayed(row: Row) -> Choices:
    """Return the choices of a row; beyond its end all are 0."""
    numbers = iter(row)
    return Choices(lambda limit: min(next(numbers, 0), limit - 1))


def smallest(row: Row, fails: Callable[[Row], bool]) -> Row:
    """Return a row, no longer and with no larger numbers, that still fails and is hard to make smaller."""
    left = TRIES
    again = True
    while again:
        again = False
        for size in (64, 16, 4, 2, 1):
            at = len(row)
            while at > 0:
                at -= size
                start = max(at, 0)
                for other in _smaller(row, start, size):
                    if left <= 0:
                        return row
                    left -= 1
                    if fails(other):
                        row, again = other, True
                        break
    return row


def _smaller(row: Row, start: int, size: int) -> Iterator[Row]:
    """Rows without a part, with zeros there, and with a number less."""
    part, rest = row[start : start + size], row[start + size :]
    if not part:
        return
    yield [*row[:start], *rest]
    if any(part):
        yield [*row[:start], *(0 for _ in part), *rest]
    if size == 1 and part[0] > 1:
        yield [*row[:start], part[0] // 2, *rest]
        yield [*row[:start], part[0] - 1, *rest]
