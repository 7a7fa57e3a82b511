"""The stack of what a run has to tear down: an exit stack, but for the memory that an empty one takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from cascade.runtime._run_stack import RunStack


def test_an_empty_stack_holds_nothing() -> None:
    """Nothing is made for a run that has nothing to tear down, however it ends."""
    stack = RunStack()
    with stack:
        pass
    with pytest.raises(KeyError), stack:
        raise KeyError

    assert vars(stack) == {}
    assert vars(ExitStack()) != {}


def test_teardowns_come_in_reverse_order_and_may_take_the_error() -> None:
    """What was put on the stack is told of the error, last first, and can say that it is no longer one."""
    log: list[str] = []

    @contextmanager
    def swallow() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            log.append(f"took {error.args[0]}")

    with RunStack() as stack:
        stack.callback(log.append, "first")
        stack.enter_context(swallow())
        stack.callback(log.append, "last")
        raise KeyError("it")

    assert log == ["last", "took it", "first"]


def test_a_stack_can_be_emptied_by_hand() -> None:
    """``pop_all`` and ``close`` do what they do on any exit stack."""
    log: list[str] = []
    with RunStack() as stack:
        stack.callback(log.append, "moved")
        other = stack.pop_all()

    assert log == []
    other.close()
    assert log == ["moved"]


def test_an_unknown_attribute_is_an_error() -> None:
    """Whether anything is on the stack or not."""
    stack = RunStack()
    for _ in range(2):
        with pytest.raises(AttributeError, match="colour"):
            stack.colour  # noqa: B018
