"""Arguments and amounts, of hand-made nodes and of calls: order, precedence, markers, Routers, what is missing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from cascade import inject
from cascade.adapters.state.in_memory import InMemoryStateBackend
from cascade.graph._problems import ContainerError
from cascade.graph.build import build_graph
from cascade.graph.model import Edge, EdgeType, Graph, Node
from cascade.runtime.exceptions import DependencyMissingError, ResourceNotFoundError
from cascade.runtime.resolvers import ArgumentResolver, ConstraintResolver
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.routing import Router
from cascade.spec.task import task


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


@pytest.mark.row("04-resources-and-constraints", "Injected resources", "marker met at call time without instance")
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
    assert caught.value.dependency_id == "gone"


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


# ------------------------------------------------------------------------------------------- nodes of build_graph


@task
def source(name: str) -> Any:
    return name


@task
def use(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


Pair = namedtuple("Pair", "first second")


class Row(list):  # type: ignore[type-arg]
    """A list of another type, with something of its own."""

    colour = "none"


class Built:
    """A call in a graph of its own; each ``source(name)`` has the result ``"<name>!"`` unless it is left out."""

    def __init__(self, target: Any, *missing: str, **resources: Any) -> None:
        self.graph, self.instances = build_graph(target)
        self.node = self.instances[target._uuid]
        self.state = InMemoryStateBackend("run")
        self.resources = resources
        for node in self.graph.nodes:
            name = node.input_bindings.get("0")
            if node.name == "source" and name not in missing:
                asyncio.run(self.state.put_result(node.structural_id, f"{name}!"))

    def arguments(self, **overrides: Any) -> tuple[list[Any], dict[str, Any]]:
        resolving = ArgumentResolver().resolve(
            self.node, self.graph, self.state, self.resources, self.instances, {}, overrides
        )
        return asyncio.run(resolving)

    def given(self) -> dict[str, Any]:
        return asyncio.run(ArgumentResolver().given(self.node, self.graph, self.state))


def test_a_calls_arguments_are_where_they_were_given() -> None:
    """Literals and lazies keep positions and names, mixed in any way."""
    case = Built(use(1, source("a"), 2, source("b"), x=3, y=source("c"), z=[]))

    assert case.arguments() == ([1, "a!", 2, "b!"], {"x": 3, "y": "c!", "z": []})
    assert list(case.arguments()[1]) == ["x", "y", "z"]


def test_containers_hold_values_where_they_held_lazies() -> None:
    """Lists, tuples and dict values at any depth; the containers of the call itself are not changed."""
    given = [source("a"), {"k": (source("b"), 1), "n": []}]
    case = Built(use(given, k={"deep": [[source("c")]]}))

    assert case.arguments() == ([["a!", {"k": ("b!", 1), "n": []}]], {"k": {"deep": [["c!"]]}})
    assert type(given[0]).__name__ == "LazyResult"


def test_each_resolution_makes_new_containers() -> None:
    """What one call does to its arguments is nothing to the next resolution."""
    case = Built(use([source("a")]))
    case.arguments()[0][0].append("spoilt")

    assert case.arguments() == ([["a!"]], {})


def test_containers_without_lazies_pass_by_identity() -> None:
    """Also when they stand inside or beside containers with lazies, and when they contain themselves."""
    plain: list[Any] = [1]
    plain.append(plain)
    case = Built(use(plain, [source("a"), plain], k=plain))
    (first, (value, second)), named = case.arguments()

    assert value == "a!"
    assert first is second is named["k"] is plain


def test_a_container_that_is_used_twice_in_a_call_stays_one_container() -> None:
    """Sharing inside an argument and between arguments survives the rebuilding."""
    shared = [source("a")]
    (first, outer), named = Built(use(shared, [shared, shared], k={"s": shared})).arguments()

    assert first == ["a!"]
    assert outer[0] is outer[1]
    assert named["k"]["s"] == ["a!"]


def test_containers_of_other_types_are_rebuilt_as_their_type() -> None:
    """Named tuples, ordered dicts and subclasses with attributes keep type, order and attributes."""
    row = Row([source("a"), 2])
    row.colour = "red"
    case = Built(use(row, Pair(source("b"), 1), OrderedDict(z=source("c"), a=2)))
    made, pair, ordered = case.arguments()[0]

    assert (type(made), made, made.colour) == (Row, ["a!", 2], "red")
    assert (type(pair), pair) == (Pair, ("b!", 1))
    assert (type(ordered), list(ordered.items())) == (OrderedDict, [("z", "c!"), ("a", 2)])


class Fussy(tuple):  # type: ignore[type-arg]
    """A tuple that cannot be made of its items."""

    def __new__(cls, *items: Any, size: int) -> Any:
        return super().__new__(cls, items)


class Fixed(list):  # type: ignore[type-arg]
    """A list that cannot be filled."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise RuntimeError("fixed")


