"""Explicit jumps: where they lead, what they carry, and that every tier and both kernels agree."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.control_flow import bind, select_jump
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.strategies import graph as strategy_module
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.jump import Jump, JumpSelector
from cascade.spec.resource import inject, resource
from cascade.spec.task import task
from tests.differential.voices import patience
from tests.engines import CountingSolver, make_engine, names_of, run, watch


@pytest.fixture(params=["hot", "cold"])
def hot(request: pytest.FixtureRequest) -> bool:
    """Both kinds of engine."""
    return bool(request.param == "hot")


@task
def ident(x: Any) -> Any:
    return x


@task
def count(n: int) -> Any:
    return Jump("again", n - 1) if n else Jump("stop", "done")


def looping(n: int) -> Any:
    node = count(n)
    bind(node, select_jump({"again": node, "stop": None}))
    return node


# -------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.row("02-execution", "Explicit jumps [L]", "Jump(target_key, data=None)")
@pytest.mark.row("02-execution", "Explicit jumps [L]", "bind(source, selector)")
def test_a_jump_moves_control_to_its_route(hot: bool) -> None:
    """A route that leads back to its own call makes a loop; the route None ends the run with the jump's data."""
    assert run(looping(5), hot=hot) == "done"


@pytest.mark.row("02-execution", "Explicit jumps [L]", "select_jump(routes) → JumpSelector(routes, _uuid)")
def test_selectors_are_hashed_by_their_uuid() -> None:
    """A selector keeps its routes and has a uuid of its own, which is its hash."""
    routes = {"on": ident(1), "off": None}
    selector, other = select_jump(routes), select_jump(routes)

    assert isinstance(selector, JumpSelector)
    assert selector.routes == routes
    assert hash(selector) == hash(selector._uuid)
    assert len({selector, other, selector}) == 2


@pytest.mark.row("02-execution", "Explicit jumps [L]", "bind(source, selector)")
def test_binding_again_replaces_the_selector(hot: bool) -> None:
    """``bind`` returns None and may be repeated: the last selector counts."""
    node = count(0)

    assert bind(node, select_jump({"stop": ident("first")})) is None  # type: ignore[func-returns-value]
    bind(node, select_jump({"stop": None}))
    assert run(node, hot=hot) == "done"


def test_the_next_target_may_be_any_call(hot: bool) -> None:
    """A route is a call with arguments, dependencies and routes of its own; a map too."""
    @task
    def choose(key: str) -> Any:
        return Jump(key, None)

    routes = {"plain": ident(ident(3)), "map": ident.map(x=[1, 2]), "on": choose("plain")}
    selector = select_jump(routes)
    bind(routes["on"], selector)
    for key, expected in (("plain", 3), ("map", [1, 2]), ("on", 3)):
        node = choose(key)
        bind(node, selector)

        assert run(node, hot=hot) == expected


def test_data_overrides_arguments(hot: bool) -> None:
    """A dict names arguments, any other value is argument "0", None leaves the route's own arguments as they are."""
    seen: list[Any] = []

    @task
    def body(a: Any, b: Any = "b", *, c: Any = "c") -> Any:
        seen.append((a, b, c))
        return steps.pop(0)

    for data, expected in [
        (7, (7, 2, 3)),
        ({"0": 7}, (7, 2, 3)),
        ({"1": 8, "c": 9}, (1, 8, 9)),
        ({"b": 8}, (1, 8, 3)),
        ({}, (1, 2, 3)),
        (None, (1, 2, 3)),
        ([4], ([4], 2, 3)),
        (0, (0, 2, 3)),
    ]:
        seen.clear()
        steps: list[Any] = [Jump("on", data), "end"]
        node = body(1, 2, c=3)
        bind(node, select_jump({"on": node}))

        assert run(node, hot=hot) == "end"
        assert seen == [(1, 2, 3), expected]


