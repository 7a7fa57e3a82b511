"""A large container is not walked when nothing can be in it, and whatever is in it is found all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cascade import _kernel

#: From Python 3.13 on, local variables can be changed while their function waits: what they hold is never known.
LOCALS_ARE_KNOWN = sys.version_info < (3, 13)

compiled = pytest.mark.skipif(_kernel.kernel_name != "compiled", reason="the Python kernel walks everything")


def output_of(*arguments: str) -> str:
    """Run Python on its own, and return what it printed."""
    ran = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("a new call", "5"),
        ("a new call, nested", "{'k': ([5],)}"),
        ("a router", "3"),
        ("an inject marker", "8"),
        ("a call that a variable holds", "5"),
        ("values of a call that a variable holds", "(5, 6)"),
        ("a call that waits", "5"),
        ("a marker of the defaults", "8"),
        ("all defaults", "(8,)"),
        ("all keyword defaults", "{'other': 8}"),
        ("a marker taken out of the defaults", "8"),
        ("replaced defaults", "(8,)"),
        ("a call that is passed as well", "5"),
        ("a returned list", "5"),
    ],
)
def test_what_is_hidden_in_the_list_is_found(place: str, found: str) -> None:
    """Until then the list was not walked, so it is what was put into it that makes the difference."""
    value, _, walks = output_of("-m", "tests.kernel.hiding_places", place).rpartition(" ")
    if place == "a returned list":
        value, walks = f"{value} {walks}".strip(), ""
    assert value == found
    if walks and _kernel.kernel_name == "compiled" and LOCALS_ARE_KNOWN:
        assert int(walks) < 10


@compiled
@pytest.mark.parametrize(
    ("loop", "walks"),
    [
        ("run(carry(STEPS, state()), engine)", False),
        ("held = carry(STEPS, state()); run(held, engine)", False),
        ("run(deep(2 * STEPS, state()), engine)", False),
        ("run(injected(STEPS, state()), engine)", False),
        ("run(mixed(STEPS, {'k': state(), 'few': [1]}), engine)", False),
        ("kept = [carry(0, [])]; run(carry(STEPS, state()), engine)", True),
        ("kept = cs.Router(1, {}); run(carry(STEPS, state()), engine)", True),
        ("kept = cs.inject('db'); run(carry(STEPS, state()), engine)", True),
    ],
)
def test_what_is_accounted_for_is_not_walked(loop: str, walks: bool) -> None:
    """The cliff that ``explain`` speaks of lies where it says."""
    walked = int(output_of("-c", _PROGRAM.format(loop=loop)))
    assert walked >= 900 if walks or not LOCALS_ARE_KNOWN else walked < 10


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
    return [0] * 1_000

def main():
    engine = make_engine(resources=[db])
    before = _kernel.walks()
    {loop}
    print(_kernel.walks() - before)

main()
"""
