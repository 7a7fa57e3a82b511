"""Runs a workflow again and again, each time with another allocation of Python failing, and says what went wrong.

    python -m tests.kernel.starving countdown

A run with a failed allocation raises MemoryError, or gives its answer; it leaves no argument and no lazy result behind,
and the engine goes on. Prints nothing if all is well.

What is left behind is not asked for shapes whose steps are processed by Python code: a list comprehension whose frame
cannot be allocated keeps its iterator in CPython 3.11.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Generator
from typing import Any

import cascade as cs
from cascade import _kernel
from cascade.runtime import Engine
from cascade.spec.blueprint import TailCall
from tests.engines import make_engine

__all__ = ["SHAPES", "main"]

PASSED = 10  # runs on end that pass: there is no further allocation
PROCESSED = {"map", "machine", "exceptions"}  # by Python code
TRIED: list[int] = []


class Counted:
    """An argument, result or detail of an error that nobody may keep."""


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def countdown(n: int, kept: Any) -> Any:
    return countdown(n - 1, Counted()) if n else "end"


@cs.task
def by_name(*, n: int, kept: Any) -> Any:
    return by_name(n=n - 1, kept=Counted()) if n else "end"


@cs.task
def less(a: int, b: int) -> int:
    return a - b


@cs.task
def heavy(n: int, first: Any, second: Any) -> Any:
    return heavy(less(n, same(1)), same(Counted()), same(same(Counted()))) if n else "end"


@cs.task
def add(a: int, b: int) -> int:
    return a + b


@cs.task
def fibonacci(n: int) -> Any:
    return add(fibonacci(n - 1), fibonacci(n - 2)) if n > 1 else n


@cs.task
async def suspended(n: int, kept: Any) -> Any:
    await asyncio.sleep(0)
    return suspended(n - 1, Counted()) if n else "end"


@cs.task
async def prompt(n: int, kept: Any) -> Any:
    return prompt(n - 1, same(Counted())) if n else "end"


@cs.task
def flaky(n: int, kept: Any) -> Any:
    TRIED.append(n)
    if len(TRIED) % 2:
        raise ValueError(Counted())
    return flaky(n - 1, Counted()).with_retry(20) if n else "end"


def first_flaky() -> Any:
    TRIED.clear()
    return flaky(2, Counted()).with_retry(20)


@cs.resource
def db() -> Generator[str, None, None]:
    yield "db"


@cs.task
def injected(n: int, kept: Any, one: Any = cs.inject("db")) -> Any:
    return injected(n - 1, Counted()) if n else one


@cs.task
def boxes(n: int, box: Any, *, more: Any = None) -> Any:
    if n == 0:
        return "end"
    shared = [same(Counted())]
    return boxes(n - 1, [shared, {"a": same(n), "b": (same(1), Counted())}, shared], more={"c": (same(2),)})


@cs.task
def total(values: Any) -> Any:
    return sum(values)


@cs.task
def mapped(n: int) -> Any:
    return total(same.map(value=list(range(n))))


@cs.task
def failing(n: int, kept: Any) -> Any:
    if n == 0:
        raise ValueError(Counted())
    return failing(n - 1, same(Counted()))


@cs.task
def flowing(n: int, step: Callable[[int], Any], _: Any = None) -> Any:
    return flowing(n - 1, step, step(n)) if n else "end"


def conditional(n: int) -> Any:
    return same(same(Counted())).run_if(same(n % 2))


def routed(n: int) -> Any:
    return cs.Router(same("ab"[n % 2]), {"a": same(Counted()), "b": [same(1)]})


def ordered(n: int) -> Any:
    return same(same(Counted())).after(same(n), same(2).run_if(same(n % 2)))


def repeated(n: int) -> Any:
    return expanded.map(value=[n, Counted()])


@cs.task
def expanded(value: Any) -> Any:
    return same(same(value))


@cs.task
def jumping(n: int, kept: Any = None) -> Any:
    if n == 0:
        return cs.Jump("stop", "end")
    return cs.Jump("again", {"n": n - 1, "kept": Counted()} if n % 2 else n - 1)


def jumps() -> Any:
    first: Any = jumping(4, Counted())
    there: Any = jumping(0, same(Counted()))
    selector = cs.select_jump({"again": there, "stop": None})
    cs.bind(first, selector)
    cs.bind(there, selector)
    return first


@cs.task
def rounds(n: int, kept: Any) -> Any:
    return TailCall([n - 1], {"kept": Counted()} if n % 2 else {}) if n else "end"


def on_machine() -> Any:
    return rounds(4, kept=Counted())


SHAPES: dict[str, tuple[Callable[[], Any], Any]] = {
    "countdown": (lambda: countdown(3, Counted()), "end"),
    "kwargs": (lambda: by_name(n=3, kept=Counted()), "end"),
    "heavy": (lambda: heavy(3, Counted(), same(1)), "end"),
    "expansion": (lambda: fibonacci(5), 5),
    "async": (lambda: suspended(2, Counted()), "end"),
    "async at once": (lambda: prompt(3, Counted()), "end"),
    "retry": (first_flaky, "end"),
    "inject": (lambda: injected(3, Counted()), "db"),
    "containers": (lambda: boxes(3, Counted()), "end"),
    "map": (lambda: mapped(4), 6),
    "condition": (lambda: flowing(3, conditional), "end"),
    "router": (lambda: flowing(3, routed), "end"),
    "after": (lambda: flowing(3, ordered), "end"),
    "map in a loop": (lambda: flowing(3, repeated), "end"),
    "jumps": (jumps, "end"),
    "machine": (on_machine, "end"),
    "exceptions": (lambda: failing(3, Counted()), ValueError),
}


class Starved:
    """A coroutine whose ``turn``-th wake-up finds no memory at its ``number``-th allocation."""

    def __init__(self, coroutine: Any, turn: int, number: int) -> None:
        self.coroutine, self.turn, self.number = coroutine, turn, number
        self.turns = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        import _testcapi

        steps = self.coroutine.__await__()
        while True:
            self.turns += 1
            try:
                if self.turns == self.turn:
                    _testcapi.set_nomemory(self.number, self.number + 1)
                try:
                    waited = next(steps)
                finally:
                    _testcapi.remove_mem_hooks()
            except StopIteration as done:
                return done.value
            yield waited


def outcome(engine: Engine, make: Callable[[], Any], turn: int = 0, number: int = 0) -> tuple[Any, int]:
    """Run a workflow; return its value, or the type of its error, and how often it was woken up."""

    async def run() -> tuple[Any, int]:
        starved = Starved(engine.run(make(), use_vm=make is on_machine), turn, number)
        try:
            return await starved, starved.turns
        except Exception as error:
            return type(error), starved.turns

    return asyncio.run(run())


def left() -> list[Any]:
    """Return what nobody may keep, and is still there."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in (Counted, _kernel.LazyResult, _kernel.MappedLazyResult)]


