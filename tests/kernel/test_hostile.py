"""What runs in the middle of an operation of the kernel (a finaliser, a hash) may call it again, on the same object."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade import _kernel

pytestmark = pytest.mark.skipif(
    _kernel.kernel_name != "compiled", reason="the Python kernel has no C arrays: it leaves this to Python"
)


@cs.task
def same(value: Any) -> Any:
    return value


@cs.task
def pair(a: Any, b: Any) -> Any:
    return [a, b]


@cs.task
def many(*values: Any, **named: Any) -> Any:
    return values


@cs.task
def first(*values: Any) -> Any:
    return values[0]


class Suspended:
    """Hands its value on; an awaitable for the tests of what is awaited."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        return (yield self)


@cs.task
async def waiting(value: Any) -> Any:
    return await Suspended(value)


class Acting:
    """Does something when it is freed."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


class Name(str):
    """A name that does something, once, when it is hashed."""

    act: Callable[[], Any] | None = None

    def __hash__(self) -> int:
        act, Name.act = Name.act, None
        if act is not None:
            act()
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)


def planned(frame: Any) -> Any:
    """Compile what a frame waits with, and let it run hot."""
    program = _kernel.compile_program(frame, *_kernel.layers(frame))
    program.open, program.epoch = True, frame.cache.epoch
    frame.cache.add(program)
    frame.enter(program)
    return program


def hot_frame(target: Any, **resources: Any) -> Any:
    frame = _kernel.Frame(_kernel.ProgramCache(), resources)
    frame.begin(target)
    planned(frame)
    return frame


def value_of(frame: Any) -> Any:
    assert _kernel.run(frame, 1e300) == _kernel.DONE
    return frame.value


READERS: dict[str, Callable[[Any], Any]] = {
    "program": lambda frame: frame.program,
    "expression": lambda frame: frame.expression.operations,
    "results": lambda frame: frame.results,
    "lazy": lambda frame: frame.lazy,
    "key": lambda frame: frame.key,
    "path": lambda frame: frame.path,
    "depth": lambda frame: frame.depth,
    "begin": lambda frame: frame.begin(same(1)),
    "finish": lambda frame: frame.finish(1),
    "suspend": lambda frame: frame.suspend(),
    "settle": lambda frame: frame.settle([1]),
    "close": lambda frame: frame.close(),
    "layers": _kernel.layers,
    "run": lambda frame: _kernel.run(frame, 1e300),
    **{
        f"{what.__name__} {op}": lambda frame, what=what, op=op: what(frame, op)
        for op in range(-1, 9)
        for what in (
            _kernel.Frame.arguments,
            _kernel.Frame.name_of,
            _kernel.Frame.func_of,
            _kernel.Frame.is_async,
            _kernel.Frame.retry_of,
        )
    },
}


def look_at(frame: Any, seen: list[str]) -> None:
    """Call everything that a frame answers to; it may refuse."""
    for name, read in READERS.items():
        try:
            read(frame)
        except (RuntimeError, IndexError):
            seen.append(name)


def test_a_half_run_program_that_was_handed_over_begins_anew() -> None:
    """What ran before the hand-over runs again: its results went with it."""
    frame = hot_frame(pair(same(1), same(2)))
    assert _kernel.run(frame, 0.0) == _kernel.YIELD
    frame.suspend()
    frame.enter(frame.program)

    assert value_of(frame) == [1, 2]


def test_a_group_that_was_handed_over_is_none_any_more() -> None:
    """Values for a group are refused once its program begins anew."""
    frame = hot_frame(many(waiting(1), waiting(2)))
    assert _kernel.run(frame, 1e300) == _kernel.GROUP
    frame.suspend()
    frame.enter(frame.program)

    with pytest.raises(RuntimeError, match="no group"):
        frame.settle([1, 2])
    assert _kernel.run(frame, 1e300) == _kernel.GROUP
    frame.settle([1, 2])
    assert value_of(frame) == (1, 2)


def test_finalisers_that_run_when_a_step_ends_may_look_at_its_frame() -> None:
    """While what full processing needed is let go of, the frame has neither a program nor an expression."""
    seen: list[str] = []
    frame = _kernel.Frame(_kernel.ProgramCache(), {})
    frame.begin(pair(same(1), 2))
    frame.results["extra"] = Acting(lambda: look_at(frame, seen))
    frame.finish("end")

    assert value_of(frame) == "end"
    assert {"expression", "arguments 0", "name_of 0", "close", "run"} <= set(seen)


def test_finalisers_of_arguments_may_look_at_the_level_below() -> None:
    """When an expansion ends, its arguments are no operations of the expression below."""
    seen: list[str] = []
    boxes: list[Any] = []

    @cs.task
    def grow(n: int) -> Any:
        return first(same(1), same(2), same(3), first(*range(7), Acting(lambda: look_at(boxes[0], seen))), same(5))

    frame = hot_frame(pair(0, grow(1)))
    boxes.append(frame)
    assert _kernel.run(frame, 1e300) == _kernel.STEP
    planned(frame)

    assert value_of(frame) == [0, 1]
    assert {"arguments 2", "arguments 5", "name_of 3", "retry_of 4"} <= set(seen)
    boxes.clear()


def test_a_value_that_is_replaced_in_the_inbox_may_resume_the_frame() -> None:
    """The finaliser of a value that was handed in finds the next one in its place."""
    frame = hot_frame(same(waiting(1)))
    assert _kernel.run(frame, 1e300) == _kernel.AWAIT

    def again() -> None:
        gc.collect()
        frame.resume([3])

    frame.resume(Acting(again))
    frame.resume([2])

    assert value_of(frame) == [3]


def test_names_of_arguments_may_read_the_keywords_when_they_are_hashed() -> None:
    """A call whose keywords are moved into a dict twice at once has them all."""
    values = {Name(f"name_{n}"): object() for n in range(5)}
    lazy = many(**values)
    Name.act = lambda: lazy.kwargs

    assert lazy.kwargs == values
    assert lazy.args == ()


def test_a_change_of_keywords_while_they_are_moved_stays() -> None:
    """Whoever gets the dict first has the one that counts."""
    lazy = many(1, **{Name(f"name_{n}"): n for n in range(3)})

    def change() -> None:
        lazy.kwargs["more"] = 3

    Name.act = change

    assert lazy.kwargs == {"name_0": 0, "name_1": 1, "name_2": 2, "more": 3}
    assert lazy.args == (1,)


class Refusing(str):
    """The name of a resource that cannot be compared at times."""

    refuses = False

    def __hash__(self) -> int:
        if Refusing.refuses:
            raise ValueError("not now")
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)


class Counted:
    """An argument that nobody may keep."""


@pytest.mark.parametrize("boxed", [False, True], ids=["by the last program", "by key"])
def test_a_resource_that_cannot_be_looked_for_leaves_no_half_level(boxed: bool) -> None:
    """An error of a resource's name is raised, what was traced is let go of, and the frame is as new."""
    name = Refusing("one")

    @cs.task
    def needs(value: Any, one: Any = cs.inject(name)) -> Any:
        return one

    def target() -> Any:
        return same([needs(Counted())]) if boxed else same(needs(Counted()))

    earlier = hot_frame(target(), one="resource")
    value_of(earlier)
    frame = _kernel.Frame(earlier.cache, {"one": "resource"})
    Refusing.refuses = True
    try:
        with pytest.raises(ValueError, match="not now"):
            frame.begin(target())
    finally:
        Refusing.refuses = False

    assert (frame.depth, frame.program, frame.waiting) == (0, None, False)
    with pytest.raises(RuntimeError):
        _kernel.run(frame, 1e300)
    earlier.close()
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Counted]
    frame.begin(target())
    assert value_of(frame) in ("resource", ["resource"])


