"""Where many lazy results live, those that have lived for a while are set aside from Python's garbage collector."""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel

pytestmark = pytest.mark.skipif(
    _kernel.kernel_name != "compiled" or not (3, 11) <= sys.version_info < (3, 14),
    reason="only the compiled kernel does it, and only where it knows how the collector links objects",
)
#: From 8,192 on they are set aside, and from 131,072 on they bring collections about.
MANY, VERY_MANY = 10_000, 140_000


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


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """The collector is on, also where the tests run without it."""
    was_on, thresholds = gc.isenabled(), gc.get_threshold()
    gc.enable()
    yield
    gc.set_threshold(*thresholds)
    if not was_on:
        gc.disable()


def known() -> int:
    """How many lazy results the collector knows."""
    return sum(type(one) is cs.spec.lazy_types.LazyResult for one in gc.get_objects())


def lots(count: int = MANY) -> list[Any]:
    """So many lazy results that have survived a collection of the youngest generation."""
    made = [same(i) for i in range(count)]
    gc.collect(0)
    return made


def in_a_circle(thing: Thing) -> weakref.ref[Thing]:
    """Lets an object and a lazy result hold each other, so that only the collector finds that they are garbage."""
    thing.held = same(thing)
    return weakref.ref(thing)


def old_circle() -> weakref.ref[Thing]:
    """Returns what has become garbage after it had survived a collection."""
    thing = Thing()
    found = in_a_circle(thing)
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


@pytest.mark.parametrize("is_cleared", [False, True])
def test_growth_brings_a_collection_about(is_cleared: bool) -> None:
    """Garbage among them goes without anybody asking, also where somebody has emptied the list of callbacks."""
    many = lots()
    things = [Thing() for _ in range(100)]
    held = [in_a_circle(thing) for thing in things]
    gc.collect(0)
    del things
    if is_cleared:
        gc.callbacks.clear()
    gc.set_threshold(700, 10, 1_000_000)  # no full collection but ours
    assert all(one() is not None for one in held)
    many += [same(i) for i in range(VERY_MANY)]
    assert [one() for one in held] == [None] * 100
    assert [one.args[0] for one in many[-3:]] == [VERY_MANY - 3, VERY_MANY - 2, VERY_MANY - 1]


def test_a_collection_that_the_collector_decides_on_leaves_them_aside() -> None:
    """It would look at all of them again and again."""
    many = lots()
    circle = old_circle()
    seen: list[int] = []

    def watch(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            seen.append(known())

    gc.callbacks.insert(0, watch)
    try:
        gc.set_threshold(100, 1, 1)
        kept = [[i] for i in range(300_000)]
    finally:
        gc.callbacks.remove(watch)
    assert seen
    assert max(seen) < 1_000
    assert circle() is not None
    gc.collect()
    assert circle() is None
    del kept, many


@pytest.mark.parametrize("how", ["disabled", "without threshold"])
def test_every_collection_is_asked_for_where_the_collector_is_off(how: str) -> None:
    many = lots()
    circle = old_circle()
    if how == "disabled":
        gc.disable()
    else:
        gc.set_threshold(0)
    for _ in range(30):  # its counters go beyond their thresholds
        gc.collect(1)
    kept = [[i] for i in range(5_000)]
    gc.collect()
    assert circle() is None
    del kept, many


def test_nothing_is_set_aside_while_the_collector_is_off() -> None:
    gc.disable()
    many = [same(i) for i in range(VERY_MANY)]
    assert known() >= VERY_MANY
    gc.enable()
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


@pytest.mark.parametrize("seed", range(3))
def test_anything_may_happen_to_them(seed: int) -> None:
    """Made, run, dropped, put into circles, collected, frozen, in any order: values stay right and nothing is left."""
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

    def freeze() -> None:
        gc.freeze()
        gc.unfreeze()

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
        pick.choice([make, make, drop, circle, collect, freeze, retune, change, switch, check])()
    many.clear()
    gc.collect()
    gc.collect()
    assert [one() for one in circles if one() is not None] == []


EXIT = """
import gc
import cascade as cs
@cs.task
def same(value): return value
class Thing:
    def __del__(self): print("gone")
kept = [same(i) for i in range(50_000)]
thing = Thing(); thing.held = same(thing)
gc.collect(); gc.collect(0)
{end}
"""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("", "gone"),
        ("del kept", "gone"),
        ("cs.kept = kept", "gone"),
        ("gc.callbacks.clear()", "gone"),
        ("gc.disable()", "gone"),
        ("gc.collect(); gc.freeze()", ""),  # frozen with them: nobody looks for what holds it
    ],
)
def test_the_interpreter_ends_with_them(end: str, said: str) -> None:
    """They take part in its last collection."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-X", "dev", "-c", EXIT.format(end=end)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")