def test_each_jump_starts_from_the_routes_own_arguments(hot: bool) -> None:
    """What one jump overrides is forgotten by the next: static inputs again."""
    seen: list[Any] = []

    @task
    def body(a: Any, b: Any) -> Any:
        seen.append((a, b))
        return steps.pop(0)

    steps = [Jump("on", 5), Jump("on", {"b": 6}), Jump("on"), Jump("on", {"a": 7, "b": 8}), Jump("on", 9), "end"]
    node = body(1, b=2)
    bind(node, select_jump({"on": node}))

    assert run(node, hot=hot) == "end"
    assert seen == [(1, 2), (5, 2), (1, 6), (1, 2), (7, 8), (9, 2)]


def test_names_and_positions_mean_the_same_parameter(hot: bool) -> None:
    """A key that names a positional argument, or counts one passed by name, replaces it instead of passing it twice."""
    @task
    def body(a: Any, b: Any = 0) -> Any:
        return (a, b) if not isinstance(a, Jump) else a

    for node, data, expected in [
        (body(Jump("on", {"a": 5})), None, (5, 0)),
        (body(a=Jump("on", 5)), None, (5, 0)),
        (body(a=Jump("on", {"1": 6, "a": 5}), b=1), None, (5, 6)),
        (body(Jump("on", {"a": 5, "b": 7}), 1), None, (5, 7)),
    ]:
        del data
        bind(node, select_jump({"on": node}))

        assert run(node, hot=hot) == expected


def test_overrides_beat_edges_and_add_arguments(hot: bool) -> None:
    """An override takes the place of a dependency's value, and of a default that was not passed."""
    ran: list[Any] = []

    @task
    def source() -> Any:
        ran.append("source")
        return 10

    @task
    def body(a: Any, b: Any = None) -> Any:
        ran.append((a, b))
        return Jump("on", {"0": a - 5, "b": "new"}) if a else Jump("off", a)

    node = body(source())
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot) == 0
    # What the route needs is evaluated anew in each round, as a captured lazy is in each step.
    assert ran == ["source", (10, None), "source", (5, "new"), "source", (0, "new")]


def test_overrides_are_of_the_target_alone(hot: bool) -> None:
    """What the inner calls of a step return is evaluated without them."""
    @task
    def expanding(x: Any) -> Any:
        return ident(x)

    @task
    def body(a: Any, b: Any) -> Any:
        return Jump("on", {"0": "given", "b": b + 1}) if b < 3 else Jump("off", (a, b))

    @task
    def other(a: Any, b: Any) -> Any:
        return Jump("on", "given") if a != "given" else Jump("off", (a, b))

    nodes = body(expanding("own"), b=0), other(1, [expanding("own")])
    for node, expected in zip(nodes, (("given", 3), ("given", ["own"])), strict=True):
        bind(node, select_jump({"on": node, "off": None}))

        assert run(node, hot=hot) == expected


def test_an_override_inside_nested_arguments(hot: bool) -> None:
    """An argument that is a container with calls in it is overridden as a whole."""
    @task
    def body(items: Any, k: Any) -> Any:
        return Jump("on", {"0": "plain"}) if items != "plain" else Jump("off", (items, k))

    node = body([ident(1), {"a": ident(2)}], k=ident(3))
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot) == ("plain", 3)


def test_injected_parameters_stay_and_may_be_overridden(hot: bool) -> None:
    """A resource is injected in every round unless the jump gives that argument."""
    @resource(name="db")
    def db() -> Any:
        yield "db"

    @task
    def body(n: int, db: Any = inject("db")) -> Any:
        seen.append(db)
        return Jump("on", {"n": n - 1, **({"db": "mine"} if n == 1 else {})}) if n else Jump("off", "end")

    for start in (body(2), body(n=2)):
        seen: list[Any] = []
        bind(start, select_jump({"on": start, "off": None}))

        assert run(start, hot=hot, resources=[db]) == "end"
        assert seen == ["db", "db", "mine"]


def test_an_unknown_key_and_the_route_none_end_the_run(hot: bool) -> None:
    """Both end the run with the data, also when the key cannot be one."""
    for key in ("stop", "nowhere", ["no key"], None):
        node = ident(Jump(key, {"answer": 42}))
        bind(node, select_jump({"stop": None, "on": ident(1)}))

        assert run(node, hot=hot) == {"answer": 42}


