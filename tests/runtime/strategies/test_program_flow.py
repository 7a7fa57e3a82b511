"""Conditions, predecessors, Routers and maps in hot programs: the same as in full processing, step after step.

    f(n, ...) --tail call--> f(n - 1, ...) --> ...      the first step of a template is cold, all others hot
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from unittest import mock

import pytest

from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.strategies._runs import Run
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.routing import Router
from cascade.spec.task import task
from tests.engines import make_engine, run

LOG: list[Any] = []


@task
def note(*values: Any, gives: Any = None) -> Any:
    LOG.append(values)
    return gives


@task
async def later(*values: Any, gives: Any = None) -> Any:
    LOG.append(("+", *values))
    await asyncio.sleep(0)
    LOG.append(("-", *values))
    return gives


@task
def same(*values: Any, **named: Any) -> Any:
    LOG.append(("same", values, tuple(named.items())))
    return values


@task
def both(value: Any) -> Any:
    return same(note("inner", gives=value), value)


def maybe(condition: Any, *values: Any, by: Any = note) -> Any:
    """A call that, if it is skipped, passes the value of another one on."""
    return by(note(*values, gives=("passed", *values)), *values, gives=values).run_if(condition)


def chooser(choice: Any, **routes: Any) -> Router:
    return Router(note("choose", gives=choice), routes)


#: Expressions of one step, by what they show; each is made anew for every step.
SHAPES: dict[str, Callable[[int], Any]] = {
    "true": lambda n: note(n, gives=n).run_if(note("?", gives=True)),
    "false": lambda n: maybe(note("?", gives=False), n),
    "every other": lambda n: maybe(note("?", gives=n % 2), n),
    "constant": lambda n: maybe(n % 3, n),
    "a skipped call without inputs": lambda n: note(n, gives=n).run_if(n > 2),
    "passes its input on": lambda n: note(note("in", gives=n), gives="no").run_if(False),
    "passes on from far": lambda n: note(note(note("in", gives=n)).run_if(False)).run_if(note("?")),
    "condition of a condition": lambda n: maybe(maybe(n % 2, "?"), n),
    "after": lambda n: note(n, gives=n).after(note("before"), note("before too")),
    "after a skipped one": lambda n: maybe(True, n).after(note("before").run_if(n % 2)),
    "two that wait for one": lambda n: [(a := note("a", gives=n)), note("b").after(a), note("c").after(a)],
    "router": lambda n: chooser("xyz"[n % 3], x=note("x", gives=n), y=both(n), z="plain"),
    "no key": lambda n: chooser([] if n == 2 else "x", x=note("x", gives=n)),
    "no route": lambda n: chooser("x" if n else "none", x=note("x", gives=n)),
    "the same route twice": lambda n: (lambda one: chooser("xy"[n % 2], x=one, y=one))(note("one", gives=n)),
    "shared router": lambda n: (lambda one: [one, {"k": one}, (one,)])(chooser("x", x=[note("x", gives=n)], y=1)),
    "routers in routers": lambda n: chooser(
        "xy"[n % 2], x=chooser("p", p=note("p", gives=n), q=note("q")), y=chooser("q", p=note("p"), q=both(n))
    ),
    "routes of many levels": lambda n: chooser(
        "xy"[n % 2], x=note(note(note("deep"), gives=1), gives=2), y=note(later("late", gives=3), gives=4)
    ),
    "a route that is skipped": lambda n: note(note("in"), chooser("x", x=maybe(n % 2, "x"), y=0)),
    "a selector that is skipped": lambda n: Router(
        note(note("in", gives="x"), gives="y").run_if(n % 2), {"x": note("x", gives=n), "y": 0}
    ),
    "a skipped call passes a route on": lambda n: note(chooser("x", x=note("x", gives=n), y=0)).run_if(False),
    "a skipped call passes a plain route on": lambda n: note(chooser("y", x=note("x"), y=n)).run_if(False),
    "chosen before it is needed": lambda n: (
        lambda early: [early, Router(note(early, gives="x"), {"x": note(Router(early, {1: note(n), 2: 3})), "y": 0})]
    )(note("early", gives=1 + n % 2)),
    "what two routes need": lambda n: (lambda one: chooser("xy"[n % 2], x=note(one, gives=1), y=note(one, gives=2)))(
        note("shared", gives=n)
    ),
    "needed in any case, and a route": lambda n: (lambda one: [one, chooser("x", x=one, y=note("y"))])(note("one")),
    "together": lambda n: [later(1), maybe(n % 2, 2, by=later), later(3).after(note("before")), later(4)],
    "all together skipped": lambda n: [maybe(False, 1, by=later), maybe(False, 2, by=later), n],
    "one of two awaited": lambda n: [maybe(n % 2, 1, by=later), maybe(not n % 2, 2, by=later)],
    "awaited routes": lambda n: chooser("xy"[n % 2], x=later("x", gives=n), y=later("y", gives=n)),
    "map": lambda n: both.map(value=[n, n + 1]),
    "map of nothing": lambda n: both.map(value=[]),
    "maps together": lambda n: [both.map(value=(n,)), note.map(gives=range(3)), later.map(gives=[1, n])],
    "map of maps": lambda n: mapped.map(values=[[n], [1, 2], []]),
    "map of coroutines": lambda n: later.map(gives=[n, 2, 3]),
    "map of calls": lambda n: note.map(gives=[note("in", gives=n), 2, [note("in too")]]),
    "map of what another map gives": lambda n: note.map(gives=note.map(gives=[n, 2])),
    "map of odd lengths": lambda n: both.map(value=[1, 2], other=[1]) if n == 1 else both.map(value=[1]),
    "map that is skipped": lambda n: both.map(value=note(n, gives=[n])).run_if(n % 2),
    "map with retries": lambda n: flaky.map(value=[n, 1]).with_retry(2),
    "map by a function": lambda n: note(plain_map(n)),
    "marker": lambda n: [inject("unit"), note("x", gives=n)],
    "retry": lambda n: flaky(value=n).with_retry(1).run_if(note("?", gives=1)),
    "fails": lambda n: note(n) if n else failing().after(note("before")),
    "an item fails": lambda n: failing.map(value=[0, 1]) if n == 1 else note(n),
}


@task
def mapped(values: Any) -> Any:
    return same(both.map(value=values), len(values))


@task
def flaky(value: Any) -> Any:
    LOG.append(("flaky", value))
    if LOG.count(("flaky", value)) % 2:
        raise ValueError(value)
    return value


@task
def failing(value: Any = 0) -> Any:
    LOG.append("failing")
    raise LookupError(value)


def plain_map(n: int) -> Any:
    from cascade.spec.lazy_types import MappedLazyResult

    return MappedLazyResult(lambda gives: note("made", gives=gives), {"gives": [n, 5]})


@resource
def unit() -> Any:
    LOG.append("set up")
    yield 1
    LOG.append("torn down")


@task
def steps(n: int, shape: str, _: Any = None) -> Any:
    LOG.append(("step", n, _))
    return steps(n - 1, shape, SHAPES[shape](n - 1)) if n else same(n, _)


def outcome(shape: str, **options: Any) -> tuple[Any, ...]:
    """What five steps of a shape give, do and count."""
    LOG.clear()
    engine = make_engine(resources=[unit], **options)
    try:
        value: Any = run(steps(5, shape), engine)
    except Exception as error:
        value = type(error), str(error).partition("(")[0], getattr(error, "__notes__", None)
    stats, log = engine.stats, [repr(one) for one in LOG]
    log = sorted(log) if any(one.startswith("('+'") for one in log) else log  # what runs together has no order
    return value, log, stats.hot + stats.warm + stats.cold, stats.nodes


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_what_they_are_in_full_processing(shape: str) -> None:
    """Value or error, order of calls, and the numbers of steps and nodes do not depend on the tier."""
    expected = outcome(shape, hot=False)
    for patient in (True, False):
        with mock.patch.object(Run, "_deadline", return_value=1e18 if patient else 0.0):
            found = outcome(shape)

        assert found == expected


#: What full processing has to say: nobody else knows the error.
UNCLEAR = ("no key", "no route", "a route that is skipped", "a skipped call without inputs", "after a skipped one")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in UNCLEAR])
def test_known_steps_run_hot(shape: str) -> None:
    """No step is warm: each is hot, or the first of its template."""
    engine = make_engine(resources=[unit])
    for _ in range(2):
        LOG.clear()
        with suppress(LookupError, ValueError):
            run(steps(5, shape), engine)

    assert engine.stats.warm == 0
    assert engine.stats.cold < engine.stats.hot


def test_a_step_that_its_conditions_end_is_an_error_that_says_so() -> None:
    """A target that is skipped has no value; the error is that of full processing, also when it comes hot."""

    @task
    def down(n: int) -> Any:
        return down(n - 1).run_if(note("?", gives=n > 2))

    for _ in range(2):
        with pytest.raises(DependencyMissingError, match="ConditionFalse"):
            run(down(5))


def test_a_target_that_is_skipped_with_what_it_comes_after_is_none() -> None:
    """After a skipped predecessor the target's value is None, and the loop ends."""

    @task
    def down(n: int) -> Any:
        return down(n - 1).after(note("x").run_if(n > 2)) if n else "end"

    engine = make_engine()

    assert run(down(6), engine) is None
    assert (engine.stats.hot, engine.stats.warm) == (4, 0)


