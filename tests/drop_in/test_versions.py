"""Where the older engine's two versions disagree: programs for either run here."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.graph.build import build_graph
from cascade.graph.exceptions import CascadeGraphError, StaticGraphError
from cascade.graph.hashing import BlueprintHasher, HashingService
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.runtime.events import Event, TaskExecutionFinished, TaskExecutionStarted
from cascade.runtime.resource_manager import ResourceManager
from cascade.spec.jump import Jump
from tests.drop_in.doubles import drive, engine_of


@pytest.mark.row("00-index", "Where the two versions disagree", "task body returns a lazy")
def test_a_returned_call_is_continued() -> None:
    """As in the early version; the later one's error has its name and place, for who wants to raise it."""

    @cs.task
    def inner(x: int) -> int:
        return x + 1

    @cs.task
    def outer(x: int) -> Any:
        return inner(x)

    @cs.task
    def use(x: int) -> int:
        return x * 10

    engine, _ = engine_of()

    assert drive(engine.run(outer(1))) == 2
    assert drive(engine.run(use(outer(1)))) == 20
    assert issubclass(StaticGraphError, CascadeGraphError)


@pytest.mark.row("00-index", "Where the two versions disagree", "loops")
def test_both_kinds_of_loops_run() -> None:
    """Implicit tail calls, and jumps to bound routes."""

    @cs.task
    def down(n: int) -> Any:
        return down(n - 1) if n else "end"

    @cs.task
    def step(n: int) -> Any:
        return Jump("again", n - 1) if n else Jump("stop", "end")

    node = step(3)
    cs.bind(node, cs.select_jump({"again": node, "stop": None}))
    engine, _ = engine_of()

    assert drive(engine.run(down(3))) == "end"
    assert drive(engine.run(node)) == "end"


@pytest.mark.row("00-index", "Where the two versions disagree", "merging of equal calls")
def test_equal_calls_are_merged_for_pure_tasks_only() -> None:
    """Default tasks run once for each instance; what a cache is asked with does not depend on the instance."""
    calls: list[str] = []

    def roll() -> str:
        calls.append("roll")
        return "six"

    pure, plain = cs.task(roll, pure=True), cs.task(roll)
    pair = cs.task(lambda a, b: [a, b], name="pair")
    engine, _ = engine_of()

    assert drive(engine.run(pair(pure(), pure()))) == ["six", "six"]
    assert len(calls) == 1
    assert drive(engine.run(pair(plain(), plain()))) == ["six", "six"]
    assert len(calls) == 3
    one = plain()
    assert drive(engine.run(pair(one, one))) == ["six", "six"]
    assert len(calls) == 4
    first, second = (build_graph(plain())[0].nodes[0] for _ in range(2))
    assert first.structural_id != second.structural_id
    assert first.cache_id == second.cache_id


@pytest.mark.row("00-index", "Where the two versions disagree", "Node fields")
def test_nodes_have_the_fields_of_both() -> None:
    """Those of the early version can be given in its order; the later one's follow."""
    early = [
        *("structural_id", "name", "template_id", "is_shadow", "tco_cycle_id", "node_type", "callable_obj"),
        *("signature", "param_spec", "mapping_factory", "retry_policy", "cache_policy", "constraints"),
        *("input_bindings", "has_complex_inputs", "warns_dynamic_recursion"),
    ]
    later = ["execution_mode", "is_async"]

    assert [field.name for field in dataclasses.fields(Node)] == early + later
    node = Node("i", "n")
    assert (node.template_id, node.is_shadow, node.tco_cycle_id, node.warns_dynamic_recursion) == (
        "",
        False,
        None,
        False,
    )
    assert (node.execution_mode, node.is_async) == (None, False)


@pytest.mark.row("00-index", "Where the two versions disagree", "HashingService")
def test_all_three_ways_of_hashing_are_there() -> None:
    """A pair of ids, the first of them alone, and the hash of a whole graph."""

    @cs.task
    def f(x: int) -> int:
        return x

    lazy, service = f(1), HashingService()
    structural, template = service.compute_hashes(lazy, {})

    assert service.compute_structural_hash(lazy, {}) == structural != template
    assert BlueprintHasher().compute_hash(build_graph(f(1))[0]) == BlueprintHasher().compute_hash(build_graph(f(2))[0])


@pytest.mark.row("00-index", "Where the two versions disagree", "sync task functions")
def test_functions_run_inline_unless_a_mode_is_given() -> None:
    """The thread of the loop by default, a named thread for ``blocking``, another process for ``compute``."""

    def where() -> str:
        return threading.current_thread().name

    engine, _ = engine_of()
    main = threading.current_thread().name

    assert drive(engine.run(cs.task(where)())) == main
    assert drive(engine.run(cs.task(where, mode="blocking")())).startswith("cascade_blocking")
    with pytest.raises(Exception, match="where"):  # a local function cannot be shipped, and that is said
        drive(engine.run(cs.task(where, mode="compute")()))
    assert isinstance(engine.executor, LocalExecutor)
    engine.executor.close()


@pytest.mark.row("00-index", "Where the two versions disagree", "Event.event_id")
def test_ids_of_events_are_unique_texts() -> None:
    """Whatever their form."""
    ids = [Event().event_id for _ in range(1_000)]

    assert len(set(ids)) == 1_000
    assert all(isinstance(one, str) and one for one in ids)


