"""``cs.explain``: the tier of each part of a target, and why it is not hot."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade._explain import Part
from tests.engines import make_engine, run


@cs.task
def add(a: Any, b: Any = 0, **more: Any) -> Any:
    return a + b


@cs.task
def down(n: int) -> Any:
    return down(n - 1) if n else "end"


def lazy(*args: Any, **kwargs: Any) -> Any:
    """Returns a call of ``add`` whose policies may be set."""
    return add(*args, **kwargs)


def test_a_plain_expression_is_hot() -> None:
    """Kernel, tier, parts in order and stages are there, and nothing says why not."""
    told = cs.explain(add(add(1, 2), add(3, 4)))

    assert told.kernel == _kernel.kernel_name
    assert told.tier == "hot"
    assert told.why == ()
    assert told.parts == (Part("add", "hot"),) * 3
    assert told.stages == (("add", "add"), ("add",))
    assert told.requires == ()


HOT = [
    pytest.param(lambda: add(lazy(1).run_if(add(1, 0))), id="condition"),
    pytest.param(lambda: add(lazy(1).run_if(True)), id="constant condition"),
    pytest.param(lambda: add(lazy(1).after(add(2))), id="after"),
    pytest.param(lambda: add(cs.Router(add(1), {1: add(2)})), id="router"),
    pytest.param(lambda: add(down.map(n=[1])), id="map"),
    pytest.param(lambda: add([cs.inject("r"), add(1)]), id="marker"),
    pytest.param(lambda: add(lazy(1).with_retry(2)), id="retry"),
    pytest.param(lambda: add(cs.Param("n", default=1)), id="parameter"),
]


@pytest.mark.parametrize("make", HOT)
def test_what_a_program_honours_is_hot(make: Any) -> None:
    """Neither the whole nor a part gives a reason, and the kernel agrees."""
    told, frame = cs.explain(make()), _kernel.Frame(_kernel.ProgramCache(), {}, False)
    frame.begin(make())
    program = _kernel.compile_program(frame, *_kernel.layers(frame))
    frame.close()

    assert told.tier == "hot"
    assert told.why == ()
    assert all(part.tier == "hot" and not part.why for part in told.parts)
    assert program.hot


NOT_HOT = [
    pytest.param(lambda: add(lazy(1).with_constraints(gpu=1)), "with_constraints()", id="constraints"),
    pytest.param(lambda: add(lazy(1).with_cache(object())), "with_cache()", id="cache"),
    pytest.param(lambda: add(type("Bag", (list,), {})([add(1)])), "container of type Bag", id="container"),
    pytest.param(lambda: add(cs.task(lambda: 1, name="t", mode="blocking")()), "mode='blocking'", id="thread"),
    pytest.param(lambda: add(cs.task(lambda: 1, name="t", mode="compute")()), "mode='compute'", id="process"),
]


@pytest.mark.parametrize("make, reason", NOT_HOT)
def test_what_keeps_a_part_from_being_hot_is_said_at_that_part(make: Any, reason: str) -> None:
    """One part gives the reason, the others are hot, and the whole is warm."""
    told = cs.explain(make())
    guilty = [part for part in told.parts if part.why]

    assert told.tier == "warm"
    assert told.why == ()
    assert [(part.tier, len(part.why)) for part in guilty] == [("warm", 1)]
    assert reason in guilty[0].why[0]
    assert all(part.tier == "hot" for part in told.parts if part not in guilty)
    assert reason in str(told)


@pytest.mark.parametrize("make, reason", NOT_HOT)
def test_the_kernel_agrees_that_it_is_not_hot(make: Any, reason: str) -> None:
    """No reason is told of what is hot in truth: the kernel closes the program of each of these."""
    from cascade.graph.build import build_graph

    target = make()
    frame = _kernel.Frame(_kernel.ProgramCache(), {}, False)
    frame.begin(target)
    engine = make_engine()
    graph, _ = build_graph(target)
    indexed = engine.graph_strategy._index_plan(graph, engine.solver.resolve(graph))
    assert indexed is not None
    program = _kernel.compile_program(frame, indexed.offsets, indexed.indices)

    assert not program.hot


def test_a_map_is_named_after_its_factory() -> None:
    """Its name is the one that its node has."""
    told = cs.explain(down.map(n=[1, 2]))

    assert [part.name for part in told.parts] == ["map(down)"]


def test_values_that_decide_about_the_shape_make_it_cold() -> None:
    """Two calls of a pure task may be one call: that depends on values, which are no part of a template."""
    pure = cs.task(lambda x: x, name="pure", pure=True)
    told = cs.explain(add(pure({1}), pure({2})))

    assert told.tier == "cold"
    assert "pure task" in told.why[0]
    assert "planned anew" in str(told)


@pytest.mark.parametrize("scope, tier", [("run", "hot"), ("task", "warm")])
def test_the_scope_of_a_resource_counts(scope: Any, tier: str) -> None:
    """A resource of task scope is set up for each step; the engine knows which ones are."""

    @cs.resource(name="db", scope=scope)
    def db() -> Any:
        yield 1

    @cs.task
    def query(db: Any = cs.inject("db")) -> Any:
        return db

    engine = make_engine(resources=[db])
    told = cs.explain(add(query(), 1), engine=engine)

    assert told.tier == tier
    assert told.requires == ("db",)
    assert [part.tier for part in told.parts] == [tier, "hot"]


@pytest.mark.parametrize("options", [{"hot": False}, {"observe": "steps"}])
def test_the_settings_of_an_engine_count(options: Any) -> None:
    """What the engine forbids is a reason of the whole."""
    told = cs.explain(add(1, 2), engine=make_engine(**options))

    assert told.tier == "warm"
    assert len(told.why) == 1
    assert next(iter(options)) in told.why[0]


def test_explaining_leaves_an_engine_as_it_was() -> None:
    """Nothing runs, nothing is counted, and the next run is as hot as before."""
    engine = make_engine()
    cs.explain(down(3), engine=engine)
    assert engine.stats.steps == 0

    assert run(down(3), engine) == "end"
    assert engine.stats.hot >= 3


def test_inputs_are_no_resources() -> None:
    """Params and environment are always there."""
    assert cs.explain(add(cs.Param("explain_x"), cs.Env("HOME"))).requires == ()


def test_a_list_is_explained_like_the_run_of_it() -> None:
    """The task that gathers is a part."""
    told = cs.explain([add(1), down(2)])

    assert [part.name for part in told.parts] == ["add", "down", "_internal_gather"]
    assert told.tier == "hot"


@pytest.mark.parametrize("target", [3, add])
def test_what_cannot_run_cannot_be_explained(target: Any) -> None:
    """The error is the one of a run."""
    with pytest.raises(TypeError, match="Cannot build graph from type"):
        cs.explain(target)


def test_the_report_reads_well() -> None:
    """Equal parts and neighbours in a stage are written once, with their number."""
    text = str(cs.explain(add([lazy(n).with_constraints(slots=1) for n in range(3)], add(1))))

    assert text.splitlines() == [
        f"kernel  {_kernel.kernel_name}",
        "tier    warm: planned once, then every step gets full processing, call by call",
        "why     3 of its parts, see there; a step has one tier",
        "parts   5 calls",
        "  warm  add x 3  with_constraints(): may have to wait for capacity",
        "  hot   add x 2",
        "plan    2 stages",
        "     1  add x 4",
        "     2  add",
    ]


def test_deep_expressions_are_explained() -> None:
    """Depth is no limit, and the report stays short."""
    total: Any = 0
    for number in range(20_000):
        total = add(total, number)
    told = cs.explain(total)

    assert len(told.stages) == 20_000
    assert len(str(told).splitlines()) < 60


def test_it_says_when_large_data_is_searched() -> None:
    """Where it cannot be told without, each step looks for calls in what it is given."""

    @cs.task
    def carried(n: int, state: object) -> object:
        return state

    assert cs.explain(carried(1, [0] * 256)).notes == ()
    assert cs.explain(carried.map(n=range(1_000), state=[0] * 1_000)).notes == ()
    explanation = cs.explain(carried(1, [0] * 1_000))
    (note,) = explanation.notes
    assert note.startswith("carried takes a list of 1,000 items. It is searched for calls at every step")
    assert f"note    {note}" in str(explanation)
