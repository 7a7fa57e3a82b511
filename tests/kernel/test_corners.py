"""What the kernel does where few programs ever come, told by its answers."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import gc
import pickle
import struct
from array import array
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.graph._problems import UncalledTaskError
from tests.engines import make_engine, run
from tests.kernel.test_hostile import Suspended, hot_frame, planned, value_of, waiting

compiled = pytest.mark.skipif(
    _kernel.kernel_name != "compiled", reason="the Python kernel has no C arrays: it leaves this to Python"
)


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def many(*values: Any, **named: Any) -> Any:
    return values, named


@cs.task(pure=True)
def pure(*values: Any, **named: Any) -> Any:
    return values, named


def traced(lazy: Any) -> Any:
    return _kernel.trace(lazy)


# ------------------------------------------------------------------------------------------------ the C structures


@compiled
def test_the_garbage_collector_sees_what_a_frame_holds() -> None:
    """Arguments, results, policies, calls, leaves, programs and values that were handed in are found by their frame."""
    argument, leaf, value, policy = [1], object(), [2], _kernel.RetryPolicy(1)

    @cs.task
    def mine(*values: Any) -> Any:
        return [1]

    lazy: Any = many(mine(argument), [mine(leaf)], waiting(value)).with_retry()
    lazy._retry_policy = None
    target: Any = same(lazy)
    target._retry_policy = policy
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(target)

    assert frame in gc.get_referrers(lazy)
    assert frame in gc.get_referrers(policy)
    program = planned(frame)
    signal = _kernel.run(frame, 1e300)
    assert signal == _kernel.AWAIT
    callee = next(one for one in gc.get_referents(frame) if type(one).__name__ == "Callee")
    assert frame in gc.get_referrers(callee)
    assert frame in gc.get_referrers(program)
    result = next(one for one in gc.get_referents(frame) if one == [1])
    assert frame in gc.get_referrers(result)
    handed_in = object()
    frame.resume(handed_in)
    assert frame in gc.get_referrers(handed_in)
    frame.close()


@compiled
def test_leaves_of_containers_are_seen_by_the_garbage_collector() -> None:
    """A leaf beside a call in a list is the frame's own."""
    leaf = object()
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same([same(1), leaf]))

    assert frame in gc.get_referrers(leaf)
    frame.close()


def test_values_of_the_kernel_are_compared_shown_copied_and_pickled() -> None:
    """Markers, policies and Routers are values; what is no value of their type is not equal to them."""
    marker, policy, router = cs.inject("db"), _kernel.RetryPolicy(2, 0.5), cs.Router("a", {"a": 1})

    assert repr(marker) == "Inject(resource_name='db')"
    assert pickle.loads(pickle.dumps(marker)).resource_name == "db"
    assert policy == _kernel.RetryPolicy(2, 0.5, 1.0) == copy.copy(policy)
    assert policy != _kernel.RetryPolicy(2)
    assert policy != 2
    assert repr(policy) == "RetryPolicy(max_attempts=2, delay=0.5, backoff=1.0)"
    assert router == cs.Router("a", {"a": 1}) == pickle.loads(pickle.dumps(router))
    assert router != "a"
    assert repr(router) == "Router(selector='a', routes={'a': 1})"
    lazy = same(1)
    assert lazy == lazy
    assert lazy != 1
    assert lazy != same.map(value=[1])
    assert dataclasses.fields(policy)[1].default == 0.0
    assert dataclasses.fields(lazy)[3].default_factory() != lazy._uuid


@compiled
def test_classes_of_the_kernel_may_be_given_types() -> None:
    """``LazyResult[int]`` is what type checkers know it as."""
    for generic in (_kernel.Task[int], _kernel.LazyResult[int], _kernel.MappedLazyResult[int]):
        assert generic.__args__ == (int,)


