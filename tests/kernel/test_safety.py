"""Whatever Python code does in the middle of a step, the kernel answers with a value or an error and never crashes."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import sys
import threading
import weakref
from array import array
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel
from tests.engines import make_engine, run

compiled = pytest.mark.skipif(
    _kernel.kernel_name != "compiled", reason="the Python kernel has no C arrays: it leaves this to Python"
)
BOX: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def fresh_box() -> Any:
    """What hostile code reaches for is forgotten after each test."""
    BOX.clear()
    yield
    BOX.clear()
    gc.collect()


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def many(*values: Any, **named: Any) -> Any:
    return len(values), len(named)


@cs.task
def turn(n: int, value: Any = None, *, key: Any = None) -> Any:
    BOX.get("act", int)()
    return turn(n - 1, [same(Hostile()), value and 1], key={Hostile(): same(n)}) if n else "end"


def nested() -> None:
    assert run(same([same(1), {"a": same(2)}]), hot=True) == [1, {"a": 2}]


class Hostile:
    """Does what the box says whenever it is hashed, compared, shown or freed."""

    def __hash__(self) -> int:
        BOX.get("act", int)()
        return 7

    def __eq__(self, other: object) -> bool:
        BOX.get("act", int)()
        return self is other

    def __repr__(self) -> str:
        BOX.get("act", int)()
        return "<hostile>"

    def __del__(self) -> None:
        BOX.get("act", int)()


def once(act: Callable[[], Any]) -> Callable[[], None]:
    """Let an act that runs tasks not set itself off again."""
    busy: list[int] = []

    def guarded() -> None:
        if not busy:
            busy.append(1)
            try:
                act()
            finally:
                busy.clear()

    return guarded


def in_thread(act: Callable[[], Any]) -> Callable[[], None]:
    def away() -> None:
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()

    return away


def clear_caches() -> None:
    for one in gc.get_objects():
        if type(one) is _kernel.ProgramCache:
            one.clear()


def mutate_task() -> None:
    turn.name, turn.pure = "turn", False
    turn.func = turn.func


def mutate_target() -> None:
    lazy = BOX["target"]
    lazy.args = tuple(lazy.args)
    lazy.kwargs.clear()
    lazy.kwargs["key"] = {}
    lazy._retry_policy = _kernel.RetryPolicy(1)
    lazy._constraints = None
    lazy._dependencies = []
    lazy._condition = None


ACTS: dict[str, Callable[[], Any]] = {
    "collect": gc.collect,
    "run an engine": in_thread(nested),
    "clear caches": clear_caches,
    "set the task": mutate_task,
    "change the target": mutate_target,
}


@pytest.mark.parametrize("name", ACTS)
def test_code_that_a_step_sets_off_may_do_anything(name: str) -> None:
    """Hashing, comparing and freeing in mid-step may change tasks, lazies and caches; the answer stays."""
    engine = make_engine()
    BOX["target"] = target = turn(6, [same(Hostile())], key={Hostile(): same(1)})
    BOX["act"] = once(ACTS[name])

    assert asyncio.run(engine.run(target)) == "end"


def test_an_argument_that_is_emptied_in_mid_step_is_still_passed() -> None:
    """Lists and dicts given as arguments may change while earlier calls of the step run."""
    data: list[Any] = [[1], {"a": 2}]

    @cs.task
    def empty(n: int) -> int:
        data.clear()
        gc.collect()
        return n

    @cs.task
    def after(first: Any, *rest: Any) -> Any:
        return first, rest

    engine = make_engine()
    for _ in range(4):
        data[:] = [[1], {"a": 2}]

        assert run(after(empty(1), data, [data, same(3)]), engine) == (1, ([], [[], 3]))


def test_a_router_that_changes_while_a_route_runs() -> None:
    """The routes of a step are those of its beginning."""

    @cs.task
    def choose() -> str:
        router.routes.clear()
        router.selector = None
        return "b"

    engine = make_engine()
    for _ in range(3):
        router = cs.Router(choose(), {"a": same(1), "b": same(2)})

        assert run(same(router), engine) == 2


class Constraint:
    """Claims to be a constraint, and runs a workflow when it is asked."""

    @property
    def __class__(self) -> Any:
        nested_in_thread()
        return type(self)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError


nested_in_thread = in_thread(nested)


@compiled
def test_reading_a_constraint_may_run_a_workflow() -> None:
    """A trace runs no Python code, even where a policy is an object of the user's."""
    lazies = [same(n) for n in range(20)]
    lazies[10]._constraints = Constraint()
    lazies[3]._constraints = Constraint()

    assert len(_kernel.trace(many(*lazies)).operations) == 21


