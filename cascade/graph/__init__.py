"""Pure transformations: from lazy results to graphs, ids, plans' input, JSON."""

from cascade.graph.ast_analyzer import analyze_task_source, assign_tco_cycle_ids
from cascade.graph.build import build_graph
from cascade.graph.exceptions import StaticGraphError
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.graph.registry import NodeRegistry

__all__ = [
    "Edge",
    "EdgeType",
    "Graph",
    "Node",
    "NodeRegistry",
    "StaticGraphError",
    "analyze_task_source",
    "assign_tco_cycle_ids",
    "build_graph",
]