@compiled
def test_attributes_of_lazy_results_can_be_set() -> None:
    """Whatever a lazy result has can be replaced, and the next trace takes what is there then."""
    call: Any = same(1)
    call.task, call.args, call.kwargs = many, [1, 2], [("k", 3)]
    call._uuid, call._cache_policy, call._jump_selector = "mine", None, None

    assert (call._uuid, call._cache_policy, call._jump_selector) == ("mine", None, None)
    assert run(call) == ((1, 2), {"k": 3})
    mapped: Any = same.map(value=[1])
    mapped.factory, mapped.mapping_kwargs = many, [("k", [5, 6])]
    assert run(mapped) == [((), {"k": 5}), ((), {"k": 6})]
    made = _kernel.LazyResult(same, (1,), {}, _jump_selector="jump")
    assert (made._jump_selector, traced(made).operations[-1].flags & 64) == ("jump", 64)
    with pytest.raises(TypeError, match="lazy results"):
        same(1).after(5)


def test_tasks_can_be_made_and_changed() -> None:
    """A task needs a function and a known mode; it tells its signature if there is one."""
    with pytest.raises(TypeError, match="needs a function"):
        _kernel.Task(5)
    with pytest.raises(ValueError, match="mode"):
        _kernel.Task(len, mode="sideways")
    task = _kernel.Task(lambda a, b=1: a)
    assert str(task._signature) == "(a, b=1)"
    assert _kernel.Task(dict.fromkeys.__call__)._signature is not None
    assert _kernel.Task(type)._signature is None
    assert not task.is_async
    task.is_async = True
    assert task.is_async
    lazy = _kernel.Task.__call__(task, 1, b=2)
    assert (lazy.args, lazy.kwargs) == ((1,), {"b": 2})


@compiled
def test_a_call_that_was_never_made_has_no_values() -> None:
    """``__new__`` alone gives a call of nothing with nothing."""
    lazy: Any = _kernel.LazyResult.__new__(_kernel.LazyResult)

    assert _kernel.call_of(lazy) == (None, (), ())


def test_a_cache_of_programs_reads_as_a_dict() -> None:
    """Keys, values, items and equality are those of a dict."""
    cache = _kernel.ProgramCache()
    frame = hot_frame(same(1))
    program = frame.program
    frame.close()

    assert cache == {}
    program.watch = []
    cache.add(program)
    assert list(cache) == cache.keys() == [program.key]
    assert cache.items() == [(program.key, program)]
    assert cache.values() == [program]
    assert cache == {program.key: program}
    assert (len(cache), program.key in cache, cache[program.key], cache.get(b"")) == (1, True, program, None)
    cache.clear()
    assert cache == {}


# --------------------------------------------------------------------------------------------------------- equality


def nan() -> Any:
    return struct.unpack("d", struct.pack("Q", 0x7FF8000000000001))[0]


def odd(call: Any) -> Any:
    """Give a call a retry policy whose number is no number."""
    call._retry_policy = _kernel.RetryPolicy([2])
    return call


def merged(*calls: Any) -> int:
    """How many of the calls are one with an earlier one."""
    return sum(operation.equal >= 0 for operation in traced(many(*calls)).operations)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (lambda: pure(float("1.5")), lambda: pure(float("1.5")), True),
        (lambda: pure(float("0.0")), lambda: pure(float("-0.0")), False),
        (lambda: pure(nan()), lambda: pure(nan()), True),
        (lambda: pure(1), lambda: pure(True), False),
        (lambda: pure("a", b"b", None), lambda: pure("a", b"b", None), True),
        (lambda: pure(a=1, b=2), lambda: pure(a=1, b=2), True),
        (lambda: pure(a=1), lambda: pure(b=1), False),
        (lambda: pure(1).with_retry(2), lambda: pure(1).with_retry(2), True),
        (lambda: pure(1).with_retry(2), lambda: pure(1).with_retry(3), False),
        (lambda: pure(1).with_retry(2, 0.1), lambda: pure(1).with_retry(2, 0.2), False),
        (lambda: pure(1).with_retry(2, 0.1, 2.0), lambda: pure(1).with_retry(2, 0.1, 3.0), False),
        (lambda: pure(1).with_retry(2), lambda: pure(1), False),
        (lambda: pure(1), lambda: pure.map(value=[1]), False),
        (lambda: pure(1), lambda: pure(1).run_if(True), False),
    ],
)
def test_equal_calls_of_a_pure_task(one: Any, other: Any, equal: bool) -> None:
    """Equal are calls of one pure task with values of one type and value, the same names and the same policies."""
    assert merged(one(), other()) == equal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: pure([1]), lambda: pure([1])),
        (lambda: pure(a=1, b=2), lambda: pure(b=2, a=1)),
        (lambda: pure(1).run_if(True), lambda: pure(1).run_if(True)),
        (lambda: odd(pure(1)), lambda: odd(pure(1))),
    ],
)
def test_calls_that_would_have_to_be_looked_into(one: Any, other: Any) -> None:
    """Where a glance does not tell, the expression has no key."""
    assert traced(many(one(), other())).unkeyed
    assert not traced(many(one())).unkeyed