@compiled
@pytest.mark.parametrize("wrong", [5, "text", None, same])
def test_predecessors_that_are_no_lazies_are_refused(wrong: Any) -> None:
    """The list of predecessors can be changed; what does not belong there is an error."""
    lazy: Any = same(1)
    lazy._dependencies.append(wrong)

    with pytest.raises(TypeError, match="lazy results"):
        _kernel.trace(lazy)


@compiled
def test_objects_made_without_init_are_harmless() -> None:
    """``__new__`` alone gives objects that answer, or raise."""
    task = _kernel.Task.__new__(_kernel.Task)
    lazy: Any = _kernel.LazyResult.__new__(_kernel.LazyResult)

    assert (task.name, task.func, repr(task)) == ("unmade task", None, "<Task unmade task>")
    assert (lazy.args, lazy.kwargs) == ((), {})
    assert run(_kernel.MappedLazyResult.__new__(_kernel.MappedLazyResult)) == []
    for unmade in (lazy, task()):
        with pytest.raises(TypeError):
            run(unmade)
    with pytest.raises(TypeError):
        _kernel.Frame.__new__(_kernel.Frame)
    with pytest.raises(TypeError):
        _kernel.call_of(None)
    with pytest.raises(AttributeError):
        _kernel.trace(same(_kernel.Router.__new__(_kernel.Router)))


def ints(*values: int) -> Any:
    return array("i", values)


def hot_frame(target: Any, *order: int) -> Any:
    """Return a frame that runs ``target`` hot, one operation a stage."""
    cache = _kernel.ProgramCache()
    frame = _kernel.Frame(cache, {})
    frame.begin(target)
    program = _kernel.compile_program(frame, ints(*range(len(order) + 1)), ints(*order))
    program.open, program.epoch = True, cache.epoch
    cache.add(program)
    frame.enter(program)
    return frame


@compiled
def test_a_frame_out_of_turn_raises() -> None:
    """Every method of a frame may be called at any time."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    calls: list[Callable[[], Any]] = [
        lambda: _kernel.run(frame, 0.0),
        lambda: frame.resume(1),
        lambda: frame.suspend(),
        lambda: frame.finish(1),
        lambda: frame.settle([]),
        lambda: frame.arguments(0),
        lambda: frame.expression,
        lambda: frame.lazy,
        lambda: _kernel.hot._execute_hot_node(frame, 0),
        lambda: frame.enter(_kernel.Program()),
    ]
    for call in calls:
        with pytest.raises(RuntimeError):
            call()
    frame.begin(same(1))
    frame.close()
    for call in calls:
        with pytest.raises(RuntimeError):
            call()


@compiled
def test_a_running_frame_refuses_everything() -> None:
    """A task that gets hold of its own frame can neither close nor change it."""
    refused: list[str] = []

    @cs.task
    def meddle(n: int, value: Any) -> Any:
        frame = BOX["frame"]
        for name, arguments in (
            ("close", ()), ("suspend", ()), ("again", ()), ("resume", (1,)), ("begin", (same(1),)), ("finish", (1,)),
        ):  # fmt: skip
            try:
                getattr(frame, name)(*arguments)
            except RuntimeError:
                refused.append(name)
        return n

    BOX["frame"] = frame = hot_frame(meddle(1, same([1])), 0, 1)

    assert _kernel.run(frame, 1e300) == _kernel.DONE
    assert len(refused) == 6
    frame.close()
    with pytest.raises(RuntimeError):
        _kernel.run(frame, 0.0)


@compiled
def test_a_node_called_before_its_arguments_raises() -> None:
    """The node function checks that what it reads is there."""
    frame = hot_frame(many(same(1), [same(2)]), 0, 1, 2)
    with pytest.raises(RuntimeError, match="has not run"):
        _kernel.hot._execute_hot_node(frame, 2)
    with pytest.raises(RuntimeError, match="has not run"):
        frame.arguments(2)
    frame.close()


@compiled
@pytest.mark.parametrize(
    "offsets, indices", [((0, 1000), (0,)), ((-3, 1), (0,)), ((1, 0), (0,)), ((0, 1), (-5,)), ((0, 2), (0, 0))]
)
def test_a_senseless_plan_is_no_program(offsets: Any, indices: Any) -> None:
    """Plans come from solvers, which anybody may write."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same(1))
    with contextlib.suppress(ValueError):
        assert not _kernel.compile_program(frame, ints(*offsets), ints(*indices)).hot
    frame.close()


