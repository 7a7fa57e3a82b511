"""Jumps and routines in the kernel: what they own they give back, and nothing that users do in between harms them."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from array import array
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from cascade.control_flow import bind, select_jump
from cascade.runtime.vm import VirtualMachine, compiled
from cascade.spec.blueprint import Blueprint, Call, Literal, Register, TailCall
from cascade.spec.jump import Jump, JumpSelector
from tests.engines import make_engine, run


@cs.task
def same(value: Any, other: Any = None) -> Any:
    return value


class Counted:
    """An object whose living instances are counted."""

    living = 0

    def __init__(self, at_end: Any = None) -> None:
        self.at_end = at_end
        Counted.living += 1

    def __del__(self) -> None:
        Counted.living -= 1
        if self.at_end is not None:
            self.at_end()


@pytest.fixture(autouse=True)
def none_left() -> Any:
    """No test leaves a counted object behind."""
    gc.collect()
    before = Counted.living
    yield
    gc.collect()

    assert Counted.living == before


def single(func: Any, inputs: int = 1) -> Blueprint:
    registers = list(range(inputs))
    return Blueprint([Call(func, Register(inputs), [Register(one) for one in registers])], inputs + 1, registers)


def execute(blueprint: Blueprint, *args: Any) -> Any:
    return asyncio.run(VirtualMachine().execute(blueprint, list(args)))


def frame_of(routine: Any, *args: Any, **kwargs: Any) -> Any:
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    routine.program.open = True
    routine.program.epoch = frame.cache.epoch
    frame.call(routine, args, kwargs)
    return frame


# ------------------------------------------------------------------------------------------------------------ jumps


def test_a_bound_loop_is_garbage() -> None:
    """A call that its own selector refers to is collected."""
    node: Any = same(Counted())
    bind(node, select_jump({"again": node, "other": same(node)}))
    seen = weakref.ref(node)
    del node
    gc.collect()

    assert seen() is None


def test_jumps_of_every_kind_leave_nothing() -> None:
    """In place, by name, over a result, as a new argument, with calls in the data, and as the end of a run."""
    @cs.task
    def body(n: int, a: Any = None, *, b: Any = None) -> Any:
        if n == 0:
            return Jump("stop", Counted())
        data: Any = (
            n - 1,
            {"n": n - 1, "a": Counted()},
            {"0": n - 1, "b": Counted()},
            {"n": n - 1, "a": [same(Counted())]},
        )[n % 4]
        return Jump("again", data)

    for node in (body(12, Counted()), body(12, same(Counted()), b=[same(Counted())]), body(n=12)):
        bind(node, select_jump({"again": node, "stop": None}))
        for hot in (True, False):
            assert type(run(node, make_engine(hot=hot))) is Counted


def test_a_failing_or_cancelled_jump_leaves_nothing() -> None:
    """The arguments of the round that fails, or is cancelled, are let go of."""
    @cs.task
    def body(n: int, a: Any = None) -> Any:
        if n == 0:
            raise ValueError
        return Jump("again", {"n": n - 1, "a": Counted()})

    node = body(5)
    bind(node, select_jump({"again": node}))
    with pytest.raises(ValueError):
        run(node)

    async def main() -> None:
        endless = body(-1)
        bind(endless, select_jump({"again": endless}))
        running = asyncio.ensure_future(make_engine().run(endless))
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_references_do_not_change_by_many_jumps() -> None:
    """Counts of shared objects are what they were after thousands of rounds."""
    marker, key = object(), "a key of the data"

    @cs.task
    def body(n: int, m: Any = None) -> Any:
        return Jump("again", {"n": n - 1, "m": marker}) if n else Jump(key, marker)

    def go() -> None:
        node = body(300, m=marker)
        bind(node, select_jump({"again": node}))
        run(node)
        execute(single(lambda n, m: TailCall([n - 1, marker]) if n else m, 2), 300, marker)
        del node
        gc.collect()

    go()
    before = [sys.getrefcount(one) for one in (marker, key, None, "again")]
    go()
    after = [sys.getrefcount(one) for one in (marker, key, None, "again")]

    assert all(abs(one - other) < 50 for one, other in zip(before, after, strict=True))


def test_finalisers_may_change_what_the_kernel_reads() -> None:
    """Routes, data and arguments that change while values are let go of: each round has what it had when it began."""
    routes: dict[Any, Any] = {}
    calls: list[Any] = []

    @cs.task
    def body(n: int, a: Any = None, b: Any = None) -> Any:
        calls.append(n)
        if n == 0:
            return "end"
        data: dict[str, Any] = {"n": n - 1, "a": Counted(lambda: data.clear()), "b": Counted(lambda: routes.pop(n, 0))}
        return Jump("again", data)

    node = body(20, Counted(), Counted(lambda: node.kwargs.clear()))
    routes["again"] = node
    bind(node, JumpSelector(routes))

    assert run(node) == "end"
    assert calls == list(range(20, -1, -1))


def test_hostile_selectors() -> None:
    """What a selector's routes raise is raised; a selector that is none is no selector."""
    class Routes(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            raise LookupError("mine")

    class Unlike:
        def __hash__(self) -> int:
            raise ArithmeticError("mine too")

    for hot in (True, False):
        for selector, key, error in (
            (JumpSelector(Routes()), "a", LookupError),
            (JumpSelector({"a": None}), Unlike(), ArithmeticError),
            ("no selector", "a", RuntimeError),
        ):
            node: Any = same(Jump(key))
            node._jump_selector = selector
            with pytest.raises(error):
                run(node, make_engine(hot=hot))


def test_a_call_with_other_policies_is_not_taken_for_a_bound_one() -> None:
    """Exact keys: with a cache, a condition, predecessors or without a selector it is another template."""
    @cs.task
    def loop(n: int) -> Any:
        if n <= 0:
            return Jump("stop", "end")
        return Jump(order[n % len(order)], n - 1)

    order = ["plain", "after", "condition", "retry", "plain"]
    made: dict[str, Any] = {name: loop(0) for name in order}
    made["after"].after(same(1))
    made["condition"].run_if(True)
    made["retry"].with_retry(1)
    selector = select_jump({**made, "stop": None})
    for one in made.values():
        bind(one, selector)
        assert one._uuid
    engine = make_engine()

    assert run(made["plain"], engine) == "end"
    made["plain"].args = (40,)
    assert run(made["plain"], engine) == "end"
    assert len(engine.graph_strategy._cycle_cache) == 4


# --------------------------------------------------------------------------------------------------------- routines


def test_a_routine_runs_again_and_again() -> None:
    """``call`` starts it, ``run`` gives its value, and a frame that is done may be called once more."""
    routine = compiled(single(lambda n: TailCall([n - 1]) if n else "end"))
    frame = frame_of(routine, 3)

    assert _kernel.run(frame, float("inf")) == _kernel.DONE
    assert (frame.value, frame.steps, frame.nodes) == ("end", 4, 4)
    frame.call(routine, (1,), {})
    assert _kernel.run(frame, float("inf")) == _kernel.DONE
    assert frame.routine is routine
    frame.close()
    assert frame.routine is None


def test_one_operation_at_a_time() -> None:
    """While a program is closed its operations are taken one by one."""
    routine = compiled(single(lambda n: TailCall([n - 1]) if n else "end"))
    frame = frame_of(routine, 2)
    routine.program.open = False
    seen = []
    while _kernel.run(frame, float("inf")) == _kernel.YIELD:
        seen.append(frame.take())
        frame.resume(_kernel.hot._execute_hot_node(frame, seen[-1]))

    assert (frame.value, seen) == ("end", [0, 0, 0])
    frame.close()


def test_unknown_routines_are_left_to_the_caller() -> None:
    """A tail call of an id that the frame does not know is a value."""
    routine = compiled(single(lambda n: TailCall([n], {}, "other")))
    frame = frame_of(routine, 2)

    assert _kernel.run(frame, float("inf")) == _kernel.DONE
    assert frame.value == TailCall([2], {}, "other")
    frame.routines["other"] = compiled(single(lambda n: n * 10))
    frame.routines["other"].program.open = True
    frame.routines["other"].program.epoch = frame.cache.epoch
    frame.call(routine, (3,), {})
    assert _kernel.run(frame, float("inf")) == _kernel.DONE
    assert frame.value == 30
    frame.close()


def test_a_call_of_a_busy_frame_is_refused() -> None:
    """A frame evaluates one thing at a time, and a frame without a level has no operation to take."""
    if _kernel.kernel_name != "compiled":
        pytest.skip("the Python kernel trusts its callers")
    routine = compiled(single(lambda n: n))
    frame = frame_of(routine, 1)
    with pytest.raises(RuntimeError, match="already"):
        frame.call(routine, (1,), {})
    with pytest.raises(RuntimeError, match="already"):
        frame.begin(same(1))
    frame.close()
    with pytest.raises(RuntimeError):
        frame.take()
    with pytest.raises(TypeError, match="1 positional inputs was given 2"):
        frame.call(routine, (1, 2), {})
    with pytest.raises(TypeError):
        frame.call(None, (), {})
    frame.call(routine, (Counted(),), {})
    frame.close()


def test_a_routine_that_does_not_fit_its_program_is_refused() -> None:
    """Nothing is read or written beyond what there is."""
    if _kernel.kernel_name != "compiled":
        pytest.skip("the Python kernel checks when it reads")
    good = compiled(Blueprint([Call(same.func, Register(1), [Register(0), Literal(2)])], 2, [0]))
    parts: dict[str, Any] = {
        name: getattr(good, name) for name in ("program", "operations", "values", "inputs", "named", "carried")
    }
    for changed in (
        {"operations": []},
        {"operations": [None]},
        {"values": []},
        {"values": [(1,)]},
        {"values": [(1, 2, 3)]},
        {"inputs": [[(0, 2)]]},
        {"inputs": [[(1, 0)]]},
        {"inputs": [[(0, -1)]]},
        {"named": {"x": [(0, 5)]}},
        {"carried": [(1, 0, 0)]},
        {"carried": [(0, 0, 9)]},
        {"program": None},
    ):
        with pytest.raises((TypeError, ValueError)):
            _kernel.Routine(**{**parts, **changed})


def test_programs_with_choices_are_no_routines() -> None:
    """A program in which calls may be skipped, or that has leaves, cannot be one."""
    if _kernel.kernel_name != "compiled":
        pytest.skip("the Python kernel trusts its callers")
    for lazy in (same(1).run_if(True), same([same(1), 2])):
        frame = _kernel.Frame(_kernel.ProgramCache(), {}, False)
        frame.begin(lazy)
        count = len(frame.expression.operations)
        program = _kernel.compile_program(frame, array("i", range(count + 1)), array("i", range(count)))
        operations = frame.expression.operations
        values = [one.values for one in operations]
        with pytest.raises(ValueError, match="one after the other"):
            _kernel.Routine(program, operations, values, [], {}, [])
        frame.close()


def test_tail_calls_of_every_kind_leave_nothing() -> None:
    """Direct ones, by name, over several calls, to another routine; failing, refused and cancelled ones."""
    def body(n: int, a: Any, b: Any) -> Any:
        if n == 0:
            return Counted()
        return (
            TailCall([n - 1, Counted()], {"b": Counted()}),
            TailCall([n - 1], {"b": Counted()}),
            TailCall([n - 1, Counted()]),
            TailCall([n - 1, Counted()], {}, "again"),
        )[n % 4]

    blueprint = Blueprint(
        [
            Call(lambda x: [x], Register(4), [Register(1)]),
            Call(body, Register(3), [Register(0), Register(4), Register(2)]),
            Call(lambda x, *old: x, Register(5), [Register(3), Register(5), Register(4)]),
        ],
        6,
        [0, 1],
        {"b": 2},
    )
    machine = VirtualMachine()
    machine.register_blueprint("again", blueprint)

    assert type(asyncio.run(machine.execute(blueprint, [40, Counted()], {"b": Counted()}))) is Counted
    with pytest.raises(TypeError, match="2 positional inputs was given 3"):
        execute(Blueprint(blueprint.instructions, 6, [0, 1]), 1, Counted(), Counted())
    with pytest.raises(ZeroDivisionError):
        execute(single(lambda n, c: TailCall([n - 1, Counted()]) if n else 1 / 0, 2), 3, Counted())


def test_arguments_that_change_while_they_are_loaded() -> None:
    """A finaliser that runs while values are replaced may change the list of arguments: the round has what it had."""
    seen: list[Any] = []

    def body(n: int, a: Any, b: Any) -> Any:
        seen.append((n, type(b).__name__))
        if n == 0:
            return "end"
        arguments: list[Any] = [n - 1, Counted(lambda: arguments.clear()), Counted(lambda: arguments.append(0))]
        return TailCall(arguments)

    first = Call(lambda x: x, Register(3), [Register(0)])
    last = Call(body, Register(4), [Register(3), Register(1), Register(2)])

    assert execute(Blueprint([first, last], 5, [0, 1, 2]), 10, Counted(), Counted()) == "end"
    assert seen == [(n, "Counted") for n in range(10, -1, -1)]


def test_garbage_in_a_frame_of_a_routine() -> None:
    """A cycle through the arguments of a routine that was given up is collected."""
    holder: list[Any] = [Counted()]
    frame = frame_of(compiled(single(lambda x: x)), holder)
    holder.append(frame)
    del frame, holder
    gc.collect()
