"""The dry run: what would run, in which order, with which literal arguments."""

from __future__ import annotations

from typing import Any

from cascade.adapters.solvers.native import NativeSolver
from cascade.common.redaction import Secret, redact
from cascade.graph.build import build_graph
from cascade.graph.model import Node
from cascade.runtime.bus import MessageBus
from cascade.tools._targets import gathered, is_empty
from cascade.tools.events import PlanAnalysisFinished, PlanAnalysisStarted, PlanNodeInspected

__all__ = ["DryRunConsoleSubscriber", "dry_run"]


def dry_run(target: Any) -> None:
    """Print the plan of a call, or of a list or tuple of calls; nothing is run.

    Raises:
        TypeError: the target is nothing that can run.
    """
    bus = MessageBus()
    DryRunConsoleSubscriber(bus)
    _analyze_plan(target, bus)


class DryRunConsoleSubscriber:
    """Prints the plan that the events on a bus tell."""

    def __init__(self, bus: MessageBus) -> None:
        bus.subscribe(PlanAnalysisStarted, self.on_start)
        bus.subscribe(PlanNodeInspected, self.on_node)
        bus.subscribe(PlanAnalysisFinished, self.on_finish)

    def on_start(self, event: PlanAnalysisStarted) -> None:
        """Print the head."""
        print("--- Cascade Execution Plan (Dry Run) ---")

    def on_node(self, event: PlanNodeInspected) -> None:
        """Print a node."""
        shown = _shown(event.input_bindings)
        print(f"[{event.index}/{event.total_nodes}] {event.node_name} (Bindings: {shown})")

    def on_finish(self, event: PlanAnalysisFinished) -> None:
        """Print the foot."""
        print("-" * 40)


def _analyze_plan(target: Any, bus: MessageBus) -> None:
    """Publish the plan of a target; the events have the target's uuid as their run id."""
    run_id, target_id, nodes = _plan(target)
    bus.publish(PlanAnalysisStarted(run_id=run_id, target_node_id=target_id))
    for index, node in enumerate(nodes, 1):
        bus.publish(
            PlanNodeInspected(
                run_id=run_id,
                index=index,
                total_nodes=len(nodes),
                node_id=node.structural_id,
                node_name=node.name,
                input_bindings=node.input_bindings,
            )
        )
    bus.publish(PlanAnalysisFinished(run_id=run_id, total_steps=len(nodes)))


def _plan(target: Any) -> tuple[str | None, str, list[Node]]:
    """Return the target's uuid, its node's id, and all nodes in the order of the plan."""
    if is_empty(target):
        return None, "", []
    lazy = gathered(target)
    graph, instance_map = build_graph(lazy)
    nodes = [node for stage in NativeSolver().resolve(graph) for node in stage]
    return lazy._uuid, instance_map[lazy._uuid].structural_id, nodes


def _shown(bindings: dict[str, Any]) -> str:
    """Return the arguments as Python shows them, one by one where the ``repr`` of one of them fails.

    What is likely to be secret is left out: values of headers, and credentials and values of queries in URLs.
    """
    headers = bindings.get("headers")
    if isinstance(headers, dict):
        bindings = {**bindings, "headers": dict.fromkeys(headers, Secret())}
    try:
        text = repr(bindings)
    except Exception:  # an argument's own __repr__, or one that is nested too deeply
        text = "{" + ", ".join(f"{key!r}: {_described(value)}" for key, value in bindings.items()) + "}"
    return redact(text) if "://" in text else text


def _described(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