@compiled
def test_a_program_of_another_expression_is_refused() -> None:
    """Equal counts are not enough: programs index into the values of a call."""
    program = hot_frame(many(1, 2, 3), 0).program
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(many())
    with pytest.raises(ValueError, match="another expression"):
        frame.enter(program)
    frame.close()


@compiled
def test_a_program_that_is_not_hot_cannot_be_opened() -> None:
    """``open`` is the strategy's word, but not about what has no hot form."""
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same(cs.Router(same("a"), {"a": same(1)})))
    program = _kernel.compile_program(frame, ints(0), ints())
    program.open = True

    assert not program.open
    with pytest.raises(ValueError):
        frame.enter(program)
    frame.close()


@compiled
def test_calls_with_too_many_arguments_are_refused() -> None:
    """A key has room for 2**20 - 1 arguments of each sort; one more must not spill into its neighbour."""
    with pytest.raises(OverflowError, match="1048575"):
        _kernel.trace(same(many(*([0] * (1 << 20)))))


def test_large_calls_work() -> None:
    """70,000 arguments, 300 keywords, in every tier."""
    engine = make_engine()
    named = {f"name_{n}": same(n) if n % 2 else n for n in range(300)}
    for _ in range(2):
        assert run(many(*range(70_000), **named), engine) == (70_000, 300)


@compiled
def test_hashing_a_key_may_empty_containers_under_construction() -> None:
    """Containers that a call gets are found through the collector and emptied while the next one is built."""

    def empty() -> None:
        for one in gc.get_objects():
            if type(one) is list and one[:1] == ["mark"]:
                one.clear()

    shared: list[Any] = ["mark", same(1)]
    BOX["act"] = once(empty)
    frame = hot_frame(many([shared, {Hostile(): same(2)}, shared, {Hostile(): shared}]), 0, 1, 2)

    assert _kernel.run(frame, 1e300) == _kernel.DONE
    frame.close()


def test_errors_from_finalisers_do_not_reach_the_run() -> None:
    """An exception in a finaliser is Python's to report; the step goes on."""
    unraisable: list[Any] = []
    old, sys.unraisablehook = sys.unraisablehook, unraisable.append

    class Bad:
        def __del__(self) -> None:
            raise ValueError("from a finaliser")

    @cs.task
    def loop(n: int, bad: Any) -> Any:
        return loop(n - 1, Bad()) if n else "end"

    try:
        assert run(loop(20, Bad())) == "end"
        gc.collect()
    finally:
        sys.unraisablehook = old
    assert len(unraisable) >= 20


