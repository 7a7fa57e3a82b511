"""Whether an exception at a yield could be noticed: the yields of every kind of statement."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from cascade.runtime._yields import is_guarded


def bare() -> Generator[int, None, None]:
    yield 1


def in_a_loop() -> Generator[int, None, None]:
    for number in range(3):
        if number:
            yield number


def after_a_try() -> Generator[int, None, None]:
    try:
        number = int("1")
    except ValueError:
        raise
    yield number


def between_two() -> Generator[int, None, None]:
    with suppress(ValueError):
        int("x")
    yield 1
    with nullcontext():
        pass


def in_a_handler() -> Generator[int, None, None]:
    try:
        int("x")
    except ValueError:
        yield 1  # what cleans up after the handler protects it, too, but lets the exception pass


def in_a_handler_in_a_try() -> Generator[int, None, None]:
    try:
        try:
            int("x")
        except ValueError:
            yield 1
    finally:
        int("1")


def delegated() -> Generator[int, None, None]:
    yield from bare()


def with_an_inner_function() -> Generator[Any, None, None]:
    def inner() -> None:
        with suppress(ValueError):
            int("x")

    yield inner


def in_a_try() -> Generator[int, None, None]:
    try:
        yield 1
    except ValueError:
        raise


def in_a_finally_clause() -> Generator[int, None, None]:
    try:
        yield 1
    finally:
        int("1")


def in_a_with() -> Generator[int, None, None]:
    with nullcontext():
        yield 1


def in_a_with_in_a_loop() -> Generator[int, None, None]:
    while True:
        with nullcontext(), nullcontext():
            for number in range(3):
                yield 2 * number


def delegating_in_a_try() -> Generator[int, None, None]:
    try:
        yield from bare()
    finally:
        int("1")


def delegating_to_a_try() -> Generator[int, None, None]:
    yield from in_a_try()


def with_much_code_before() -> Generator[int, None, None]:
    """Offsets of more than one byte."""
    x = 0
    x = x * 3 + 1 if x else x * 5 - 2 + (x * 7 if x > 9 else x * 11) + (x * 13 if x > 99 else x * 17)
    x = x * 3 + 1 if x else x * 5 - 2 + (x * 7 if x > 9 else x * 11) + (x * 13 if x > 99 else x * 17)
    x = x * 3 + 1 if x else x * 5 - 2 + (x * 7 if x > 9 else x * 11) + (x * 13 if x > 99 else x * 17)
    x = x * 3 + 1 if x else x * 5 - 2 + (x * 7 if x > 9 else x * 11) + (x * 13 if x > 99 else x * 17)
    try:
        yield x
    finally:
        int("1")


@pytest.mark.parametrize(
    "made", [bare, in_a_loop, after_a_try, between_two, in_a_handler, delegated, with_an_inner_function]
)
def test_nothing_waits_for_an_exception(made: Callable[[], Generator[Any, None, None]]) -> None:
    """No try and no with is around the yield."""
    generator = made()
    next(generator)

    assert not is_guarded(generator)


@pytest.mark.parametrize(
    "made",
    [
        *(in_a_try, in_a_finally_clause, in_a_with, in_a_with_in_a_loop, in_a_handler_in_a_try),
        *(delegating_in_a_try, delegating_to_a_try, with_much_code_before),
    ],
)
def test_something_waits_for_an_exception(made: Callable[[], Generator[Any, None, None]]) -> None:
    """A try or a with is around the yield, or around that of the generator which it delegates to."""
    generator = made()
    next(generator)

    assert is_guarded(generator)


def test_what_is_no_generator_of_pythons_counts_as_guarded() -> None:
    """Nothing can be read off it, so exceptions go there."""
    assert is_guarded(iter([1]))


def test_a_generator_that_has_ended_waits_for_nothing() -> None:
    """There is no yield."""
    generator = bare()
    list(generator)

    assert not is_guarded(generator)
