"""Lazy results that hold each other are freed, by count and by the collector, however long the chain is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs

DEPTH = 200_000


@cs.task
def ident(x: Any = None, **more: Any) -> Any:
    return x


@cs.task
def many(*values: Any) -> Any:
    return values


def call(x: Any) -> Any:
    """A call whose policies can be chained."""
    made: Any = ident(x)
    return made


def mapped(x: Any) -> Any:
    made: Any = ident.map(x=x)
    return made


LINKS: dict[str, Callable[[Any], Any]] = {
    "positional": call,
    "keyword": lambda x: ident(x=x),
    "ninth": lambda x: many(1, 2, 3, 4, 5, 6, 7, 8, x),
    "list": lambda x: call([x]),
    "dict": lambda x: call({"k": x}),
    "selector": lambda x: call(cs.Router(x, {1: 2})),
    "route": lambda x: call(cs.Router(1, {1: x})),
    "run_if": lambda x: call(1).run_if(x),
    "run_if router": lambda x: call(1).run_if(cs.Router(x, {1: True})),
    "after": lambda x: call(1).after(x),
    "amount": lambda x: call(1).with_constraints(cpu=x),
    "map": mapped,
    "map run_if": lambda x: mapped([1]).run_if(x),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_a_chain_is_freed(link: Callable[[Any], Any]) -> None:
    """Neither counting nor collecting recurses on the machine's stack."""

    def chain() -> Any:
        made = call(1)
        for _ in range(DEPTH):
            made = link(made)
        return made

    first = chain()
    gone = weakref.ref(first)
    del first
    assert gone() is None

    loop = [chain()]
    loop.append(loop)
    gone = weakref.ref(loop[0])
    del loop
    gc.collect()
    assert gone() is None
