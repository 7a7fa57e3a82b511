"""A call whose containers hold calls is compared with its task's last program, too: only what has its key is served."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import cascade as cs
from cascade import _kernel
from cascade.graph._problems import ContainerError, UncalledTaskError
from cascade.graph.exceptions import CycleError
from cascade.runtime import Engine
from tests.engines import make_engine, run

Pair = tuple[Callable[[], Any], Callable[[], Any]]


class Row(list):  # type: ignore[type-arg]
    """A list of another type."""


class Two(NamedTuple):
    a: Any
    b: Any = None


@cs.resource
def db() -> Any:
    yield "db"


@cs.task
def f(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@cs.task
def g(value: Any = "g") -> Any:
    return value


@cs.task
def h(*values: Any) -> Any:
    return ["h", *values]


def key(lazy: Any) -> bytes:
    return bytes(_kernel.trace(lazy).key)


def drawing(value: Any, met: dict[int, int] | None = None) -> Any:
    """Return a value with its types, and with the number of the container wherever one comes again."""
    met = {} if met is None else met
    if not isinstance(value, (list, tuple, dict)):
        return value
    if id(value) in met:
        return ("again", met[id(value)])
    if value:  # there is only one empty tuple
        met[id(value)] = len(met)
    if isinstance(value, dict):
        return (type(value), [(name, drawing(one, met)) for name, one in value.items()])
    return (type(value), [drawing(one, met) for one in value])


def with_one(make: Callable[[Any], Any], what: Callable[[], Any]) -> Callable[[], Any]:
    """Return what makes an expression of one call, which may stand in several places."""
    return lambda: make(what())


DIFFERENT: dict[str, Pair] = {
    "list or tuple": (lambda: f([g(), 1]), lambda: f((g(), 1))),
    "list or dict": (lambda: f([g()]), lambda: f({0: g()})),
    "tuple or dict": (lambda: f((g(),)), lambda: f({0: g()})),
    "list or nothing around": (lambda: f([g()], [g()]), lambda: f([g()], g())),
    "list or a type of lists": (lambda: f([g(), 1]), lambda: f(Row([g(), 1]))),
    "tuple or a type of tuples": (lambda: f((g(), 1)), lambda: f(Two(g(), 1))),
    "dict or a type of dicts": (lambda: f({"a": g()}), lambda: f(OrderedDict(a=g()))),
    "length of a list": (lambda: f([g(), 1]), lambda: f([g()])),
    "length of a list that is no longer than the other": (lambda: f([g()], 1, g(2)), lambda: f([g(), 1], 1, g(2))),
    "length of a tuple": (lambda: f((g(), 1)), lambda: f((g(),))),
    "length of a dict": (lambda: f({"a": g(), "b": 1}), lambda: f({"a": g()})),
    "place in a list": (lambda: f([g(), 1]), lambda: f([1, g()])),
    "place in a tuple": (lambda: f((g(), 1)), lambda: f((1, g()))),
    "place in a dict": (lambda: f({"a": g(), "b": 1}), lambda: f({"a": 1, "b": g()})),
    "order of calls": (lambda: f([g(), h()]), lambda: f([h(), g()])),
    "which call": (lambda: f([g()]), lambda: f([h()])),
    "retry of a call": (lambda: f([g()]), lambda: f([g().with_retry()])),
    "policy of a call": (lambda: f([g()]), lambda: f([g().run_if(True)])),
    "name of an argument": (lambda: f(a=[g()]), lambda: f(b=[g()])),
    "call or value": (lambda: f([g(), g()]), lambda: f([g(), 1])),
    "call or value beside": (lambda: f([g()], g()), lambda: f([g()], 1)),
    "call or list beside": (lambda: f([g()], g()), lambda: f([g()], [1])),
    "a call once or twice": (with_one(lambda one: f([one, one]), lambda: g(0)), lambda: f([g(1), g(2)])),
    "a call once or twice, inside and beside": (
        with_one(lambda one: f(one, [one]), lambda: g(0)),
        lambda: f(g(1), [g(2)]),
    ),
    "a call once or twice, in two lists": (
        with_one(lambda one: f([one], [one]), lambda: g(0)),
        lambda: f([g(1)], [g(2)]),
    ),
    "which call comes again": (
        lambda: (lambda a, b: f([a, b], [a]))(g(1), g(2)),
        lambda: (lambda a, b: f([a, b], [b]))(g(1), g(2)),
    ),
    "a call once or twice, further inside": (
        with_one(lambda one: f([h(one), {"a": one}]), lambda: g(0)),
        lambda: f([h(g(1)), {"a": g(2)}]),
    ),
    "a list once or twice, in two arguments": (
        with_one(lambda one: (lambda box: f(box, box))([one]), g),
        with_one(lambda one: f([one], [one]), g),
    ),
    "a list once or twice, in one argument": (
        with_one(lambda one: (lambda box: f([box, box]))([one]), g),
        with_one(lambda one: f([[one], [one]]), g),
    ),
    "a tuple once or twice, by name and by place": (
        with_one(lambda one: (lambda box: f(box, a={"b": box}))((one,)), g),
        with_one(lambda one: f((one,), a={"b": (one,)}), g),
    ),
    "which list comes again": (
        with_one(lambda one: (lambda a, b: f(a, b, a))([one], [one]), g),
        with_one(lambda one: (lambda a, b: f(a, b, b))([one], [one]), g),
    ),
    "list of a call or of none": (lambda: f([g(), [g()]]), lambda: f([g(), [1]])),
    "list of a call or an empty one": (lambda: f([g(), [g()]]), lambda: f([g(), []])),
    "dict of a call or an empty one": (lambda: f([g(), {"a": g()}]), lambda: f([g(), {}])),
    "list of a call or of none, beside": (lambda: f([g()], [g()]), lambda: f([g()], [1])),
    "list of a call deep inside": (lambda: f([g(), [[[[[1]]]]]]), lambda: f([g(), [[[[[g()]]]]]])),
    "nesting": (lambda: f([[g()]]), lambda: f([g()])),
    "deep nesting": (lambda: f([[[[[[g()]]]]]]), lambda: f([[[[[g()]]]]])),
    "many lists": (lambda: f([[g()] for _ in range(20)]), lambda: f([(g(),) for _ in range(20)])),
    "value or inject marker": (lambda: f([g(), 1]), lambda: f([g(), cs.inject("db")])),
    "value or inject marker, beside": (lambda: f([g()], 1), lambda: f([g()], cs.inject("db"))),
    "value or inject marker, in a list": (lambda: f([g(), [1]]), lambda: f([g(), [cs.inject("db")]])),
    "value or router": (lambda: f([g(), 1]), lambda: f([g(), cs.Router(g("a"), {"a": g(1)})])),
    "value or router, beside": (lambda: f([g()], 1), lambda: f([g()], cs.Router(g("a"), {"a": g(1)}))),
    "value or map": (lambda: f([g(), 1]), lambda: f([g(), g.map(value=[1, 2])])),
    "value or map, beside": (lambda: f([g()], 1), lambda: f([g()], g.map(value=[1, 2]))),
    "call or map": (lambda: f([g([1])]), lambda: f([g.map(value=[1])])),
    "call or map, beside": (lambda: f([g()], g([1])), lambda: f([g()], g.map(value=[1]))),
}

SAME: dict[str, Pair] = {
    "values": (lambda: f([g(1), 2, (g(3), 4)]), lambda: f([g("a"), None, (g([1, {2: 3}]), f)])),
    "keys of a dict": (lambda: f({"a": g(), "b": 1}), lambda: f({7: g(), 8: 2})),
    "plain containers": (lambda: f([g(), [1, 2]]), lambda: f([g(), {"a": ()}])),
    "plain containers of other types": (lambda: f([g(), 1]), lambda: f([g(), Row([1])])),
    "empty containers": (lambda: f([g(), [], {}]), lambda: f([g(), (), 1])),
    "a plain list once or twice": (
        lambda: (lambda box: f([g(), box, box], box))([1]),
        lambda: f([g(), [1], [1]], [1]),
    ),
    "a list once or twice, in two calls": (
        with_one(lambda one: (lambda box: f(h(box), h(box)))([one]), g),
        with_one(lambda one: f(h([one]), h([one])), g),
    ),
}


@pytest.fixture
def engine() -> Engine:
    return make_engine(resources=[db])


def alternate(engine: Engine, one: Callable[[], Any], other: Callable[[], Any]) -> None:
    """Run both in turn: each finds the program of the other as its task's last."""
    cold = make_engine(resources=[db], hot=False)
    wanted = [drawing(run(make(), cold)) for make in (one, other)]
    for _ in range(4):
        assert [drawing(run(make(), engine)) for make in (one, other)] == wanted
    assert engine.stats.nodes == 4 * cold.stats.nodes


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("what", DIFFERENT)
def test_what_looks_alike_is_told_apart(engine: Engine, what: str, turned: bool) -> None:
    """Expressions that differ in this have two programs and get their own values, whichever came first."""
    one, other = reversed(DIFFERENT[what]) if turned else DIFFERENT[what]
    alternate(engine, one, other)

    assert key(one()) != key(other())
    assert engine.stats.templates == (3 if "map" in what else 2)