class Odd:
    """A value whose truth, hash or equality fails."""

    def __bool__(self) -> bool:
        raise ArithmeticError("no truth")

    def __hash__(self) -> int:
        raise ArithmeticError("no hash")


@pytest.mark.parametrize("shape", [lambda odd: note(1).run_if(odd), lambda odd: Router(odd, {1: note(1), 2: 2})])
def test_what_a_value_does_when_it_is_asked_is_an_error_of_the_run(shape: Any) -> None:
    """The value's own exception comes out, is not retried, and nothing else runs."""

    @task
    def down(n: int, _: Any = None) -> Any:
        value = 1 if n > 2 else Odd()
        return down(n - 1, shape(note("asked", gives=value)))

    LOG.clear()
    with pytest.raises(ArithmeticError, match="no"):
        run(down(5))
    assert LOG.count(("asked",)) == 4


def limited(name: str) -> Any:
    return GlobalConstraint(name, f"task:{name}", "concurrency", {"limit": 1})


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(lambda: note("b").run_if(note("?", gives=True)), id="condition"),
        pytest.param(lambda: maybe(note("?", gives=False), "b"), id="false condition"),
        pytest.param(lambda: chooser("x", x=note("x"), y=note("y")), id="router"),
        pytest.param(lambda: [note("b").after(later("c")), note("d").after(later("e"))], id="after"),
        pytest.param(lambda: both.map(value=[1, 2]), id="map"),
    ],
)
@pytest.mark.parametrize("at", range(5))
def test_a_half_run_program_is_handed_over(rest: Any, at: int) -> None:
    """A constraint that comes in the middle of a step acts at once; what has run does not run again."""
    engine = make_engine()
    found = []

    @task
    def first(gives: Any) -> Any:
        LOG.append("first")
        for name in limits:
            engine.constraint_manager.update_constraint(limited(name))
        return gives

    @task
    def second(value: Any) -> Any:
        LOG.append("second")
        return value

    @task
    def start() -> Any:
        parts = [second(first(1)), rest(), second(2), rest()]
        return same(*parts[at:], *parts[:at])

    limits: list[str] = []
    for then in ([], [], ["note", "later", "both", "same", "second"]):
        limits[:] = then
        LOG.clear()
        with mock.patch.object(Run, "_deadline", return_value=0.0):
            value = run(start(), engine)
        found.append((value, sorted(map(repr, LOG))))

    assert found[0] == found[1] == found[2]