def test_retry_policies_of_others_are_not_compared() -> None:
    """A policy that is no RetryPolicy may have any meaning."""
    calls: list[Any] = [pure(1), pure(1)]
    for one in calls:
        one._retry_policy = {"max_attempts": 1}

    assert traced(many(*calls)).unkeyed


def test_many_calls_of_a_pure_task_are_not_compared() -> None:
    """Beyond 64 different calls the expression has no key."""
    assert not traced(many(*[pure(n) for n in range(64)])).unkeyed
    assert traced(many(*[pure(n) for n in range(66)])).unkeyed


# -------------------------------------------------------------------------------------------------------- containers


def test_empty_containers_beside_calls() -> None:
    """Containers without items are given as they are."""
    empty: list[Any] = []

    assert run(many([same(1), [], (), {}, empty]), make_engine()) == (([1, [], (), {}, empty],), {})


@compiled
def test_empty_containers_of_a_kind() -> None:
    """An empty Router route and empty subclasses are read back."""

    class Items(list[Any]):
        pass

    box = Items([same(1), Items(), cs.Router(same("a"), {})])
    codes = traced(same(box)).operations[-1].codes

    assert codes[-1][0] == _kernel.KIND


def test_an_uncalled_task_by_name_after_the_keywords_were_read() -> None:
    """The error names the argument, wherever its name is kept."""
    for read in (False, True):
        lazy = many(1, key=same)
        if read:
            assert lazy.kwargs["key"] is same
        with pytest.raises(UncalledTaskError, match="key"):
            traced(lazy)


def test_what_a_task_returned_is_continued_or_final() -> None:
    """Routers and containers of calls are gathered; a task that was not called is an error."""
    router = cs.Router(same("a"), {"a": same(1)})

    assert _kernel.continuation(router, "task").args == (router,)
    assert _kernel.continuation([same(1)], "task").args[0]
    assert _kernel.continuation([1], "task") is None
    with pytest.raises(UncalledTaskError):
        _kernel.continuation(same, "task")
    with pytest.raises(UncalledTaskError):
        run(same(_uncalled()))


@cs.task
def _uncalled() -> Any:
    return same


@pytest.mark.parametrize("hot", [True, False])
def test_routers_are_returned_by_inner_and_by_last_calls(hot: bool) -> None:
    """A returned Router is continued wherever it comes from."""

    @cs.task
    def route(n: int) -> Any:
        return cs.Router(same(n), {1: same("one"), 2: [same("two")]})

    engine = make_engine(hot=hot)
    for _ in range(3):
        assert run(route(1), engine) == "one"
        assert run(many(route(1), route(2)), engine) == (("one", ["two"]), {})


# ------------------------------------------------------------------------------------------------------ frames, loops


@compiled
def test_a_frame_says_what_it_is_asked_wrongly() -> None:
    """Wrong operations, values and expressions are errors of their own."""
    frame = hot_frame(same(1))
    with pytest.raises(IndexError):
        frame.arguments(7)
    with pytest.raises(RuntimeError, match="already"):
        frame.begin(same(1))
    with pytest.raises(RuntimeError, match="evaluating"):
        _kernel.run_items(frame, same, ("value",), [[1]], None, [], 1e300)
    frame.close()
    new = _kernel.Frame(_kernel.ProgramCache(), {})
    with pytest.raises(TypeError, match="lazy results"):
        new.begin(5)
    with pytest.raises(RuntimeError, match="waits"):
        _kernel.compile_program(new, array("i", [0]), array("i"))
    other = hot_frame(many(5)).program
    new.begin(same(5))
    with pytest.raises(ValueError, match="another expression"):
        new.enter(other)
    group = hot_frame(many(waiting(1), waiting(2)))
    assert _kernel.run(group, 1e300) == _kernel.GROUP
    with pytest.raises(ValueError, match="3 values for 2"):
        group.settle([1, 2, 3])