@pytest.mark.parametrize("what", SAME)
def test_what_differs_in_values_alone_has_one_program(engine: Engine, what: str) -> None:
    """Expressions that differ in this alone share a program, and get their own values."""
    one, other = SAME[what]
    alternate(engine, one, other)

    assert key(one()) == key(other())
    assert (engine.stats.hot, engine.stats.templates) == (7, 1)


def test_a_list_that_contains_itself_is_an_error_as_ever(engine: Engine) -> None:
    """A list with a call in it that contains itself is not like the one whose place it takes."""
    for _ in range(2):
        assert run(f([g(), [1]]), engine) == ((["g", [1]],), {})
        box: list[Any] = [g()]
        box.append(box)
        with pytest.raises(ContainerError):
            run(f(box), engine)
        box.clear()


def test_a_task_that_was_not_called_is_an_error_as_ever(engine: Engine) -> None:
    """A task for an argument beside a list with calls is not taken for a value."""
    for _ in range(2):
        assert run(f([g()], 1), engine) == ((["g"], 1), {})
        with pytest.raises(UncalledTaskError):
            run(f([g()], g), engine)


def test_a_call_that_needs_itself_is_an_error_as_ever(engine: Engine) -> None:
    """A call in a list of its own argument is not taken for the one whose place it takes."""
    for _ in range(2):
        assert run(f([g()]), engine) == ((["g"],), {})
        box: list[Any] = []
        lazy = f(box)
        box.append(lazy)
        with pytest.raises(CycleError):
            run(lazy, engine)
        box.clear()