@pytest.mark.row("00-index", "Where the two versions disagree", "TaskExecutionFinished.result_preview")
def test_previews_are_the_beginning_of_the_repr() -> None:
    """As in the early version: at most 100 characters; none for a failure."""

    @cs.task
    def say(x: Any) -> Any:
        if x is None:
            raise ValueError
        return x

    engine, spy = engine_of()
    for value in (1, "x" * 200):
        drive(engine.run(say(value)))
    with pytest.raises(ValueError):
        drive(engine.run(say(None)))

    previews = [event.result_preview for event in spy.of(TaskExecutionFinished)]
    assert previews == ["1", "'" + "x" * 99, None]


@pytest.mark.row("00-index", "Where the two versions disagree", "static analysis")
def test_the_analysis_of_sources_is_kept() -> None:
    """Targets, cycle ids and the warning of the early version."""
    from cascade.graph.ast_analyzer import analyze_task_source, assign_tco_cycle_ids
    from cascade.runtime.events import StaticAnalysisWarning

    @cs.task
    def base() -> int:
        return 0

    @cs.task
    def loop(n: Any) -> Any:
        if not n:
            return "end"
        return loop(base())

    assert analyze_task_source(loop).targets == [loop]
    assert analyze_task_source(loop).has_dynamic_recursion
    assign_tco_cycle_ids(loop)
    assert len(loop._tco_cycle_id) == 32
    engine, spy = engine_of()
    drive(engine.run(loop(1)))
    assert [event.warning_code for event in spy.of(StaticAnalysisWarning)] == ["CS-W001"]


@pytest.mark.row("00-index", "Where the two versions disagree", "cs.run(list) / engine.run(list)")
@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_and_tuples_of_targets_are_run(kind: Any) -> None:
    """The result is a list, in both ways of running; the graph of a list is still no graph."""

    @cs.task
    def f(x: int) -> int:
        return x

    engine, _ = engine_of()

    assert drive(engine.run(kind([f(1), f(2)]))) == [1, 2]
    assert cs.run(kind([f(1), "literal"]), log_level="ERROR") == [1, "literal"]
    with pytest.raises(TypeError, match="Cannot build graph from type"):
        build_graph(kind([f(1)]))


@pytest.mark.row("00-index", "Where the two versions disagree", "visualize node text")
def test_pictures_have_the_early_text() -> None:
    """With style and colours, outside an app."""

    @cs.task
    def f() -> int:
        return 1

    text = cs.visualize(f())
    (line,) = [line for line in text.splitlines() if "(task)" in line]

    assert line.endswith(' [label="f\\n(task)", shape=box, style="rounded,filled", fillcolor=white, fontcolor=black];')


@pytest.mark.row("00-index", "Where the two versions disagree", "spec.common.Param")
def test_the_old_class_of_parameters_is_kept() -> None:
    """Name, default, type and description, beside the specs that took its place."""
    from cascade.spec.common import Param
    from cascade.spec.input import ParamSpec

    old, new = Param("n", 3, int, "about n"), ParamSpec("n", 3, "about n", int)

    assert (old.name, old.default, old.type, old.description) == ("n", 3, int, "about n")
    assert (new.name, new.default, new.type, new.description) == ("n", 3, int, "about n")
    assert Param("n").default is None


@pytest.mark.row("00-index", "Where the two versions disagree", "helpers in cascade.testing")
def test_helpers_of_both_are_there() -> None:
    """The function of the early version, and the classes of the later one."""
    import cascade.testing as helpers

    for name in (
        *("override_resource", "SpySubscriber", "SpySolver", "MockSolver"),
        *("SpyExecutor", "MockExecutor", "MockConnector"),
    ):
        assert callable(getattr(helpers, name)), name


@pytest.mark.row("00-index", "Where the two versions disagree", "resource acquire with no requirements")
def test_a_call_without_amounts_does_not_show_whether_the_manager_was_asked() -> None:
    """An empty request is granted at once, and a call without amounts runs whatever is in use."""
    manager = ResourceManager({"gpu": 1})

    async def main() -> Any:
        await manager.acquire({"gpu": 1})
        await manager.acquire({})
        engine, spy = engine_of(resource_manager=manager)
        value = await engine.run(cs.task(lambda: "ran", name="t")())
        await manager.release({})
        return value, spy.names

    value, names = asyncio.run(main())
    assert value == "ran"
    assert names == ["RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"]
    assert not manager.can_acquire({"gpu": 1})


def test_started_events_of_both_carry_id_and_name() -> None:
    """Positional construction as in either version."""
    event = TaskExecutionStarted("e", 1.0, "r", "id", "name")

    assert (event.event_id, event.timestamp, event.run_id, event.task_id, event.task_name) == (
        "e",
        1.0,
        "r",
        "id",
        "name",
    )


def test_edges_and_graphs_are_made_by_hand_as_in_either() -> None:
    """Source, target and argument name; the kind is DATA unless given, and a selector of jumps may come along."""
    up, down = Node("u", "up"), Node("d", "down")
    edge = Edge(up, down, "0")

    assert (edge.edge_type, edge.router, edge.jump_selector) == (EdgeType.DATA, None, None)
    graph = Graph([up, down], [edge])
    assert graph.get_node("d") is down