@compiled
def test_a_value_for_another_operation_is_refused() -> None:
    """What is handed in when no operation waits for it is an error of the next turn."""
    frame = hot_frame(same(waiting(1)))
    assert _kernel.run(frame, 1e300) == _kernel.AWAIT
    frame.resume(1)
    frame.suspend()

    with pytest.raises(RuntimeError, match="no operation"):
        _kernel.run(frame, 1e300)
    frame.close()


@compiled
def test_arguments_of_calls_that_are_put_together() -> None:
    """Arguments, keywords and resources of an operation are given as they would be passed, or the error of it."""

    @cs.task
    def needs(value: Any, k: Any = None, one: Any = cs.inject("one")) -> Any:
        return value, k, one

    frame = hot_frame(same(needs([same(1), 2], k=3)), one="resource")
    assert _kernel.run(frame, 0.0) == _kernel.YIELD
    assert frame.arguments(1) == ([[1, 2]], {"k": 3, "one": "resource"})
    frame.resources.clear()
    with pytest.raises(RuntimeError, match="has gone"):
        frame.arguments(1)
    frame.close()


@compiled
def test_markers_in_containers_find_their_resources_or_say_that_they_have_gone() -> None:
    """A marker inside of a list is looked up when the call is made."""
    frame = hot_frame(same(many([cs.inject("one"), same(1)])), one="resource")
    assert _kernel.run(frame, 0.0) == _kernel.YIELD
    assert frame.arguments(1) == ([["resource", 1]], {})
    frame.resources.clear()
    with pytest.raises(RuntimeError, match="'one' has gone"):
        frame.arguments(1)
    frame.close()


@compiled
def test_resources_that_are_passed_are_not_injected() -> None:
    """What a call passes by position or by name wins, and its program runs hot without the resource."""

    @cs.task
    def needs(value: Any, one: Any = cs.inject("one")) -> Any:
        return value, one

    frame = hot_frame(many(needs(1, "by position"), needs(2, one="by name")))

    assert value_of(frame) == (((1, "by position"), (2, "by name")), {})


@compiled
def test_arguments_that_have_no_value_yet_are_refused() -> None:
    """An input that has not run, and a Router that has not chosen, are errors that say so."""
    frame = hot_frame(many(same(cs.Router(same("a"), {"a": same(1), "b": 2})), same(2)))
    with pytest.raises(RuntimeError, match="operation 2 needs the result of operation 0, which has not run"):
        frame.arguments(2)
    assert _kernel.run(frame, 0.0) == _kernel.YIELD
    with pytest.raises(RuntimeError, match="a Router among the arguments of 'same' has not chosen"):
        frame.arguments(2)
    with pytest.raises(RuntimeError, match="has not chosen"):
        _kernel.hot._execute_hot_node(frame, 2)

    assert value_of(frame) == ((1, 2), {})


@compiled
def test_keys_of_dicts_that_cannot_be_hashed_any_more() -> None:
    """A dict of calls that cannot be made anew fails with the key's own error."""

    class Key:
        fails = False

        def __hash__(self) -> int:
            if Key.fails:
                raise ValueError("no hash")
            return 1

    frame = hot_frame(same({Key(): same(1), "b": same(2)}))
    Key.fails = True
    assert _kernel.run(frame, 1e300) == _kernel.FAILED
    assert str(frame.error) == "no hash"
    frame.close()


@compiled
def test_a_replaced_node_function_fails_like_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is the operation's, its value is the result."""
    frame = hot_frame(same(1))
    monkeypatch.setattr(_kernel.hot, "_execute_hot_node", lambda frame, i: {}["key"])
    assert _kernel.run(frame, 1e300) == _kernel.FAILED
    assert type(frame.error) is KeyError
    frame.again()
    monkeypatch.setattr(_kernel.hot, "_execute_hot_node", lambda frame, i: "replaced")
    assert value_of(frame) == "replaced"


