"""``engine.run(target, use_vm=True)``: the values of the graph strategy, by way of the register machine."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any
from unittest import mock

import pytest

import cascade as cs
from cascade.runtime.events import RunFinished, RunStarted
from cascade.runtime.exceptions import DependencyMissingError
from cascade.runtime.strategies import VMExecutionStrategy
from cascade.spec.blueprint import Blueprint, TailCall
from cascade.spec.constraint import GlobalConstraint
from cascade.spec.resource import inject, resource
from cascade.spec.task import task
from tests.differential.voices import patience
from tests.engines import make_engine, watch


@task
def add_one(x: int) -> int:
    return x + 1


@task
def add(a: Any, b: Any = 10) -> Any:
    return a + b


@task
def down(n: int) -> Any:
    return TailCall(args=[n - 1]) if n else "end"


def run(target: Any, engine: Any = None, use_vm: bool = True, **params: Any) -> Any:
    return asyncio.run((engine or make_engine()).run(target, params=params, use_vm=use_vm))


def test_it_compiles_a_template_and_runs_it_with_the_targets_arguments() -> None:
    """``BlueprintBuilder`` is looked up here; ``execute`` is given the arguments by keyword."""
    blueprint = Blueprint()
    with (
        mock.patch("cascade.runtime.strategies.vm.BlueprintBuilder") as builder,
        mock.patch("cascade.runtime.strategies.vm.VirtualMachine") as machine,
    ):
        builder.return_value.build.return_value = blueprint
        machine.return_value.execute = mock.AsyncMock(return_value="value")
        target = add(1, b=2)

        assert run(target) == "value"
    builder.return_value.build.assert_called_once_with(target, template=True)
    machine.return_value.execute.assert_awaited_once_with(blueprint, initial_args=[1], initial_kwargs={"b": 2})


def test_the_strategy_is_a_part_of_the_engine() -> None:
    """It holds the engine's managers, also those that are put in their place later, and can be replaced itself."""
    engine = make_engine()

    assert type(engine.vm_strategy) is VMExecutionStrategy
    assert engine.vm_strategy.resource_manager is engine.resource_manager
    assert engine.vm_strategy.constraint_manager is engine.constraint_manager
    engine.constraint_manager = other = mock.Mock()
    assert engine.vm_strategy.constraint_manager is other
    engine.vm_strategy = mock.Mock(execute=mock.AsyncMock(return_value=3), take_stats=None)
    assert run(add_one(1), engine) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: add_one(1),
        lambda: add(add_one(1), b=add_one(add_one(2))),
        lambda: add([add_one(1)], [{"k": add_one(2)}]),
        lambda: add_one.map(x=[1, 2, add_one(3)]),
        lambda: add([], add_one.map(x=[1, 2])),
        lambda: add(cs.Param("q"), cs.Param("q")),
        lambda: add(cs.Router(add_one(0), {1: add_one(5), 2: add_one(6)}), 1),
        lambda: add_one(1).run_if(add_one(0)),
        lambda: add_one(add_one(1).with_retry(2)).with_retry(1).after(add_one(3)),
        lambda: [add_one(1), 2, add_one.map(x=[3])],
        lambda: (),
    ],
)
def test_values_are_those_of_the_graph_strategy(make: Any) -> None:
    """Nested lazies, containers, maps, params, Routers and policies: the same value."""
    assert run(make(), q=4) == run(make(), use_vm=False, q=4)


def test_injected_resources() -> None:
    """A resource is set up, injected and torn down, in the target and in what it needs."""
    log: list[str] = []

    @resource(name="db")
    def db() -> Any:
        log.append("up")
        yield 5
        log.append("down")

    @task
    def use(x: int, db: int = inject("db")) -> int:
        return x + db

    for target in (use(1), add_one(use(0)), add_one(inject("db"))):
        log.clear()

        assert run(target, make_engine(resources=[db])) == 6
        assert log == ["up", "down"]


def test_shared_calls_run_once() -> None:
    """A lazy that is used twice within the target's expression runs once."""
    calls: list[int] = []

    @task
    def counted() -> int:
        calls.append(1)
        return 2

    one = counted()

    assert run(add([one], [one]).after(one)) == [2, 2]
    assert len(calls) == 1