def test_a_selector_with_only_exits_is_a_bound_selector(hot: bool) -> None:
    """Routes that are all None, or none at all, are no reason for an error."""
    for routes in ({"stop": None}, {}):
        node = ident(Jump("stop", 3))
        bind(node, select_jump(routes))

        assert run(node, hot=hot) == 3


def test_a_jump_without_a_selector_is_an_error(hot: bool) -> None:
    """A target that jumps needs a selector, at the start and after a jump or a tail call; the error names the task."""
    @task
    def tail() -> Any:
        return ident(Jump("on"))

    onward = ident(1)
    bind(onward, select_jump({}))
    node = ident(Jump("on", Jump("on")))
    bind(node, select_jump({"on": ident(0)}))
    for target in (ident(Jump("on")), tail(), node):
        with pytest.raises(RuntimeError, match=r"'ident' .*has no bound 'select_jump'"):
            run(target, hot=hot)


def test_only_the_targets_result_is_interpreted(hot: bool) -> None:
    """A Jump elsewhere is data: of an inner call, bound or not, in a container, of a map's item, in an expansion."""
    @task
    def bound() -> Any:
        node = ident(Jump("on"))
        bind(node, select_jump({"on": ident("never")}))
        return node

    inner = ident(Jump("on"))
    bind(inner, select_jump({"on": ident("never")}))

    assert run(ident([inner]), hot=hot) == [Jump("on")]
    assert run(ident((ident(Jump("on")), 1)), hot=hot) == (Jump("on"), 1)
    assert run(ident.map(x=[Jump("a"), Jump("b")]), hot=hot) == [Jump("a"), Jump("b")]
    assert run(ident([bound()]), hot=hot) == [Jump("on")]
    assert run(bound(), hot=hot) == "never"  # a tail call: its call is the target then


def test_other_values_end_the_run_as_usual(hot: bool) -> None:
    """A bound target may return a value, or a call that is continued."""
    @task
    def tail(x: Any) -> Any:
        return ident(x)

    for node in (ident(7), tail(7)):
        bind(node, select_jump({"on": ident(1)}))

        assert run(node, hot=hot) == 7


def test_calls_in_the_data_are_evaluated(hot: bool) -> None:
    """Data that holds calls has their values when it arrives, as an override and as the end of a run."""
    @task
    def body(a: Any, b: Any = 0) -> Any:
        return Jump("on", a) if isinstance(a, (cs.LazyResult, dict)) else Jump("off", [ident(a), b])

    for data, expected in ((ident(5), [5, 0]), ({"a": 5, "b": ident(6)}, [5, 6])):
        node = ident(Jump("body", data))
        bind(node, select_jump({"body": body(0), "off": None}))
        there = node._jump_selector.routes["body"]
        bind(there, node._jump_selector)

        assert run(node, hot=hot) == expected


def test_subclasses_jump_too(hot: bool) -> None:
    """An instance of a subclass of Jump is a jump."""
    class Mine(Jump):
        pass

    node = ident(Mine("stop", 4))
    bind(node, select_jump({"stop": None}))

    assert run(node, hot=hot) == 4


def test_what_cannot_be_a_route_or_an_argument_is_refused(hot: bool) -> None:
    """A route that is no call, and a key that is no name, are typed errors that say what to do."""
    node = ident(Jump("on"))
    bind(node, JumpSelector({"on": 3}))
    with pytest.raises(TypeError, match="route 'on' of select_jump is a int"):
        run(node, hot=hot)
    for data, named in (({3: 4}, "'ident' with 3"), ({"unknown": 1}, "unknown")):
        node = ident(Jump("on", data))
        bind(node, select_jump({"on": ident(0)}))
        with pytest.raises(TypeError, match=named):
            run(node, hot=hot)
    node = ident(Jump("on", [1]))
    bind(node, select_jump({"on": ident.map(x=[1])}))
    with pytest.raises(TypeError, match="'map' with '0'"):
        run(node, hot=hot)


def test_a_misfit_of_an_override_names_the_task(hot: bool) -> None:
    """Arguments that do not fit after a jump are reported as those of a call are."""
    node = count(1)
    bind(node, select_jump({"again": ident(x=1), "stop": None}))
    there = node._jump_selector.routes["again"]
    bind(there, select_jump({}))
    node2 = ident(Jump("on", {"y": 1}))
    bind(node2, select_jump({"on": there}))

    with pytest.raises(TaskArgumentError, match="ident"):
        run(node2, hot=hot)


