"""Whether a part is what its flag says: only as long as the methods declared beside the flag are in effect."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import pytest

from cascade.runtime import _stock
from cascade.runtime._stock import is_stock


class Part:
    """A part whose ``work`` may be left out."""

    inline = True

    def __init__(self) -> None:
        self.size = 1

    def work(self) -> None:
        """What may be left out."""

    def other(self) -> None:
        """What nobody asks about."""


def test_a_part_is_stock_with_all_its_attributes() -> None:
    """Ordinary attributes of the instance do not matter."""
    assert is_stock(Part(), "inline", "work")


class Same(Part):
    """A subclass that adds something."""

    def more(self) -> None:
        """Something."""


class Overriding(Part):
    def work(self) -> None:
        """Another way."""


class Below(Overriding):
    """A subclass of a subclass."""


class Saying(Overriding):
    inline = True  # but what it is said of is not declared beside it


class Whole(Part):
    inline = True

    def work(self) -> None:
        """Declared together with the flag, by somebody who takes the responsibility."""


class Denying(Part):
    inline = False


class Mixin:
    def work(self) -> None:
        """In front of the stock one."""


class Mixed(Mixin, Part):
    """A mixin that replaces the method."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Same, True),
        (Overriding, False),
        (Below, False),
        (Saying, False),
        (Whole, True),
        (Denying, False),
        (Mixed, False),
    ],
)
def test_the_class_decides(kind: Any, expected: bool) -> None:
    """The effective method must be the one that the flag was declared beside."""
    assert is_stock(kind(), "inline", "work") is expected
    assert is_stock(kind(), "unknown", "work") is False


def test_what_was_replaced_on_the_class_or_the_instance_counts() -> None:
    """A mock in either place is called, from the moment that it is there until it is gone."""
    part = Part()
    with mock.patch.object(part, "work"):
        assert not is_stock(part, "inline", "work")
    assert is_stock(part, "inline", "work")
    with mock.patch.object(Overriding, "work", Part.work):
        assert is_stock(Overriding(), "inline", "work")
    part.other = lambda: None  # type: ignore[method-assign]
    assert is_stock(part, "inline", "work")
    part.inline = False
    assert not is_stock(part, "inline", "work")


def test_a_flag_on_the_instance_says_nothing() -> None:
    """It is declared beside no method."""

    class Plain:
        def work(self) -> None:
            """Whatever."""

    part: Any = Plain()
    part.inline = True
    assert not is_stock(part, "inline", "work")


def test_a_method_replaced_on_the_class_is_noticed() -> None:
    """Before the class was ever looked at or afterwards, by a mock or by a spy that bears the method's name."""

    class Fresh:
        inline = True

        def work(self) -> None:
            """What may be left out."""

    with mock.patch.object(Fresh, "work"):
        assert not is_stock(Fresh(), "inline", "work")
    with mock.patch.object(Fresh, "work", functools.wraps(Fresh.work)(lambda self: None)):
        assert not is_stock(Fresh(), "inline", "work")
    assert is_stock(Fresh(), "inline", "work")
    with mock.patch.object(Fresh, "work"):
        assert not is_stock(Fresh(), "inline", "work")
    assert is_stock(Fresh(), "inline", "work")
    Fresh.inline = False
    assert not is_stock(Fresh(), "inline", "work")


def test_many_classes_are_looked_at() -> None:
    """What is remembered of classes is bounded, and forgetting it changes nothing."""
    for number in range(600):
        kind = type(f"Part{number}", (Part,), {})
        assert is_stock(kind(), "inline", "work")
    assert len(_stock._functions) <= 256
