"""Injected resources: what a graph needs, set-up, teardown, failures, scopes, overrides."""

from __future__ import annotations

import asyncio
import pickle
import sys
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest

import cascade as cs
from cascade.graph.build import build_graph
from cascade.graph.model import Graph, Node
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import ResourceEvent
from cascade.runtime.resource_container import ResourceContainer, ResourceCycleError
from cascade.spec.resource import inject, resource


class World:
    """A container, the stacks of a run and of a step, and what happened, in order."""

    def __init__(self):
        self.log = []
        self.events = []
        self.active = {}
        self.run = ExitStack()
        self.step = ExitStack()
        bus = MessageBus()
        bus.subscribe(ResourceEvent, self._note)
        self.container = ResourceContainer(bus)

    def _note(self, event):
        assert event.run_id == "run-1"
        self.events.append(type(event).__name__.removeprefix("Resource").lower() + " " + event.resource_name)

    def add(self, name, needs=(), scope="run"):
        """Register a resource that notes its life and yields its name with those of its needs."""
        parameters = ", ".join(f"{need}=inject({need!r})" for need in needs)
        source = (
            f"def provider({parameters}):\n"
            f"    needs = [{', '.join(needs)}]\n"
            f"    log.append('+{name}')\n"
            f"    try:\n"
            f"        yield Value('{name}', needs)\n"
            f"    except BaseException as error:\n"
            f"        log.append('!{name} ' + type(error).__name__)\n"
            f"        raise\n"
            f"    finally:\n"
            f"        log.append('-{name}')\n"
        )
        scope_of_names = {"inject": inject, "log": self.log, "Value": Value}
        exec(source, scope_of_names)
        self.container.register(resource(scope_of_names["provider"], name=name, scope=scope))

    def provide(self, function, name=None, scope="run"):
        self.container.register(resource(name=name, scope=scope)(function))

    def setup(self, *names):
        self.container.setup(set(names), self.active, self.run, self.step, "run-1")


class Value:
    """The instance of a noted resource."""

    def __init__(self, name, needs):
        self.name = name
        self.needs = needs


@pytest.fixture
def world():
    return World()


# -- order and lifetime ---


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "teardown")
@pytest.mark.row("04-resources-and-constraints", "Injected resources", "setup")
def test_dependencies_come_first_and_teardown_is_the_reverse(world):
    """Names in order, each preceded by what it needs; every instance once; events in step."""
    world.add("b", needs=["z", "y"])
    world.add("a", needs=["z"])
    world.add("y", needs=["x"])
    for name in ("x", "z"):
        world.add(name)
    world.setup("b", "a")

    assert world.log == ["+z", "+a", "+x", "+y", "+b"]
    assert world.active["b"].needs == [world.active["z"], world.active["y"]]
    assert set(world.active) == {"a", "b", "x", "y", "z"}

    world.run.close()
    assert world.log[5:] == ["-b", "-y", "-x", "-a", "-z"]
    assert world.active == {}
    assert world.events == [
        *(f"acquired {name}" for name in "zaxyb"),
        *(f"released {name}" for name in "byxaz"),
    ]


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "setup")
def test_the_order_does_not_depend_on_registration_or_hashing():
    """Any order of registration gives the same set-up."""
    orders = []
    for names in ("abcdefgh", "hgfedcba", "dhbfacge"):
        world = World()
        for name in names:
            world.add(name)
        world.setup(*names)
        orders.append(list(world.log))

    assert orders == [[f"+{name}" for name in "abcdefgh"]] * 3


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "after teardown")
@pytest.mark.row("04-resources-and-constraints", "Injected resources", "sharing")
def test_what_is_active_is_shared_and_what_was_torn_down_is_made_again(world):
    """One run-scoped instance per run, one task-scoped instance per step."""
    world.add("pool")
    world.add("conn", needs=["pool"], scope="task")
    world.setup("conn")
    world.setup("conn", "pool")
    first = world.active["conn"]
    world.step.close()
    assert set(world.active) == {"pool"}

    world.step = ExitStack()
    world.setup("conn")
    assert world.active["conn"] is not first
    assert world.active["conn"].needs == [world.active["pool"]]
    world.step.close()
    world.run.close()

    assert world.log == ["+pool", "+conn", "-conn", "+conn", "-conn", "-pool"]
    assert world.active == {}


def test_a_chain_of_any_depth_is_set_up(world):
    """Depth is not bounded by the recursion limit."""
    depth = sys.getrecursionlimit() * 2
    for i in range(depth):
        world.add(f"r{i}", needs=[f"r{i + 1}"] if i + 1 < depth else [])
    world.setup("r0")

    assert world.log[0] == f"+r{depth - 1}"
    assert len(world.log) == depth
    world.run.close()
    assert world.active == {}