@compiled
def test_coroutines_and_awaitables_are_driven() -> None:
    """A coroutine function's error, a returned awaitable, and a coroutine that a synchronous task returned."""

    @cs.task
    async def fails() -> Any:
        raise KeyError("at once")

    async def inner(value: Any) -> Any:
        return value

    @cs.task
    def hands_over(value: Any) -> Any:
        return inner(value)

    class Coroutine:
        """A task whose function is taken for a coroutine function, but returns another awaitable."""

        async def __call__(self) -> Any:
            return None

    frame = hot_frame(fails())
    assert _kernel.run(frame, 1e300) == _kernel.FAILED
    assert type(frame.error) is KeyError
    assert value_of(hot_frame(same(hands_over([same, 1][1:])))) == [1]
    odd = _kernel.Task(lambda: Suspended(5), "odd")
    odd.is_async = True
    frame = hot_frame(same(odd()))
    assert _kernel.run(frame, 1e300) == _kernel.AWAIT
    assert (type(frame.awaitable), frame.started) == (Suspended, False)
    frame.resume(6)
    assert value_of(frame) == 6


@compiled
def test_a_resource_name_that_runs_a_workflow_when_it_is_compared() -> None:
    """What was traced would be lost: an error says so."""

    class Name(str):
        busy = True

        def __hash__(self) -> int:
            if not Name.busy:
                Name.busy = True
                _kernel.trace(same([same(1)]))
                Name.busy = False
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            return str(self) == str(other)

    name = Name("one")

    @cs.task
    def needs(value: Any, one: Any = cs.inject(name)) -> Any:
        return one

    earlier = hot_frame(same([needs(1)]), one="resource")
    value_of(earlier)
    frame = _kernel.Frame(earlier.cache, {"one": "resource"})
    Name.busy = False
    try:
        with pytest.raises(RuntimeError, match="ran a workflow"):
            frame.begin(same([needs(1)]))
    finally:
        Name.busy = True
    assert frame.depth == 0


@compiled
def test_expressions_that_nearly_have_the_key_of_the_last_program() -> None:
    """Sharing, markers and tasks in the place of values are told apart, however alike expressions are."""
    one = hot_frame(many(same(1), same(2)))
    cache = one.cache
    value_of(one)

    def value(lazy: Any) -> Any:
        frame = _kernel.Frame(cache, {})
        frame.begin(lazy)
        if frame.waiting:
            planned(frame)
        return value_of(frame)

    shared = same(3)
    for _ in range(2):
        assert value(many(shared, shared)) == ((3, 3), {})
        assert value(many(same(1), same(2))) == ((1, 2), {})
        assert value(many(1, same(2))) == ((1, 2), {})
        assert value(many(same(2), 1)) == ((2, 1), {})
        assert value(many(1, 2)) == ((1, 2), {})
        assert value(many([same(1)], 2)) == (([1], 2), {})
    for wrong in (same, cs.inject("a")):
        frame = _kernel.Frame(cache, {})
        try:
            frame.begin(many(1, wrong))
        except UncalledTaskError:
            assert wrong is same
        else:
            assert frame.waiting


def test_modes_are_not_hot() -> None:
    """A task that goes to a thread is processed in full, by every engine."""
    assert run(many(_kernel.Task(abs, "away", mode="blocking")(-1), 2), make_engine(hot=True)) == ((1, 2), {})


@compiled
def test_no_columns_for_some_names() -> None:
    """Each name needs its column."""
    with pytest.raises(ValueError, match="0 columns for 1 names"):
        _kernel.run_items(_kernel.Frame(_kernel.ProgramCache(), {}), same, ("value",), [], None, [], 1e300)
    assert _kernel.holds_calls([[1], [same]])


@compiled
def test_a_loop_goes_from_the_program_of_one_task_to_that_of_another() -> None:
    """Tasks that call each other have a program each, and none is run for the other."""

    @cs.task
    def ping(n: int) -> Any:
        return pong(n - 1, n) if n else "ping"

    @cs.task
    def pong(n: int, before: int) -> Any:
        return ping(n - 1) if n else before

    engine = make_engine()
    for n in (7, 8):
        assert run(ping(n), engine) == ("ping" if n % 2 == 0 else 1)


@compiled
def test_an_expansion_finds_its_own_program() -> None:
    """An inner call that returns the kind of expression that runs around it is given a level of its own."""

    @cs.task
    def add(a: int, b: int) -> int:
        return a + b

    @cs.task
    def fibonacci(n: int) -> Any:
        return add(fibonacci(n - 1), fibonacci(n - 2)) if n > 1 else n

    engine = make_engine()
    assert [run(fibonacci(n), engine) for n in (9, 10, 11)] == [34, 55, 89]


