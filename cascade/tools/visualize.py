"""Expressions as pictures: text in the DOT language, which graphviz draws.

A line a node, then a line an edge, both in the order of the graph. Nothing of the expression is run. Tasks that a task
might tail-call, as far as its source says, are drawn with dashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.tools._targets import gathered, is_empty

__all__ = ["draw", "visualize"]

_HEAD = (
    "digraph CascadeWorkflow {",
    '  rankdir="TB";',
    '  node [shape=box, style="rounded,filled", fillcolor=white];',
)
_SHAPES = {"param": "ellipse", "map": "hexagon"}

#: Attributes of an edge by its type; ``{}`` stands for what the edge is named after.
_STYLES = {
    EdgeType.DATA: 'label="{}"',
    EdgeType.CONDITION: 'style=dashed, color=gray, label="run_if"',
    EdgeType.CONSTRAINT: 'style=dotted, color=purple, label="constraint: {}"',
    EdgeType.IMPLICIT: 'style=dotted, color=lightgray, arrowhead=none, label="implicit"',
    EdgeType.SEQUENCE: 'style=dashed, color=darkgray, arrowhead=open, label="next"',
    EdgeType.ROUTER_ROUTE: 'style=dashed, color=orange, arrowhead=open, label="route"',
    EdgeType.POTENTIAL: 'style=dashed, color="#d9534f", fontcolor="#d9534f", arrowhead=open, label="potential"',
    EdgeType.ITERATIVE_JUMP: 'style=bold, color=blue, label="{}"',
}
_SELECTOR = 'style=dashed, color=blue, label="route via: {}"'

#: What would end a quoted text or a line, and how it is written; backslashes first, as the others bring more of them.
#: Graphviz reads nothing behind a null character.
_ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("\r\n", "\\n"), ("\n", "\\n"), ("\r", "\\n"), ("\0", "\ufffd"))


def visualize(target: Any) -> str:
    """Return the picture of a call, or of a list or tuple of calls, as DOT text.

    Raises:
        TypeError: the target is nothing that can run.
    """
    return draw(target, _filled)


def draw(target: Any, node_text: Callable[[Node], str]) -> str:
    """Return the picture of a target; ``node_text`` says what stands in the brackets of a node."""
    if is_empty(target):
        return "\n".join((*_HEAD[:2], "}"))
    graph, _ = build_graph(gathered(target))
    return "\n".join(_lines(graph, node_text))


def _lines(graph: Graph, node_text: Callable[[Node], str]) -> Iterator[str]:
    yield from _HEAD
    for node in graph.nodes:
        yield f"  {_quoted(node.structural_id)} [{node_text(node)}];"
    for edge in graph.edges:
        ends = f"{_quoted(edge.source.structural_id)} -> {_quoted(edge.target.structural_id)}"
        yield f"  {ends} [{_edge_text(edge)}];"
    yield "}"


def _filled(node: Node) -> str:
    """The look of :func:`visualize`."""
    if node.is_shadow:
        return _shadow(node)
    return f'{plain(node)}, style="rounded,filled", fillcolor=white, fontcolor=black'


def plain(node: Node) -> str:
    """The look of ``CascadeApp.visualize``: label and shape."""
    if node.is_shadow:
        return _shadow(node)
    return f'label="{_label(node)}", shape={_get_node_shape(node)}'


def _shadow(node: Node) -> str:
    label = f"{_label(node)}\\n(Potential)"
    shape = _get_node_shape(node)
    return f'label="{label}", shape={shape}, style="dashed,filled", fillcolor=whitesmoke, fontcolor=gray50'


def _label(node: Node) -> str:
    return f"{_escaped(node.name)}\\n({_escaped(node.node_type)})"


def _get_node_shape(node: Node) -> str:
    return _SHAPES.get(node.node_type, "box")


def _edge_text(edge: Edge) -> str:
    is_selector = edge.edge_type is EdgeType.DATA and edge.router is not None
    style = _SELECTOR if is_selector else _STYLES[edge.edge_type]
    return style.replace("{}", _escaped(edge.arg_name))


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: object) -> str:
    """Return a text as it has to stand between quotes."""
    escaped = str(text)
    for special, written in _ESCAPES:
        escaped = escaped.replace(special, written)
    return escaped


# The function has the name of this module, and the package hands out the function. So `import cascade.tools.visualize
# as m`, which asks the package for that name, finds in the function what it expects of the module.
vars(visualize).update(visualize=visualize, _get_node_shape=_get_node_shape)
