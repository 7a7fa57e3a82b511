"""Pictures of expressions: pinned texts, and DOT that graphviz can read whatever names there are."""

from __future__ import annotations

import html
import importlib
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade as cs
from cascade.app import CascadeApp
from cascade.graph import build_graph
from cascade.graph.model import Edge, EdgeType, Node
from cascade.spec.jump import JumpSelector
from cascade.tools.visualize import _edge_text, _get_node_shape
from tests.tools.dot import read

NODE = ', style="rounded,filled", fillcolor=white, fontcolor=black'


@cs.task
def load(path: str = "") -> str:
    return path


@cs.task
def join(*parts: Any, **named: Any) -> str:
    return "".join(parts)


@cs.task
def ping(n: int) -> Any:
    if n:
        return pong(n)
    return load()


@cs.task
def pong(n: int) -> Any:
    return ping(n - 1)


def ids(target: Any) -> dict[str, str]:
    """Returns the ids of the nodes by their names."""
    return {node.name: node.structural_id for node in build_graph(target)[0].nodes}


def lines_between(picture: str, source: str, target: str) -> list[str]:
    return [line for line in picture.splitlines() if line.startswith(f'  "{source}" -> "{target}"')]


# ------------------------------------------------------------------------------------------------------- pinned texts


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "node [E]")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "DATA edge")
@pytest.mark.row("00-index", "Where the two versions disagree", "visualize node text")
def test_a_picture_is_head_nodes_and_edges() -> None:
    """Every line of the text, in order: the head, then all nodes, then all edges, without a last newline."""
    target = join(load("a"), tail=load("b"))
    graph, _ = build_graph(target)
    first, second, last = (node.structural_id for node in graph.nodes)

    assert cs.visualize(target).split("\n") == [
        "digraph CascadeWorkflow {",
        '  rankdir="TB";',
        '  node [shape=box, style="rounded,filled", fillcolor=white];',
        rf'  "{first}" [label="load\n(task)", shape=box{NODE}];',
        rf'  "{second}" [label="load\n(task)", shape=box{NODE}];',
        rf'  "{last}" [label="join\n(task)", shape=box{NODE}];',
        f'  "{first}" -> "{last}" [label="0"];',
        f'  "{second}" -> "{last}" [label="tail"];',
        "}",
    ]


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "node [L]")
def test_an_app_draws_label_and_shape_only() -> None:
    """The picture of a CascadeApp has the later version's nodes, and the same edges."""
    target = join(load("a"))
    graph, _ = build_graph(target)
    first, last = (node.structural_id for node in graph.nodes)

    assert CascadeApp(target).visualize().split("\n")[3:-1] == [
        rf'  "{first}" [label="load\n(task)", shape=box];',
        rf'  "{last}" [label="join\n(task)", shape=box];',
        f'  "{first}" -> "{last}" [label="0"];',
    ]


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "shadow node [E]")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "POTENTIAL")
@pytest.mark.parametrize("draw", [cs.visualize, lambda target: CascadeApp(target).visualize()], ids=["early", "app"])
def test_what_might_be_called_is_drawn_with_dashes(draw: Any) -> None:
    """Tasks that the source names as tail calls are shadow nodes behind POTENTIAL edges."""
    target = ping(3)
    graph, _ = build_graph(target)
    found = {node.name: node.structural_id for node in graph.nodes}
    lines = draw(target).splitlines()
    style = 'style="dashed,filled", fillcolor=whitesmoke, fontcolor=gray50'
    potential = 'style=dashed, color="#d9534f", fontcolor="#d9534f", arrowhead=open, label="potential"'

    assert rf'  "{found["pong"]}" [label="pong\n(task)\n(Potential)", shape=box, {style}];' in lines
    assert rf'  "{found["load"]}" [label="load\n(task)\n(Potential)", shape=box, {style}];' in lines
    assert f'  "{found["ping"]}" -> "{found["pong"]}" [{potential}];' in lines
    assert f'  "{found["pong"]}" -> "{found["ping"]}" [{potential}];' in lines


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "shape")
def test_shapes_tell_the_types_of_nodes() -> None:
    """A task is a box, a parameter an ellipse, a map a hexagon; a type nobody knows is a box."""
    picture = cs.visualize(load.map(path=["a", "b"]))

    assert r'[label="map(load)\n(map)", shape=hexagon' in picture
    assert _get_node_shape(Node("i", "n", node_type="param")) == "ellipse"
    assert _get_node_shape(Node("i", "n", node_type="task")) == "box"
    assert _get_node_shape(Node("i", "n", node_type="other")) == "box"


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "CONDITION")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "SEQUENCE")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "CONSTRAINT")
def test_edges_of_policies_have_their_styles() -> None:
    """A condition, a predecessor and an amount that is a call."""
    condition, before, amount = cs.task(bool, name="c")(), cs.task(int, name="b")(), cs.task(int, name="m")()
    target = load("x").run_if(condition).after(before).with_constraints(gpu=amount)
    found, picture = ids(target), cs.visualize(target)

    for source, style in {
        "c": 'style=dashed, color=gray, label="run_if"',
        "b": 'style=dashed, color=darkgray, arrowhead=open, label="next"',
        "m": 'style=dotted, color=purple, label="constraint: gpu"',
    }.items():
        ends = f'"{found[source]}" -> "{found["load"]}"'
        assert lines_between(picture, found[source], found["load"]) == [f"  {ends} [{style}];"]


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "router selector")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "ROUTER_ROUTE")
def test_edges_of_routers_have_their_styles() -> None:
    """The selector is blue and names the argument, routes are orange."""
    selector, route = cs.task(str, name="s")(), cs.task(str, name="r")()
    target = join(1, [cs.Router(selector, {"k": route})], by=cs.Router(selector, {"k": route}))
    found, picture = ids(target), cs.visualize(target)

    assert [line.partition(" [")[2] for line in lines_between(picture, found["s"], found["join"])] == [
        'style=dashed, color=blue, label="route via: 1[0]"];',
        'style=dashed, color=blue, label="route via: by"];',
    ]
    assert {line.partition(" [")[2] for line in lines_between(picture, found["r"], found["join"])} == {
        'style=dashed, color=orange, arrowhead=open, label="route"];'
    }