@pytest.mark.parametrize("mode", ["blocking"])
def test_modes(mode: Any) -> None:
    """A task that runs elsewhere does so here too."""
    import threading

    @cs.task(mode=mode)
    def where() -> Any:
        return threading.current_thread() is threading.main_thread()

    assert run(where()) is False


def test_errors_are_those_of_the_graph_strategy() -> None:
    """Exceptions are raised unchanged, misfits are explained, a skipped target is a missing dependency."""
    error = LookupError("mine")

    @task
    def fail() -> Any:
        raise error

    for target in (fail(), add_one(fail()), fail().with_retry(1)):
        with pytest.raises(LookupError) as caught:
            run(target)
        assert caught.value is error
    for target, kind in (
        (add_one(), TypeError),
        (add_one(1, 2), TypeError),
        (add_one(1).run_if(False), DependencyMissingError),
        (add_one(add_one), TypeError),
    ):
        found = []
        for use_vm in (True, False):
            with pytest.raises(kind) as raised:
                run(target, use_vm=use_vm)
            found.append((type(raised.value), str(raised.value)))
        assert found[0] == found[1]


def test_tail_calls_and_tail_calling_lazies() -> None:
    """A loop of tail calls runs in constant depth; a returned lazy is continued, and may end in a tail call again."""
    @task
    def lazily(n: int) -> Any:
        return lazily(n - 1) if n else "lazy end"

    @task
    def mixed(n: int) -> Any:
        return tail(n - 1) if n % 2 else TailCall([n - 1]) if n else "mixed end"

    @task
    def tail(n: int) -> Any:
        return TailCall([n - 1]) if n > 0 else TailCall([0])

    assert run(down(20_000)) == "end"
    assert run(lazily(2_000)) == "lazy end"
    assert run(mixed(9)) == "mixed end"


def test_a_nested_first_argument_and_tail_calls() -> None:
    """A loop whose first call has a lazy argument goes on with plain ones."""
    assert run(down(add_one(4))) == "end"


def test_runs_are_announced_and_counted() -> None:
    """RunStarted and RunFinished as with the graph strategy; rounds count as hot steps."""
    engine = make_engine()
    seen = watch(engine, RunStarted, RunFinished)

    assert run(down(9), engine) == "end"
    assert [type(event).__name__ for event in seen] == ["RunStarted", "RunFinished"]
    assert seen[1].stats.hot == seen[1].stats.nodes == 10  # type: ignore[attr-defined]
    assert engine.stats.hot == 10
    assert run(add_one(add_one(1)), engine) == 3
    assert engine.stats.hot + engine.stats.cold == 12
    assert engine.vm_strategy._stats == {}


def test_the_first_arguments_are_let_go_of_with_their_round() -> None:
    """Nobody keeps what a target was called with until the end of a long loop."""
    class Data:
        pass

    known: list[Any] = []

    @task
    def loop(n: int, data: Any) -> Any:
        if not known:
            known.append(weakref.ref(data))
        elif n == 5:
            gc.collect()
            assert known[0]() is None
        return TailCall([n - 1, None]) if n else "end"

    async def main() -> Any:
        return await make_engine().run(loop(8, Data()), use_vm=True)

    assert asyncio.run(main()) == "end"


def test_amounts_are_held_once() -> None:
    """Constraints of a plain target are acquired by the machine, those of what it evaluates by the graph strategy."""
    for target in (add_one(1), add_one(add_one(0)), add_one(1).with_retry(1)):
        engine = make_engine(system_resources={"cpu": 1})

        assert run(target.with_constraints(cpu=1), engine) == 2
        assert not any(engine.resource_manager._usage.values())
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        run(add_one(1).with_constraints(cpu=2), make_engine(system_resources={"cpu": 1}))


def test_a_constraint_acts_on_a_loop() -> None:
    """A pause holds the loop, its end lets it go on."""
    engine = make_engine()
    manager = engine.constraint_manager

    @task
    def loop(n: int) -> Any:
        if n == 5:
            manager.update_constraint(GlobalConstraint("p", "task:loop", "pause", {}))
            asyncio.get_running_loop().call_later(0.01, manager.remove_constraints_by_scope, "task:loop")
        return TailCall([n - 1]) if n else "end"

    with patience(0):
        assert run(loop(10), engine) == "end"
