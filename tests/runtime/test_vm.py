"""The register machine: it runs blueprints as programs of the kernel."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.graph.compiler import BlueprintBuilder
from cascade.runtime._wakeup import Wakeup
from cascade.runtime.constraints.handlers import PauseConstraintHandler
from cascade.runtime.constraints.manager import ConstraintManager
from cascade.runtime.exceptions import TaskArgumentError
from cascade.runtime.resource_manager import ResourceManager
from cascade.runtime.vm import Frame, VirtualMachine
from cascade.spec.blueprint import Blueprint, Call, Instruction, Literal, Operand, Register, TailCall
from cascade.spec.constraint import GlobalConstraint, ResourceConstraint
from cascade.spec.task import task


def execute(blueprint: Blueprint, *args: Any, machine: Any = None, **kwargs: Any) -> Any:
    return asyncio.run((machine or VirtualMachine()).execute(blueprint, *args, **kwargs))


def single(func: Any, inputs: int = 1, **options: Any) -> Blueprint:
    """A blueprint of one call whose arguments are its inputs."""
    registers = list(range(inputs))
    call = Call(func, Register(inputs), [Register(one) for one in registers], **options)
    return Blueprint([call], inputs + 1, registers)


@task
def add_one(x: int) -> int:
    return x + 1


@task
def add(a: int, b: int = 0) -> int:
    return a + b


# --------------------------------------------------------------------------------------------------------- execution


def test_instructions_run_in_order() -> None:
    """All of them, also those whose results nobody reads; the last one gives the result."""
    log: list[Any] = []
    note = lambda *values: log.append(values) or len(log)  # noqa: E731
    blueprint = Blueprint(
        [
            Call(note, Register(0), [Literal("unread")]),
            Call(note, Register(1), [Literal("first")]),
            Call(note, Register(2), [Literal("unread too"), Register(0)]),
            Call(note, Register(3), [Register(1), Literal("last")]),
        ],
        4,
    )

    assert execute(blueprint) == 4
    assert log == [("unread",), ("first",), ("unread too", 1), (2, "last")]


def test_arguments_are_loaded_by_position_and_name() -> None:
    """Initial arguments go into the input registers; one that is not given is None."""
    blueprint = BlueprintBuilder().build(add(1, b=2), template=True)

    assert execute(blueprint, [3], {"b": 4}) == 7
    assert execute(blueprint, initial_args=[3], initial_kwargs={"b": 5}) == 8
    assert execute(single(lambda *values: values, 2), [1]) == (1, None)


def test_surplus_arguments_are_refused() -> None:
    """An argument without an input is a TypeError that names it."""
    with pytest.raises(TypeError, match="1 positional inputs was given 2"):
        execute(single(add_one.func), [1, 2])
    with pytest.raises(TypeError, match=r"inputs \['x'\] was given 'y'"):
        execute(BlueprintBuilder().build(add_one(x=1), template=True), [], {"y": 2})


def test_registers_are_none_stored_and_overwritten() -> None:
    """A register is None until it is stored, and has what the last instruction before a read has stored."""
    values = lambda *given: given  # noqa: E731
    blueprint = Blueprint(
        [
            Call(values, Register(1), [Register(1), Register(2)]),
            Call(values, Register(1), [Register(1)]),
            Call(values, Register(0), [Register(1), Register(0)]),
        ],
        3,
        [0],
    )

    assert execute(blueprint, ["in"]) == (((None, None),), "in")


def test_awaitables_are_awaited() -> None:
    """Coroutine functions, coroutines and futures from plain functions, and objects with ``__await__``."""
    async def slowly(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    async def at_once(x: int) -> int:
        return x + 1

    class Waiting:
        def __await__(self) -> Any:
            yield
            return 5

    def future(x: int) -> Any:
        made = asyncio.get_running_loop().create_future()
        made.get_loop().call_soon(made.set_result, x + 1)
        return made

    for func in (slowly, at_once, lambda x: slowly(x), lambda x: at_once(x), future, lambda x: Waiting()):
        first = Call(func, Register(1), [Register(0)])
        blueprint = Blueprint([first, Call(lambda x: x * 10, Register(2), [Register(1)])], 3, [0])

        assert execute(blueprint, [4]) == 50
        assert execute(single(func), [4]) == 5


def test_exceptions_propagate() -> None:
    """What a call raises is raised unchanged; misfits and StopIteration mean what they mean in a graph."""
    error = LookupError("mine")

    def fail(x: Any) -> Any:
        raise error

    async def fail_later(x: Any) -> Any:
        await asyncio.sleep(0)
        raise error

    def stop(x: Any) -> Any:
        raise StopIteration

    for machine in (VirtualMachine(), VirtualMachine(ResourceManager(), Refusing(0))):
        for func in (fail, fail_later):
            with pytest.raises(LookupError) as caught:
                execute(single(func), [1], machine=machine)
            assert caught.value is error
        with pytest.raises(TaskArgumentError, match="'named'"):
            execute(single(lambda: 1, task_name="named"), [1], machine=machine)
        with pytest.raises(RuntimeError, match="StopIteration"):
            execute(single(stop), [1], machine=machine)
        with pytest.raises(TypeError, match="unsupported operand"):
            execute(single(lambda x: x + "text"), [1], machine=machine)


class OtherOperand(Operand):
    pass


class OtherInstruction(Instruction):
    pass


def test_unknown_operands_and_instructions() -> None:
    """An unknown operand is a TypeError, an unknown instruction a NotImplementedError; nothing has run then."""
    ran: list[int] = []
    first = Call(lambda: ran.append(1), Register(0))
    with pytest.raises(TypeError, match="OtherOperand"):
        execute(Blueprint([first, Call(print, Register(1), [OtherOperand()])], 2))
    with pytest.raises(NotImplementedError, match="OtherInstruction"):
        execute(Blueprint([first, OtherInstruction()], 2))
    with pytest.raises(ValueError, match="without instructions"):
        execute(Blueprint())
    assert ran == []


def test_frames_load_and_store() -> None:
    """A frame has so many registers, all None; it loads operands and stores into registers."""
    frame = Frame(2)

    assert frame.registers == [None, None]
    frame.store(Register(1), "kept")
    assert frame.load(Register(1)) == "kept"
    assert frame.load(Register(0)) is None
    assert frame.load(Literal(3)) == 3
    with pytest.raises(TypeError, match="OtherOperand"):
        frame.load(OtherOperand())


def test_a_blueprint_is_read_anew_by_each_execution() -> None:
    """No stale program: what was changed in a blueprint counts in the next execution."""
    blueprint = single(add_one.func)
    assert execute(blueprint, [1]) == 2
    blueprint.instructions[0].func = lambda x: x * 100  # type: ignore[attr-defined]
    assert execute(blueprint, [1]) == 100
    blueprint.instructions[0].args[0] = Literal(5)  # type: ignore[attr-defined]
    assert execute(blueprint) == 500


# --------------------------------------------------------------------------------------------------------- tail calls


def test_a_tail_call_runs_the_blueprint_again() -> None:
    """Without an id: registers are kept, new arguments are loaded over them."""
    seen: list[Any] = []

    def body(a: Any, b: Any, *, c: Any) -> Any:
        seen.append((a, b, c))
        return steps.pop(0)

    steps: list[Any] = [TailCall([5]), TailCall(kwargs={"c": 6}), TailCall([7, 8]), TailCall(), "end"]
    call = Call(body, Register(3), [Register(0), Register(1)], {"c": Register(2)})
    blueprint = Blueprint([call], 4, [0, 1], {"c": 2})

    assert execute(blueprint, [1, 2], {"c": 3}) == "end"
    assert seen == [(1, 2, 3), (5, 2, 3), (5, 2, 6), (7, 8, 6), (7, 8, 6)]


def test_results_stay_in_their_registers_for_the_next_round() -> None:
    """A register that is read before it is written has what the round before has stored, the tail call included."""
    seen: list[Any] = []

    def first(old: Any, last: Any) -> Any:
        seen.append((old, last))
        return len(seen)

    def last(n: int) -> Any:
        return TailCall([n - 1]) if n else "end"

    blueprint = Blueprint(
        [
            Call(first, Register(1), [Register(1), Register(2)]),
            Call(last, Register(2), [Register(0)]),
        ],
        3,
        [0],
    )

    assert execute(blueprint, [2]) == "end"
    assert seen == [(None, None), (1, TailCall([1])), (2, TailCall([0]))]


def test_an_input_that_is_overwritten() -> None:
    """An input register that an instruction stores into has that value in the next round, unless an argument comes."""
    seen: list[Any] = []

    def keep(x: Any) -> Any:
        seen.append(x)
        return f"stored {len(seen)}"

    steps: list[Any] = [TailCall(), TailCall(["given"]), "end"]
    blueprint = Blueprint(
        [Call(keep, Register(0), [Register(0)]), Call(lambda: steps.pop(0), Register(1))],
        2,
        [0],
    )

    assert execute(blueprint, ["first"]) == "end"
    assert seen == ["first", "stored 1", "given"]


def test_a_tail_call_may_name_another_blueprint() -> None:
    """A registered blueprint begins with a fresh frame; control passes between two without limit."""
    machine = VirtualMachine()

    def ping(n: int, kept: Any) -> Any:
        assert kept is None or n == 5_000
        return TailCall([n - 1], target_blueprint_id="pong") if n else "ping"

    def pong(n: int) -> Any:
        return TailCall([n - 1], {}, "ping") if n else "pong"

    machine.register_blueprint("ping", single(ping, 2))
    machine.register_blueprint("pong", single(pong))

    assert execute(machine._blueprints["ping"], [5_000, "once"], machine=machine) == "ping"
    assert execute(machine._blueprints["pong"], [1], machine=machine) == "ping"


def test_an_unknown_blueprint_is_an_error() -> None:
    """It names the id."""
    with pytest.raises(ValueError, match="Unknown target blueprint ID: 'nowhere'"):
        execute(single(lambda n: TailCall([n], {}, "nowhere")), [1])


def test_a_blueprint_registered_in_mid_run_counts() -> None:
    """No stale program: a tail call runs what is registered under its id when it is made."""
    machine = VirtualMachine()

    def body(n: int) -> Any:
        if n == 3:
            machine.register_blueprint("body", single(lambda n: f"other at {n}"))
        return TailCall([n - 1], {}, "body")

    machine.register_blueprint("body", single(body))

    assert execute(machine._blueprints["body"], [6], machine=machine) == "other at 2"


def test_a_registered_blueprint_is_read_anew_by_each_execution() -> None:
    """What was changed in it counts in the next execution."""
    machine = VirtualMachine()
    first = single(lambda n: TailCall([n], {}, "other"))
    machine.register_blueprint("other", single(lambda n: n + 1))

    assert execute(first, [1], machine=machine) == 2
    machine._blueprints["other"].instructions[0].func = lambda n: n + 100  # type: ignore[attr-defined]
    assert execute(first, [1], machine=machine) == 101


def test_tail_calls_are_data_elsewhere() -> None:
    """Only the last instruction's result is interpreted."""
    blueprint = Blueprint(
        [Call(lambda: TailCall([1]), Register(0)), Call(lambda x: x, Register(1), [Literal(2)])], 2
    )

    assert execute(blueprint) == 2
    assert execute(Blueprint([Call(lambda: [TailCall([1])], Register(0))], 1)) == [TailCall([1])]


