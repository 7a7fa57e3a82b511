"""Wherever memory runs out, the answer is MemoryError or the right one, nothing is lost, the next run is as ever."""

from __future__ import annotations

import gc
import subprocess
import sys
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from tests.kernel.starving import SHAPES

compiled = pytest.mark.skipif(
    _kernel.kernel_name != "compiled", reason="the Python kernel allocates nothing but Python objects"
)
#: -1: a release build, whose own allocations cannot be made to fail.
CAN_FAIL = _kernel.kernel_name == "compiled" and _kernel.hot._fail_allocation(0) >= 0
failing = pytest.mark.skipif(not CAN_FAIL, reason="only a debug or trace build can let an allocation of its own fail")


@compiled
@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer would run out of memory, too")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later Pythons without memory are unexplored")
@pytest.mark.parametrize("name", SHAPES)
def test_python_runs_out_of_memory(name: str) -> None:
    """Each allocation of a run fails in turn: MemoryError or the answer, no crash, no leak, and the engine goes on."""
    pytest.importorskip("_testcapi")
    # A coroutine that was made when memory ran out could not be awaited.
    command = [sys.executable, "-W", "ignore:coroutine:RuntimeWarning", "-m", "tests.kernel.starving", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Counted:
    """An argument that nobody may keep."""


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def many(*values: Any, **named: Any) -> Any:
    return len(values), len(named)


@cs.task(pure=True)
def pure(value: Any) -> Any:
    return value


@cs.task
def less(a: int, b: int) -> int:
    return a - b


@cs.task
def needs(value: Any, one: Any = cs.inject("one")) -> Any:
    return one


@cs.task
def turn(n: int, *rest: Any) -> Any:
    return turn(less(n, 1), same(rest), {"k": [same(Counted())]}) if n else "end"


class Items(list[Any]):
    """A container that has to be made anew as its type."""


def deep(levels: int) -> Any:
    value: Any = same(1)
    for _ in range(levels):
        value = [value, {"k": (value,)}]
    return value


def looped() -> Any:
    box: list[Any] = [same(1)]
    box.append(box)
    return same(box)


def cyclic() -> Any:
    lazy: Any = same(1)
    lazy.args = ([lazy],)
    return lazy


def opened() -> Any:
    lazy = many(1, same(2), key=same(3), other=4)
    assert lazy.kwargs["other"] == 4
    return lazy


def after_all() -> Any:
    return same(1).after(same(2), same(3)).run_if(same(True)).with_constraints(cpu=same(1), memory=2)


EXPRESSIONS: dict[str, Callable[[], Any]] = {
    "plain": lambda: many(1, Counted()),
    "names": lambda: many(**{f"name_{n}": same(n) for n in range(40)}),
    "new names": lambda: many(**{"".join(["new", str(n)]): Counted() for n in range(20)}),
    "wide": lambda: many(*[same(Counted()) for _ in range(40)]),
    "containers": lambda: many([same(1), (same(2), {"a": same(Counted())})], {"b": [same(3)] * 3}),
    "shared": lambda: (lambda box: many(box, box, [box]))([same(Counted())]),
    "deep": lambda: same(deep(8)),
    "plain data": lambda: same([[[[[[list(range(5)) for _ in range(9)]]]]]]),
    "types": lambda: same(Items([same(1), Counted()])),
    "keywords in a dict": opened,
    "routers": lambda: same(cs.Router(same("a"), {"a": same(1), "b": [same(2)], "c": cs.inject("one")})),
    "policies": after_all,
    "retry": lambda: same(Counted()).with_retry(2),
    "inject": lambda: many(needs(1), needs([same(2)]), needs(*[same(3)])),
    "inject markers": lambda: many(cs.inject("one"), [cs.inject("one")]),
    "equal calls": lambda: many(*[pure(n % 5) for n in range(30)]),
    "unsure calls": lambda: many(pure([1]), pure([2])),
    "map": lambda: same(same.map(value=[1, 2])),
    "loop": looped,
    "cycle": cyclic,
    "uncalled": lambda: many(1, key=same),
    "uncalled condition": lambda: same(1).run_if(same),
    "no lazies before": lambda: same(1).after(same(2)),
}

WRONG = {"loop", "cycle", "uncalled", "uncalled condition"}
COLD = {"routers", "inject markers", "policies", "map", "types", "unsure calls", "no lazies before"}


@pytest.fixture
def starved() -> Any:
    """Let the allocation of a number fail, and none any more after the test."""
    yield _kernel.hot._fail_allocation
    _kernel.hot._fail_allocation(0)


def each_failure(starved: Callable[[int], int], act: Callable[[], Any]) -> int:
    """Act with each of its allocations failing in turn, until none is left; return how many there were."""
    number = 0
    while True:
        number += 1
        starved(number)
        try:
            act()
        except MemoryError:
            pass
        else:
            if starved(0) > 0:  # it did not come to that one
                return number - 1
        starved(0)


def living() -> int:
    gc.collect()
    return sum(type(one) is Counted for one in gc.get_objects())


def value_of(frame: Any) -> Any:
    """Run a frame to its end; raise what made it fail."""
    signal = _kernel.run(frame, 1e300)
    if signal == _kernel.FAILED:
        raise frame.error
    assert signal == _kernel.DONE
    return frame.value


def compiled_program(lazy: Any, cache: Any, resources: dict[str, Any]) -> Any:
    """Trace, plan, compile and keep an expression; return its frame, ready to run if it may run hot."""
    frame = _kernel.Frame(cache, resources)
    frame.begin(lazy)
    if frame.waiting and not frame.unkeyed and frame.program is None:
        program = _kernel.compile_program(frame, *_kernel.layers(frame))
        program.open, program.epoch = True, cache.epoch
        cache.add(program)
        if program.hot:
            frame.enter(program)
    return frame


@failing
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_tracing_and_compiling_run_out_of_memory(starved: Any, name: str) -> None:
    """What could not be traced, planned or compiled is traced, planned and compiled when there is memory."""
    make = EXPRESSIONS[name]

    def act() -> None:
        lazy = make()
        try:
            _kernel.trace(lazy)
            compiled_program(lazy, _kernel.ProgramCache(), {"one": 1}).close()
        except (TypeError, ValueError):  # a loop, a cycle, or a task that was not called
            if name not in WRONG:
                raise

    before = living()

    assert each_failure(starved, act) > 0
    act()
    assert living() == before


def everything(before: int) -> Any:
    """An expression with tokens of all kinds, so many tokens and leaves further on."""
    shared = [same(3)]
    router = cs.Router(same("a"), {"a": [same(1)], "b": 7})
    box = [Items([same(1), 2]), (same(2), {"k": same(3), "p": 4}), shared, shared, cs.inject("one"), router]
    deciding = many(cs.inject("one"), box, k=box).after(same(4), same(5)).run_if(same(True))
    return many([same(0), *range(before)], deciding.with_constraints(cpu=same(1), memory=2), same(6).run_if(True))


@failing
@pytest.mark.parametrize("before", range(64))
def test_every_token_of_a_key_may_be_the_one_without_memory(starved: Any, before: int) -> None:
    """Buffers grow at powers of two: each token comes to be the first that finds no room. Then it is MemoryError."""
    expected = _kernel.trace(everything(before)).key

    def act() -> None:
        assert len(_kernel.trace(everything(before)).key) == len(expected)

    assert each_failure(starved, act) > 0


@failing
@pytest.mark.parametrize("name", [name for name in EXPRESSIONS if name not in WRONG | COLD])
def test_running_runs_out_of_memory(starved: Any, name: str) -> None:
    """The calls of a program, and what it puts together for them, fail with MemoryError or give the same value."""
    make = EXPRESSIONS[name]
    cache = _kernel.ProgramCache()
    value_of(compiled_program(make(), cache, {"one": 1}))

    def act() -> None:
        frame = compiled_program(make(), cache, {"one": 1})
        try:
            assert value_of(frame) is not None
        finally:
            frame.close()

    before = living()
    each_failure(starved, act)

    assert living() == before


def ended(frame: Any) -> Any:
    """Run a frame whose steps are all to run hot to its end, planning those that have no program; return the value."""
    while (signal := _kernel.run(frame, 1e300)) == _kernel.STEP:
        program = frame.program or _kernel.compile_program(frame, *_kernel.layers(frame))
        assert program.hot
        program.open, program.epoch = True, frame.cache.epoch
        frame.cache.add(program)
        frame.enter(program)
    if signal == _kernel.FAILED:
        raise frame.error
    assert signal == _kernel.DONE
    return frame.value


@failing
def test_a_loop_runs_out_of_memory(starved: Any) -> None:
    """Steps that are traced inside of a run: the loop ends with MemoryError, and another goes on as ever."""
    cache = _kernel.ProgramCache()

    def act() -> None:
        frame = compiled_program(turn(4, 1), cache, {})
        try:
            assert ended(frame) == "end"
        finally:
            frame.close()

    before = living()

    assert each_failure(starved, act) > 0
    assert each_failure(starved, act) >= 0  # with all programs there
    assert living() == before


#: What the steps of a loop hold, by what decides whether, when or how often it is called.
FLOWS: dict[str, Callable[[int], Any]] = {
    "condition": lambda n: same(same(Counted())).run_if(same(n % 2)),
    "condition of a condition": lambda n: same(same(1)).run_if(same(n % 3).run_if(same(n % 2))),
    "router": lambda n: [cs.Router(same("ab"[n % 2]), {"a": same([same(Counted())]), "b": [same(1)], "c": Counted()})],
    "routers in a router": lambda n: cs.Router(
        same(n % 2), {0: cs.Router(same("a"), {"a": same(Counted())}), 1: cs.Router(same("b"), {"b": cs.inject("one")})}
    ),
    "after": lambda n: same(same(Counted())).after(same(2), same(3).run_if(same(n % 2))),
    "map": lambda n: same.map(value=[n, 1, Counted()]),
    "map of calls": lambda n: outer.map(value=[n, Counted()]),
    "map that may be skipped": lambda n: same.map(value=same([n])).run_if(same(n % 2)),
    "many needed at once": lambda n: same(1).after(*[same(k) for k in range(80)]).run_if(same(n)),
    "inject markers": lambda n: [cs.inject("one"), {"k": same(Counted())}],
}


@cs.task
def outer(value: Any) -> Any:
    return many(same(value), [same(Counted())])


@cs.task
def flowing(n: int, shape: str, *rest: Any) -> Any:
    return flowing(n - 1, shape, FLOWS[shape](n)) if n else "end"


@failing
@pytest.mark.parametrize("fresh", [True, False], ids=["new programs", "known programs"])
@pytest.mark.parametrize("shape", FLOWS)
def test_what_decides_about_calls_runs_out_of_memory(starved: Any, shape: str, fresh: bool) -> None:
    """Conditions, Routers, predecessors and maps in a hot loop: it ends with MemoryError, or as if none had failed."""
    kept = _kernel.ProgramCache()

    def act() -> None:
        frame = compiled_program(flowing(3, shape), _kernel.ProgramCache() if fresh else kept, {"one": 1})
        try:
            assert ended(frame) == "end"
        except MemoryError:
            starved(0)
            with suppress(RuntimeError):  # it may have nothing left to evaluate, but has no half a level either
                ended(frame)
            raise
        finally:
            frame.close()

    act()
    before = living()

    assert each_failure(starved, act) > 0
    act()
    assert living() == before


@failing
def test_searching_runs_out_of_memory(starved: Any) -> None:
    """Looking for calls in what a task returned, and in the items of a map, fails with MemoryError or finds them."""
    box = deep(7)
    mine: list[Any] = [1, box]

    def act() -> None:
        found = _kernel.continuation(box, "task")
        assert found is not None
        assert _kernel.holds_calls([mine])
        assert not _kernel.holds_calls([[[[n]] for n in range(300)]])
        assert _kernel.continuation([[[[[n]]]] for n in range(300)], "task") is None

    each_failure(starved, act)

    assert _kernel.continuation(box, "task") is not None


@failing
def test_items_run_out_of_memory(starved: Any) -> None:
    """The items of a map stop with MemoryError; those that are done stay done."""
    frame = compiled_program(same(value=1), _kernel.ProgramCache(), {})
    cache = frame.cache
    frame.close()

    def act() -> None:
        frame, values = _kernel.Frame(cache, {}), []
        columns: list[list[Any]] = [[Counted() for _ in range(5)]]
        try:
            signal = _kernel.run_items(frame, same, ("value",), columns, None, values, 1e300)
            if signal == _kernel.FAILED:
                raise frame.error
            assert (signal, values) == (_kernel.DONE, columns[0])
        finally:
            frame.close()

    before = living()
    each_failure(starved, act)

    assert living() == before


@failing
def test_handing_over_runs_out_of_memory(starved: Any) -> None:
    """A half-run program that cannot be handed over to full processing still runs."""
    cache = _kernel.ProgramCache()
    compiled_program(many(same(1), [same(2)], k=same(3)), cache, {}).close()

    def act() -> None:
        frame = compiled_program(many(same(1), [same(2)], k=same(3)), cache, {})
        try:
            assert _kernel.run(frame, 0.0) == _kernel.YIELD
            frame.suspend()
            assert frame.results == {0: 1}
            frame.enter(frame.program)
            assert frame.arguments(0) == ([1], {})
            assert value_of(frame) == (2, 1)
        finally:
            frame.close()

    each_failure(starved, act)
    act()


@failing
def test_a_plan_that_is_no_order_runs_out_of_memory(starved: Any) -> None:
    """Compiling for a plan of a solver's fails with MemoryError or says that the plan is not sound."""

    def act() -> None:
        frame = _kernel.Frame(_kernel.ProgramCache(), {})
        frame.begin(many(same(1), same(2)))
        program = _kernel.compile_program(frame, array("i", [0, 3]), array("i", [2, 0, 1]))
        assert not program.hot
        frame.close()

    assert each_failure(starved, act) > 0
