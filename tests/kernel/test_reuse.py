"""A step uses again what the one before left behind, and nobody can tell; keywords go by position where they may."""

from __future__ import annotations

import gc
import sys
import weakref
from array import array
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from tests.engines import make_engine, run

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> Any:
    """What a test notes is forgotten after it."""
    SEEN.clear()
    yield
    SEEN.clear()


@cs.task
def plain(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def compiled(lazy: Any, cache: Any = None, resources: dict[str, Any] | None = None) -> Any:
    """Return a frame that runs a program of one call."""
    cache = _kernel.ProgramCache() if cache is None else cache
    frame = _kernel.Frame(cache, {} if resources is None else resources)
    frame.begin(lazy)
    program = _kernel.compile_program(frame, array("i", [0, 1]), array("i", [0]))
    program.open, program.epoch = True, cache.epoch
    cache.add(program)
    frame.enter(program)
    return frame


def value_of(frame: Any) -> Any:
    assert _kernel.run(frame, 1e300) == _kernel.DONE
    value = frame.value
    frame.close()
    return value


# ------------------------------------------------------------------------------------------------------ lazy results


def test_a_new_lazy_result_has_nothing_of_those_that_are_gone() -> None:
    """However many lazy results with names, policies and weak references have gone, a new one is bare."""
    for round_ in range(3):
        old = [plain(i, name=object()).with_retry(2).run_if(True).with_cache(object()) for i in range(600)]
        weak = [weakref.ref(one) for one in old]
        for one in old:
            one.after(plain())
            one.kwargs["more"] = round_
        ids = {one._uuid for one in old}
        del old, one

        assert [ref() for ref in weak] == [None] * 600
        for i in range(600):
            new = plain(i)
            assert (new.task, new.args, new.kwargs) == (plain, (i,), {})
            assert new._retry_policy is new._cache_policy is new._condition is new._constraints is None
            assert new._dependencies == []
            assert weakref.getweakrefcount(new) == 0
            assert new._uuid not in ids


def test_lazy_results_are_seen_by_the_garbage_collector() -> None:
    """A lazy result in a cycle is collected, whether its memory is new or has been used before."""
    for _ in range(300):
        box: list[Any] = []
        box.append(plain(box))
        lazy = weakref.ref(box[0])
        assert gc.is_tracked(box[0])
        del box
    gc.collect()

    assert lazy() is None


def test_many_lazy_results_leave_the_count_of_none_alone() -> None:
    """Whatever is kept for later owns what it holds: going back and forth does not use up None."""
    before = sys.getrefcount(None)
    for _ in range(20):
        many = [plain(i, k=i).with_retry(1) if i % 2 else plain(i) for i in range(2_000)]
        del many

    assert abs(sys.getrefcount(None) - before) < 10_000


# ------------------------------------------------------------------------------------------------------------ values


@cs.task
def keeping(n: int, value: Any) -> Any:
    if n == 0:
        return "end"
    lazy = keeping(n - 1, [n, value])
    SEEN.append((lazy.args, n - 1, value))
    return lazy


def test_values_that_somebody_holds_stay_as_they_are() -> None:
    """The arguments of a call that has run are not touched as long as anybody has them."""
    assert run(keeping(50, None)) == "end"

    assert [args[0] for args, _, _ in SEEN] == list(range(49, -1, -1))
    assert all(args == (n, [n + 1, value]) for args, n, value in SEEN)


class Looks:
    """Looks for tuples that hold a companion when it is freed."""

    def __init__(self, companion: Any) -> None:
        self.companion = companion

    def __del__(self) -> None:
        SEEN.append([len(one) for one in gc.get_referrers(self.companion) if type(one) is tuple])


@cs.task
def dropping(n: int, first: Any, companion: Any) -> Any:
    if n == 0:
        return "end"
    fresh = object()
    return dropping(n - 1, Looks(fresh), fresh)


def test_nobody_comes_upon_half_empty_values() -> None:
    """When an argument is freed, the tuple that held it is not to be found any more."""
    engine = make_engine()
    assert run(dropping(20, None, None), engine) == "end"

    assert engine.stats.hot >= 18
    assert len(SEEN) == 20
    assert SEEN == [[]] * 20


class Runs:
    """Runs a workflow when it is freed."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __del__(self) -> None:
        SEEN.append(value_of(compiled(keeping(self.n, None))))


@cs.task
def nesting(n: int, first: Any, *rest: Any) -> Any:
    return nesting(n - 1, Runs(n % 3), *rest) if n else rest


def test_runs_inside_of_freed_arguments_do_not_mix_up_values() -> None:
    """A finaliser that makes and frees calls of the same size leaves those of the step around it alone."""
    rest = tuple(object() for _ in range(4))

    assert run(nesting(40, None, *rest)) == rest
    assert [one for one in SEEN if one == "end"] == ["end"] * 40


# ---------------------------------------------------------------------------------------------- keywords by position


def pair(a: Any, b: Any = "b") -> Any:
    return a, b


def gap(a: Any, b: Any = "b", c: Any = "c") -> Any:
    return a, b, c


def only(a: Any, /, b: Any = "b", *, c: Any = "c", **rest: Any) -> Any:
    return a, b, c, rest


def hidden(a: Any = "a", /, **rest: Any) -> Any:
    return a, rest


def star(*args: Any, a: Any = "a") -> Any:
    return args, a


class Callable_:
    def __call__(self, a: Any, b: Any = "b") -> Any:
        return self.__class__.__name__, a, b


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (pair, (1,), {"b": 2}),
    (pair, (), {"a": 1, "b": 2}),
    (pair, (), {"b": 2, "a": 1}),
    (pair, (), {"a": 1}),
    (gap, (1,), {"c": 3}),
    (gap, (1,), {"c": 3, "b": 2}),
    (gap, (), {"a": 1, "b": 2, "c": 3}),
    (only, (1,), {"b": 2}),
    (only, (1,), {"b": 2, "c": 3}),
    (only, (1, 2), {"a": 3}),
    (hidden, (), {"a": 1}),
    (star, (1,), {"a": 2}),
    (star, (), {"a": 2}),
    (Callable_(), (1,), {"b": 2}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_keywords_arrive_where_they_are_named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """A call by keyword gives what the function itself gives, be the arguments leaves or results."""
    task, same = _kernel.Task(function, "task"), _kernel.Task(lambda value: value, "same")
    lazy = task(*args, **kwargs)

    assert value_of(compiled(lazy)) == function(*args, **kwargs)
    later = task(*map(same, args), **{name: same(value) for name, value in kwargs.items()})
    assert run(later) == function(*args, **kwargs)


def test_a_call_by_position_says_what_is_wrong_with_it() -> None:
    """The error of a call that lacks an argument, or gives one twice, is the function's own."""

    def three(a: Any, b: Any, c: Any) -> Any:
        return a, b, c

    for args, kwargs in (((1,), {"b": 2}), ((1,), {"a": 2}), ((1,), {"b": 2, "d": 3})):
        with pytest.raises(TypeError) as wanted:
            three(*args, **kwargs)
        frame = compiled(_kernel.Task(three, "three")(*args, **kwargs))

        assert _kernel.run(frame, 1e300) == _kernel.FAILED
        assert str(frame.error) == str(wanted.value)
        frame.close()


def test_a_function_whose_code_is_replaced_gets_its_keywords_by_name() -> None:
    """The new code may have the parameters in another place; the program is the old one."""

    def old(a: Any, b: Any = None) -> Any:
        return "old", a, b

    def new(a: Any, c: Any = "c", b: Any = None) -> Any:
        return "new", a, c, b

    function = FunctionType(old.__code__, {}, "function", ("b",))
    task, cache = _kernel.Task(function, "task"), _kernel.ProgramCache()
    assert value_of(compiled(task(1, b=2), cache)) == ("old", 1, 2)
    function.__code__, function.__defaults__ = new.__code__, ("c", None)
    frame = _kernel.Frame(cache, {})
    frame.begin(task(3, b=4))

    assert not frame.waiting
    assert value_of(frame) == ("new", 3, "c", 4)


def test_injected_resources_arrive_where_they_are_named() -> None:
    """A resource is given to the parameter whose default asks for it, also when the code is replaced."""

    def old(a: Any, one: Any = cs.inject("one")) -> Any:
        return a, one

    def new(a: Any, c: Any = "c", one: Any = None) -> Any:
        return a, c, one

    task, cache = _kernel.Task(old, "task"), _kernel.ProgramCache()
    assert value_of(compiled(task(1), cache, {"one": "resource"})) == (1, "resource")
    old.__code__, old.__defaults__ = new.__code__, ("c", None)
    frame = _kernel.Frame(cache, {"one": "resource"})
    frame.begin(task(2))

    assert not frame.waiting
    assert value_of(frame) == (2, "c", "resource")


# --------------------------------------------------------------------------------------------------------- resources


class Name(str):
    """The name of a resource that clears a cache when it is looked for."""

    cache: Any = None

    def __hash__(self) -> int:
        if Name.cache is not None:
            programs = [weakref.ref(one) for one in Name.cache.values()]
            Name.cache.clear()
            gc.collect()
            SEEN.extend(ref() is not None for ref in programs)
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)


def test_a_program_may_be_dropped_while_its_resources_are_looked_for() -> None:
    """The program that is being looked at stays as long as it takes, whatever the name of a resource does."""

    name = Name("one")

    def needs(a: Any, one: Any = cs.inject(name)) -> Any:
        return a, one

    task, cache = _kernel.Task(needs, "needs"), _kernel.ProgramCache()
    resources = {"one": "resource"}
    assert value_of(compiled(task(1), cache, resources)) == (1, "resource")
    Name.cache = cache
    try:
        frame = _kernel.Frame(cache, resources)
        frame.begin(task(2))
    finally:
        Name.cache = None

    assert SEEN == [True]
    assert value_of(frame) == (2, "resource")