# --------------------------------------------------------------------------------------------------------- policies


def test_retries_keep_the_overrides(hot: bool) -> None:
    """A failing round is retried with the arguments that the jump gave."""
    seen: list[Any] = []

    @task
    def body(n: int) -> Any:
        seen.append(n)
        if n == 1 and seen.count(1) < 3:
            raise ValueError(n)
        return Jump("on", n - 1) if n else Jump("off", "end")

    node = body(2).with_retry(3, delay=0)
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot) == "end"
    assert seen == [2, 1, 1, 1, 0]


def test_an_error_of_a_round_is_raised_unchanged(hot: bool) -> None:
    """What a round raises is what the run raises."""
    error = LookupError("mine")

    @task
    def body(n: int) -> Any:
        if not n:
            raise error
        return Jump("on", n - 1)

    node = body(3)
    bind(node, select_jump({"on": node}))
    with pytest.raises(LookupError) as caught:
        run(node, hot=hot)
    assert caught.value is error


def test_asynchronous_rounds(hot: bool) -> None:
    """A target may be a coroutine function, alone or beside others."""
    @task
    async def body(n: int, other: Any) -> Any:
        await asyncio.sleep(0)
        return Jump("on", {"n": n - 1}) if n else Jump("off", other)

    node = body(n=3, other=ident(4))
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot) == 4


class Kept:
    """A cache policy that keeps everything."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def check(self, key: str, inputs: Any) -> Any:
        return self.values.get(key)

    async def save(self, key: str, inputs: Any, value: Any) -> None:
        self.values[key] = value


def test_jumps_are_not_cached(hot: bool) -> None:
    """A jump is no value to keep, and a round whose arguments a jump gave is not looked up under those of its call."""
    policy = Kept()
    node = count(3).with_cache(policy)
    bind(node, select_jump({"again": node, "stop": None}))

    assert run(node, hot=hot) == "done"
    assert policy.values == {}

    @task
    def body(n: int) -> Any:
        return Jump("on", n - 1) if n else "value"

    node = body(2).with_cache(policy)
    bind(node, select_jump({"on": node}))
    for _ in range(2):
        assert run(node, hot=hot) == "value"
    assert policy.values == {}

    @task
    def outer(n: int) -> Any:
        return body(n)

    @task
    def data(jump: Jump) -> int:
        return jump.data

    assert run(data(outer(2).with_cache(policy)), hot=hot) == 1
    assert policy.values == {}


def test_conditions_and_choices_hold_in_every_round(hot: bool) -> None:
    """A target with ``run_if``, ``after`` or a Router among its arguments loops like any other."""
    seen: list[Any] = []

    @task
    def body(n: int, extra: Any) -> Any:
        seen.append((n, extra))
        return Jump("on", n - 1) if n else Jump("off", "end")

    node = body(2, cs.Router(ident("a"), {"a": ident(1), "b": ident(2)})).run_if(ident(True)).after(ident(0))
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot) == "end"
    assert seen == [(2, 1), (1, 1), (0, 1)]


def test_a_resource_of_task_scope_is_set_up_in_each_round(hot: bool) -> None:
    """A round is a step: its resources end with it, and before the next one."""
    log: list[str] = []

    @resource(name="conn", scope="task")
    def conn() -> Any:
        log.append("up")
        yield 1
        log.append("down")

    @task
    def body(n: int, conn: Any = inject("conn")) -> Any:
        log.append(f"run {n}")
        return Jump("on", n - 1) if n else Jump("off")

    node = body(1)
    bind(node, select_jump({"on": node, "off": None}))

    assert run(node, hot=hot, resources=[conn]) is None
    assert log == ["up", "run 1", "down", "up", "run 0", "down"]


# ------------------------------------------------------------------------------------------ tiers, counts and events


def test_a_jump_loop_runs_hot() -> None:
    """From the second round on a loop of jumps is a hot program, also between two targets and with names."""
    engine = make_engine()

    assert run(looping(1_000), engine) == "done"
    assert (engine.stats.hot, engine.stats.warm, engine.stats.cold) == (1_000, 0, 1)

    @task
    def ping(n: int) -> Any:
        return Jump("pong", {"n": n - 1}) if n > 0 else Jump("stop", n)

    @task
    def pong(n: int, source: Any) -> Any:
        return Jump("ping", n - 1)

    first, second = ping(n=10), pong(0, ident(1))
    selector = select_jump({"ping": first, "pong": second, "stop": None})
    bind(first, selector)
    bind(second, selector)
    engine = make_engine()

    assert run(first, engine) == 0
    assert (engine.stats.hot, engine.stats.warm, engine.stats.cold) == (9, 0, 2)


def test_a_hot_loop_calls_the_kernels_node_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds go through ``_execute_hot_node``: whoever replaces it sees each, with the arguments of the jump."""
    seen: list[Any] = []
    node_function = _kernel.hot._execute_hot_node

    def replaced(frame: Any, op: int) -> Any:
        seen.append(frame.arguments(op))
        return node_function(frame, op)

    monkeypatch.setattr(_kernel.hot, "_execute_hot_node", replaced)

    assert run(looping(3)) == "done"
    assert seen == [([n], {}) for n in (3, 2, 1, 0)][-len(seen) :]
    assert len(seen) >= 3


