"""Blueprints: what a lazy result is compiled to."""

from __future__ import annotations

from typing import Any

import pytest

import cascade as cs
from cascade.graph.compiler import BlueprintBuilder
from cascade.graph.exceptions import CycleError
from cascade.spec.blueprint import Blueprint, Call, Literal, Register
from cascade.spec.constraint import ResourceConstraint
from cascade.spec.task import task


@task
def add_one(x: int) -> int:
    return x + 1


@task
def add(a: int, b: int = 0) -> int:
    return a + b


def build(target: Any, **options: Any) -> Blueprint:
    return BlueprintBuilder().build(target, **options)


def calls(blueprint: Blueprint) -> list[Call]:
    assert all(type(one) is Call for one in blueprint.instructions)
    return blueprint.instructions  # type: ignore[return-value]


def test_one_call_per_lazy_dependencies_first() -> None:
    """Registers are numbered in order of creation; lazies become registers, everything else literals."""
    shared = add_one(1)
    blueprint = build(add(shared, b=add(shared, 5)))

    assert blueprint == Blueprint(
        [
            Call(add_one.func, Register(0), [Literal(1)], {}, "add_one"),
            Call(add.func, Register(1), [Register(0), Literal(5)], {}, "add"),
            Call(add.func, Register(2), [Register(0)], {"b": Register(1)}, "add"),
        ],
        3,
    )


def test_literals_are_passed_as_they_are() -> None:
    """A literal is the very object that the call has."""
    items = [1, 2]
    (call,) = calls(build(add_one(items)))  # type: ignore[arg-type]

    assert call.args[0].value is items  # type: ignore[attr-defined]


def test_a_template_has_its_roots_arguments_as_inputs() -> None:
    """They take the first registers, before the output; what they are now is not compiled."""
    blueprint = build(add_one(x=10), template=True)

    assert blueprint.register_count == 2
    assert blueprint.input_kwargs == {"x": 0}
    assert blueprint.input_args == []
    assert calls(blueprint)[0].output == Register(1)
    assert build(add(7, b=8), template=True) == Blueprint(
        [Call(add.func, Register(2), [Register(0)], {"b": Register(1)}, "add")], 3, [0], {"b": 1}
    )


def test_constraints_and_names_are_kept() -> None:
    """A call carries its constraints and the name of its task."""
    (call,) = calls(build(cs.task(name="mine")(add_one.func)(1).with_constraints(cpu=2)))

    assert (call.task_name, call.constraints) == ("mine", ResourceConstraint({"cpu": 2}))


def test_equal_calls_of_a_pure_task_are_one() -> None:
    """They are one node of a graph, and so one call of a blueprint."""
    square = cs.task(pure=True)(lambda x: x * x)

    assert len(build(add(square(3), square(3))).instructions) == 2
    assert len(build(add(square(3), square(4))).instructions) == 3


def test_what_registers_cannot_express_is_returned_by_a_call() -> None:
    """Retries, maps, resources and modes make a call that returns a copy of the lazy result with arguments given."""
    target = add_one.map(x=[1, 2]).with_constraints(cpu=1).with_retry(2)
    retried = add(1).with_retry(3)
    for lazy, kwargs in ((target, {"x": [3]}), (retried, {"b": 4})):
        (call,) = calls(build(lazy))
        again = call.func(**kwargs)

        assert type(again) is type(lazy)
        assert again is not lazy
        assert (again._retry_policy, again._constraints) == (lazy._retry_policy, lazy._constraints)
        assert call.constraints is None
    assert calls(build(target))[0].task_name == "map(add_one)"


@pytest.mark.parametrize(
    "target",
    [
        add_one(1).run_if(add_one(0)),
        add_one(1).after(add_one(0)),
        add(add_one(1).run_if(True), 2),
        add_one([add_one(1)]),
        add_one(cs.Router(add_one(0), {1: add_one(2)})),
        add_one(1).with_constraints(cpu=add_one(0)),
    ],
)
def test_choices_and_conditions_keep_an_expression_whole(target: Any) -> None:
    """An expression in which a call may be skipped, or is inside a container, is one call that returns it."""
    (call,) = calls(build(target))

    assert call.func() is target
    assert call.args == []


def test_a_builder_is_reusable() -> None:
    """Two builds of one builder do not know of each other."""
    builder = BlueprintBuilder()

    assert builder.build(add_one(1)) == builder.build(add_one(1)) == build(add_one(1))


@pytest.mark.parametrize("target", [1, None, "text", [1], add_one])
def test_other_targets_are_refused(target: Any) -> None:
    """Only lazy results can be compiled."""
    with pytest.raises(TypeError, match="Cannot compile non-LazyResult"):
        build(target)


def test_expressions_that_can_never_run_are_refused() -> None:
    """A cycle, and a task that was not called, are found while compiling."""
    one = add_one(1)
    two = add_one(one)
    one.args = (two,)
    with pytest.raises(CycleError):
        build(one)
    with pytest.raises(TypeError, match="add_one"):
        build(add_one(add_one))
    one.args = ()


def test_depth_is_bounded_by_memory_alone() -> None:
    """A chain of 10,000 calls is compiled without recursion."""
    lazy = add_one(0)
    for _ in range(9_999):
        lazy = add_one(lazy)

    assert len(build(lazy).instructions) == 10_000