def test_depth_is_unlimited_and_memory_flat() -> None:
    """Many rounds leave nothing behind, whatever comes back from a call."""
    class Data:
        pass

    known: list[Any] = []
    alive: list[int] = []

    def body(n: int, data: Any) -> Any:
        if n % 1_000 == 0:
            gc.collect()
            alive.append(sum(ref() is not None for ref in known))
            known.clear()
        made = Data()
        known.append(weakref.ref(made))
        return TailCall([n - 1, made]) if n else "end"

    assert execute(single(body, 2), [10_000, None]) == "end"
    assert set(alive) <= {0, 1}


def test_an_asynchronous_loop_of_tail_calls() -> None:
    """A coroutine function may return tail calls too."""
    async def body(n: int) -> Any:
        if n % 2:
            await asyncio.sleep(0)
        return TailCall([n - 1]) if n else "end"

    assert execute(single(body), [100]) == "end"


def test_a_loop_lets_others_run_and_can_be_cancelled() -> None:
    """A loop that never ends yields to the event loop."""
    async def main() -> None:
        running = asyncio.ensure_future(VirtualMachine().execute(single(lambda n: TailCall([n + 1])), [0]))
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_rounds_go_through_the_kernels_node_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """One executor: whoever replaces ``_execute_hot_node`` sees every call of the machine."""
    seen: list[Any] = []
    node_function = _kernel.hot._execute_hot_node

    def replaced(frame: Any, op: int) -> Any:
        seen.append((frame.name_of(op), frame.arguments(op)))
        return node_function(frame, op)

    monkeypatch.setattr(_kernel.hot, "_execute_hot_node", replaced)

    assert execute(single(lambda n: TailCall([n - 1]) if n else "end", task_name="loop"), [2]) == "end"
    assert seen == [("loop", ([n], {})) for n in (2, 1, 0)]


