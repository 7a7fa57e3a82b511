"""Shadow nodes: tasks that a task of the graph may tail-call, found in its source. Drawn, never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade.graph._identity import ShadowIdentity
from cascade.graph.ast_analyzer import analyze_task_source, assign_tco_cycle_ids
from cascade.graph.model import Edge, EdgeType, Graph, Node

__all__ = ["add_shadows", "is_drawn_only", "warns_of_recursion"]


def add_shadows(graph: Graph, tasks: Sequence[Any], nodes: Sequence[Node]) -> None:
    """Append the shadow nodes and POTENTIAL edges of task nodes; ``tasks`` are theirs, None for a map."""
    met: dict[Any, Node] = {}
    for task, node in zip(tasks, nodes, strict=True):
        if task is not None:
            met.setdefault(task, node)
    found: dict[Any, Sequence[Any]] = {}
    for task, node in zip(tasks, nodes, strict=True):
        if task is None:
            continue
        targets = found.get(task)
        if targets is None:
            targets = found[task] = _targets(task)
        if targets:
            node.tco_cycle_id = getattr(task, "_tco_cycle_id", None)
            node.warns_dynamic_recursion = warns_of_recursion(task)
            _follow(graph, task, node, met)


def warns_of_recursion(task: Any) -> bool:
    """Whether a task returns calls of itself whose arguments are calls."""
    return bool(_targets(task)) and analyze_task_source(task).has_dynamic_recursion


def _targets(task: Any) -> Sequence[Any]:
    if not getattr(task, "_tco_analysis_done", False):
        assign_tco_cycle_ids(task)
    return analyze_task_source(task).targets


def _follow(graph: Graph, task: Any, node: Node, met: dict[Any, Node]) -> None:
    """Breadth-first over targets of targets; each task gets one shadow node."""
    queue = [(task, node)]
    for parent_task, parent in queue:
        for target in _targets(parent_task):
            if target is parent_task:
                there = parent
            elif target in met:
                there = met[target]
            else:
                there = met[target] = _shadow(target, parent)
                graph.nodes.append(there)
                queue.append((target, there))
            graph.edges.append(Edge(parent, there, "<potential>", EdgeType.POTENTIAL))


def _shadow(task: Any, parent: Node) -> Node:
    node = Node("", task.name, is_shadow=True, callable_obj=task.func)
    node.tco_cycle_id = getattr(task, "_tco_cycle_id", None)
    for deferred in ("_structural_id", "_signature"):
        del node.__dict__[deferred]
    node.__dict__["_identity"] = ShadowIdentity(parent)
    return node


def is_drawn_only(node: Any) -> bool:
    """Whether no step runs a node: a shadow, or one that only jumps lead to. A mock is neither unless told to be."""
    return node.is_shadow is True or getattr(node, "awaits_jump", False) is True