# -- errors ---


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "not registered")
def test_an_unknown_resource_is_a_name_error_that_says_who_needs_it(world):
    """The text is the published one; the notes tell what to do."""
    world.add("a", needs=["b"])
    with pytest.raises(NameError) as caught:
        world.setup("a")

    assert str(caught.value) == "Resource 'b' is required but not registered"
    assert caught.value.name == "b"
    assert "'a' needs it" in caught.value.__notes__[0]
    assert world.log == []


@pytest.mark.parametrize(
    "needs, cycle",
    [
        ({"a": ["a"]}, ("a",)),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c")),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, ("a", "b", "c")),
    ],
)
@pytest.mark.parametrize("scopes", ["rrr", "ttt", "rtr", "trt"])
def test_a_circle_is_a_typed_error_that_names_it(world, needs, cycle, scopes):
    """Nothing is set up, whatever the scopes, and the error survives pickling."""
    for (name, wanted), scope in zip(needs.items(), scopes, strict=False):
        world.add(name, wanted, {"r": "run", "t": "task"}[scope])
    with pytest.raises(ResourceCycleError, match=" -> ") as caught:
        world.setup("a")

    assert set(caught.value.cycle) == set(cycle)
    assert isinstance(caught.value, ValueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.cycle, str(copy)) == (caught.value.cycle, str(caught.value))
    assert world.log == []


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "setup raises")
def test_a_failing_setup_leaves_the_others_to_be_torn_down(world):
    """What was set up before the failure ends with the stack."""

    def broken(a=inject("a")):
        raise OSError("no disk")
        yield

    world.add("a")
    world.provide(broken)
    with pytest.raises(OSError, match="no disk"), world.run:
        world.setup("broken")

    assert world.log == ["+a", "!a OSError", "-a"]
    assert world.events == ["acquired a", "released a"]
    assert world.active == {}


def test_a_failing_task_is_visible_at_the_yield(world):
    """A resource can roll back; the error goes on unchanged, its traceback without frames of resources."""
    seen = []

    def transaction():
        try:
            yield "tx"
        except KeyError as error:
            seen.append(error)
            raise

    world.provide(transaction)
    world.setup("transaction")
    error = KeyError("boom")
    with pytest.raises(KeyError) as caught, world.run:
        raise error

    assert caught.value is error
    assert seen == [error]
    frames = []
    traceback = error.__traceback__
    while traceback:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert "transaction" not in frames
    assert error.__context__ is None


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
def test_a_resource_cannot_swallow_the_error(world, kind):
    """A generator that catches and ends normally still lets the error end the run."""

    def greedy():
        try:
            yield 1
        except BaseException:
            world.log.append("caught")

    world.provide(greedy)
    world.add("outer")
    world.setup("outer", "greedy")
    error = kind("boom")
    with pytest.raises(kind) as caught, world.run:
        raise error

    assert caught.value is error
    assert world.log == ["+outer", f"!outer {kind.__name__}", "-outer", "caught"]
    assert world.active == {}


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "teardown raises")
def test_a_failing_teardown_ends_the_run_after_the_others(world):
    """The others are still torn down, and everything counts as released."""

    def broken(a=inject("a")):
        yield 1
        raise OSError("stuck")

    world.add("a")
    world.add("z", needs=["a"])
    world.provide(broken)
    world.setup("broken", "z")
    with pytest.raises(OSError, match="stuck"):
        world.run.close()

    assert [entry for entry in world.log if entry[0] == "-"] == ["-z", "-a"]
    assert world.events[-3:] == ["released z", "released broken", "released a"]
    assert world.active == {}


def test_a_teardown_that_fails_after_a_task_becomes_a_note(world):
    """The first error is the one to report; the second is not lost."""

    def broken():
        try:
            yield 1
        finally:
            raise OSError("stuck")

    world.provide(broken)
    world.setup("broken")
    error = ValueError("boom")
    with pytest.raises(ValueError) as caught, world.run:
        raise error

    assert caught.value is error
    assert error.__notes__ == ["Teardown of resource 'broken' failed too: OSError: stuck"]


def test_an_interrupt_during_teardown_propagates(world):
    """A cancellation or Ctrl+C that arrives in a teardown is not turned into a note."""

    def interrupted():
        try:
            yield 1
        finally:
            raise KeyboardInterrupt

    world.provide(interrupted)
    world.setup("interrupted")
    with pytest.raises(KeyboardInterrupt), world.run:
        raise ValueError("boom")

    assert world.events == ["acquired interrupted", "released interrupted"]


