"""Where many lazy results live, those that have survived a collection are set aside until the next full one."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.spec.lazy_types import LazyResult

pytestmark = pytest.mark.skipif(
    _kernel.kernel_name != "compiled" or not (3, 11) <= sys.version_info < (3, 14),
    reason="only the compiled kernel does it, and only where it knows how the collector links objects",
)
#: From 8,192 on they are set aside.
MANY = 10_000


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def add(a: int, b: int) -> int:
    return (a + b) % 10_007


@cs.task
def pair(*both: Any) -> Any:
    return both


class Thing:
    """What may hold a lazy result, and may be held by it; it says when it goes."""

    def __init__(self, name: Any = None, gone: list[Any] | None = None) -> None:
        self.name = name
        self.gone = gone
        self.held: Any = None

    def __del__(self) -> None:
        if self.gone is not None:
            self.gone.append(self.name)


WAS_ON = gc.isenabled()
automatic = pytest.mark.skipif(
    not WAS_ON, reason="the collector is off: nothing may come into what a kernel does whose lines are traced"
)


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Leaves the collector as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    (gc.enable if WAS_ON else gc.disable)()


def known() -> int:
    """How many lazy results the collector knows."""
    return sum(type(one) is LazyResult for one in gc.get_objects())


def lots(count: int = MANY) -> list[Any]:
    """So many lazy results that have survived a collection."""
    made = [same(i) for i in range(count)]
    gc.collect()
    return made


def in_a_circle(thing: Thing, make: Callable[[Any], Any] = same) -> weakref.ref[Thing]:
    """Lets an object and a lazy result hold each other, so that only the collector finds that they are garbage."""
    thing.held = make(thing)
    return weakref.ref(thing)


def old_circle(make: Callable[[Any], Any] = same) -> weakref.ref[Thing]:
    """Returns what has become garbage after it had survived a collection."""
    thing = Thing()
    found = in_a_circle(thing, make)
    gc.collect(0)
    return found


def value_of(target: Any) -> Any:
    return asyncio.run(cs.arun(target, log_level="ERROR"))


value_of(same(1))  # what it imports makes markers

def layers(count: int, width: int = 50) -> Any:
    layer = [same(i) for i in range(width)]
    for _ in range(count - 1):
        layer = [add(a, b) for a, b in zip(layer, [*layer[7:], *layer[:7]], strict=True)]
    return layer[0]


def test_the_collector_does_not_look_at_them() -> None:
    """While there are few, it does."""
    few = lots(1_000)
    assert known() >= 1_000
    many = lots()
    assert known() < 1_000
    assert [one.args for one in many[:3]] == [(0,), (1,), (2,)]
    del few, many


def test_they_come_back_for_a_collection_that_somebody_asks_for() -> None:
    """So that garbage is found which they take part in."""
    many = lots()
    circles = [old_circle() for _ in range(100)]
    assert all(one() is not None for one in circles)
    more = [Thing() for _ in range(100)]
    held = [in_a_circle(thing) for thing in more]
    gc.collect(0)
    assert [one() for one in held] == more
    gc.collect()
    assert [one() for one in circles] == [None] * 100
    del more
    gc.collect()
    assert [one() for one in held] == [None] * 100
    assert known() < 1_000
    assert value_of(many[7]) == 7


@automatic
def test_they_come_back_for_a_collection_that_the_collector_decides_on() -> None:
    """What is garbage among them goes when other objects ask for a full collection, whoever made them."""
    many = lots()
    made_by = (same, same.__call__, lambda value: LazyResult(same, (value,), {}))
    circles = [old_circle(make) for make in made_by for _ in range(10)]
    assert all(one() is not None for one in circles)
    kept = [[i] for i in range(300_000)]
    assert [one() for one in circles] == [None] * 30
    assert known() < 1_000
    del kept, many


@automatic
def test_they_ask_for_few_full_collections() -> None:
    """CPython would make one whenever there are a quarter more: over a dozen."""
    before = gc.get_stats()[2]["collections"]
    many = lots(200_000)
    assert gc.get_stats()[2]["collections"] - before < 8
    del many


@automatic
@pytest.mark.parametrize("how", ["on", "disabled", "without threshold"])
def test_every_collection_that_is_asked_for_is_a_full_one(how: str) -> None:
    many = lots()
    circle = old_circle()
    for _ in range(30):  # its counters go beyond their thresholds
        gc.collect(1)
    gc.disable()
    if how == "without threshold":
        gc.set_threshold(0)
    kept = [[i] for i in range(5_000)]
    if how != "disabled":
        gc.enable()
    gc.collect()
    assert circle() is None
    del kept, many


def test_nothing_is_set_aside_while_the_collector_is_off() -> None:
    gc.disable()
    many = [same(i) for i in range(20 * MANY)]
    assert known() >= 20 * MANY
    del many


def test_nothing_is_set_aside_where_few_are_left() -> None:
    many = lots()
    del many[100:]
    gc.collect()
    assert known() >= 100
    del many


def test_whoever_empties_the_list_of_callbacks_is_told_again() -> None:
    """When there are twice as many: until then those that are aside stay there."""
    many = lots()
    circle = old_circle()
    others = [one for one in gc.callbacks if getattr(one, "__name__", "") != "_on_collection"]
    gc.callbacks.clear()
    many += lots(4 * MANY)
    gc.collect()
    assert circle() is None
    many += lots(4 * MANY)
    assert [one.__name__ for one in gc.callbacks] == ["_on_collection"]
    gc.callbacks[:0] = others
    assert known() < MANY
    del many


class Odd:
    """A callback that changes what all callbacks are told, and does not like to be compared."""

    __name__ = "odd"

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")

    __hash__ = object.__hash__

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        info.clear()
        info.update(self.told)


@pytest.mark.parametrize("told", [{}, {"generation": -300_000}, {"generation": 3}, {"generation": 1 << 70}])
def test_other_callbacks_may_be_odd(told: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing crashes, and nothing is said."""
    odd = Odd(told)
    many = lots()
    gc.callbacks.insert(0, odd)
    try:
        many += lots(4 * MANY)
        gc.collect()
    finally:
        del gc.callbacks[0]
    circle = old_circle()
    gc.collect()
    assert circle() is None
    assert capfd.readouterr().err == ""
    del many


