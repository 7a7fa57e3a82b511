"""Arguments and amounts of hand-made nodes: order, precedence, inject markers, Routers, what is missing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cascade import inject
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.runtime.exceptions import DependencyMissingError, ResourceNotFoundError
from cascade.runtime.resolvers import ArgumentResolver, ConstraintResolver
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.routing import Router


class Case:
    """One consumer with sources before it."""

    def __init__(self, func: Any = None, **bindings: Any) -> None:
        self.node = Node("consumer", "consumer", callable_obj=func)
        self.node.input_bindings = {key.lstrip("_"): value for key, value in bindings.items()}
        self.graph = Graph(nodes=[self.node])
        self.state = InMemoryStateBackend("run")
        self.instances: dict[str, Node] = {}
        self.resources: dict[str, Any] = {}

    def source(self, name: str, *result: Any, arg: str | None = None, router: Any = None) -> SimpleNamespace:
        """Add a source, its result if one is given, and its edge if an argument is; return its lazy stand-in."""
        node = Node(name, name)
        self.graph.add_node(node)
        self.instances["u-" + name] = node
        if result:
            asyncio.run(self.state.put_result(name, result[0]))
        if arg is not None:
            self.graph.add_edge(Edge(node, self.node, arg, EdgeType.DATA, router))
        return SimpleNamespace(_uuid="u-" + name)

    def arguments(self, **overrides: Any) -> tuple[list[Any], dict[str, Any]]:
        resolving = ArgumentResolver().resolve(
            self.node, self.graph, self.state, self.resources, self.instances, {}, overrides
        )
        return asyncio.run(resolving)

    def amounts(self, manager: Any = None) -> dict[str, Any]:
        return asyncio.run(
            ConstraintResolver().resolve(self.node, self.graph, self.state, manager, self.instances)
        )


def test_positions_are_sorted_as_numbers() -> None:
    """Positional arguments come in the order of their index, from literals and edges alike."""
    case = Case(_10="k", _1="b", x=1)
    case.source("two", "c", arg="2")
    case.source("zero", "a", arg="0")

    assert case.arguments() == (["a", "b", "c", "k"], {"x": 1})


def test_precedence() -> None:
    """Overrides beat edges, edges beat literals, literals beat injected defaults."""

    def func(a: Any = inject("r"), b: Any = inject("r"), c: Any = inject("r"), d: Any = inject("r")) -> None:
        return None

    case = Case(func, b="literal", c="literal", d="literal")
    case.resources["r"] = "injected"
    case.source("s", "edge", arg="c")
    case.source("t", "edge", arg="d")

    positional, named = case.arguments(d="override")

    assert positional == []
    assert named == {"a": "injected", "b": "literal", "c": "edge", "d": "override"}


def test_a_positional_argument_replaces_an_injected_default() -> None:
    """A default at a position that is given is not injected."""

    def func(a: Any = inject("absent")) -> None:
        return None

    assert Case(func, _0=1).arguments() == ([1], {})


def test_nested_inject_markers() -> None:
    """Markers in lists, tuples and dict values become resources; the literal itself is not changed."""
    literal = [{"k": (inject("r"), 1)}]
    case = Case(_0=literal, x=inject("r"))
    case.resources["r"] = "R"

    assert case.arguments() == ([[{"k": ("R", 1)}]], {"x": "R"})
    assert literal[0]["k"][0] != "R"


def test_a_missing_resource() -> None:
    """The error names the resource."""
    with pytest.raises(ResourceNotFoundError) as caught:
        Case(_0=inject("db")).arguments()

    assert caught.value.resource_name == "db"
    assert caught.value.consumer_name == "consumer"


@pytest.mark.parametrize(("choice", "value"), [("a", "from a"), (None, "from none"), (3, "literal")])
def test_the_router_chooses(choice: Any, value: Any) -> None:
    """The argument is the result of the route whose key the selector gave; other routes need no result."""
    case = Case()
    routes = {"a": case.source("a", "from a"), None: case.source("n", "from none"), 3: "literal", 4: case.source("x")}
    case.source("selector", choice, arg="0", router=Router(SimpleNamespace(_uuid="u-selector"), routes))

    assert case.arguments() == ([value], {})


@pytest.mark.parametrize("choice", ["b", None, []])
def test_a_route_that_is_missing(choice: Any) -> None:
    """The error says who asked for what, also for a value that cannot be a key."""
    case = Case()
    router = Router(SimpleNamespace(_uuid="u-selector"), {"a": case.source("a", 1)})
    case.source("selector", choice, arg="0", router=router)

    with pytest.raises(ValueError, match=r"Router selector for .*no matching route found in"):
        case.arguments()


def test_a_missing_dependency() -> None:
    """The error carries task, argument and dependency."""
    case = Case()
    case.source("gone", arg="x")

    with pytest.raises(DependencyMissingError, match="missing input for argument 'x'") as caught:
        case.arguments()

    assert (caught.value.task_id, caught.value.arg_name) == ("consumer", "x")
    assert "gone" in caught.value.dependency_id


def test_a_skipped_dependency_says_why() -> None:
    """The reason of the skip is part of the error."""
    case = Case()
    case.source("gone", arg="x")
    asyncio.run(case.state.mark_skipped("gone", "ConditionFalse"))

    with pytest.raises(DependencyMissingError, match="ConditionFalse"):
        case.arguments()


def test_amounts() -> None:
    """Numbers stay, lazy amounts become their results, global constraints add theirs."""
    case = Case()
    case.node.constraints = ResourceConstraint({"cpu": 2, "memory": case.source("m", 7)})
    manager = SimpleNamespace(get_extra_requirements=lambda node: {"limit:" + node.name: 1})

    assert case.amounts() == {"cpu": 2, "memory": 7}
    assert case.amounts(manager) == {"cpu": 2, "memory": 7, "limit:consumer": 1}
    assert Case().amounts() == {}


def test_a_missing_amount() -> None:
    """The argument of the error is the constraint's name."""
    case = Case()
    case.node.constraints = ResourceConstraint({"memory": case.source("m")})

    with pytest.raises(DependencyMissingError) as caught:
        case.amounts()

    assert (caught.value.arg_name, caught.value.dependency_id) == ("constraint:memory", "m")
