"""Fewest stages under resource limits."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cascade.adapters.solvers.csp as csp
from cascade.adapters.solvers import CSPSolver
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.task import task

needs_library = pytest.mark.skipif(csp.constraint is None, reason="python-constraint is not installed")


@task
def amount() -> int:
    return 3


def graph_of(nodes: dict[str, dict[str, Any]], *edges: str, kind: EdgeType = EdgeType.DATA) -> Graph:
    """Make a graph from node names with their amounts, and edges such as ``ab`` (a before b)."""
    made = {
        name: Node(name, name, constraints=ResourceConstraint(needs) if needs else None)
        for name, needs in nodes.items()
    }
    return Graph(list(made.values()), [Edge(made[e[0]], made[e[1]], "x", kind) for e in edges])


def stages(graph: Graph, **resources: Any) -> list[str]:
    return ["".join(node.name for node in stage) for stage in CSPSolver(resources).resolve(graph)]


TWO = graph_of({"b": {"cpu": 4}, "a": {"cpu": 4}, "c": {}}, "ac", "bc")


@needs_library
def test_pinned_plans() -> None:
    """Two tasks of cpu=4 and their consumer: two stages with a capacity of 10, three with 6."""
    assert stages(TWO, cpu=10) == ["ab", "c"]
    assert [len(stage) for stage in stages(TWO, cpu=6)] == [1, 1, 1]
    assert stages(TWO, cpu=6)[2] == "c"


@needs_library
@pytest.mark.parametrize(
    "graph, resources, expected",
    [
        (graph_of({}), {"cpu": 1}, []),
        (graph_of({"b": {}, "a": {}}), {}, ["ab"]),
        (graph_of({"b": {"gpu": 5}, "a": {"gpu": 5}}), {"cpu": 1}, ["ab"]),  # not listed: unlimited
        (graph_of({"b": {"cpu": amount()}, "a": {"cpu": amount()}}), {"cpu": 1}, ["ab"]),  # lazy: counts 0
        (graph_of({"a": {"cpu": 0.1}, "b": {"cpu": 0.1}, "c": {"cpu": 0.1}}), {"cpu": 0.3}, ["abc"]),
        (graph_of({"a": {"cpu": "2"}, "b": {"cpu": 1}}), {"cpu": "3"}, ["ab"]),
        (graph_of({"a": {}, "b": {}}, "aa", "ab", "ba", kind=EdgeType.POTENTIAL), {}, ["ab"]),
        (graph_of({"a": {}, "b": {}}, "aa", "ba", kind=EdgeType.ITERATIVE_JUMP), {}, ["ab"]),
        (graph_of({"a": {}, "b": {}}, "ba", kind=EdgeType.SEQUENCE), {}, ["b", "a"]),
    ],
)
def test_plans(graph: Graph, resources: dict[str, Any], expected: list[str]) -> None:
    """Limits, lazy amounts, rounding and edge kinds."""
    assert stages(graph, **resources) == expected


@needs_library
def test_only_shadow_nodes_are_left_out() -> None:
    """A real node that calls itself is planned; a shadow node is not."""
    graph = graph_of({"a": {}, "s": {}}, "aa", "as", kind=EdgeType.POTENTIAL)
    graph.nodes[1].is_shadow = True

    assert stages(graph) == ["a"]
    graph.nodes[0].is_shadow = True
    assert stages(graph) == []


@needs_library
@pytest.mark.parametrize(
    "graph, cause",
    [
        (graph_of({"big": {"cpu": 4}}), "task 'big' needs cpu=4, and system_resources has 3"),
        (graph_of({"a": {}, "b": {}, "c": {}}, "ab", "ba", "bc"), "tasks need each other: a, b"),
    ],
)
def test_no_schedule(graph: Graph, cause: str) -> None:
    """What cannot be planned is a RuntimeError that says why."""
    with pytest.raises(RuntimeError, match="failed to find a valid schedule") as caught:
        stages(graph, cpu=3)

    assert cause in str(caught.value)


@needs_library
def test_amounts_must_be_numbers() -> None:
    """An amount that is no number is named."""
    with pytest.raises(TypeError, match="task 'a' needs cpu='much'"):
        stages(graph_of({"a": {"cpu": "much"}}), cpu=3)


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-constraint the constructor says which library is missing."""
    monkeypatch.setattr(csp, "constraint", None)

    with pytest.raises(ImportError, match="python-constraint"):
        CSPSolver({})


def test_nothing_is_imported_before_it_is_used() -> None:
    """Naming the package of solvers loads neither this solver nor its library."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import cascade.adapters.solvers as s\n"
        "assert 'constraint' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert s.CSPSolver.__name__ == 'CSPSolver'\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


@needs_library
def test_identical_tasks_need_no_search() -> None:
    """Many equal tasks are planned at once, because the bounds meet."""
    graph = graph_of({f"{i:03}": {"cpu": 4} for i in range(100)})

    assert [len(stage) for stage in CSPSolver({"cpu": 10}).resolve(graph)] == [2] * 50


@needs_library
def test_search_beats_greed() -> None:
    """Where the greedy plan is too long, the search finds the shortest; given up, it leaves the greedy plan."""
    graph = graph_of({chr(97 + i): {"cpu": n} for i, n in enumerate([3, 2, 3, 4, 4, 3, 5, 6])})
    greedy = CSPSolver({"cpu": 10})
    greedy.max_checks = 0

    assert len(greedy.resolve(graph)) == 4
    assert len(CSPSolver({"cpu": 10}).resolve(graph)) == 3


def fewest(amounts: list[dict[str, int]], pairs: set[tuple[int, int]], capacity: dict[str, int]) -> int:
    """Try everything."""
    size = len(amounts)
    for count in range(1, size + 1):
        for plan in itertools.product(range(count), repeat=size):
            if all(plan[s] < plan[t] for s, t in pairs) and all(
                sum(amounts[i].get(name, 0) for i in range(size) if plan[i] == stage) <= limit
                for name, limit in capacity.items()
                for stage in range(count)
            ):
                return count
    raise AssertionError


@needs_library
@settings(max_examples=40)
@given(
    st.lists(st.fixed_dictionaries({"cpu": st.integers(0, 6), "gpu": st.integers(0, 4)}), min_size=1, max_size=6),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda p: p[0] < p[1]), max_size=5),
)
def test_plans_are_valid_and_shortest(amounts: list[dict[str, int]], pairs: set[tuple[int, int]]) -> None:
    """Every plan keeps order and limits, is sorted by name, and no shorter one exists."""
    pairs = {(s, t) for s, t in pairs if t < len(amounts)}
    capacity = {"cpu": 6, "gpu": 4}
    graph = graph_of({str(i): dict(needs) for i, needs in enumerate(amounts)}, *(f"{s}{t}" for s, t in pairs))

    plan = CSPSolver(capacity).resolve(graph)

    stage_of = {int(node.name): index for index, stage in enumerate(plan) for node in stage}
    assert len(stage_of) == len(amounts)
    assert all(stage_of[s] < stage_of[t] for s, t in pairs)
    for stage in plan:
        assert [node.name for node in stage] == sorted(node.name for node in stage)
        for name, limit in capacity.items():
            assert sum(amounts[int(node.name)][name] for node in stage) <= limit
    assert len(plan) == fewest(amounts, pairs, capacity)
