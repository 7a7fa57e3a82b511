"""A large container is not walked when nothing can be in it, and whatever is in it is found all the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cascade import _kernel
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import task
from tests.engines import make_engine, run

SIZE = 1_000
compiled = pytest.mark.skipif(_kernel.kernel_name != "compiled", reason="the Python kernel walks everything")


@task
def one(x: Any = 1) -> Any:
    return x


@task
def shown(x: Any) -> Any:
    return x


def loop_that(change: Callable[[int, list[Any]], Any]) -> Any:
    """Return a task that carries a list along, and changes it before the last step, which returns the list's item."""

    @task
    def carry(n: int, state: list[Any]) -> Any:
        if n == 0:
            return state[7]
        if n == 1:
            change(n, state)
        return carry(n - 1, state)

    return carry


def test_a_call_made_in_a_step_is_found() -> None:
    def change(n: int, state: list[Any]) -> None:
        state[7] = one(5)

    assert run(loop_that(change)(10, [0] * SIZE)) == 5


def test_a_call_in_a_nested_container_is_found() -> None:
    def change(n: int, state: list[Any]) -> None:
        state[7] = {"k": [one(5)]}

    assert run(loop_that(change)(10, [0] * SIZE)) == {"k": [5]}


def test_a_call_that_was_moved_into_the_list_is_found() -> None:
    """It exists all the time, and there are never more references to it."""
    elsewhere = [one(5)]

    def change(n: int, state: list[Any]) -> None:
        state[7] = elsewhere.pop()

    assert run(loop_that(change)(10, [0] * SIZE)) == 5


def test_the_call_that_the_run_began_with_is_found() -> None:
    """A function that waits for the run holds the target; a step puts it into the list."""
    held: list[Any] = []

    @task
    def begin(n: int, state: list[Any]) -> Any:
        if n == 0:
            return state[7]
        if n == 1:
            state[7] = held[0]()
        return begin(n - 1, state)

    target = begin(0, [7] * 8)
    held.append(lambda: target)
    first = begin(5, [0] * SIZE)
    assert run(first) == 7
    assert target is held[0]()


def test_the_arguments_of_a_call_are_found() -> None:
    """The tuple of a call's values can be in the list while the call is not."""
    call = shown(one(4))

    def change(n: int, state: list[Any]) -> None:
        state[7] = call.args

    assert run(loop_that(change)(10, [0] * SIZE)) == (4,)


def test_a_router_and_an_inject_marker_are_found() -> None:
    @resource
    def db() -> Iterator[int]:
        yield 8

    for made in (lambda: Router(one("a"), {"a": one(3), "b": one(4)}), lambda: inject("db")):

        def change(n: int, state: list[Any], made: Any = made) -> None:
            state[7] = made()

        assert run(loop_that(change)(10, [0] * SIZE), make_engine(resources=[db])) in (3, 8)


def test_the_marker_of_a_default_is_found() -> None:
    """It is known where it stands; once it stands somewhere else as well, it is looked for."""

    @resource
    def db() -> Iterator[int]:
        yield 8

    @task
    def carry(n: int, state: list[Any], db: Any = inject("db"), *, other: Any = inject("db")) -> Any:
        if n == 0:
            return state[6], state[7], db, other
        if n == 1:
            state[6] = carry.func.__defaults__[0]
            state[7] = carry.func.__kwdefaults__["other"]
        return carry(n - 1, state)

    assert run(carry(10, [0] * SIZE), make_engine(resources=[db])) == (8, 8, 8, 8)


def test_a_marker_that_left_the_defaults_is_found() -> None:
    @resource
    def db() -> Iterator[int]:
        yield 8

    @task
    def carry(n: int, state: list[Any], *, other: Any = inject("db")) -> Any:
        if n == 0:
            return state[7]
        if n == 1:
            state[7] = carry.func.__kwdefaults__.pop("other")
            return carry(0, state, other=None)
        return carry(n - 1, state)

    assert run(carry(10, [0] * SIZE), make_engine(resources=[db])) == 8


def test_a_returned_list_is_searched() -> None:
    @task
    def full(n: int) -> list[Any]:
        return [0] * SIZE + [one(n)]

    @task
    def last(values: list[Any]) -> Any:
        return values[-1]

    assert run(last(full(3))) == 3
    assert run(full(4))[-1] == 4


def test_calls_of_other_runs_are_found() -> None:
    """A call that waits in one run may be put into the list of another."""
    shelf: list[Any] = []

    @task
    async def leave(x: Any) -> Any:
        shelf.append(x)
        await asyncio.sleep(0)
        return x

    @task
    async def carry(n: int, state: list[Any]) -> Any:
        await asyncio.sleep(0)
        if n == 0:
            return state[7]
        if n == 1:
            state[7] = one(9)
        return carry(n - 1, state)

    async def main() -> Any:
        engine = make_engine()
        return await asyncio.gather(*(engine.run(carry(n, [0] * SIZE)) for n in range(1, 8)))

    assert asyncio.run(main()) == [9] * 7


@compiled
@pytest.mark.parametrize(
    ("loop", "walks"),
    [
        ("run(carry(STEPS, state()), engine)", False),
        ("held = carry(STEPS, state()); run(held, engine)", False),
        ("run(deep(STEPS, state()), engine)", False),
        ("run(injected(STEPS, state()), engine)", False),
        ("run(mixed(STEPS, {'k': state(), 'few': [1]}), engine)", False),
        ("kept = [carry(0, [])]; run(carry(STEPS, state()), engine)", True),
        ("kept = cs.Router(1, {}); run(carry(STEPS, state()), engine)", True),
        ("kept = cs.inject('db'); run(carry(STEPS, state()), engine)", True),
    ],
)
def test_what_is_accounted_for_is_not_walked(loop: str, walks: bool) -> None:
    """In a process of its own, since calls that other tests keep would count.

    From Python 3.13 on, local variables can be changed while their function waits: what they hold is never known.
    """
    walks = walks or sys.version_info >= (3, 13)
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(size=SIZE, loop=loop)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    walked = int(ran.stdout)
    assert walked >= 900 if walks else walked < 10


_PROGRAM = """
import cascade as cs
from cascade import _kernel
from tests.engines import make_engine, run

STEPS = 1_000

@cs.resource
def db():
    yield 8

@cs.task
def less(n):
    return n - 1

@cs.task
def carry(n, state):
    return state[7] if n <= 0 else carry(n - 1, state)

@cs.task
def deep(n, state):
    return state[7] if n <= 0 else deep(less(less(n)), state)

@cs.task
def injected(n, state, db=cs.inject("db"), *, other=cs.inject("db")):
    return state[7] if n <= 0 else injected(n - 1, state)

@cs.task
def mixed(n, state):
    return state["k"][7] if n <= 0 else mixed(n - 1, state=state)

def state():
    return [0] * {size}

def main():
    engine = make_engine(resources=[db])
    before = _kernel.walks()
    {loop}
    print(_kernel.walks() - before)

main()
"""
