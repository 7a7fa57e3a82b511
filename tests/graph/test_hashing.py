"""Structural ids, template ids, cache ids and blueprint hashes."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any
from unittest.mock import MagicMock

import pytest

from cascade.graph.exceptions import UncacheableError
from cascade.graph.hashing import BlueprintHasher, HashingService, cache_identity
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.lazy_types import LazyResult
from cascade.spec.resource import inject
from cascade.spec.routing import Router
from cascade.spec.task import Task, task

service = HashingService()
LOCK = threading.Lock()


@task(pure=True)
def pure(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@task
def impure(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@task
def source(x: Any = 0) -> Any:
    return x


def nodes(*lazies: Any) -> dict[str, Node]:
    """Node stand-ins for dependencies without dependencies."""
    return {
        lazy._uuid: Node(service.compute_structural_hash(lazy, {}), "n", service.compute_template_hash(lazy, {}))
        for lazy in lazies
    }


def structural(lazy: Any, *deps: Any) -> str:
    return service.compute_structural_hash(lazy, nodes(*deps))


def template(lazy: Any, *deps: Any) -> str:
    return service.compute_template_hash(lazy, nodes(*deps))


def both(lazy: Any, *deps: Any) -> tuple[str, str]:
    return service.compute_hashes(lazy, nodes(*deps))


def test_ids_are_64_hexadecimal_digits() -> None:
    """Both ids and the cache id have one form."""
    for identity in (*both(pure(1)), *both(impure(1)), cache_identity(pure(1), {})):
        assert len(identity) == 64
        assert int(identity, 16) >= 0


def test_other_objects_are_refused() -> None:
    """Only lazy results have ids."""
    for compute in (service.compute_hashes, service.compute_structural_hash, service.compute_template_hash):
        with pytest.raises(TypeError, match="Cannot compute hash for type int"):
            compute(3, {})
    with pytest.raises(TypeError, match="Cannot compute hash for type Task"):
        cache_identity(pure, {})


def test_equal_pure_calls_share_an_id() -> None:
    """Equal arguments of a pure task give equal ids, in any keyword order, also in separate builds."""
    assert both(pure(1, a=[2], b={"k": 3})) == both(pure(1, b={"k": 3}, a=[2]))


@pytest.mark.parametrize(
    "left, right",
    [
        (1, 2), (1, "1"), (1, True), (1, 1.0), (0.0, -0.0), ([1], (1,)), ({1: 2}, {"1": 2}), ({1}, frozenset({1})),
        (b"a", "a"), (10**300, 10**300 + 1), (None, 0), ([[1], 2], [[1, 2]]), (object(), object()),
    ],
)  # fmt: skip
def test_unequal_literals_have_unequal_ids_and_one_template(left: Any, right: Any) -> None:
    """Literals count with their types in the structural id and not at all in the template id."""
    assert structural(pure(left)) != structural(pure(right))
    assert template(pure(left)) == template(pure(right))
    assert cache_or_none(pure(left)) != cache_or_none(pure(right)) or cache_or_none(pure(left)) is None


def cache_or_none(lazy: Any) -> str | None:
    try:
        return cache_identity(lazy, {})
    except UncacheableError:
        return None


def test_impure_calls_are_one_of_a_kind() -> None:
    """Every call of a default task has its own id, stable for the instance; templates are shared."""
    one, two = impure(1), impure(1)

    assert structural(one) == structural(one) != structural(two)
    assert template(one) == template(two)


def test_equal_repr_is_not_equality() -> None:
    """Objects that look alike are different arguments; the same object is the same argument."""

    class Same:
        def __repr__(self) -> str:
            return "same"

    one, two = Same(), Same()

    assert structural(pure(one)) == structural(pure(one)) != structural(pure(two))


def test_tokens_of_dead_objects_are_not_reused() -> None:
    """An object at the address of a dead one is another object."""

    class Thing:
        pass

    seen = {structural(pure(Thing())) for _ in range(200)}

    assert len(seen) == 200


def make(value: Any) -> Task[..., Any]:
    @task(pure=True, name="made")
    def made() -> Any:
        return value

    return made


def test_functions_that_share_a_name_differ() -> None:
    """Code, closure and defaults are part of a task; the Task object is not."""

    @task(pure=True, name="made")
    def other() -> Any:
        return 5

    tasks = [make(1), make(2), other, Task(lambda: 1, "made", pure=True), Task(lambda: 2, "made", pure=True)]

    assert len({structural(one()) for one in tasks}) == len({template(one()) for one in tasks}) == 5
    assert len({cache_identity(one(), {}) for one in tasks}) == 5
    assert both(make(1)()) == both(make(1)())


def test_opaque_closures_are_themselves() -> None:
    """A function that captured a lock equals itself only."""
    lock = threading.Lock()

    assert structural(make(lock)()) == structural(make(lock)()) != structural(make(threading.Lock())())


def test_dependencies_count_by_their_ids() -> None:
    """f(a()) and f(b()) differ; the same dependency in another place differs."""
    one, two = source(1), source(2)
    places = [pure(one), pure(two), pure([one]), pure((one,)), pure({"k": one}), pure(x=one), pure(one, one), pure(1)]

    assert len({structural(p, one, two) for p in places}) == len(places)
    assert template(pure(one), one) == template(pure(two), two)  # they differ in a literal only
    assert template(pure(one), one) != template(pure([one]), one) != template(pure(1))


def test_the_instance_of_a_dependency_does_not_count() -> None:
    """A pure call of equal pure calls is equal."""
    one, two = pure(1), pure(1)

    assert both(pure([one]), one) == both(pure([two]), two)


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "structural_id")
@pytest.mark.parametrize("make_call", [pure, impure])
def test_policies_count(make_call: Any) -> None:
    """Calls that differ in one policy only are different calls."""
    dep, other, cache = source(1), source(2), object()

    def call(change: Any) -> Any:
        lazy = make_call(1)
        lazy._uuid = "fixed"
        change(lazy)
        return lazy

    calls = [
        call(lambda lazy: None),
        call(lambda lazy: lazy.with_retry(1)),
        call(lambda lazy: lazy.with_retry(2)),
        call(lambda lazy: lazy.with_retry(2, delay=1.0)),
        call(lambda lazy: lazy.with_retry(2, delay=1.0, backoff=2.0)),
        call(lambda lazy: lazy.with_cache(cache)),
        call(lambda lazy: lazy.with_cache(object())),
        call(lambda lazy: lazy.run_if(dep)),
        call(lambda lazy: lazy.run_if(other)),
        call(lambda lazy: lazy.after(dep)),
        call(lambda lazy: lazy.after(other)),
        call(lambda lazy: lazy.after(dep, other)),
        call(lambda lazy: lazy.with_constraints(cpu=dep)),
        call(lambda lazy: lazy.with_constraints(gpu=dep)),
        call(lambda lazy: lazy.with_constraints(cpu=other)),
    ]

    assert len({structural(lazy, dep, other) for lazy in calls}) == len(calls)


def test_constraint_amounts() -> None:
    """Amounts are part of a pure call and a placeholder in its template; names of resources are part of both."""
    one, two, other = (pure().with_constraints(**amount) for amount in ({"a": 1}, {"a": 2}, {"b": 1}))

    assert structural(one) != structural(two) != structural(other)
    assert template(one) == template(two) != template(other)


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "template_id [E]")
def test_templates_never_see_instances() -> None:
    """A template id is the same for every instance, dependencies and cache policies included."""

    def call() -> tuple[Any, Any]:
        dep = source(1)
        return impure([dep, 1]).with_cache(object()).after(dep).run_if(dep), dep

    one, two = call(), call()

    assert template(*one) == template(*two)


def test_containers_without_dependencies_are_one_placeholder() -> None:
    """Shape counts where it holds a dependency; elsewhere it is a literal."""
    dep = source()

    assert template(pure([1, [2]])) == template(pure("x")) == template(pure({"k": {}}))
    assert template(pure([dep, 1]), dep) == template(pure([dep, [1, 2]]), dep) != template(pure([dep]), dep)
    assert template(pure(1)) != template(pure(1, 2)) != template(pure(x=1))


def test_routers() -> None:
    """Selector, routes and keys count."""
    a, b, c = source(1), source(2), source(3)
    routers = [Router(a, {"x": b, "y": c}), Router(a, {"x": c, "y": b}), Router(b, {"x": a}), Router(a, {1: b, "y": c})]

    assert len({structural(pure(r), a, b, c) for r in routers}) == 4
    assert structural(pure(Router(a, {"y": c, "x": b})), a, b, c) == structural(pure(routers[0]), a, b, c)


def test_maps() -> None:
    """Mapped calls have ids of their own."""
    dep = source()

    assert both(pure.map(x=[1])) == both(pure.map(x=[1])) != both(pure.map(x=[2]))
    assert structural(pure.map(x=[1])) != structural(pure(x=[1]))
    assert structural(impure.map(x=[1])) != structural(impure.map(x=[1]))
    assert template(pure.map(x=[dep]), dep) != template(pure.map(x=[1]))
    assert cache_identity(pure.map(x=[1]), {}) == cache_identity(pure.map(x=[1]), {}) != cache_identity(pure(x=[1]), {})


@pytest.mark.parametrize("make_call", [pure, impure])
def test_nesting_and_self_containing_data(make_call: Any) -> None:
    """Neither depth nor cycles of plain data keep an id from being computed."""
    deep: Any = source()
    wide: Any = [1]
    loop: list[Any] = [1]
    loop.append(loop)
    dep = deep
    for _ in range(20_000):
        deep = [deep]
        wide = [wide, wide]

    for argument in (deep, wide, loop):
        assert len(set(both(make_call(argument), dep))) == 2
    while type(deep) is list:
        deep = deep[0]


def test_lazies_where_nobody_looks() -> None:
    """A call inside a set is not a dependency; it is told apart by its instance."""
    one, two = source(1), source(1)

    assert structural(pure({one})) == structural(pure({one})) != structural(pure({two}))


# ---------------------------------------------------------------------------------------------------- cache ids


def test_cache_id_ignores_the_instance() -> None:
    """Equal calls of a default task have equal cache ids; policies do not matter."""
    dep = source()

    assert cache_identity(impure(1, [2]), {}) == cache_identity(impure(1, [2]).with_retry(3).run_if(dep).after(dep), {})


def test_cache_id_of_dependencies() -> None:
    """A dependency counts by its own cache id."""
    one, two = source(), source()

    assert cache_identity(impure(one), {one._uuid: "a"}) == cache_identity(impure(two), {two._uuid: "a"})
    assert cache_identity(impure(one), {one._uuid: "a"}) != cache_identity(impure(one), {one._uuid: "b"})


def test_the_name_of_a_task_is_not_its_content() -> None:
    """Renaming a task keeps what it has cached."""
    assert cache_identity(Task(len, "a")([]), {}) == cache_identity(Task(len, "b")([]), {})


@pytest.mark.parametrize(
    "lazy, path",
    [
        (impure(object()), "argument 0 is a object"),
        (impure(1, a=[{"k": (0, object())}]), "argument a[0].k[1] is a object"),
        (impure({source()}), "holds a call that is not an argument"),
        (make(threading.Lock())(), "its function (closure variable 'value') is a lock"),
        (Task(lambda x=LOCK: x, "t")(), "its function (defaults)[0] is a lock"),
    ],
)
def test_what_has_no_content_cannot_be_cached(lazy: Any, path: str) -> None:
    """The error names the task, the place and the remedy."""
    for _ in range(2):
        with pytest.raises(UncacheableError) as caught:
            cache_identity(lazy, {})

        assert path in str(caught.value)
        assert repr(lazy.task.name) in str(caught.value)
        assert "remove with_cache" in str(caught.value)
        structural(lazy)  # which has an id all the same
        template(lazy)


def test_counting_calls_does_not_change_a_function() -> None:
    """A task that keeps a list or a counter of its calls stays the same task, before and after them."""
    calls: list[int] = []
    count = 0

    @task(pure=True)
    def counted(x: int) -> int:
        nonlocal count
        count += 1
        calls.append(x)
        return x

    before = cache_identity(counted(1), {}), structural(counted(1)), template(counted(1))
    counted.func(1)
    counted.func(2)

    assert (count, calls) == (2, [1, 2])
    assert before == (cache_identity(counted(1), {}), structural(counted(1)), template(counted(1)))


def test_rebinding_a_captured_variable_changes_a_function() -> None:
    """Another object in a closure cell, put there from outside, makes another task; so do other defaults."""
    factor: Any = [1]

    @task(pure=True)
    def scaled(x: int, y: Any = 0) -> Any:
        return x, y, factor

    seen = []
    for factor in ([1], [2], 3, 3.0, "3"):  # noqa: B007
        seen.append((cache_identity(scaled(1), {}), structural(scaled(1))))
    scaled.func.__defaults__ = (1,)
    seen.append((cache_identity(scaled(1), {}), structural(scaled(1))))

    assert len(set(seen)) == len(seen)


def test_recursive_local_tasks_can_be_cached() -> None:
    """A local task whose closure holds itself has a cache id."""

    def build(last: int) -> Any:
        @task
        def down(n: int) -> Any:
            return down(n - 1) if n else last

        return down

    assert cache_identity(build(1)(3), {}) == cache_identity(build(1)(3), {}) != cache_identity(build(2)(3), {})


PROGRAM = """
import sys; sys.path[:0] = {path!r}
from cascade.spec.task import task
from cascade.graph.hashing import cache_identity
def build(words):
    @task
    def f(x, y=frozenset(words)): return (x, y, words, {{"p", "q"}})
    return f