def test_graph_and_plan_are_built_once(hot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rounds, each target is built and solved once in a run."""
    built: list[Any] = []
    build = strategy_module.build_graph
    monkeypatch.setattr(strategy_module, "build_graph", lambda *a, **k: (built.append(1), build(*a, **k))[1])
    solver = CountingSolver()

    assert run(looping(20), make_engine(solver, hot=hot)) == "done"
    assert (len(built), solver.calls) == (1, 1)


def test_every_round_publishes_its_events() -> None:
    """``observe="steps"``: Started and Finished in each round, exactly as the cold tier publishes them."""
    told = []
    for options in ({"observe": "steps"}, {"hot": False}):
        engine = make_engine(**options)
        seen = watch(engine, TaskExecutionStarted, TaskExecutionFinished)
        assert run(looping(3), engine) == "done"
        told.append(names_of(seen))

    assert told[0] == told[1] == ["TaskExecutionStarted count", "TaskExecutionFinished count"] * 4


def test_the_overrides_are_handed_to_a_replaced_stage_loop() -> None:
    """Whoever replaces ``_execute_graph`` is given the jump's data as ``root_input_overrides``."""
    engine = make_engine()
    seen: list[Any] = []
    original = engine.graph_strategy._execute_graph

    async def execute(*args: Any, root_input_overrides: Any = None) -> Any:
        seen.append(root_input_overrides)
        return await original(*args, root_input_overrides)

    engine.graph_strategy._execute_graph = execute  # type: ignore[method-assign]

    assert run(looping(2), engine) == "done"
    assert seen == [None, {"0": 1}, {"0": 0}]


def test_a_replaced_function_acts_in_the_next_round() -> None:
    """No stale program: a new function, or a selector bound in mid-run, counts from the next round on."""
    def swapped(n: int) -> Any:
        return Jump("stop", f"swapped at {n}")

    @task
    def body(n: int) -> Any:
        if n == 5:
            body.func = swapped
        return Jump("again", n - 1)

    node = body(8)
    bind(node, select_jump({"again": node, "stop": None}))

    assert run(node) == "swapped at 4"

    @task
    def rebinding(n: int) -> Any:
        if n == 5:
            bind(other, select_jump({"again": None}))
        return Jump("again", n - 1)

    other = rebinding(8)
    bind(other, select_jump({"again": other}))

    assert run(other) == 3  # the selector of a round is the one that its call had when it began


def test_arguments_changed_between_rounds_count_from_the_next(hot: bool) -> None:
    """The route's call is read anew in every round: exact keys, whatever was changed in it."""
    seen: list[Any] = []

    @task
    def body(a: Any, b: Any = None) -> Any:
        seen.append((a, b))
        if len(seen) == 3:
            node.args = (ident("call"),)
        if len(seen) == 4:
            node.kwargs["b"] = [ident("nested")]
        return Jump("on") if len(seen) < 6 else "end"

    node = body("leaf")
    bind(node, select_jump({"on": node}))

    assert run(node, hot=hot) == "end"
    assert seen == [("leaf", None)] * 3 + [("call", None)] + [("call", ["nested"])] * 2


# ------------------------------------------------------------------------------------------------------------ control


def test_a_loop_of_jumps_can_be_cancelled() -> None:
    """A loop that never ends obeys a cancellation."""
    @task
    def forever(n: int) -> Any:
        return Jump("on", n + 1)

    node = forever(0)
    bind(node, select_jump({"on": node}))

    async def main() -> None:
        running = asyncio.ensure_future(make_engine().run(node))
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_a_pause_acts_between_rounds() -> None:
    """A constraint that arrives while a loop is hot holds it before its next round, and the arguments are not lost."""
    engine = make_engine()
    manager = engine.constraint_manager
    seen: list[int] = []

    @task
    def body(n: int) -> Any:
        seen.append(n)
        if n == 10:
            manager.update_constraint(GlobalConstraint("p", "task:body", "pause", {}))
            asyncio.get_running_loop().call_later(0.01, manager.remove_constraints_by_scope, "task:body")
        return Jump("on", n - 1) if n else Jump("off", "end")

    node = body(20)
    bind(node, select_jump({"on": node, "off": None}))
    with patience(0):
        assert run(node, engine) == "end"

    assert seen == list(range(20, -1, -1))
    assert engine.stats.warm > 0


def test_a_suspended_round_keeps_its_overrides() -> None:
    """A program that is handed over to full processing in mid-round still calls the target with what the jump gave."""
    engine = make_engine()
    manager = engine.constraint_manager
    seen: list[Any] = []
    calls: list[int] = []

    @task
    def source() -> Any:
        calls.append(1)
        if len(calls) == 4:
            manager.update_constraint(GlobalConstraint("p", "task:body", "pause", {}))
            asyncio.get_running_loop().call_later(0.01, manager.remove_constraints_by_scope, "task:body")
        return 0

    @task
    def body(n: int, other: Any, k: Any = 0) -> Any:
        seen.append((n, other, k))
        return Jump("on", n - 1 if n % 2 else {"n": n - 1, "k": n}) if n else Jump("off", "end")

    node = body(8, source())
    bind(node, select_jump({"on": node, "off": None}))
    with patience(0):
        assert run(node, engine) == "end"

    assert seen == [(n, 0, n + 1 if n % 2 else 0) for n in range(8, -1, -1)]


def test_nothing_outlives_its_round() -> None:
    """Arguments that a jump gave are let go of with their round: flat memory, however many rounds."""
    class Data:
        pass

    alive: list[int] = []
    known: list[Any] = []

    @task
    def body(data: Any) -> Any:
        gc.collect()
        alive.append(sum(ref() is not None for ref in known))
        made = Data()
        known.append(weakref.ref(made))
        return Jump("on", made if len(known) % 2 else {"data": made}) if len(known) < 8 else "end"

    node = body(None)
    bind(node, select_jump({"on": node}))

    assert run(node) == "end"
    assert alive == [0, 1, 1, 1, 1, 1, 1, 1]
    gc.collect()
    assert not any(ref() for ref in known)


def test_explain_calls_a_bound_target_hot() -> None:
    """``cs.explain`` has nothing to say against a jump."""
    assert cs.explain(looping(1)).tier == "hot"


@pytest.mark.parametrize("data, value", [({"x": [5]}, [5]), ({"x": ident([1, 2, 3])}, [1, 2, 3]), (None, [1, 2])])
def test_data_overrides_the_inputs_of_a_map(hot: bool, data: Any, value: list[int]) -> None:
    """A route may be a map: the data names its inputs."""

    @task
    def leap() -> Any:
        return Jump("on", data)

    node = leap()
    bind(node, select_jump({"on": ident.map(x=[1, 2])}))
    assert run(node, hot=hot) == value


def test_routes_are_given_by_key() -> None:
    """Anything but a mapping is told as such."""
    with pytest.raises(TypeError, match="select_jump takes routes by key"):
        select_jump(5)  # type: ignore[arg-type]
