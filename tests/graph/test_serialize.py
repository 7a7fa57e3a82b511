"""Graphs as JSON: pinned layout, round trips, and what loading may not do."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.graph.serialize import from_json, graph_from_dict, graph_to_dict, to_json
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.input import ParamSpec
from cascade.spec.lazy_types import RetryPolicy
from cascade.spec.resource import Inject, inject
from cascade.spec.routing import Router
from cascade.spec.task import task


def double(x: int) -> int:
    return 2 * x


@task(mode="blocking")
def triple(x: int) -> int:
    return 3 * x


@task
async def later(x: int = 1, r: Any = inject("r")) -> int:
    return x


class Loud:
    def __get__(self, instance: Any, owner: Any) -> Any:
        raise AssertionError("evaluated")


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        raise AssertionError("evaluated")


class Tools(metaclass=Meta):
    loud = Loud()

    @staticmethod
    def op(x: int) -> int:
        return x

    @property
    def bomb(self) -> Any:
        raise AssertionError("evaluated")

    value = 3


def graph_of(*nodes: Node) -> Graph:
    return Graph(nodes=list(nodes))


def node(key: str = "n", **fields: Any) -> Node:
    return Node(structural_id=f"id-{key}", name=key, **fields)


def there_and_back(graph: Graph) -> Graph:
    return from_json(to_json(graph))


@pytest.mark.row(
    "01-tasks-and-graph",
    "JSON: to_json(graph, indent=2), from_json(text), graph_to_dict, graph_from_dict",
    "nodes[]",
)
@pytest.mark.row(
    "01-tasks-and-graph",
    "JSON: to_json(graph, indent=2), from_json(text), graph_to_dict, graph_from_dict",
    "lazy constraint amount",
)
@pytest.mark.row(
    "01-tasks-and-graph",
    "JSON: to_json(graph, indent=2), from_json(text), graph_to_dict, graph_from_dict",
    "edges[]",
)
@pytest.mark.row(
    "01-tasks-and-graph",
    "JSON: to_json(graph, indent=2), from_json(text), graph_to_dict, graph_from_dict",
    "routers[]",
)
def test_layout_is_pinned() -> None:
    """Keys, their order and their values are a contract with whoever stored a graph."""
    first = node("a", template_id="t", callable_obj=triple, input_bindings={"0": 1})
    second = node(
        "m",
        node_type="map",
        mapping_factory=triple,
        retry_policy=RetryPolicy(2, 0.5, 2.0),
        constraints=ResourceConstraint({"cpu": 1, "gpu": triple(1)}),
        param_spec=ParamSpec("p", 3, "about p", int),
    )
    lazy = second.constraints.requirements["gpu"]  # type: ignore[union-attr]
    selector, route = triple(0), triple(1)
    router = Router(selector, {"x": route})
    graph = graph_of(first, second)
    graph.edges = [Edge(first, second, "x"), Edge(first, second, "r", EdgeType.ROUTER_ROUTE, router)]
    function = {"module": __name__, "qualname": "triple"}

    assert graph_to_dict(graph) == {
        "nodes": [
            {
                "structural_id": "id-a",
                "template_id": "t",
                "name": "a",
                "node_type": "task",
                "input_bindings": {"0": 1},
                "callable": function,
            },
            {
                "structural_id": "id-m",
                "template_id": "",
                "name": "m",
                "node_type": "map",
                "input_bindings": {},
                "mapping_factory": function,
                "retry_policy": {"max_attempts": 2, "delay": 0.5, "backoff": 2.0},
                "constraints": {"cpu": 1, "gpu": {"__lazy_ref": lazy._uuid}},
                "param_spec": {"name": "p", "default": 3, "type_name": "int", "description": "about p"},
            },
        ],
        "edges": [
            {"source_id": "id-a", "target_id": "id-m", "arg_name": "x", "edge_type": "DATA"},
            {
                "source_id": "id-a",
                "target_id": "id-m",
                "arg_name": "r",
                "edge_type": "ROUTER_ROUTE",
                "router_index": 0,
            },
        ],
        "routers": [{"selector_id": selector._uuid, "routes": {"x": route._uuid}}],
    }
    assert json.loads(to_json(graph)) == graph_to_dict(graph)
    assert to_json(graph).startswith('{\n  "nodes"')


def test_round_trip() -> None:
    """What is stored comes back; storing it again gives the same text."""
    first = node("a", callable_obj=double, template_id="t", input_bindings={"0": [1, {"k": None}], "x": "y"})
    second = node("b", retry_policy=RetryPolicy(1), constraints=ResourceConstraint({"cpu": 2}))
    third = node("c", param_spec=ParamSpec("p", None, "d", float), callable_obj=Tools.op)
    graph = graph_of(first, second, third)
    graph.edges = [Edge(first, second, "0", kind) for kind in EdgeType]

    back = there_and_back(graph)

    assert to_json(back) == to_json(graph)
    assert [n.name for n in back.nodes] == ["a", "b", "c"]
    assert back.nodes[0].callable_obj is double
    assert back.nodes[0].input_bindings == first.input_bindings
    assert back.nodes[1].retry_policy == RetryPolicy(1)
    assert back.nodes[1].constraints == ResourceConstraint({"cpu": 2})
    assert back.nodes[2].param_spec == third.param_spec
    assert back.nodes[2].callable_obj is Tools.op
    assert [e.edge_type for e in back.edges] == list(EdgeType)
    assert all(e.source is back.nodes[0] and e.target is back.nodes[1] for e in back.edges)
    assert back.get_node("id-b") is back.nodes[1]


def test_tasks_come_back_as_their_functions() -> None:
    """A Task found under the name is unwrapped; what it says about the call comes along."""
    back = there_and_back(graph_of(node("a", callable_obj=triple.func), node("b", callable_obj=later)))

    assert back.nodes[0].callable_obj is triple.func
    assert back.nodes[0].execution_mode == "blocking"
    assert not back.nodes[0].has_complex_inputs
    assert back.nodes[1].callable_obj is later.func
    assert back.nodes[1].is_async
    assert back.nodes[1].has_complex_inputs
    assert back.nodes[1].signature is None


def test_shadow_nodes_and_potential_edges_survive() -> None:
    """Drawn nodes are stored like others; that they are shadows is not."""
    real, shadow = node("a", callable_obj=double), node("s", callable_obj=double, is_shadow=True)
    graph = graph_of(real, shadow)
    graph.add_edge(Edge(real, shadow, "<potential>", EdgeType.POTENTIAL))

    back = there_and_back(graph)

    assert [n.name for n in back.nodes] == ["a", "s"]
    assert back.edges[0].edge_type is EdgeType.POTENTIAL
    assert not back.nodes[1].is_shadow


@pytest.mark.row(
    "01-tasks-and-graph",
    "JSON: to_json(graph, indent=2), from_json(text), graph_to_dict, graph_from_dict",
    "routers[]",
)
def test_routers_come_back_with_stand_ins() -> None:
    """One entry for each router object; selector and routes have just a uuid; keys keep their types."""
    selector, one, two = triple(0), triple(1), triple(2)
    router = Router(selector, {"x": one, 1: two, None: one, 2.5: one, "plain": 7})
    a, b = node("a"), node("b")
    graph = graph_of(a, b)
    graph.edges = [
        Edge(a, b, "0", router=router),
        Edge(a, b, "1", router=router),
        Edge(a, b, "2", router=Router(one, {})),
    ]

    back = there_and_back(graph)
    routers = [edge.router for edge in back.edges]

    assert len(graph_to_dict(graph)["routers"]) == 2
    assert routers[0] is routers[1] is not routers[2]
    assert routers[0].selector._uuid == selector._uuid  # type: ignore[union-attr]
    routes = {key: getattr(route, "_uuid", route) for key, route in routers[0].routes.items()}  # type: ignore[union-attr]
    assert routes == {"x": one._uuid, 1: two._uuid, None: one._uuid, 2.5: one._uuid, "plain": 7}
    assert vars(routers[2].selector) == {"_uuid": one._uuid}  # type: ignore[union-attr]


def test_route_keys_that_json_lacks() -> None:
    """A key that would come back as something else is refused."""
    a, b = node("a"), node("b")
    graph = graph_of(a, b)
    graph.edges = [Edge(a, b, "0", router=Router(triple(0), {(1, 2): triple(1)}))]

    with pytest.raises(TypeError, match=r"route key \(1, 2\)"):
        to_json(graph)


def test_markers_inside_literals() -> None:
    """Lazies, routers and inject markers inside a literal are stored; data that looks like a marker stays data."""
    lazy = triple(1)
    bindings = {
        "0": [lazy, 1],
        "1": {"k": inject("db")},
        "2": {"__lazy_ref": "mine"},
        "3": {"__plain": {"__inject": 1}},
        "4": [Router(lazy, {"x": lazy})],
    }

    back = there_and_back(graph_of(node("a", input_bindings=bindings))).nodes[0]
    loaded = back.input_bindings

    assert loaded["0"][0]._uuid == lazy._uuid
    assert loaded["0"][1] == 1
    assert isinstance(loaded["1"]["k"], Inject)
    assert loaded["1"]["k"].resource_name == "db"
    assert loaded["2"] == {"__lazy_ref": "mine"}
    assert loaded["3"] == {"__plain": {"__inject": 1}}
    assert loaded["4"][0].routes["x"]._uuid == lazy._uuid
    assert back.has_complex_inputs


def test_what_cannot_be_stored() -> None:
    """The error names node and argument."""
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(TypeError, match="argument 'x' of node 'a'"):
        to_json(graph_of(node("a", input_bindings={"ok": 1, "x": [object()]})))
    with pytest.raises(ValueError, match="argument 'x' of node 'a' cannot be stored: it contains itself"):
        to_json(graph_of(node("a", input_bindings={"x": loop})))
    with pytest.raises(TypeError, match="node 'a' cannot be stored: its int"):
        to_json(graph_of(node("a", callable_obj=3)))


# ------------------------------------------------------------------------------------------------------ loading


def stored(module: str, qualname: str, key: str = "callable") -> dict[str, Any]:
    entry = {"structural_id": "i", "name": "n", key: {"module": module, "qualname": qualname}}
    return {"nodes": [entry], "edges": []}


@pytest.mark.parametrize("key", ["callable", "mapping_factory"])
@pytest.mark.parametrize(
    "module, qualname, reason",
    [
        (__name__, "missing", "no function of that name"),
        (__name__, "Tools.missing", "no function of that name"),
        (__name__, "double.__code__", "no function of that name"),
        (__name__, "test_what_cannot_be_stored.<locals>.f", "no function of that name"),
        (__name__, "Tools.value", "there is a int"),
        (__name__, "Tools.bomb", "there is a property"),
        (__name__, "Tools.loud", "there is a Loud"),
        (__name__, "json", "there is a module"),
        (__name__, "", "no function of that name"),
        ("cascade_no_such_module", "f", "is not imported"),
    ],
)
def test_functions_that_cannot_be_restored(key: str, module: str, qualname: str, reason: str) -> None:
    """Only a function or class found by plain steps from an imported module counts."""
    with pytest.raises(ValueError, match="Could not restore function") as caught:
        graph_from_dict(stored(module, qualname, key))

    assert reason in str(caught.value)


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of which importing a module leaves a trace."""
    package = tmp_path / "cascade_bomb"
    package.mkdir()
    (package / "__init__.py").write_text("trace = []\n")
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(
            textwrap.dedent(
                """
                import cascade_bomb
                cascade_bomb.trace.append(__name__)
                def f(): cascade_bomb.trace.append("called")
                def __getattr__(name):
                    cascade_bomb.trace.append("getattr " + name)
                    return f
                """
            )
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda: sys.modules["cascade_bomb"].trace if "cascade_bomb" in sys.modules else []
    for name in [name for name in sys.modules if name.startswith("cascade_bomb")]:
        del sys.modules[name]


def test_loading_imports_and_calls_nothing(bomb: Any) -> None:
    """Without permission a module stays unimported, and of an imported one nothing is called."""
    with pytest.raises(ValueError, match=r"module 'cascade_bomb.one' is not imported.*allow=\['cascade_bomb.one'\]"):
        graph_from_dict(stored("cascade_bomb.one", "f"))
    assert bomb() == []

    import cascade_bomb.one  # type: ignore[import-not-found]

    graph = graph_from_dict(stored("cascade_bomb.one", "f"))
    with pytest.raises(ValueError, match="no function of that name"):
        graph_from_dict(stored("cascade_bomb.one", "other"))

    assert graph.nodes[0].callable_obj is cascade_bomb.one.f
    assert bomb() == ["cascade_bomb.one"]


@pytest.mark.parametrize("allow", [["cascade_bomb"], "cascade_bomb.one", ("x", "cascade_bomb.one")])
def test_allowed_modules_are_imported(bomb: Any, allow: Any) -> None:
    """A module that is named, or inside one that is, may be imported; no other."""
    graph = from_json(json.dumps(stored("cascade_bomb.one", "f")), allow=allow)

    assert graph.nodes[0].callable_obj.__module__ == "cascade_bomb.one"  # type: ignore[union-attr]
    assert bomb() == ["cascade_bomb.one"]
    if allow != ["cascade_bomb"]:
        with pytest.raises(ValueError, match="Could not restore"):
            graph_from_dict(stored("cascade_bomb.two", "f"), allow=allow)
        assert bomb() == ["cascade_bomb.one"]


def test_a_failing_import_is_a_failed_restore() -> None:
    """An allowed module that does not exist is reported like any other."""
    with pytest.raises(ValueError, match=r"Could not restore function .cascade_none\.f."):
        graph_from_dict(stored("cascade_none", "f"), allow=["cascade_none"])


def test_malformed_data() -> None:
    """Unknown nodes, edge types, routers and missing fields are named; a missing edge type means DATA."""
    nodes = [{"structural_id": k, "name": k} for k in "ab"]
    edge = {"source_id": "a", "target_id": "b"}

    assert graph_from_dict({"nodes": nodes, "edges": [edge]}).edges[0].edge_type is EdgeType.DATA
    for change, text in [
        ({"target_id": "z"}, "Edge references unknown node 'z'"),
        ({"edge_type": "MAGIC"}, "unknown edge type 'MAGIC'"),
        ({"router_index": 4}, "router 4 is unknown"),
    ]:
        with pytest.raises(ValueError, match=text):
            graph_from_dict({"nodes": nodes, "edges": [edge | change]})
    with pytest.raises(ValueError, match="an edge lacks 'source_id'"):
        graph_from_dict({"nodes": nodes, "edges": [{}]})
    with pytest.raises(ValueError, match="the graph lacks 'edges'"):
        graph_from_dict({"nodes": []})
    with pytest.raises(ValueError, match="node 'x' lacks 'structural_id'"):
        graph_from_dict({"nodes": [{"name": "x"}], "edges": []})


def test_a_built_graph_survives() -> None:
    """What the builder made of calls, maps, routers and lazy amounts is stored and loaded with equal text."""
    selector, amount = triple(0), triple(1)
    target: Any = later(Router(selector, {"x": triple(2)}), r=[triple.map(x=[1, 2]), triple(3)])
    target.with_constraints(cpu=amount, gpu=1).with_retry(2, 0.5, 2.0)
    graph, _ = build_graph(target)
    back = there_and_back(graph)

    assert to_json(back) == to_json(graph)
    assert [(n.structural_id, n.template_id, n.name) for n in back.nodes] == [
        (n.structural_id, n.template_id, n.name) for n in graph.nodes
    ]
    assert back.nodes[-1].constraints.requirements["cpu"]._uuid == amount._uuid  # type: ignore[union-attr]
    assert {node.callable_obj or node.mapping_factory for node in back.nodes} == {triple.func, later.func}


def test_a_long_chain_survives() -> None:
    """Depth of an expression is no depth of the text."""
    target: Any = triple(0)
    for _ in range(5_000):
        target = triple(target)
    graph, _ = build_graph(target)

    assert len(there_and_back(graph).nodes) == 5_001


# ------------------------------------------------------------------------------------------------------ hostile texts


def test_allow_says_where_functions_may_come_from() -> None:
    """With it, functions of other modules stay where they are, imported or not."""
    with pytest.raises(ValueError, match="module 'os' is not one of those that are allowed"):
        graph_from_dict(stored("os", "system"), allow=[__name__])
    with pytest.raises(ValueError, match="is not one of those that are allowed"):
        graph_from_dict(stored(__name__, "double"), allow=[])
    with pytest.raises(ValueError, match="is not one of those that are allowed"):
        graph_from_dict(stored(__name__ + "x", "double"), allow=[__name__])

    assert graph_from_dict(stored(__name__, "double"), allow=__name__).nodes[0].callable_obj is double


class Proxy:
    """Answers every question with code of its own."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")

    def __call__(self) -> Any:
        raise AssertionError("called")


class Watching(type):
    """Its classes answer questions about themselves with code of their own."""

    def __getattr__(cls, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


class Watched(metaclass=Watching):
    pass


proxy = Proxy()


def test_loading_asks_objects_nothing() -> None:
    """Not even for their class: it is told by their type alone."""
    with pytest.raises(ValueError, match="there is a Proxy under that name"):
        graph_from_dict(stored(__name__, "proxy"))
    assert graph_from_dict(stored(__name__, "Watched")).nodes[0].callable_obj is Watched
    assert graph_from_dict(stored("builtins", "len")).nodes[0].callable_obj is len


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "nul", "3", "[]", "null", "NaN", '"nodes"', "[" * 100_000, '{"a":' * 100_000, "1" * 5_000),
    ],
    ids=range(11),
)
def test_texts_that_hold_no_graph(text: str) -> None:
    """A ValueError, whatever the text."""
    with pytest.raises(ValueError):
        from_json(text)


MODEL: dict[str, Any] = {
    "nodes": [
        {
            "structural_id": "a",
            "template_id": "t",
            "name": "n",
            "node_type": "task",
            "input_bindings": {"0": [{"__lazy_ref": "u"}, {"__inject": "r"}], "1": {"__plain": {"__router": 0}}},
            "callable": {"module": __name__, "qualname": "double"},
            "retry_policy": {"max_attempts": 1, "delay": 0.5, "backoff": 1.0},
            "constraints": {"cpu": {"__lazy_ref": "u"}},
            "param_spec": {"name": "p", "default": 1, "type_name": "int", "description": "d"},
        },
        {"structural_id": "b", "name": "m", "mapping_factory": {"module": __name__, "qualname": "triple"}},
    ],
    "edges": [
        {"source_id": "a", "target_id": "b", "arg_name": "0", "edge_type": "DATA", "router_index": 0},
    ],
    "routers": [{"selector_id": "s", "routes": {"x": "u"}, "typed_routes": [[1, "u"]], "literal_routes": [["y", 2]]}],
}

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["os", "system"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*"abx01", "__router"]), inner),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every container with each key or index of it, outermost first."""
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    if isinstance(value, list):
        keys = list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@settings(max_examples=500)
@given(st.data())
def test_any_wrong_part_is_a_value_error(data: st.DataObject) -> None:
    """Whichever parts of a stored graph are replaced or left out: a graph or a ValueError."""
    model = json.loads(json.dumps(MODEL))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(model) or [({"x": 0}, "x")]))
        if data.draw(st.booleans()):
            container[key] = data.draw(junk)
        else:
            del container[key]
    try:
        graph = from_json(json.dumps(model), allow=[__name__])
    except ValueError:
        return
    assert isinstance(graph, Graph)


def test_the_model_of_that_is_right() -> None:
    """Unchanged it is a graph, and every field is used."""
    back = graph_from_dict(MODEL)

    assert back.nodes[0].input_bindings["1"] == {"__router": 0}
    assert back.edges[0].router.routes[1]._uuid == "u"  # type: ignore[union-attr]


def test_what_is_nested_too_deeply_is_refused() -> None:
    """Both ways; where it is stored, the error names the argument."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]

    with pytest.raises(ValueError, match="argument 'x' of node 'a' cannot be stored: it is nested too deeply"):
        to_json(graph_of(node("a", input_bindings={"x": deep})))
    with pytest.raises(ValueError, match="the graph cannot be loaded: it is nested too deeply"):
        graph_from_dict({"nodes": [{"name": "n", "structural_id": "i", "input_bindings": {"0": deep}}], "edges": []})