class Forgetful(dict):  # type: ignore[type-arg]
    """A dict that comes back empty."""

    def __copy__(self) -> Any:
        return {}


@pytest.mark.parametrize(
    "container",
    [Fussy(source("a"), size=1), Fixed([source("a")]), Forgetful(k=source("a"))],
    ids=["tuple", "list", "dict"],
)
def test_a_container_that_cannot_be_rebuilt_is_a_type_error_that_names_it(container: Any) -> None:
    """Task and type are in the text."""
    with pytest.raises(ContainerError, match=rf"'use'.*{type(container).__name__}") as caught:
        Built(use(container)).arguments()

    assert isinstance(caught.value, TypeError)


def test_a_calls_markers_become_resources() -> None:
    """Alone, in containers beside lazies and without, as keyword; the caller's marker beats the default's."""

    @task
    def wants(a: Any, b: Any = inject("default"), c: Any = inject("default")) -> Any:
        return a

    case = Built(wants([inject("r"), source("a")], inject("s")), r="R", s="S", default="D")
    assert case.arguments() == ([["R", "a!"], "S"], {"c": "D"})
    assert Built(use({"k": (inject("r"),)}), r="R").arguments() == ([{"k": ("R",)}], {})
    with pytest.raises(ResourceNotFoundError, match="'s' required by 'wants'"):
        Built(wants(1, inject("s")), default="D").arguments()


def test_a_calls_router_is_its_chosen_route() -> None:
    """Routes may be lazies, literals and containers; only the chosen one needs a result."""
    routes = {"k!": source("a"), "x!": source("b"), "literal!": 5, "list!": [source("c")]}
    for key, value in (("k", "a!"), ("literal", 5), ("x", "b!")):
        others = {"k": ("b", "c"), "literal": ("a", "b", "c"), "x": ("a", "c")}[key]
        assert Built(use([Router(source(key), routes)]), *others).arguments() == ([[value]], {})
    with pytest.raises(ValueError, match=r"Router selector for 'use' returned 'no!', but no matching route found in"):
        Built(use(Router(source("no"), routes))).arguments()


@pytest.mark.parametrize(
    ("make", "argument"),
    [(lambda x: use(1, x), "1"), (lambda x: use(k=[x]), "k[0]"), (lambda x: use(Router(x, {"gone!": 1})), "0")],
)
def test_a_missing_input_of_a_call_is_named(make: Any, argument: str) -> None:
    """Task, argument and dependency are in the error."""
    with pytest.raises(DependencyMissingError, match="'source'") as caught:
        Built(make(source("gone")), "gone").arguments()

    assert (caught.value.task_name, caught.value.arg_name) == ("use", argument)


def test_a_missing_chosen_route_is_named() -> None:
    """The route that was chosen has no result: its argument path says which."""
    case = Built(use(Router(source("k"), {"k!": source("a"), "o!": source("b")})), "a")
    with pytest.raises(DependencyMissingError) as caught:
        case.arguments()

    assert caught.value.arg_name == "0.route[k!]"


def test_overrides_replace_a_calls_arguments() -> None:
    """By position and by name."""
    case = Built(use(source("a"), 2, k=source("b")))

    assert case.arguments(**{"0": "zero", "k": "key"}) == (["zero", 2], {"k": "key"})


def test_what_was_given_keeps_its_markers() -> None:
    """A cache policy is asked with values of dependencies, and with markers instead of resources."""
    given = Built(use(source("a"), [source("b"), inject("r")], k=inject("s"))).given()

    assert list(given) == ["0", "1", "k"]
    assert (given["0"], given["1"][0]) == ("a!", "b!")
    assert (given["1"][1].resource_name, given["k"].resource_name) == ("r", "s")