def test_weak_references_and_finalisers_work_as_ever() -> None:
    """Of those that are aside."""
    gone: list[Any] = []
    many = [same(Thing(i, gone)) for i in range(MANY)]
    gc.collect(0)
    told: list[Any] = []
    refs = [weakref.ref(one, told.append) for one in many]
    del many[::2]
    assert gone == [*range(0, MANY, 2)]
    assert told == refs[::2]
    many.clear()
    assert len(gone) == len(told) == MANY


def test_values_are_those_of_few() -> None:
    """However often everything was collected meanwhile."""

    def expected(count: int, width: int = 50) -> int:
        layer = [*range(width)]
        for _ in range(count - 1):
            layer = [(a + b) % 10_007 for a, b in zip(layer, [*layer[7:], *layer[:7]], strict=True)]
        return layer[0]

    target = layers(600)
    for generation in (0, 1, 2, 0, 2):
        gc.collect(generation)
        assert value_of(target) == expected(600)


def test_a_large_expression_goes_in_the_order_in_which_it_lies() -> None:
    """Not from the top to the bottom again and again; and at any depth."""
    gone: list[Any] = []
    many = lots()
    ends = [Thing(i, gone) for i in range(4)]
    top = pair(pair(same(ends[0]), ends[1]), pair(same(ends[2]), ends[3]))
    del ends
    del top
    assert gone == [3, 1, 2, 0]
    gone.clear()
    deep: Any = same(Thing("end", gone))
    for _ in range(200_000):
        deep = same(deep)
    del deep
    assert gone == ["end"]
    del many


def test_finalisers_may_make_and_drop_lazy_results() -> None:
    """What they drop is gone when the finaliser is over, at the latest when that of the outermost is."""
    many = lots()
    gone: list[Any] = []

    class Busy(Thing):
        def __del__(self) -> None:
            inner = same(Thing((self.name, "inner"), gone))
            assert value_of(same(same(1))) == 1
            del inner
            gone.append(self.name)

    target = same([same(Busy(i)) for i in range(10)])
    del target
    assert sorted(gone, key=str) == sorted([*range(10), *[(i, "inner") for i in range(10)]], key=str)
    del many


def test_a_finaliser_that_works_for_long_lets_go_of_most() -> None:
    """At most a thousand wait until it is over."""
    many = lots()
    gone: list[Any] = []
    waiting: list[int] = []

    class Busy(Thing):
        def __del__(self) -> None:
            for i in range(5_000):
                same(Thing(i, gone))
                waiting.append(i + 1 - len(gone))

    target = same(Busy())
    del target
    assert len(gone) == 5_000
    assert max(waiting) <= 1_000
    del many