def test_each_leaf_arrives_in_its_place(engine: Engine) -> None:
    """Values and keys in containers of several calls go where they belong, in the first run and in those after it."""

    def make(k: int) -> Any:
        inner = h([k + 2, h(k + 3)], {k + 4: h(k + 5), k + 6: k + 7})
        return f([k + 1, inner, k + 8], k + 9, a={k + 10: ([k + 11, g(k + 12)],), k + 13: k + 14}, b=[g([k + 15]), k])

    for k in range(0, 100, 20):
        assert run(make(k), engine) == (
            (
                [k + 1, ["h", [k + 2, ["h", k + 3]], {k + 4: ["h", k + 5], k + 6: k + 7}], k + 8],
                k + 9,
            ),
            {"a": {k + 10: ([k + 11, k + 12],), k + 13: k + 14}, "b": [[k + 15], k]},
        )
    assert (engine.stats.hot, engine.stats.templates) == (4, 1)


@cs.task
def add(both: Any, *rest: Any) -> Any:
    return both[0] + both[1]["b"] + sum(rest)


@cs.task
def grow(n: int) -> Any:
    return n if n < 2 else add([grow(n - 1), {"a": n, "b": grow(n - 2)}], 0)


def test_leaves_of_steps_that_wait_stay_where_they_are(engine: Engine) -> None:
    """Steps inside of steps have leaves of their own, however many wait."""
    assert run(grow(15), engine) == 610
    assert engine.stats.hot > 900


@cs.task
def many(n: int, values: Any = ()) -> Any:
    return many(n - 1, [g(n), *range(n, n + 1_000)]) if n else values


def test_there_is_room_for_any_number_of_leaves(engine: Engine) -> None:
    """A step may bring more leaves than any before it."""
    for n in (2, 5):
        assert run(many(n), engine) == [1, *range(1, 1_001)]


class Value:
    """A leaf that nobody may keep."""


@cs.task
def emptying(boxes: Any) -> Any:
    for box in boxes[0].boxes:
        box.clear()
    gc.collect()
    return "emptied"


class Hider:
    """Hides containers from a search."""

    def __init__(self, *boxes: Any) -> None:
        self.boxes = boxes


def test_containers_that_are_emptied_in_mid_step_are_passed_as_they_were(engine: Engine) -> None:
    """What is in a container when its step begins is passed, though nothing else holds it any more."""
    for _ in range(4):
        inner: dict[Any, Any] = {Value(): Value(), "b": g()}
        outer: list[Any] = [Value(), inner]
        outer.append(emptying([Hider(inner, outer), 1]))
        (first, second, third), last = run(f(outer, Value()), engine)[0]

        assert [type(first), third, type(last)] == [Value, "emptied", Value]
        assert [(type(name), type(one)) for name, one in second.items()] == [(Value, Value), (str, str)]
        assert (outer, inner) == ([], {})


@cs.task
def turning(n: int, leaf: Any, *boxes: Any) -> Any:
    if n == 0:
        return None
    if n % 3:  # the first call is compared last: by then all leaves have been written down
        return turning(n - 1, leaf, [h(leaf), leaf, {leaf: g(leaf)}], (h([g(leaf), leaf]), leaf))
    return turning(n - 1, leaf, [g(leaf), leaf, {leaf: g(leaf)}], (h([g(leaf), leaf]), leaf))


def test_references_to_leaves_are_balanced(engine: Engine) -> None:
    """Steps that are served by the last program, and steps that turn out not to be, give back what they take."""
    leaf = Value()
    run(turning(12, leaf), engine)
    gc.collect()
    before = sys.getrefcount(leaf)
    for n in (31, 32, 33):
        run(turning(n, leaf), engine)
    gc.collect()

    assert sys.getrefcount(leaf) == before
    assert engine.stats.hot > 30


@cs.task
def failing(n: int, leaf: Any, box: Any) -> Any:
    if n == 0:
        raise ValueError("end")
    return failing(n - 1, leaf, [g(leaf), leaf, (leaf, g())])


def test_references_to_leaves_are_balanced_when_a_step_fails(engine: Engine) -> None:
    """An error lets go of the leaves of all steps that wait."""
    leaf = Value()
    for _ in range(5):
        with pytest.raises(ValueError, match="end"):
            run(failing(5, leaf, None), engine)
    gc.collect()

    assert sys.getrefcount(leaf) == 2