@compiled
def test_plans_that_use_what_is_not_there_are_not_hot() -> None:
    """An operation in the stage of what it needs, or named twice, makes a plan no program."""
    for offsets, indices in (([0, 2], [0, 1]), ([0, 2, 3], [0, 0, 1]), ([0, 1, 2], [0, 0]), ([0, 1, 2], [1, 0])):
        frame = _kernel.Frame(_kernel.ProgramCache(), {})
        frame.begin(same(same(1)))
        assert not _kernel.compile_program(frame, array("i", offsets), array("i", indices)).hot
    assert frame.lazy.task is same
    frame.close()


@compiled
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: same(1).run_if(same(True)), id="condition"),
        pytest.param(lambda: same(1).after(same(2)), id="predecessor"),
    ],
)
@pytest.mark.parametrize(("offsets", "indices"), [([0, 2], [0, 1]), ([0, 1, 2], [1, 0])])
def test_plans_that_decide_too_late_are_not_hot(make: Any, offsets: list[int], indices: list[int]) -> None:
    """What a call waits for, though it does not take its value, must have an earlier stage."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(make())
    assert _kernel.compile_program(frame, *_kernel.layers(frame)).hot

    assert not _kernel.compile_program(frame, array("i", offsets), array("i", indices)).hot
    frame.close()


@compiled
def test_programs_of_another_length_are_refused() -> None:
    """A program for fewer operations than wait is not entered."""
    other = hot_frame(same(1)).program
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same(same(1)))

    with pytest.raises(ValueError, match="another expression"):
        frame.enter(other)
    planned(frame)

    assert value_of(frame) == 1


@compiled
def test_a_map_whose_items_are_being_evaluated_is_not_handed_over() -> None:
    """Between two items the frame refuses to suspend, and goes on as if nobody had asked."""
    frame = hot_frame(many(same.map(value=[1, 2])))
    refused = 0
    while (signal := _kernel.run(frame, 0.0)) != _kernel.DONE:
        if signal == _kernel.STEP:
            planned(frame)
        elif frame.fans and frame.depth == 1:
            with pytest.raises(RuntimeError, match="items of a map"):
                frame.suspend()
            refused += 1

    assert (frame.value, refused > 0) == ((([1, 2],), {}), True)
    frame.close()


@pytest.fixture
def collecting() -> Iterator[None]:
    """The garbage collector is enabled, but has no reason to run."""
    enabled, thresholds = gc.isenabled(), gc.get_threshold()
    gc.set_threshold(0)
    gc.enable()
    yield
    if not enabled:
        gc.disable()
    gc.set_threshold(*thresholds)


def _cycle() -> Any:
    lazy: Any = same(1)
    lazy.args = (many(lazy),)
    return lazy


def _loop() -> Any:
    box: list[Any] = [same(1)]
    box.append(box)
    return many(box)


def _opened() -> Any:
    lazy = many(1, k=same(2))
    assert lazy.kwargs["k"] is not None
    return lazy


@compiled
@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda: many(1, k=same(2)), None, id="names"),
        pytest.param(_opened, None, id="keywords in a dict"),
        pytest.param(_cycle, "ycle", id="cycle"),
        pytest.param(_loop, "contains itself", id="loop"),
        pytest.param(lambda: many(same), "argument '0'", id="position"),
        pytest.param(lambda: many(k=same), "argument 'k'", id="name"),
        pytest.param(lambda: same(1).run_if(same), "run_if", id="condition"),
    ],
)
def test_the_collector_is_on_again_after_a_trace(collecting: None, make: Any, error: str | None) -> None:
    """What makes the kernel keep it away for a moment lets it come back, also when the expression is wrong."""
    if error is None:
        traced(make())
    else:
        with pytest.raises((ValueError, TypeError), match=error):
            traced(make())

    assert gc.isenabled()


@compiled
def test_callees_with_markers_come_and_go() -> None:
    """The list of callees whose defaults are inject markers is kept in order by those that die."""
    crowd = [_kernel.Task(_with_marker(), "crowd") for _ in range(40)]
    del crowd[3], crowd[30], crowd[::2]
    crowd += [_kernel.Task(_with_marker(), "crowd") for _ in range(5)]
    gc.collect()

    assert all(one.injects == (("one", 0, "one"),) for one in crowd)


@compiled
def test_positional_only_parameters_that_are_injected_are_not_hot() -> None:
    """They cannot be passed by name."""

    def needs(one: Any = cs.inject("one"), /) -> Any:
        return one

    @functools.wraps(needs)
    def wrapper(*args: Any) -> Any:
        return needs(*args)

    frame = _kernel.Frame(_kernel.ProgramCache(), {"one": 1})
    frame.begin(_kernel.Task(wrapper, "needs")())
    program = _kernel.compile_program(frame, *_kernel.layers(frame))

    assert program.why == ("positional-only injected parameter",)


@compiled
def test_retried_calls_with_containers_are_not_hot() -> None:
    """Each attempt gets the containers of the first."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same([same(1)]).with_retry(1))
    program = _kernel.compile_program(frame, *_kernel.layers(frame))

    assert "retried call" in program.why[0]


