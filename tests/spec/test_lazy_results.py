"""Lazy results: policies, identity, comparison, text and pickles, at any depth."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import cascade as cs
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.lazy_types import LazyResult, MappedLazyResult, RetryPolicy
from cascade.spec.routing import Router
from tests.engines import make_engine, run

DEEP = 20_000


@cs.task
def add(a: Any = 0, b: Any = 0) -> Any:
    return a + b


def deep() -> Any:
    lazy: Any = add(0)
    for n in range(DEEP):
        lazy = add(lazy, n)
    return lazy


def either() -> list[Any]:
    return [add(1), add.map(a=[1])]


both = pytest.mark.parametrize("kind", [0, 1], ids=["call", "map"])


def test_fields_are_those_of_a_dataclass() -> None:
    """dataclasses.fields() lists what a lazy result is made of, in the order of its constructor."""
    policies = {"_retry_policy", "_cache_policy", "_condition", "_constraints", "_dependencies", "_uuid"}
    names = [f.name for f in dataclasses.fields(LazyResult)]
    mapped = [f.name for f in dataclasses.fields(MappedLazyResult)]

    assert names[:3] == ["task", "args", "kwargs"]
    assert mapped[:2] == ["factory", "mapping_kwargs"]
    assert set(names[3:]) == policies | {"_jump_selector"}
    assert set(mapped[2:]) == policies


@both
def test_a_fresh_one_has_no_policies(kind: int) -> None:
    """Every policy is None until it is set, and there are no predecessors."""
    lazy = either()[kind]

    assert lazy._retry_policy is lazy._cache_policy is lazy._condition is lazy._constraints is None
    assert lazy._dependencies == []
    assert getattr(lazy, "_jump_selector", None) is None


@both
def test_each_has_an_identity_of_its_own(kind: int) -> None:
    """The identity is text in the form of a UUID, stays, and makes the hash."""
    lazies = [either()[kind] for _ in range(100)]

    assert len({lazy._uuid for lazy in lazies}) == 100
    assert [len(part) for part in lazies[0]._uuid.split("-")] == [8, 4, 4, 4, 12]
    assert lazies[0]._uuid == lazies[0]._uuid
    assert hash(lazies[0]) == hash(lazies[0]._uuid)
    assert {lazies[0]: "found"}[lazies[0]] == "found"


@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "after(*preds)")
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "with_constraints(amounts)")
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "with_cache(policy)")
@pytest.mark.row(
    "01-tasks-and-graph",
    "LazyResult / MappedLazyResult",
    "with_retry(max_attempts=3, delay=0.0, backoff=1.0)",
)
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "run_if(cond)")
@both
def test_each_method_sets_its_policy_and_returns_the_same_object(kind: int) -> None:
    """The methods change the lazy result in place, so that they can be chained."""
    lazy, source, policy, first = either()[kind], add(2), object(), add(3)
    chained = lazy.run_if(source).with_retry(2, 0.5, 3.0).with_cache(policy).with_constraints(cpu=2).after(first)

    assert chained is lazy
    assert lazy._condition is source
    assert lazy._retry_policy == RetryPolicy(2, 0.5, 3.0)
    assert lazy._cache_policy is policy
    assert lazy._constraints == ResourceConstraint({"cpu": 2})
    assert lazy._dependencies == [first]


@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "after(*preds)")
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "with_constraints(amounts)")
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "with_cache(policy)")
@pytest.mark.row(
    "01-tasks-and-graph",
    "LazyResult / MappedLazyResult",
    "with_retry(max_attempts=3, delay=0.0, backoff=1.0)",
)
@pytest.mark.row("01-tasks-and-graph", "LazyResult / MappedLazyResult", "run_if(cond)")
@both
def test_the_last_call_wins(kind: int) -> None:
    """A second call replaces what the first has set, amounts of other resources too; predecessors add up."""
    lazy, one, other = either()[kind], add(1), add(2)
    lazy.run_if(one).with_retry(9).with_cache(1).with_constraints(cpu=1, gpu=1).after(one)
    lazy.run_if(other).with_retry().with_cache(2).with_constraints(cpu=3).after(other, one)

    assert lazy._condition is other
    assert lazy._retry_policy == RetryPolicy(max_attempts=3, delay=0.0, backoff=1.0)
    assert lazy._cache_policy == 2
    assert lazy._constraints.requirements == {"cpu": 3}
    assert [id(p) for p in lazy._dependencies] == [id(one), id(other), id(one)]


@both
def test_a_predecessor_must_be_a_lazy_result(kind: int) -> None:
    """after() refuses what cannot run, and keeps nothing of that call."""
    lazy = either()[kind]

    with pytest.raises(TypeError, match="not int"):
        lazy.after(add(1), 3)
    assert lazy._dependencies == []


def test_equality_is_that_of_the_fields() -> None:
    """Lazy results are equal if identity and every field are."""
    lazy: Any = add(1, b=[add(2)])
    twin: Any = LazyResult(lazy.task, lazy.args, lazy.kwargs, lazy._uuid)

    assert lazy == twin
    assert hash(lazy) == hash(twin)
    assert twin.with_retry(1) != lazy
    assert lazy != LazyResult(lazy.task, lazy.args, lazy.kwargs)
    assert lazy != LazyResult(lazy.task, (2,), lazy.kwargs, lazy._uuid)
    assert lazy != 1
    assert add.map(a=[]) != lazy


def test_text_shows_the_call_and_is_bounded() -> None:
    """repr() is the call, with deep levels and long values shortened."""
    wide = repr(add(list(range(10_000)), "x" * 10_000))

    assert repr(add(1, b=add(2))) == "<LazyResult add(1, b=add(2))>"
    assert repr(add.map(a=[1])) == "<MappedLazyResult add.map(a=[1])>"
    assert "add(...)" in repr(deep())
    assert len(repr(deep())) < 200
    assert len(wide) < 300


def test_a_pickle_brings_back_the_expression() -> None:
    """Identity, policies, containers, Routers and sharing survive a round trip."""
    shared: Any = add(1)
    lazy: Any = add([shared, (shared,)], b=Router(add(2), {"x": add(3), "y": 4}))
    lazy.run_if(shared).with_retry(2).with_constraints(cpu=add(5)).after(add.map(a=[6]))
    back = pickle.loads(pickle.dumps(lazy))

    assert back._uuid == lazy._uuid
    assert back.task is add
    assert back.args[0][0] is back.args[0][1][0] is back._condition
    assert back.args == lazy.args
    assert (back._retry_policy, back._constraints) == (lazy._retry_policy, lazy._constraints)
    assert back._dependencies == lazy._dependencies
    assert back.kwargs["b"].selector == lazy.kwargs["b"].selector
    assert back.kwargs["b"].routes == lazy.kwargs["b"].routes
    assert back == lazy


def test_depth_costs_no_stack() -> None:
    """Comparing and pickling go as deep as the expression does."""
    lazy = deep()
    back = pickle.loads(pickle.dumps(lazy))

    assert back == lazy
    assert back is not lazy
    back.args[0].args[0].with_retry(1)
    assert back != lazy


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: add(Router(t, {1: 1})),
        lambda t: add(Router(1, {1: t})),
        lambda t: add().with_constraints(cpu=t),
        lambda t: add([Router(t, {1: [t]})]),
    ],
    ids=["selector", "route", "amount", "nested"],
)
def test_deep_expressions_are_compared_through_routers_and_amounts(wrap: Any) -> None:
    """Depth is no limit, whichever way an expression is deep."""
    target = add()
    for _ in range(2_000):
        target = wrap(target)
    copy = pickle.loads(pickle.dumps(target))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        assert copy == target
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "arguments, kind, text",
    [
        (("2",), TypeError, "max_attempts must be a whole number, not '2'"),
        ((1.5,), TypeError, "max_attempts must be a whole number, not 1.5"),
        ((None,), TypeError, "max_attempts must be a whole number, not None"),
        ((2, None), TypeError, "delay must be a number, not None"),
        ((2, "1"), TypeError, "delay must be a number, not '1'"),
        ((2, float("nan")), ValueError, "delay must be finite, not nan"),
        ((2, float("inf")), ValueError, "delay must be finite, not inf"),
        ((2, 0, float("-inf")), ValueError, "backoff must be finite, not -inf"),
        ((2, 0.0, []), TypeError, r"backoff must be a number, not \[\]"),
    ],
)
def test_retries_are_numbers(arguments: Any, kind: type[Exception], text: str) -> None:
    """Told where the policy is written: at the first failure it would take the place of the task's own error."""
    with pytest.raises(kind, match=rf"with_retry\(\) of <LazyResult add\(1\)>: {text}"):
        add(1).with_retry(*arguments)
    with pytest.raises(kind, match=text):
        add.map(a=[1]).with_retry(*arguments)


@pytest.mark.parametrize(
    "arguments", [(), (0,), (-1,), (True,), (np.int64(2), np.float32(0.5), Fraction(3, 2)), (2, -1)]
)
def test_numbers_of_any_kind_are_retries(arguments: Any) -> None:
    """What counts and what is finite will do."""
    assert add(1).with_retry(*arguments)._retry_policy == RetryPolicy(*(arguments or (3,)))


@pytest.mark.parametrize("hot", [True, False])
def test_an_amount_may_be_a_router(hot: bool) -> None:
    """Its choice is the amount."""
    needs = Router(add("b", ""), {"a": add(1), "b": add(3)})
    engine = make_engine(hot=hot, system_resources={"cpu": 2})

    with pytest.raises(ValueError, match=r"'cpu' \(3\) exceeds"):
        run(add(1).with_constraints(cpu=needs), engine)
    assert run(add(1).with_constraints(cpu=Router(add("a", ""), needs.routes)), engine) == 1
