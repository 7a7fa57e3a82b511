"""Blueprints, machine and jumps in the manner of the older engine's tests."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock, MagicMock, patch

import pytest

import cascade as cs
from cascade.graph.compiler import BlueprintBuilder
from cascade.runtime.events import TaskExecutionStarted
from cascade.runtime.vm import Frame, VirtualMachine
from cascade.spec.blueprint import Blueprint, Call, Literal, Register, TailCall
from cascade.spec.jump import Jump
from tests.drop_in.doubles import drive, engine_of


@cs.task
def add_one(x: int) -> int:
    return x + 1


def test_a_blueprint_in_template_mode() -> None:
    """The root's arguments have registers before its result."""
    blueprint = BlueprintBuilder().build(add_one(x=10), template=True)

    assert (blueprint.register_count, blueprint.input_kwargs) == (2, {"x": 0})
    assert blueprint.instructions[0].output.index == 1
    assert drive(VirtualMachine().execute(blueprint, initial_kwargs={"x": 5})) == 6


def test_a_blueprint_made_by_hand() -> None:
    """Instructions, registers and literals are plain values."""
    double = Call(
        func=lambda a: a * 2, output=Register(0), args=[Literal(4)], kwargs={}, task_name="double"
    )  # fmt: skip

    assert drive(VirtualMachine().execute(Blueprint(instructions=[double], register_count=1))) == 8
    frame = Frame(2)
    frame.store(Register(1), 5)
    assert (frame.load(Register(1)), frame.load(Literal(3)), frame.registers) == (5, 3, [None, 5])


def test_two_thousand_tail_calls() -> None:
    """Within a blueprint, and from one to another and back."""

    def down(n: int) -> Any:
        return TailCall(args=[n - 1]) if n else "end"

    def there(n: int) -> Any:
        return TailCall(kwargs={"n": n - 1}, target_blueprint_id="back")

    def back(n: int) -> Any:
        return TailCall(kwargs={"n": n - 1}, target_blueprint_id="there") if n > 0 else "back"

    machine, builder = VirtualMachine(), BlueprintBuilder()
    machine.register_blueprint("there", builder.build(cs.task(there)(n=0), template=True))
    machine.register_blueprint("back", builder.build(cs.task(back)(n=0), template=True))

    assert drive(machine.execute(builder.build(cs.task(down)(0), template=True), initial_args=[2_000])) == "end"
    assert drive(machine.execute(builder.build(cs.task(there)(n=0), template=True), initial_kwargs={"n": 9})) == "back"


def test_the_builder_is_patched_where_the_strategy_looks() -> None:
    """It is asked for a template, and the machine runs what it returns with the target's arguments."""
    engine, _ = engine_of()
    target = add_one(1)
    where = "cascade.runtime.strategies.vm"
    with patch(f"{where}.BlueprintBuilder") as builder, patch(f"{where}.VirtualMachine") as machine:
        machine.return_value.execute = AsyncMock(return_value="from the machine")
        assert drive(engine.run(target, use_vm=True)) == "from the machine"

    builder.return_value.build.assert_called_once_with(target, template=True)
    blueprint = builder.return_value.build.return_value
    machine.return_value.execute.assert_awaited_once_with(blueprint, initial_args=[1], initial_kwargs={})


def test_the_machine_asks_mocked_managers() -> None:
    """Permission by task name, amounts acquired and released around the call."""
    resources, constraints = AsyncMock(), MagicMock()
    constraints.check_permission.return_value = True
    constraints.get_extra_requirements.return_value = {}

    async def main() -> Any:
        machine = VirtualMachine(resources, constraints, asyncio.Event())
        return await machine.execute(BlueprintBuilder().build(add_one(1).with_constraints(gpu=1)))

    assert drive(main()) == 2
    resources.acquire.assert_awaited_once_with({"gpu": 1})
    resources.release.assert_awaited_once_with({"gpu": 1})
    assert constraints.check_permission.call_args.args[0].name == "add_one"


def test_events_of_a_jump_loop() -> None:
    """Each round has its own, when steps are observed; data that is a dict replaces arguments by name."""

    @cs.task
    def step(n: int, label: str = "none") -> Any:
        return Jump("again", {"n": n - 1}) if n else Jump("stop", label)

    node = step(n=3, label="kept")
    cs.bind(node, cs.select_jump({"again": node, "stop": None}))
    engine, spy = engine_of(observe="steps")

    assert drive(engine.run(node)) == "kept"
    assert len(spy.of(TaskExecutionStarted)) == 4


def test_a_jump_that_nobody_has_bound() -> None:
    """The error names what is missing; as an argument a Jump is data like any other."""

    @cs.task
    def jumps() -> Any:
        return Jump("a", 1)

    @cs.task
    def key(jump: Any) -> Any:
        return jump.target_key

    engine, _ = engine_of()

    assert drive(engine.run(key(jumps()))) == "a"
    with pytest.raises(RuntimeError, match="has no bound 'select_jump'"):
        drive(engine.run(jumps()))