@pytest.mark.parametrize("is_failing", [False, True])
def test_a_second_yield_is_an_error_and_the_resource_is_released(world, is_failing):
    """The generator is closed, the resource counts as released, the error names it."""

    def twice():
        with suppress(ValueError):
            yield 1
        try:
            yield 2
        finally:
            world.log.append("closed")

    world.provide(twice)
    world.setup("twice")
    if is_failing:
        error = ValueError("boom")
        with pytest.raises(ValueError), world.run:
            raise error
        text = error.__notes__[0]
    else:
        with pytest.raises(RuntimeError) as caught:
            world.run.close()
        text = str(caught.value)

    assert "'twice' yielded a second time" in text
    assert world.log == ["closed"]
    assert world.events == ["acquired twice", "released twice"]
    assert world.active == {}


def test_a_provider_that_yields_nothing_or_is_no_generator_is_an_error(world):
    """Both errors name the resource and say what a provider looks like."""

    def never():
        if world.log:
            yield 1

    world.provide(never)
    with pytest.raises(RuntimeError, match="'never' ended without a yield"):
        world.setup("never")

    world.container.override_provider("plain", lambda: 5)
    with pytest.raises(TypeError, match="'plain' must be a generator function"):
        world.setup("plain")
    with pytest.raises(TypeError, match="'plain' must be a generator function"):
        world.container.override_provider("plain", 5)
    assert world.events == []


# -- a run-scoped resource that needs a task-scoped one ---


def test_a_run_scoped_resource_does_not_keep_a_task_scoped_one_after_its_teardown(world):
    """It gets an instance of its own, which lives as long as it does; tasks get theirs each step."""
    world.add("conn", scope="task")
    world.add("pool", needs=["conn"])
    world.setup("pool", "conn")
    mine, shared = world.active["pool"].needs[0], world.active["conn"]
    assert mine is not shared

    world.step.close()
    assert world.log == ["+conn", "+conn", "+pool", "-conn"]
    assert set(world.active) == {"pool"}

    world.run.close()
    assert world.log[4:] == ["-pool", "-conn"]


def test_the_private_instance_is_not_shown_to_tasks(world):
    """A task that needs the resource later gets an instance of its step."""
    world.add("conn", scope="task")
    world.add("pool", needs=["conn"])
    world.setup("pool")

    assert set(world.active) == {"pool"}
    world.setup("conn")
    assert world.active["conn"] is not world.active["pool"].needs[0]


def test_privacy_reaches_through_task_scoped_needs_and_ends_at_run_scoped_ones(world):
    """What a private instance needs is private too, once for its owner; run-scoped needs are shared as ever."""
    world.add("settings")
    world.add("session", needs=["settings"], scope="task")
    world.add("conn", needs=["session", "settings"], scope="task")
    world.add("pool", needs=["conn", "session"])
    world.setup("pool")
    conn, session = world.active["pool"].needs

    assert conn.needs[0] is session
    assert conn.needs[1] is session.needs[0] is world.active["settings"]
    assert world.log == ["+settings", "+session", "+conn", "+pool"]
    assert set(world.active) == {"pool", "settings"}


# -- registration ---


def test_providers_are_generator_functions_behind_names(world):
    """Definitions give their function, plain functions themselves, unknown names a KeyError."""

    def plain():
        yield 1

    definition = resource(plain, name="defined", scope="task")
    world.container.register(definition)
    world.container.override_provider("plain", plain)

    assert world.container.get_provider("defined") is plain
    assert world.container.get_provider("plain") is plain
    with pytest.raises(KeyError):
        world.container.get_provider("nobody")


def test_a_plain_provider_is_run_scoped(world):
    """Only a definition can ask for the task scope."""

    def plain():
        yield 1

    world.container.override_provider("plain", plain)
    world.add("conn", scope="task")
    assert [world.container.scope_of(name) for name in ("plain", "conn")] == ["run", "task"]
    world.setup("plain")
    world.step.close()
    assert world.active == {"plain": 1}
    world.run.close()
    assert world.active == {}


def test_override_puts_back_exactly_what_was_there(world):
    """Scope included, also after an error; a name that was unknown is unknown again."""

    def fake():
        yield "fake"

    world.add("conn", scope="task")
    definition = world.container._resource_providers["conn"]
    with suppress(OSError), world.container.override("conn", fake):
        assert world.container.get_provider("conn") is fake
        raise OSError
    with world.container.override("new", fake):
        assert world.container.get_provider("new") is fake

    assert world.container._resource_providers == {"conn": definition}


def test_an_override_acts_at_the_next_setup(world):
    """What is active stays; the needs of the new provider are its own."""

    def fake(b=inject("b")):
        yield ("fake", b.name)

    world.add("a")
    world.add("b")
    world.setup("a")
    with world.container.override("a", fake):
        world.setup("a")
        assert world.active["a"].name == "a"
        world.run.close()
        world.setup("a")
        assert world.active["a"] == ("fake", "b")