@compiled
def test_columns_of_a_map_may_shrink_while_items_run() -> None:
    """An item that is not there any more is an error, and the columns have to be lists."""
    column: list[Any] = [1, 2, 3]
    other: list[Any] = [1, 2, 3]

    @cs.task
    def shrink(a: int, b: int) -> int:
        other.clear()
        return a

    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(shrink(a=1, b=1))
    planned(frame)
    value_of(frame)
    other[:] = [1, 2, 3]
    frame = _kernel.Frame(frame.cache, {})
    with pytest.raises(IndexError, match="shorter"):
        _kernel.run_items(frame, shrink, ("a", "b"), [column, other], None, [], 1e300)
    with pytest.raises(TypeError, match="column"):
        _kernel.run_items(_kernel.Frame(frame.cache, {}), shrink, ("a", "b"), [column, (1,)], None, [], 1e300)


def test_the_number_of_walks_is_told() -> None:
    """How often large containers had to be walked is a number."""
    assert _kernel.walks() >= 0


@compiled
def test_markers_in_keyword_defaults_are_accounted_for() -> None:
    """Markers in keyword-only defaults, in defaults that others hold, and very many: the answer is the same."""
    data = [list(range(600))]

    def by_keyword(n: int, box: Any, *, one: Any = cs.inject("one")) -> Any:
        return task(n - 1, box) if n else one

    @cs.resource
    def one() -> Iterator[str]:
        yield "one"

    task = _kernel.Task(by_keyword, "by_keyword")
    engine = make_engine(resources=[one])
    assert run(task(5, data), engine) == "one"
    kept = by_keyword.__kwdefaults__
    assert run(task(5, data), engine) == "one"
    crowd = [_kernel.Task(partial(_defaults, n), "crowd") for n in range(3)]
    crowd += [_kernel.Task(_with_marker(), "crowd") for _ in range(300)]
    assert run(task(5, data), engine) == "one"
    del crowd, kept


def _defaults(n: int, value: Any = None) -> Any:
    return value


def _with_marker() -> Any:
    def marked(one: Any = cs.inject("one")) -> Any:
        return one

    return marked


@compiled
def test_many_lazies_in_local_variables_are_too_many_to_account_for() -> None:
    """Large data is walked then, and the answer is the same."""

    @cs.task
    def carry(n: int, data: Any) -> Any:
        return carry(n - 1, data) if n else len(data[0])

    def inside() -> Any:
        return run(carry(5, [list(range(600))]))

    kept = [same(n) for n in range(100)]
    assert inside() == 600
    del kept[40:]
    (a, b, c), many_locals = kept[:3], tuple(kept)
    assert inside() == 600
    del a, b, c, many_locals


def test_errors_in_returned_coroutines() -> None:
    """An asynchronous task may suspend, and return a call, a container of calls or a value."""

    @cs.task
    async def chain(n: int) -> Any:
        await asyncio.sleep(0)
        return chain(n - 1) if n else [same(1), {"a": same(2)}]

    engine = make_engine()
    for _ in range(3):
        assert run(same(chain(3)), engine) == [1, {"a": 2}]
