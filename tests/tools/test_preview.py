"""Dry runs: pinned texts, and the events behind them."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade.app import CascadeApp
from cascade.graph import build_graph
from cascade.runtime.bus import MessageBus
from cascade.runtime.events import Event
from cascade.tools.events import PlanAnalysisFinished, PlanAnalysisStarted, PlanNodeInspected, ToolEvent
from cascade.tools.preview import DryRunConsoleSubscriber, _analyze_plan

HEAD, FOOT = "--- Cascade Execution Plan (Dry Run) ---", "-" * 40


@cs.task
def load(path: str) -> str:
    raise AssertionError("a dry run runs nothing")


@cs.task
def parse(*texts: Any, **named: Any) -> str:
    raise AssertionError("a dry run runs nothing")


def wrapped(target: Any) -> None:
    CascadeApp(target).dry_run()


def plan_of(target: Any, capsys: pytest.CaptureFixture[str], dry_run: Any = cs.dry_run) -> list[str]:
    assert dry_run(target) is None
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out[-1] == "\n"
    return shown.out[:-1].split("\n")


def events_of(target: Any) -> list[Any]:
    bus, seen = MessageBus(), list[Event]()
    bus.subscribe(Event, seen.append)
    _analyze_plan(target, bus)
    return seen


@pytest.mark.parametrize("dry_run", [cs.dry_run, wrapped], ids=["function", "app"])
def test_the_plan_is_printed(dry_run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Head, a line for each node in the order of the plan, foot; nothing is run, and nothing else printed."""
    assert plan_of(parse(load(path="a.txt")), capsys, dry_run) == [
        "--- Cascade Execution Plan (Dry Run) ---",
        "[1/2] load (Bindings: {'path': 'a.txt'})",
        "[2/2] parse (Bindings: {})",
        "----------------------------------------",
    ]


def test_the_plan_goes_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """Nodes of one stage stand together, whatever depends on them."""
    lines = plan_of(parse(parse(load("a")), load("b")), capsys)

    assert [line.split()[1] for line in lines[1:-1]] == ["load", "load", "parse", "parse"]


def test_only_what_would_be_scheduled_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks that might be called next are drawn, but are no part of the plan."""

    @cs.task
    def first() -> Any:
        return load("x")

    assert plan_of(first(), capsys) == [HEAD, "[1/1] first (Bindings: {})", FOOT]


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("dry_run", [cs.dry_run, wrapped], ids=["function", "app"])
def test_lists_are_gathered(dry_run: Any, kind: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The call that gathers them is a node of the plan."""
    assert plan_of(kind([load("a"), 5]), capsys, dry_run) == [
        HEAD,
        "[1/2] load (Bindings: {'0': 'a'})",
        "[2/2] _internal_gather (Bindings: {'1': 5})",
        FOOT,
    ]


@pytest.mark.parametrize("nothing", [[], ()])
@pytest.mark.parametrize("dry_run", [cs.dry_run, wrapped], ids=["function", "app"])
def test_nothing_has_an_empty_plan(dry_run: Any, nothing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Head and foot."""
    assert plan_of(nothing, capsys, dry_run) == [HEAD, FOOT]


def test_what_is_no_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is printed."""
    with pytest.raises(TypeError, match="Cannot build graph from type"):
        cs.dry_run(load)
    assert capsys.readouterr().out == ""


def test_the_plan_is_told_as_events() -> None:
    """Start, each node counted from 1, end: all with the target's uuid as run id."""
    target = parse(load("a"), n=3)
    graph, instance_map = build_graph(target)
    first, last = (node.structural_id for node in graph.nodes)
    started, one, other, finished = events = events_of(target)

    assert [type(event) for event in events] == [
        *(PlanAnalysisStarted, PlanNodeInspected, PlanNodeInspected, PlanAnalysisFinished)
    ]
    assert all(isinstance(event, ToolEvent) and event.run_id == target._uuid for event in events)
    assert started._get_payload() == {"target_node_id": instance_map[target._uuid].structural_id}
    assert one._get_payload() == {
        "index": 1,
        "total_nodes": 2,
        "node_id": first,
        "node_name": "load",
        "input_bindings": {"0": "a"},
    }
    assert (other.index, other.node_id, other.input_bindings) == (2, last, {"n": 3})
    assert finished._get_payload() == {"total_steps": 2}


def test_events_of_nothing() -> None:
    """An empty target has a plan of no steps."""
    started, finished = events_of([])

    assert (started.target_node_id, started.run_id, finished.total_steps) == ("", None, 0)


def test_the_console_prints_what_a_bus_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Text depends on the events alone."""
    bus = MessageBus()
    DryRunConsoleSubscriber(bus)
    bus.publish(PlanAnalysisStarted())
    bus.publish(PlanNodeInspected(index=2, total_nodes=9, node_name="n", input_bindings={"0": [1]}))
    bus.publish(PlanAnalysisFinished(total_steps=9))

    assert capsys.readouterr().out.splitlines() == [HEAD, "[2/9] n (Bindings: {'0': [1]})", FOOT]


def test_arguments_that_cannot_be_shown_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is printed whatever an argument's repr does, and calls in containers are shown short."""

    class Odd:
        def __repr__(self) -> str:
            raise LookupError("no")

    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    lines = plan_of(parse(Odd(), 1, [deep]), capsys)

    assert lines[1] == (
        "[1/1] parse (Bindings: {'0': <Odd whose repr raises LookupError>, '1': 1, "
        "'2': <list whose repr raises RecursionError>})"
    )
    del lines
    while deep:  # piece by piece: freeing it at once is Python's business, and deep too
        deep = deep[0]


@pytest.mark.slow
def test_a_hundred_thousand_levels_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Depth is no matter of the stack."""
    target: Any = load("x")
    for _ in range(100_000):
        target = parse(target)
    lines = plan_of(target, capsys)

    assert len(lines) == 100_003
    assert lines[-2] == "[100001/100001] parse (Bindings: {})"


def test_secrets_are_left_out_of_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be printed where others read it; addresses and names stay."""
    call = cs.http.get("http://me:pass1@host/way?token=pass2", headers={"Authorization": "Bearer pass3"})

    lines = plan_of(call, capsys)

    shown = "{'0': 'http://***@host/way?token=***', 'headers': {'Authorization': '***'}}"
    assert lines[1:-1] == [f"[1/1] http_get (Bindings: {shown})"]