def test_the_epoch_grows_with_every_registration_and_override(world):
    """Cached answers about resources can be checked by one integer."""
    epochs = [world.container.epoch]
    world.add("a")
    epochs.append(world.container.epoch)
    world.container.override_provider("a", world.container.get_provider("a"))
    epochs.append(world.container.epoch)
    with world.container.override("a", world.container.get_provider("a")):
        epochs.append(world.container.epoch)
    epochs.append(world.container.epoch)

    assert epochs == sorted(set(epochs))


# -- scanning ---


def graph_of(*nodes):
    return Graph(nodes=list(nodes))


def function_with_default(a, b=inject("default"), *, c=inject("keyword"), d=3):
    """A function whose signature asks for two resources."""


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "need")
def test_scan_finds_markers_in_bindings_however_nested():
    """Lists, tuples and dict values are searched; sets, dict keys and other objects are not."""
    bindings = {
        "0": inject("a"),
        "1": [1, (2, {"k": [inject("b")]})],
        "x": {"deep": ({"er": inject("c")},)},
        "y": {inject("key"): 1},
        "z": SimpleNamespace(value=inject("hidden")),
    }

    assert World().container.scan(graph_of(Node("id", "n", input_bindings=bindings))) == {"a", "b", "c"}


def test_scan_survives_data_that_contains_itself_and_data_of_any_depth():
    """Plain data may be cyclic, shared or deep."""
    cyclic = [inject("a")]
    cyclic.append({"self": cyclic, "again": [cyclic, cyclic]})
    deep = inject("b")
    for _ in range(100_000):
        deep = [deep]
    node = Node("id", "n", input_bindings={"0": cyclic, "1": deep})
    found = World().container.scan(graph_of(node))
    while isinstance(deep, list):  # take it apart, for old interpreters free nested lists by recursion
        deep = deep.pop()

    assert found == {"a", "b"}


def test_scan_reads_injects_then_signature_then_function():
    """The precomputed list is preferred, a missing signature is read off the function."""
    container = World().container
    by_function = Node("1", "n", callable_obj=function_with_default)
    assert container.scan(graph_of(by_function)) == {"default", "keyword"}

    import inspect

    by_signature = Node("2", "n", callable_obj=print, signature=inspect.signature(function_with_default))
    assert container.scan(graph_of(by_signature)) == {"default", "keyword"}

    by_list = Node("3", "n", callable_obj=function_with_default)
    by_list.injects = (("b", "listed"), ("c", 3, "listed too"))
    assert container.scan(graph_of(by_list)) == {"listed", "listed too"}
    by_list.injects = ()
    assert container.scan(graph_of(by_list)) == set()


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "need")
def test_scan_looks_through_a_map_at_its_factory():
    """What the items of a map inject is set up like any other task's, and so are markers among its inputs."""
    container = World().container
    of_function = Node("1", "map(f)", node_type="map", mapping_factory=SimpleNamespace(func=function_with_default))
    of_list = Node("2", "map(g)", node_type="map", mapping_factory=SimpleNamespace(injects=(("b", "listed"),)))
    bare = Node("3", "map(h)", node_type="map", mapping_factory=object(), input_bindings={"x": [inject("input")]})

    assert container.scan(graph_of(of_function)) == {"default", "keyword"}
    assert container.scan(graph_of(of_list)) == {"listed"}
    assert container.scan(graph_of(bare)) == {"input"}


def test_scan_passes_over_functions_without_a_signature():
    """Some builtins do not tell their parameters, and nodes need not have a function."""
    assert World().container.scan(graph_of(Node("1", "n", callable_obj=dict.fromkeys), Node("2", "m"))) == set()


@pytest.mark.parametrize("error", [KeyError("boom"), asyncio.CancelledError()])
def test_code_after_a_bare_yield_runs_after_failures_too(world, error):
    """Where nothing could notice the exception, it does not keep the teardown from running; it goes on all the same."""

    def outer():
        yield "o"
        world.log.append("-outer")

    def inner(outer=inject("outer")):
        yield "i"
        world.log.append("-inner")

    world.provide(outer)
    world.provide(inner)
    world.setup("inner")
    with pytest.raises(type(error)) as caught, world.run:
        raise error

    assert caught.value is error
    assert world.log == ["-inner", "-outer"]


def test_register_takes_resources_only(world):
    """A function that was not decorated is told as such."""
    for wrong in (lambda: None, "db", None):
        with pytest.raises(TypeError, match=r"register\(\) takes a resource, not .*@cs.resource"):
            world.container.register(wrong)


def test_inputs_of_runs_are_no_resources():
    """What Param and Env read needs no set-up."""
    graph, _ = build_graph(cs.task(lambda *values: values, name="both")(cs.Param("size", 1), cs.Env("HOME")))

    assert ResourceContainer(MessageBus()).scan(graph) == set()