def judge(engine: Engine, name: str, turn: int) -> int:
    """Let each allocation of a wake-up fail; return how many of the first ones had an effect."""
    make, wanted = SHAPES[name]
    number = passed = 0
    while passed < PASSED:
        found, _ = outcome(engine, make, turn, number)
        passed = passed + 1 if found == wanted else 0
        if found not in (wanted, MemoryError):
            print(f"turn {turn}, allocation {number}: {found}")
        kept = [] if name in PROCESSED else [type(one).__name__ for one in left()]
        if kept:
            print(f"turn {turn}, allocation {number}: left are {kept}")
            gc.freeze()  # said once
        found, _ = outcome(engine, make)
        if found != wanted:
            print(f"after turn {turn}, allocation {number}: {found}")
        number += 1
    return number - PASSED


def main(name: str) -> None:
    """Judge a shape: each wake-up of a run whose programs are there already."""
    make, wanted = SHAPES[name]
    engine = make_engine(resources=[db])
    for _ in range(3):
        assert outcome(engine, make)[0] == wanted
    _, turns = outcome(engine, make)
    gc.collect()
    gc.freeze()  # what is there by now is looked at no more
    judged = [judge(engine, name, turn) for turn in range(1, turns + 1)]
    assert max(judged) > 20, judged


if __name__ == "__main__":
    main(sys.argv[1])