def test_cancelling_at_every_await_is_safe() -> None:
    """A run is cancelled after each number of wake-ups in turn, and each time everything is given back."""
    living: weakref.WeakSet[Any] = weakref.WeakSet()

    class Token:
        def __init__(self) -> None:
            living.add(self)

    @cs.task
    async def wait(n: int, token: Any) -> Any:
        await asyncio.sleep(0)
        return [wait(n - 1, Token()), same(token)] if n else token

    async def main(steps: int) -> bool:
        task = asyncio.ensure_future(make_engine().run(many(wait(2, Token()), wait(1, Token()))))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    outcomes = [asyncio.run(main(steps)) for steps in range(40)]
    gc.collect()

    assert outcomes[0]
    assert len(living) == 0


def test_copying_and_pickling_while_running() -> None:
    """Lazies may be copied and pickled by the tasks that they run."""

    @cs.task
    def duplicate(n: int, value: Any) -> Any:
        for lazy in (BOX["target"], same([same(n)])):
            copy.copy(lazy)
            copy.deepcopy(same([n]))
        assert pickle.loads(pickle.dumps(cs.Router("a", {"a": n}))).routes == {"a": n}
        return duplicate(n - 1, same(value)) if n else value

    BOX["target"] = target = duplicate(5, same([1]))

    assert run(target) == [1]


@compiled
def test_two_threads_at_one_frame() -> None:
    """A frame that one thread runs is refused to another."""
    errors: list[BaseException] = []

    @cs.task
    def wait(n: int) -> int:
        def other() -> None:
            try:
                _kernel.run(BOX["frame"], 1e300)
            except RuntimeError as error:
                errors.append(error)

        in_thread(other)()
        return n

    BOX["frame"] = frame = hot_frame(wait(1), 0)

    assert _kernel.run(frame, 1e300) == _kernel.DONE
    assert len(errors) == 1
    frame.close()


def test_cycles_of_all_kinds_are_collected() -> None:
    """Lazies, tasks, Routers and frames that refer to themselves are garbage; a thousand of them leave nothing."""
    gone: list[Any] = []
    for _ in range(1000):
        task = cs.task(lambda value: value)
        lazy: Any = task([])
        lazy.args[0].append(lazy)
        lazy.after(task(1))
        lazy.run_if(lazy)
        task.own = (task, lazy)
        router = cs.Router(lazy, {})
        router.routes["me"] = router
        frame = _kernel.Frame(_kernel.ProgramCache(), {})
        frame.begin(same((frame, router.selector.task)))
        gone += [weakref.ref(one) for one in (task, lazy, router)]
        del task, lazy, router, frame
    gc.collect()

    assert not any(ref() is not None for ref in gone)


def test_frames_in_cycles_are_collected() -> None:
    """A frame that is an argument of what it evaluates is freed with it."""

    class Token:
        pass

    token = Token()
    gone = weakref.ref(token)
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(same((frame, token)))
    del frame, token
    gc.collect()

    assert gone() is None


def test_counts_do_not_drift() -> None:
    """Blocks, and references of None, small integers and interned names, do not change by 300 runs."""
    engine = make_engine()
    name = sys.intern("a_name_of_a_keyword")

    @cs.task
    def fails(value: Any) -> Any:
        raise ValueError

    def work() -> None:
        for n in range(300):
            run(many(None, 1, [same(None), {"k": same(1)}], **{name: same(2)}), engine)
            if n % 10 == 0:
                with pytest.raises(ValueError):
                    run(many(fails(same(None)), **{name: 1}), engine)

    def drift() -> list[int]:
        before = measure()
        work()
        return [abs(b - a) for a, b in zip(before, measure(), strict=True)]

    def measure() -> list[int]:
        gc.collect()
        return [sys.getallocatedblocks(), *map(sys.getrefcount, (None, 1, 2, name))]

    work()
    # What a run loses is lost in every round; what the interpreter keeps now and then (a cache, a free list) is not.
    least = [min(column) for column in zip(*(drift() for _ in range(4)), strict=True)]

    assert max(least) < 150, least