@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "IMPLICIT")
@pytest.mark.row("08-tools-cli-testing", "visualize(target) → DOT text", "ITERATIVE_JUMP [L]")
def test_edges_that_no_argument_makes_have_their_styles() -> None:
    """Implicit edges are dotted, jumps bold with the key of their route."""
    one, other = Node("a", "one"), Node("b", "other")
    jump = Edge(one, other, 'again "x"', EdgeType.ITERATIVE_JUMP, jump_selector=JumpSelector({}))

    assert _edge_text(Edge(one, other, "", EdgeType.IMPLICIT)) == (
        'style=dotted, color=lightgray, arrowhead=none, label="implicit"'
    )
    assert _edge_text(jump) == r'style=bold, color=blue, label="again \"x\""'


def test_every_type_of_edge_has_a_style() -> None:
    """None is forgotten when a type is added."""
    for kind in EdgeType:
        assert "label=" in _edge_text(Edge(Node("a", "a"), Node("b", "b"), "x", kind))


# -------------------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize("draw", [cs.visualize, lambda target: CascadeApp(target).visualize()], ids=["early", "app"])
@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_are_gathered(draw: Any, kind: Any) -> None:
    """A list or tuple of targets is drawn as the call that gathers them."""
    picture = read(draw(kind([load("a"), 3, load("b")])))

    assert picture.labels() == ["load\n(task)", "load\n(task)", "_internal_gather\n(task)"]
    assert [attributes["label"] for _, _, attributes in picture.edges] == ["0", "2"]


@pytest.mark.parametrize("draw", [cs.visualize, lambda target: CascadeApp(target).visualize()], ids=["early", "app"])
@pytest.mark.parametrize("nothing", [[], ()])
def test_nothing_is_drawn_of_nothing(draw: Any, nothing: Any) -> None:
    """An empty list is the first two lines and the last."""
    assert draw(nothing) == 'digraph CascadeWorkflow {\n  rankdir="TB";\n}'


def test_what_is_no_target_is_refused() -> None:
    """The error is the one of running it."""
    for target in (3, load):
        with pytest.raises(TypeError, match="Cannot build graph from type"):
            cs.visualize(target)


# ------------------------------------------------------------------------------------------------------ valid, and all


