"""Carries a large list through a loop, and puts something into it that has to be found: ``python -m ... PLACE``.

A process of its own for each place: calls that other tests keep alive would have every step walk the list, and then
everything is found. Prints what was found, and how many of the steps walked before there was anything to find.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import cascade as cs
from cascade import _kernel
from tests.engines import make_engine, run

STEPS = 200
SIZE = 1_000

#: Walks counted until the list was changed.
before: list[int] = []


@cs.resource
def db() -> Iterator[int]:
    yield 8


@cs.task
def one(x: Any = 1) -> Any:
    return x


@cs.task
def both(x: Any, y: Any) -> Any:
    return x, y


@cs.task
def full(n: int) -> list[Any]:
    return [0] * SIZE + [one(n)]


@cs.task
def last(values: list[Any]) -> str:
    return repr(values[-1])


@cs.task
def carry(n: int, state: list[Any], place: str, db: Any = cs.inject("db"), *, other: Any = cs.inject("db")) -> Any:
    if n == 0:
        return repr(state[7])  # a value is searched again when it is returned, a text is not
    if n == 1:
        before[:] = [_kernel.walks()]
        return HIDE[place](state)
    return carry(n - 1, state, place)


def existing(kind: Callable[..., Any]) -> Any:
    """Find a call that a variable or an expression holds, as only a debugger would."""
    (found,) = [call for call in gc.get_objects() if type(call) is cs.LazyResult and call.task is kind]
    return found


def put(what: Callable[[], Any]) -> Callable[[list[Any]], Any]:
    """Put something into the list; the next call gets no injected values, to see what is in the list alone."""

    def hide(state: list[Any]) -> Any:
        state[7] = what()
        return carry(0, state, "", None, other=None)

    return hide


def pass_as_well(state: list[Any]) -> Any:
    """The next call has the same call among its arguments and in its list."""
    state[7] = one(5)
    return carry(0, state, state[7], None, other=None)


HIDE: dict[str, Callable[[list[Any]], Any]] = {
    "nowhere": put(int),
    "a new call": put(lambda: one(5)),
    "a new call, nested": put(lambda: {"k": ([one(5)],)}),
    "a router": put(lambda: cs.Router(one("a"), {"a": one(3), "b": one(4)})),
    "an inject marker": put(lambda: cs.inject("db")),
    "a call that a variable holds": put(lambda: existing(one)),
    "values of a call that a variable holds": put(lambda: existing(both).args),
    "a call that waits": put(lambda: existing(one)),
    "a marker of the defaults": put(lambda: carry.func.__defaults__[0]),
    "all defaults": put(lambda: carry.func.__defaults__),
    "all keyword defaults": put(lambda: carry.func.__kwdefaults__),
    "a marker taken out of the defaults": put(lambda: carry.func.__kwdefaults__.pop("other")),
    "replaced defaults": put(lambda: replaced()),
    "a call that is passed as well": pass_as_well,
}


def replaced() -> Any:
    """Let the list have the reference to the defaults that the function had."""
    defaults = carry.func.__defaults__
    carry.func.__defaults__ = (None,)
    return defaults


def main(place: str) -> Any:
    engine = make_engine(resources=[db])
    if place == "a returned list":
        return run(last(full(5)), engine)
    if place == "a call that waits":
        run(both(carry(2, [0] * SIZE, "nowhere"), one(5)), engine)  # from now on its program is known
        return run(both(carry(STEPS, [0] * SIZE, place), one(5)), engine)[0]
    held = one(5) if place == "a call that a variable holds" else None
    if place == "values of a call that a variable holds":
        held = both(one(5), 6)
    value = run(carry(STEPS, [0] * SIZE, place), engine)
    del held
    return value


if __name__ == "__main__":
    print(main(sys.argv[1]), *before)