print(cache_identity(build({{"a", "b", "c"}})({{"k": [1, {{"x", "y"}}]}}), {{}}))
"""


def test_cache_ids_are_equal_in_every_process() -> None:
    """Neither string hashing nor process-random prefixes count."""
    program = PROGRAM.format(path=sys.path)
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]

    assert outputs[0] == outputs[1]
    assert len(outputs[0].strip()) == 64


def test_inject_markers_are_content() -> None:
    """A call with an inject marker can be cached; other resources, other calls."""
    assert cache_identity(impure(inject("a")), {}) == cache_identity(impure(inject("a")), {})
    assert cache_identity(impure(inject("a")), {}) != cache_identity(impure(inject("b")), {})


# ------------------------------------------------------------------------------------------------- blueprint hash


def diamond(**changes: Any) -> Graph:
    names = {"a": {}, "b": {"0": 1}, "c": {}, "d": {}} | changes.pop("bindings", {})
    made = [Node(f"{key}{changes.get('ids', '')}", key, input_bindings=bound) for key, bound in names.items()]
    ends = [(0, 1), (0, 2), (1, 3), (2, 3)]
    edges = [Edge(made[s], made[t], str(i), changes.get("kind", EdgeType.DATA)) for i, (s, t) in enumerate(ends)]
    return Graph(made, edges)


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "blueprint hash [L]")
def test_blueprint_hash_is_pinned() -> None:
    """It names plans that somebody may have kept: changing it is a decision."""
    assert (
        BlueprintHasher().compute_hash(diamond()) == "721f65ee289f5f39fd0d64926dd4c646b7f10ed2109059986e548fbcffb25615"
    )


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "blueprint hash [L]")
def test_blueprint_hash_is_the_shape() -> None:
    """Ids and values of literals do not count; which literals there are, names and edges do."""
    compute = BlueprintHasher().compute_hash
    base = compute(diamond())

    assert base == compute(diamond(ids="x")) == compute(diamond(bindings={"b": {"0": 2}}))
    assert base != compute(diamond(bindings={"b": {}}))
    assert base != compute(diamond(kind=EdgeType.SEQUENCE))
    graph = diamond()
    graph.nodes[0].name = "z"
    assert base != compute(graph)
    graph = diamond()
    graph.edges[0].router = Router(None, {})
    assert base != compute(graph)


def test_lazy_result_type_is_exact_enough() -> None:
    """What the task decorator returns and what is made by hand hash alike."""
    assert structural(LazyResult(pure, (1,), {})) == structural(pure(1))


def test_a_mock_in_place_of_a_function_is_itself() -> None:
    """Mocks make up attributes without end, so nobody looks into them: calls of one are equal, those of two are not."""
    one, other = (task(MagicMock(return_value=number, __name__="m"), name="m") for number in (1, 2))
    ids = [cache_identity(mocked(5), {}) for mocked in (one, one, other)]
    one.func(5)

    assert ids[0] == ids[1] != ids[2]
    assert cache_identity(one(5), {}) == ids[0]
    assert template(one(5)) == template(one(6)) != template(other(5))
    with pytest.raises(UncacheableError, match="is a mock"):
        cache_identity(task(len)(MagicMock()), {})