# ------------------------------------------------------------------------------------------------------------ control


class Refusing:
    """A constraint manager that is not the package's own: it refuses so many times, then requires a unit of cpu."""

    def __init__(self, times: int, required: Any = None) -> None:
        self.times, self.required = times, required or {}
        self.asked: list[Any] = []

    def check_permission(self, node: Any) -> bool:
        self.asked.append((node.name, node.constraints))
        self.times -= 1
        return self.times < 0

    def get_extra_requirements(self, node: Any) -> dict[str, Any]:
        return self.required


def test_each_call_asks_for_permission_by_name() -> None:
    """The manager is asked before every call, with a node that carries the task's name and constraints."""
    manager = Refusing(0)
    held = ResourceConstraint({"cpu": 1})
    blueprint = single(lambda n: TailCall([n - 1]) if n else "end", task_name="loop", constraints=held)

    assert execute(blueprint, [2], machine=VirtualMachine(ResourceManager({"cpu": 1}), manager)) == "end"
    assert manager.asked == [("loop", held)] * 3


@pytest.mark.parametrize("make", [asyncio.Event, Wakeup, lambda: None])
def test_a_refused_call_waits(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the wake-up event, or a tenth of a second where there is none."""
    slept: list[float] = []
    manager = Refusing(2)

    async def main() -> Any:
        event = make()
        sleep = asyncio.sleep

        async def sleeping(delay: float) -> None:
            slept.append(delay)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", sleeping)
        machine = VirtualMachine(None, manager, event)
        running = asyncio.ensure_future(machine.execute(single(add_one.func), [1]))
        while not running.done():
            await sleep(0)
            if event is not None and len(manager.asked) < 3:
                event.set()
        return await running

    assert asyncio.run(main()) == 2
    assert len(manager.asked) == 3
    assert slept == ([] if make() is not None else [0.1, 0.1])


def test_requirements_are_acquired_and_released_per_call() -> None:
    """Constraints of the call and extra requirements are held while it runs, and released in every case."""
    manager = ResourceManager({"cpu": 2, "slots": 1})
    used: list[Any] = []

    def body(n: int) -> Any:
        used.append(dict(manager._usage))
        if n < 0:
            raise ValueError(n)
        return TailCall([n - 1]) if n else "end"

    machine = VirtualMachine(manager, Refusing(0, {"slots": 1}))
    blueprint = single(body, constraints=ResourceConstraint({"cpu": 2}))

    assert execute(blueprint, [1], machine=machine) == "end"
    with pytest.raises(ValueError, match="-1"):
        execute(blueprint, [-1], machine=machine)
    assert used == [{"cpu": 2, "slots": 1}] * 3
    assert not any(manager._usage.values())
    with pytest.raises(ValueError, match="exceeds total system capacity"):
        execute(single(body, constraints=ResourceConstraint({"cpu": 3})), [1], machine=machine)


def test_a_pause_holds_a_hot_loop() -> None:
    """A constraint that arrives while a loop is hot acts at its next control point."""
    wakeup = Wakeup()
    manager = ConstraintManager(ResourceManager())
    manager.register_handler(PauseConstraintHandler())
    manager.set_wakeup_callback(wakeup.set)
    machine = VirtualMachine(ResourceManager(), manager, wakeup)
    at: list[int] = []

    async def main() -> Any:
        blueprint = single(lambda n: TailCall([at.append(n) or n + 1]) if not stop else n, task_name="loop")
        running = asyncio.ensure_future(machine.execute(blueprint, [0]))
        await asyncio.sleep(0)
        manager.update_constraint(GlobalConstraint("p", "task:loop", "pause", {}))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        held = len(at)
        await asyncio.sleep(0.01)
        assert len(at) == held > 0
        stop.append(1)
        manager.remove_constraints_by_scope("task:loop")
        assert await running == held

    stop: list[int] = []
    asyncio.run(main())


def test_a_pause_holds_a_routine_that_was_free_before() -> None:
    """Of routines that call each other the one that a constraint names waits, wherever the quantum ends."""
    wakeup = Wakeup()
    manager = ConstraintManager(ResourceManager())
    manager.register_handler(PauseConstraintHandler())
    manager.set_wakeup_callback(wakeup.set)
    machine = VirtualMachine(None, manager, wakeup)
    seen: list[str] = []

    def body(name: str, following: str) -> Any:
        def run(n: int) -> Any:
            seen.append(name)
            if len(seen) == 12:
                manager.update_constraint(GlobalConstraint("p", "task:third", "pause", {}))
            end = time.monotonic() + (0.002 if name == "first" else 0)  # more than a quantum: it ends here
            while time.monotonic() < end:
                pass
            return TailCall([n + 1], {}, following)

        return run

    for name, following in (("first", "second"), ("second", "third"), ("third", "first")):
        machine.register_blueprint(name, single(body(name, following), task_name=name))

    async def main() -> None:
        running = asyncio.ensure_future(machine.execute(machine._blueprints["first"], [0]))
        for _ in range(60):
            await asyncio.sleep(0)
        assert len(seen) <= 17
        assert seen[-1] == "second"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_a_long_blueprint() -> None:
    """Ten thousand calls, each of which needs the one before, run without recursion."""
    lazy = add_one(0)
    for _ in range(9_999):
        lazy = add_one(lazy)

    assert execute(BlueprintBuilder().build(lazy)) == 10_000


# ------------------------------------------------------------------------------------------------------ lazy results


def test_lazy_results_that_calls_return_are_evaluated() -> None:
    """A call, a map, or a container of calls that a call returns is continued, in the middle and at the end."""
    for func, expected in (
        (lambda x: add_one(add_one(x)), 3),
        (lambda x: add_one.map(x=[x, 5]), [2, 6]),
        (lambda x: [add_one(x), {"a": add_one(7)}], [2, {"a": 8}]),
        (lambda x: cs.Router(add_one(0), {1: add_one(x), 2: x}), 2),
    ):
        assert execute(single(func), [1]) == expected
        inner = Call(func, Register(1), [Register(0)])
        assert execute(Blueprint([inner, Call(repr, Register(2), [Register(1)])], 3, [0]), [1]) == repr(expected)

    async def later(x: int) -> Any:
        return add_one(x)

    assert execute(single(later), [1]) == 2
    with pytest.raises(TypeError, match="add_one"):
        execute(single(lambda x: add_one), [1])


def test_nested_lazies_run_without_an_engine() -> None:
    """A machine of its own evaluates what registers cannot express, by a plain engine."""
    target = add(add_one(1), add(add_one(2).with_retry(2), b=3))
    assert execute(BlueprintBuilder().build(target)) == 8
    assert execute(BlueprintBuilder().build(add_one.map(x=[1, add_one(4)]))) == [2, 6]
    assert execute(BlueprintBuilder().build(add_one(1).run_if(add_one(0)))) == 2