def test_quotes_backslashes_and_line_breaks_are_escaped() -> None:
    """Whatever is in a name stands in the label, and on the line of its node."""
    odd = cs.task(lambda **named: None, name='say "hi" \\ C:\\new\nline')
    text = cs.visualize(odd(**{'k"': load()}))
    picture = read(text)

    assert r'[label="say \"hi\" \\ C:\\new\nline\n(task)", shape=box' in text
    assert picture.labels()[-1] == 'say "hi" \\ C:\\new\nline\n(task)'
    assert picture.edges[0][2] == {"label": 'k"'}


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(name=names.filter(bool), key=names, resource=names, route=names)
def test_any_name_gives_a_text_that_can_be_read(name: str, key: str, resource: str, route: str) -> None:
    """The text is valid DOT, one line a node and an edge, with nothing lost."""
    call = cs.task(lambda **named: None, name=name)
    router = cs.Router(load("s"), {route: load("r")})
    target: Any = call(**{key + "a": load("x"), key + "b": router})
    target.with_constraints(**{resource: load("m")})
    text = cs.visualize(target)
    picture = read(text)
    shown = name.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")

    assert len(picture.nodes) == 5
    assert len(picture.edges) == 4
    assert len(text.split("\n")) == 3 + 5 + 4 + 1
    assert picture.labels()[-1] == f"{shown}\n(task)"


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_draws_it() -> None:
    """Without a word, and with every name as it is."""
    names = ['say "hi"', "C:\\new\\", "a\nb", "<b> {x|y} -> ;", "\\N", "nul\0", "größe"]
    calls = [cs.task(lambda *parts: None, name=name)(load("x")) for name in names]
    target = join(cs.Router(load("s"), {"k": calls[0], 'q"': calls[1]}), calls).run_if(calls[2]).after(calls[3])
    picture = cs.visualize(target.with_constraints(**{'gpu "0"': ping(1)}))
    done = subprocess.run(["dot", "-Tsvg"], input=picture.encode(), capture_output=True, timeout=60)
    shown = [html.unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", done.stdout.decode())]

    assert (done.returncode, done.stderr) == (0, b"")
    for text in ['say "hi"', "C:\\new\\", "a", "b", "<b> {x|y} -> ;", "\\N", "nul\ufffd", "größe"]:
        assert text in shown
    assert 'constraint: gpu "0"' in shown
    assert shown.count("potential") == 3


@pytest.mark.slow
def test_a_hundred_thousand_levels_are_drawn() -> None:
    """Depth is no matter of the stack."""
    target: Any = load("x")
    for _ in range(100_000):
        target = join(target)
    text = cs.visualize(target)

    assert text.count("\n") == 3 + 100_001 + 100_000
    assert text.count(' -> "') == 100_000


# ------------------------------------------------------------------------------------------- module and function alike

IMPORTS = [
    "import cascade.tools.visualize",
    "from cascade.tools import visualize",
    "import cascade.tools",
    "import cascade as cs; cs.visualize",
    "from cascade.tools.visualize import _get_node_shape",
    "import importlib; importlib.import_module('cascade.tools.visualize')",
    "import cascade.app",
    "import cascade.tools.gate",
]


@pytest.mark.parametrize("first", IMPORTS)
def test_function_and_module_share_a_name(first: str) -> None:
    """Whatever was imported first, the package gives the function, and the dotted path everything of the module."""
    program = f"""
{first}
import types
import cascade as cs, cascade.tools.visualize
import cascade.tools.visualize as m
from cascade.tools import visualize
assert type(visualize) is type(cs.visualize) is types.FunctionType
assert visualize is cs.visualize is cs.tools.visualize is m.visualize
from cascade.tools.visualize import visualize as inner, _get_node_shape
assert inner is visualize and m._get_node_shape is _get_node_shape
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_tools_are_named_late() -> None:
    """The package lists its tools, gives the functions of their modules, and refuses other names as Python does."""
    import cascade.tools as tools

    for name, home in {"create_cli": "cli", "dry_run": "preview", "to_lisp": "lisp", "visualize": "visualize"}.items():
        assert getattr(tools, name) is getattr(importlib.import_module(f"cascade.tools.{home}"), name)
        assert name in dir(tools)
    assert sorted(tools.__all__) == ["create_cli", "dry_run", "to_lisp", "visualize"]
    with pytest.raises(AttributeError, match=r"module 'cascade.tools' has no attribute 'no_such'"):
        tools.no_such  # noqa: B018


def test_tools_load_no_optional_library() -> None:
    """Pictures, plans and Lisp need none."""
    program = """
import sys
import cascade.app
from cascade.tools import dry_run, to_lisp, visualize
assert not {"typer", "rich", "click", "jinja2", "numpy"} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