def test_a_thread_frees_its_own() -> None:
    """Also while another one is in the middle of freeing."""
    many = lots()
    gone: list[Any] = []
    is_inside, may_go_on = threading.Event(), threading.Event()

    class Slow(Thing):
        def __del__(self) -> None:
            is_inside.set()
            assert may_go_on.wait(30)
            gone.append("slow")

    def drop() -> None:
        target = same(same(Slow()))
        del target

    thread = threading.Thread(target=drop)
    thread.start()
    assert is_inside.wait(30)
    mine = same([same(Thing("mine", gone))])
    del mine
    assert gone == ["mine"]
    may_go_on.set()
    thread.join()
    assert gone == ["mine", "slow"]
    del many


@automatic
@pytest.mark.parametrize("seed", range(3))
def test_anything_may_happen_to_them(seed: int) -> None:
    """Made, run, dropped, put into circles, collected, in any order: values stay right and nothing is left."""
    pick = random.Random(seed)
    many: list[Any] = lots(2 * MANY)
    circles: list[weakref.ref[Thing]] = []

    def make() -> None:
        many.extend([same(i) for i in range(200)])
        many.extend([add(pick.choice(many), i) for i in range(pick.randrange(3_000))])

    def drop() -> None:
        del many[pick.randrange(100) :: pick.randrange(2, 50)]

    def circle() -> None:
        circles.extend(in_a_circle(Thing()) for _ in range(pick.randrange(100)))

    def collect() -> None:
        gc.collect(pick.randrange(3))

    def retune() -> None:
        gc.set_threshold(pick.choice([0, 1, 50, 700]), pick.choice([1, 10]), pick.choice([0, 1, 10]))

    def change() -> None:
        one = pick.choice(many)
        assert one.kwargs == {}
        one.kwargs["b" if len(one.args) == 1 else "c"] = same(1)
        del one.kwargs["b" if len(one.args) == 1 else "c"]

    def switch() -> None:
        (gc.disable if gc.isenabled() else gc.enable)()

    def check() -> None:
        assert isinstance(value_of(pick.choice(many)), int)

    for _ in range(300):
        pick.choice([make, make, drop, circle, collect, retune, change, switch, check])()
    many.clear()
    gc.collect()
    gc.collect()
    assert [one() for one in circles if one() is not None] == []


PROGRAM = """
import atexit, gc, os, sys, threading
def late(): late.made = [same(1) for i in range(300)]
atexit.register(late)
import cascade as cs
@cs.task
def same(value): return value
class Thing:
    def __init__(self, say="gone"): self.say = say
    def __del__(self, write=os.write): write(1, self.say.encode())
"""
KEPT = "kept = [same(i) for i in range(20_000)]\n"


def said(code: str) -> str:
    """What a program prints that ends well, and without complaints."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-X", "dev", "-W", "ignore", "-c", PROGRAM + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "end",
    ["", "del kept", "cs.kept = kept", "gc.disable()", "sys.exit(0)", "cs.keep = [same(i) for i in range(200_000)]"],
)
def test_the_interpreter_ends_with_them(end: str) -> None:
    """They take part in its last collection."""
    code = "thing = Thing(); thing.held = same(thing)\ngc.collect(); gc.collect(0)\n"
    assert said(KEPT + code + end) == "gone"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    """One that was in the middle of freeing."""
    code = """
inside, go = threading.Event(), threading.Event()
class Slow:
    def __del__(self):
        inside.set()
        go.wait(20)
def drop():
    target = same(same(Slow()))
    del target
def work():
    for i in range(10):
        target = same([same(Thing("x"))])
        del target
thread = threading.Thread(target=drop)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    work()
    for _ in range(3):
        other = threading.Thread(target=work)
        other.start()
        other.join()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
go.set()
thread.join()
"""
    assert said(KEPT + code) == "x" * 40


def test_a_finaliser_may_make_the_first_of_many() -> None:
    """In the middle of a collection, which has in lists of its own what it is about to free: that is left to it."""
    code = """
old = [same(i) for i in range(1000)]
gc.collect(); gc.collect()
many = []
class Evil:
    def __del__(self):
        for one in old[:3]:
            one.args = self.values
        many.extend([same(i) for i in range(12_000)])
        for callback in gc.callbacks:  # nobody may, but one could
            for phase in ("start", "stop"):
                for generation in range(3):
                    callback(phase, {"generation": generation})
def make():
    evil = Evil()
    evil.me = evil
    evil.values = (evil, [], {})
    evil.others = [[evil.values, evil] for _ in range(50)]
    for other in evil.others:
        other.append(other)
make()
gc.collect()
evil = old[0].args[0]
for other in evil.others:
    other.clear()
evil.others = evil.me = evil.values = None
del evil, other
for one in old[:3]:
    one.args = ()
del one
gc.collect(0)
old.clear()
many.clear()
gc.collect()
print("well")
"""
    assert said(code) == "well\n"
