"""Keys: equal exactly for expressions that one program serves; and the cache of programs that they open."""

from __future__ import annotations

import array
import gc
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade import _hot_py, _kernel
from cascade._hot_py import decode, encode
from cascade.graph._problems import ContainerError, UncalledTaskError
from cascade.graph.build import build_graph
from cascade.graph.exceptions import CycleError
from cascade.graph.hashing import HashingService
from cascade.spec._retries import check_retry
from cascade.spec.constraint import ResourceConstraint

KERNELS = list(dict.fromkeys((_kernel.hot, _hot_py)))
if _kernel.hot is not _hot_py:  # the twin is not in use: it has not been told what constraints are made of
    _hot_py.install(constraint=ResourceConstraint, retry=check_retry)

NAMES = ("a", "b", "long name")
TASKS = 3  # the last one is pure


class Row(list):  # type: ignore[type-arg]
    """A list of another type."""


def body(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


# ---------------------------------------------------------------------------------------------------------- drawing


def expressions() -> Any:
    """Draw a call as plain data, which ``Builder`` turns into the lazy results of a kernel."""
    leaf = st.tuples(st.just("leaf"), st.sampled_from([0, 1, "a", None, 2.5]))
    again = st.tuples(st.just("again"), st.integers(0, 5))
    inject = st.tuples(st.just("inject"), st.sampled_from(NAMES))

    def grow(items: Any) -> Any:
        several = st.lists(items, max_size=3)
        boxes = st.tuples(st.sampled_from(["list", "tuple", "dict", "row"]), several)
        routers = st.tuples(st.just("router"), items, several)
        return st.one_of(boxes, st.tuples(st.just("twice"), items), routers, called(items))

    return called(st.recursive(st.one_of(leaf, again, inject), grow, max_leaves=12))


def called(items: Any) -> Any:
    """Draw a call or a map over drawn items."""
    task = st.integers(0, TASKS - 1)
    keywords = st.dictionaries(st.sampled_from(NAMES), items, max_size=2)
    policies = st.fixed_dictionaries(
        {},
        optional={
            "retry": st.integers(1, 3),
            "cache": st.just(True),
            "run_if": items,
            "constraints": st.dictionaries(st.sampled_from(NAMES), items, max_size=2),
            "after": st.lists(st.tuples(st.just("again"), st.integers(0, 5)), max_size=2),
        },
    )
    calls = st.tuples(st.just("call"), task, st.lists(items, max_size=3), keywords, policies)
    return st.one_of(calls, st.tuples(st.just("map"), task, keywords, policies))


class Builder:
    """Builds drawn expressions with the classes of one kernel, of tasks and leaves of its own."""

    def __init__(self, hot: Any, leaf: Callable[[Any], Any] = lambda value: value) -> None:
        self.hot = hot
        self.leaf = leaf
        self.tasks = [hot.Task(body, f"task {i}", pure=i == TASKS - 1) for i in range(TASKS)]
        self.lazies: list[Any] = []

    def build(self, drawn: Any) -> Any:
        return getattr(self, f"make_{drawn[0]}")(*drawn[1:])

    def all(self, drawn: Any) -> list[Any]:
        return [self.build(one) for one in drawn]

    def make_leaf(self, value: Any) -> Any:
        return self.leaf(value)

    def make_again(self, k: int) -> Any:
        return self.lazies[k % len(self.lazies)] if self.lazies else self.leaf(k)

    def make_inject(self, name: str) -> Any:
        return self.hot.Inject(name)

    def make_list(self, items: Any) -> Any:
        return self.all(items)

    def make_tuple(self, items: Any) -> Any:
        return tuple(self.all(items))

    def make_row(self, items: Any) -> Any:
        return Row(self.all(items))

    def make_dict(self, items: Any) -> Any:
        return {self.leaf(i): one for i, one in enumerate(self.all(items))}

    def make_twice(self, item: Any) -> Any:
        box = [self.build(item)]
        return [box, box]

    def make_router(self, selector: Any, routes: Any) -> Any:
        return self.hot.Router(self.build(selector), self.make_dict(routes))

    def make_call(self, task: int, args: Any, keywords: Any, policies: Any) -> Any:
        values = self.all(args)
        named = {name: self.build(one) for name, one in keywords.items()}
        return self.finish(self.tasks[task](*values, **named), policies)

    def make_map(self, task: int, keywords: Any, policies: Any) -> Any:
        return self.finish(self.tasks[task].map(**{n: self.build(one) for n, one in keywords.items()}), policies)

    def finish(self, lazy: Any, policies: Any) -> Any:
        if "retry" in policies:
            lazy.with_retry(policies["retry"])
        if "cache" in policies:
            lazy.with_cache(object())
        if "run_if" in policies:
            lazy.run_if(self.build(policies["run_if"]))
        if "constraints" in policies:
            lazy.with_constraints(**{n: self.build(one) for n, one in policies["constraints"].items()})
        if "after" in policies and self.lazies:
            lazy.after(*self.all(policies["after"]))
        self.lazies.append(lazy)
        return lazy

    def structure(self, lazy: Any) -> Any:
        """Return the decoded key and the stack codes, with the tasks' names in place of serials."""
        traced = self.hot.trace(lazy)
        names = {o.callee.serial: o.callee.name for o in traced.operations if o.callee is not None}
        records = [
            (names.get(r.serial, ""), r.flags, r.positional, r.keywords, r.condition, r.constraints, r.after, r.equal)
            for r in decode(traced.key, traced.names)
        ]
        codes = [(o.codes, o.keywords, o.flags, o.condition, o.amounts, o.after, o.equal) for o in traced.operations]
        return records, codes, len(traced.leaves), traced.unkeyed


# ------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("hot", KERNELS, ids=lambda hot: hot.kernel_name)
@given(drawn=expressions())
def test_a_key_can_be_read_back(hot: Any, drawn: Any) -> None:
    """Decoding and encoding a key gives the same key."""
    traced = hot.trace(Builder(hot).build(drawn))
    records = decode(traced.key, traced.names)

    assert encode(records) == traced.key
    assert len(records) == len(traced.operations)
    assert [r.flags for r in records] == [o.flags for o in traced.operations]


@pytest.mark.parametrize("hot", KERNELS, ids=lambda hot: hot.kernel_name)
@given(drawn=expressions())
def test_leaves_are_not_in_the_key(hot: Any, drawn: Any) -> None:
    """The same structure of impure calls with other leaves, keys of dicts and routes among them, has the same key."""
    one, other = Builder(hot), Builder(hot, lambda value: value if value is None else object())  # run_if(None) is none
    other.tasks = one.tasks
    for task in one.tasks:
        task.pure = False
    first, second = hot.trace(one.build(drawn)), hot.trace(other.build(drawn))

    assert first.key == second.key
    assert len(first.leaves) == len(second.leaves)


@given(drawn=expressions())
def test_both_kernels_write_the_same_keys(drawn: Any) -> None:
    """The kernels agree on the structure, the codes, the number of leaves and what may be kept."""
    structures = [(builder := Builder(hot)).structure(builder.build(drawn)) for hot in KERNELS]

    assert all(one == structures[0] for one in structures)


@pytest.mark.parametrize("hot", KERNELS, ids=lambda hot: hot.kernel_name)
@given(one=expressions(), other=expressions())
def test_keys_are_equal_exactly_if_their_records_are(hot: Any, one: Any, other: Any) -> None:
    """Two expressions of the same tasks have one key exactly if all that is decoded from the two is equal."""
    builder = Builder(hot)
    first = hot.trace(builder.build(one))
    builder.lazies.clear()
    second = hot.trace(builder.build(other))

    same = decode(first.key, first.names) == decode(second.key, second.names)
    assert (first.key == second.key) == same


@pytest.mark.parametrize("change", ["shorter", "longer", "another name"])
def test_a_damaged_key_is_refused(change: str) -> None:
    """What does not end with its last record, or has the names of another key, is no key."""
    traced = _kernel.trace(f(x=g()))
    tokens, names = array.array("q", traced.key), list(traced.names)
    if change == "another name":
        names[0] = "y"
    elif change == "longer":
        tokens.append(0)
    else:
        tokens.pop()

    with pytest.raises((ValueError, IndexError)):
        decode(tokens.tobytes(), names)


# ----------------------------------------------------------------------------------------------------- rows of pairs


@cs.task
def f(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@cs.task
def g(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def key(lazy: Any) -> bytes:
    return bytes(_kernel.trace(lazy).key)


def shared(make: Callable[[], Any]) -> Any:
    one = make()
    return f(one, one)


DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "order of keywords": (lambda: f(a=1, b=2), lambda: f(b=2, a=1)),
    "order of keywords that hold calls": (lambda: f(a=g(), b=2), lambda: f(b=2, a=g())),
    "name of a keyword": (lambda: f(a=1), lambda: f(b=1)),
    "positional or keyword": (lambda: f(1), lambda: f(a=1)),
    "number of arguments": (lambda: f(1), lambda: f(1, 2)),
    "call or value": (lambda: f(g()), lambda: f(1)),
    "a call once or twice": (lambda: shared(g), lambda: f(g(), g())),
    "a call once or twice, in containers": (lambda: shared(lambda: [g()]), lambda: f([g()], [g()])),
    "which call": (lambda: f(g()), lambda: f(f())),
    "order of calls": (lambda: f(f(), g()), lambda: f(g(), f())),
    "nesting of calls": (lambda: f(g(g())), lambda: f(g(), g())),
    "nesting of lists": (lambda: f([g()]), lambda: f([[g()]])),
    "list or nothing around": (lambda: f([g()]), lambda: f(g())),
    "list or tuple": (lambda: f([g()]), lambda: f((g(),))),
    "list or dict": (lambda: f([g()]), lambda: f({0: g()})),
    "list or a type of lists": (lambda: f([g()]), lambda: f(Row([g()]))),
    "length of a list": (lambda: f([g()]), lambda: f([g(), 1])),
    "place in a list": (lambda: f([g(), 1]), lambda: f([1, g()])),
    "length of a dict": (lambda: f({"a": g()}), lambda: f({"a": g(), "b": 1})),
    "retry": (lambda: f(1), lambda: f(1).with_retry()),
    "cache": (lambda: f(1), lambda: f(1).with_cache(object())),
    "constant condition": (lambda: f(1), lambda: f(1).run_if(True)),
    "condition": (lambda: f(1).run_if(True), lambda: f(1).run_if(g())),
    "which condition": (lambda: f(1).run_if(f()), lambda: f(1).run_if(g())),
    "condition or argument": (lambda: f(g()), lambda: f().run_if(g())),
    "condition or predecessor": (lambda: f().after(g()), lambda: f().run_if(g())),
    "number of predecessors": (lambda: f().after(g()), lambda: f().after(g(), g())),
    "constraints": (lambda: f(1), lambda: f(1).with_constraints(cpu=1)),
    "name of a constraint": (lambda: f(1).with_constraints(gpu=1), lambda: f(1).with_constraints(cpu=1)),
    "amount computed or not": (lambda: f(1).with_constraints(cpu=1), lambda: f(1).with_constraints(cpu=g())),
    "number of routes": (
        lambda: f(cs.Router(g(), {"a": f()})),
        lambda: f(cs.Router(g(), {"a": f(), "b": f()})),
    ),
    "router or list": (lambda: f(cs.Router(g(), {"a": f()})), lambda: f([g(), f()])),
    "inject marker or value": (lambda: f(cs.inject("db")), lambda: f("db")),
    "name of an inject marker": (lambda: f(cs.inject("db")), lambda: f(cs.inject("log"))),
    "map or call": (lambda: f(a=[1]), lambda: f.map(a=[1])),
}

SAME: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "values": (lambda: f(1, a="x"), lambda: f(None, a=[1, {2: 3}])),
    "plain containers": (lambda: f([1, 2]), lambda: f({"a": ()})),
    "values beside calls": (lambda: f([1, g()]), lambda: f([[2, 3], g()])),
    "keys of a dict": (lambda: f({"a": g()}), lambda: f({7: g()})),
    "keys of routes": (lambda: f(cs.Router(g(), {"a": f()})), lambda: f(cs.Router(g(), {True: f()}))),
    "retry numbers": (lambda: f().with_retry(1), lambda: f().with_retry(9, delay=3.0)),
    "amounts": (lambda: f().with_constraints(cpu=1), lambda: f().with_constraints(cpu=2)),
    "conditions": (lambda: f().run_if(True), lambda: f().run_if(0)),
    "cache policies": (lambda: f().with_cache(object()), lambda: f().with_cache(object())),
    "names made at run time": (lambda: f(**{"".join(["a", "1"]): 1}), lambda: f(**{"".join(["a", "1"]): 2})),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_keys_tell_structures_apart(what: str) -> None:
    """Expressions that differ in this have two keys."""
    one, other = DIFFERENT[what]

    assert key(one()) != key(other())
    assert key(one()) == key(one())
    assert key(other()) == key(other())


@pytest.mark.parametrize("what", SAME)
def test_keys_do_not_tell_values_apart(what: str) -> None:
    """Expressions that differ in this alone have one key."""
    one, other = SAME[what]

    assert key(one()) == key(other())


def test_the_same_container_twice_stays_one_container() -> None:
    """A container with calls that is used twice in an argument is told from two equal ones."""
    call = g()
    box = [call]

    assert key(f([box, box])) != key(f([[call], [call]]))
    assert key(f({"a": box, "b": box})) != key(f({"a": [call], "b": [call]}))


def test_two_tasks_of_one_name_and_function_are_two() -> None:
    """Neither name nor function of a task makes it another's equal."""
    one, other = (_kernel.Task(body, "same") for _ in range(2))

    assert key(one(1)) != key(other(1))
    assert key(f(one(1))) != key(f(other(1)))


@pytest.mark.parametrize(
    ("attribute", "value"), [("func", lambda: None), ("name", "other"), ("mode", "blocking"), ("pure", True)]
)
def test_a_changed_task_is_another(attribute: str, value: Any) -> None:
    """Setting an attribute of a task changes the keys of its calls, also of those made before and inside others."""
    changing = _kernel.Task(body, "changing")
    call = changing(1)
    around = f([call])
    before = key(call), key(around)

    setattr(changing, attribute, value)

    assert key(call) != before[0]
    assert key(around) != before[1]
    assert getattr(changing, attribute) is value


def merged(lazy: Any) -> Any:
    """Return the operation that stands for each operation, or why nobody can tell at a glance."""
    traced = _kernel.trace(lazy)
    assert [r.equal for r in decode(traced.key, traced.names)] == [o.equal for o in traced.operations]
    return traced.unkeyed or [o.equal for o in traced.operations]


SCALARS = [None, True, False, 0, 1, -1, 10**30, 0.0, -0.0, 1.0, math.nan, "", "1", "a", b"", b"1"]


@given(values=st.lists(st.tuples(st.sampled_from(SCALARS), st.sampled_from(SCALARS)), min_size=2, max_size=5))
def test_equal_calls_of_a_pure_task_are_known_by_type_and_value(values: Any) -> None:
    """The classes in the key are those of the calls' content, and calls of calls have those of their arguments."""
    pure = _kernel.Task(body, "clean", pure=True)
    traced = _kernel.trace(f(*[pure(pure(a), x=b) for a, b in values]))
    ids: dict[str, Any] = {}
    seen: dict[str, int] = {}

    for position, operation in enumerate(traced.operations[:-1]):
        found = HashingService().compute_structural_hash(operation.lazy, ids)
        ids[operation.lazy._uuid] = SimpleNamespace(structural_id=found)
        assert operation.equal == seen.get(found, -1)
        seen.setdefault(found, position)
    assert not traced.unkeyed


def test_what_is_no_scalar_is_equal_to_itself_only_if_it_is_one_object() -> None:
    """One object twice is one value; of two, only the content could tell: then no plan is kept."""
    pure = _kernel.Task(body, "clean", pure=True)
    one, other = [1], [1]

    assert merged(f(pure(one), pure(one))) == [-1, 0, -1]
    assert "pure task" in merged(f(pure(one), pure(other)))
    assert merged(f(pure(one), pure(1))) == [-1, -1, -1]  # of another type, so not equal
    assert merged(f(pure(one, 1), pure(other, 2))) == [-1, -1, -1]  # another argument differs
    assert "pure task" in merged(f(pure([g()]), pure([g()])))


def test_policies_and_names_count_when_calls_are_compared() -> None:
    """Calls that retry alike are compared; other policies and another order of names leave it to the content."""
    pure = _kernel.Task(body, "clean", pure=True)

    assert merged(f(pure(1).with_retry(2), pure(1).with_retry(2))) == [-1, 0, -1]
    assert merged(f(pure(1).with_retry(2), pure(1).with_retry(2, delay=1))) == [-1, -1, -1]
    assert merged(f(pure(1).with_retry(2), pure(1))) == [-1, -1, -1]
    assert merged(f(pure(1), pure(1).with_cache(object()))) == [-1, -1, -1]
    assert "pure task" in merged(f(pure(1).with_cache(object()), pure(1).with_cache(object())))
    assert "pure task" in merged(f(pure(a=1, b=2), pure(b=2, a=1)))
    assert merged(f(pure(a=1), pure(b=1), pure(1))) == [-1, -1, -1, -1]
    one = g()
    assert merged(f(pure.map(a=one), pure(a=one))) == [-1, -1, -1, -1]
    assert merged(f(pure.map(a=one), pure.map(a=one))) == [-1, -1, 1, -1]


def test_a_crowd_of_pure_calls_is_not_compared() -> None:
    """Comparing each with each has a limit; then no plan is kept, equal calls are one all the same."""
    pure = _kernel.Task(body, "clean", pure=True)

    assert merged(f(*map(pure, range(64)), pure(0))) == [-1] * 64 + [0, -1]
    assert "pure task" in merged(f(*map(pure, range(66)), pure(0)))
    assert len(build_graph(f(*map(pure, range(66)), pure(0)))[0].nodes) == 67


def test_equal_calls_of_two_tasks_are_two() -> None:
    """Tasks are told apart, equal in everything or not, whether the tracer or the content decides."""
    one, other = (_kernel.Task(body, "clean", pure=True) for _ in range(2))

    for value in (1, [1]):
        graph, _ = build_graph(f(g(one(value)), other(value), one([value]), one([value])))
        assert [n.name for n in graph.nodes].count("clean") == 3


# ------------------------------------------------------------------------------------------- what contains itself


def test_plain_data_that_contains_itself_is_a_leaf() -> None:
    """Data without calls goes through as the object it is, whatever its shape."""
    endless: list[Any] = [1]
    endless.append(endless)
    table: dict[str, Any] = {"row": endless}
    table["self"] = (table,)

    traced = _kernel.trace(f(endless, [g(), table], k=table))

    assert any(leaf is table for leaf in traced.leaves)
    assert traced.operations[-1].values[0] is endless
    assert traced.operations[-1].values[2] is table
    assert key(f(endless)) == key(f(1))


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_calls_in_a_container_that_contains_itself_are_an_error(first: bool) -> None:
    """Such a container cannot be rebuilt with the values in it; the error names the task and the type."""
    endless: list[Any] = []
    endless.append(endless)
    endless.insert(0 if first else 1, g())

    with pytest.raises(ContainerError, match=r"'f'.*list.*contains itself") as caught:
        _kernel.trace(f({"box": endless}))

    assert (caught.value.consumer, caught.value.container) == ("f", "list")


def test_a_call_that_needs_itself_is_an_error_that_names_the_tasks() -> None:
    """The cycle is told in the order in which the calls would have to run."""
    lazy = g([f(a=0)])
    lazy.args[0][0].kwargs["a"] = (lazy,)

    with pytest.raises(CycleError, match="Cycle detected") as caught:
        _kernel.trace(f(lazy))

    assert sorted(caught.value.tasks) == ["f", "g"]


@pytest.mark.parametrize("how", ["run_if", "after"])
def test_a_call_that_waits_for_itself_is_an_error(how: str) -> None:
    """Conditions and predecessors make cycles as arguments do."""
    lazy = g()
    getattr(lazy, how)(f(lazy))

    with pytest.raises(CycleError) as caught:
        _kernel.trace(lazy)

    assert sorted(caught.value.tasks) == ["f", "g"]


def test_a_task_that_was_not_called_is_an_error() -> None:
    """A task as an argument is told from its call, with the argument's place."""
    with pytest.raises(UncalledTaskError) as positional:
        _kernel.trace(f(1, g))
    with pytest.raises(UncalledTaskError) as named:
        _kernel.trace(f(box=g))

    assert (positional.value.task, positional.value.consumer, positional.value.argument) == ("g", "f", "1")
    assert named.value.argument == "box"


# --------------------------------------------------------------------------------------------------- program cache


def started(cache: Any, lazy: Any) -> Any:
    """Return a frame that has begun with a call."""
    frame = _kernel.Frame(cache, {})
    frame.begin(lazy)
    return frame


def learn(cache: Any, lazy: Any) -> bytes:
    """Add the program of a call, one operation a stage, and return its key."""
    frame = started(cache, lazy)
    assert _kernel.run(frame, math.inf) == _kernel.STEP
    count = len(frame.expression.operations)
    program = _kernel.compile_program(frame, array.array("i", range(count + 1)), array.array("i", range(count)))
    cache.add(program)
    frame.close()
    return bytes(program.key)


def test_the_cache_keeps_so_many_programs_and_no_more() -> None:
    """Beyond its size the cache forgets the program that was used longest ago."""
    cache = _kernel.ProgramCache(max_size=3)
    keys = [learn(cache, f(*range(n))) for n in range(10)]

    assert list(cache) == keys[-3:]
    assert len(cache) == 3
    assert keys[0] not in cache
    assert cache.get(keys[0]) is None
    assert cache[keys[-1]].key == keys[-1]


def test_a_program_that_is_used_stays() -> None:
    """Finding a program makes it the last to be forgotten."""
    cache = _kernel.ProgramCache(max_size=2)
    old, middle = learn(cache, f(1)), learn(cache, g(1, 2))
    for n in range(3):
        started(cache, f(n)).close()
    new = learn(cache, f(1, 2, 3))

    assert set(cache) == {old, new}
    assert middle not in cache


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_cache_keeps_one_program(size: int) -> None:
    """The program in use is kept whatever the size."""
    cache = _kernel.ProgramCache(max_size=size)
    learn(cache, f(1))
    last = learn(cache, f(1, 2))

    assert list(cache) == [last]


def test_a_program_is_found_for_every_expression_of_its_key() -> None:
    """Whichever expression of a task came last, the one at hand gets the program of its own key."""
    cache = _kernel.ProgramCache()
    short, long = learn(cache, f(1)), learn(cache, f(g(1), 2))
    found = [started(cache, one).program for one in (f(5), f(g(0), 0), f(g(2), None), f("x"), f("y"))]

    assert [one.key for one in found] == [short, long, long, short, short]
    assert len({id(one) for one in found}) == 2
    assert started(cache, f(1, 2)).program is None


def test_a_dropped_program_is_not_found_again() -> None:
    """What was dropped or cleared is gone, also for the task that used it last."""
    cache = _kernel.ProgramCache()
    first = learn(cache, f(1))
    assert started(cache, f(2)).program is not None
    cache.drop(first)

    assert started(cache, f(2)).program is None
    cache.drop(first)  # a second time is no error
    learn(cache, f(1))
    cache.clear()
    assert len(cache) == 0
    assert started(cache, f(2)).program is None


@pytest.mark.parametrize("end", ["dies", "changes"])
def test_the_programs_of_a_task_that_is_no_more_are_dropped(end: str) -> None:
    """A task that dies, or changes, takes the programs of all expressions with it along, and no others."""
    cache = _kernel.ProgramCache()
    mortal = _kernel.Task(body, "mortal")
    kept = learn(cache, f(1))
    learn(cache, mortal(1))
    learn(cache, f(mortal(1), g(2)))
    assert len(cache) == 3

    if end == "changes":
        mortal.func = lambda: None
    else:
        del mortal
    gc.collect()

    assert list(cache) == [kept]


def test_a_task_may_outlive_the_cache() -> None:
    """The death of a task whose cache is gone already does nothing."""
    cache = _kernel.ProgramCache()
    mortal = _kernel.Task(body, "mortal")
    learn(cache, mortal(1))
    del cache
    gc.collect()
    del mortal

    assert gc.collect() >= 0


def test_a_program_holds_no_value_of_its_expression() -> None:
    """The leaves of the expression from which a program was made are free when it is done."""
    alive: list[int] = []

    class Leaf:
        def __del__(self) -> None:
            alive.append(1)

    cache = _kernel.ProgramCache()
    learn(cache, f([Leaf(), g(Leaf())], k={"a": Leaf()}))
    gc.collect()

    assert len(cache) == 1
    assert len(alive) == 3


def test_a_router_of_two_calls_is_put_together_once() -> None:
    """What a Router needs before it can choose is one call of the expression, however many arguments it is."""

    @cs.task
    def pair(*values: Any) -> Any:
        return values

    router = cs.Router(0, {0: [pair(1)], 1: 2})

    operations = _kernel.trace(pair(pair(router), [router])).operations

    assert sum(operation.callee.name == "_internal_gather" for operation in operations) == 2  # selector, compound route