def test_a_map_whose_program_may_not_go_on_ends_all_its_items() -> None:
    """What comes while items are evaluated acts on those to come: none runs twice, none is left out."""
    engine = make_engine()

    @task
    def item(x: int) -> Any:
        LOG.append(x)
        if x == 3:
            engine.constraint_manager.update_constraint(limited("item"))
        return both(x)

    @task
    def loop(n: int, _: Any = None) -> Any:
        return loop(n - 1, item.map(x=[n, 1, 2])) if n else _

    LOG.clear()
    with mock.patch.object(Run, "_deadline", return_value=0.0):
        assert run(loop(5), engine) == [(1, 1), (1, 1), (2, 2)]
    assert [one for one in LOG if isinstance(one, int)] == [5, 1, 2, 4, 1, 2, 3, 1, 2, 2, 1, 2, 1, 1, 2]


@pytest.mark.parametrize("hot", [True, False])
def test_a_lone_awaited_route_runs_in_the_context_of_the_run(hot: bool) -> None:
    """Of several routes that await only the chosen one will ever run: it is alone, and what it sets can be seen."""
    seen: ContextVar[int] = ContextVar("seen", default=0)

    @task
    async def sets(value: int) -> int:
        await asyncio.sleep(0)
        seen.set(value)
        return value

    @task
    def loop(n: int, _: Any = None) -> Any:
        LOG.append(seen.get())
        return loop(n - 1, chooser("xy"[n % 2], x=sets(n), y=sets(-n))) if n else None

    LOG.clear()
    run(loop(4), hot=hot)
    assert [one for one in LOG if one != ("choose",)] == [0, 4, -3, 2, -1]


def test_conditions_may_have_conditions_to_any_depth() -> None:
    """A hundred thousand calls, each the condition of the next, are judged without recursion."""
    chain: Any = note(gives=1)
    for _ in range(100_000):
        chain = note(gives=1).run_if(chain)
    engine = make_engine()

    assert run(chain, engine) == 1
    assert (engine.stats.nodes, engine.stats.warm) == (100_001, 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_outlives_its_step(shape: str) -> None:
    """What a step was given and made is gone when the run has ended, also after an error."""

    class Given:
        pass

    alive: list[Any] = []

    @task
    def holding(n: int, given: Any, _: Any = None) -> Any:
        made = Given()
        alive.append(weakref.ref(made))
        return holding(n - 1, made, [SHAPES[shape](n - 1), made]) if n else None

    for _ in range(2):
        LOG.clear()
        try:
            run(holding(3, None), make_engine(resources=[unit]))
        except Exception:
            LOG.append("failed")
        LOG.clear()
        gc.collect()

        assert [one for one in alive if one() is not None] == []


@pytest.mark.parametrize("shape", ["router", "map", "every other", "after", "together", "marker", "map of maps"])
def test_reference_counts_are_those_of_before(shape: str) -> None:
    """Hundreds of hot steps leave no reference to what they were given and to what all of them share."""
    given = object()

    @task
    def holding(n: int, given: Any, _: Any = None) -> Any:
        return holding(n - 1, given, [SHAPES[shape](n - 1), given]) if n else None

    engine = make_engine(resources=[unit])
    counts = []
    for n in (3, 3, 300):
        run(holding(n, given), engine)
        LOG.clear()
        gc.collect()
        counts.append((sys.getrefcount(given), sys.getrefcount(note), sys.getrefcount(None) // 1000))

    assert counts[0][:2] == counts[2][:2]