def test_a_resource_that_goes_away_is_an_error_of_the_call() -> None:
    """A program whose resource is gone, or whose resource's name cannot be compared, fails where it needs it."""
    name = Refusing("one")

    @cs.task
    def needs(value: Any, one: Any = cs.inject(name)) -> Any:
        return one

    for target in (needs(same(1)), needs([same(1)])):
        frame = hot_frame(target, one="resource")
        frame.resources.clear()
        assert _kernel.run(frame, 1e300) == _kernel.FAILED
        assert "has gone" in str(frame.error)
        frame.close()

        frame = hot_frame(target, one="resource")
        Refusing.refuses = True
        try:
            assert _kernel.run(frame, 1e300) == _kernel.FAILED
        finally:
            Refusing.refuses = False
        assert str(frame.error) == "not now"
        frame.close()


def test_a_program_that_is_replaced_may_add_another_when_it_dies() -> None:
    """Whatever the last breath of an old program puts into the cache, what is found there afterwards is alive."""

    def program() -> Any:
        frame = _kernel.Frame(_kernel.ProgramCache(), {})
        frame.begin(same(1))
        made = _kernel.compile_program(frame, *_kernel.layers(frame))
        made.open, made.epoch = True, frame.cache.epoch
        frame.close()
        return made

    cache = _kernel.ProgramCache()

    def meanwhile() -> None:
        cache.add(program())
        frame = _kernel.Frame(cache, {})
        frame.begin(same(2))
        frame.close()

    old = program()
    old.table = Acting(meanwhile)
    cache.add(old)
    del old
    cache.add(program())
    gc.collect()
    for _ in range(3):
        frame = _kernel.Frame(cache, {})
        frame.begin(same(3))

        assert frame.program in cache.values()
        assert value_of(frame) == 3
