"""Tasks: what the decorator makes of a function, and that a call runs nothing."""

from __future__ import annotations

import asyncio
import enum
import pickle
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

import cascade as cs
from cascade.spec.task import LazyResult, MappedLazyResult, Task
from tests.engines import make_engine, run


def area(w: int, h: int = 2) -> int:
    """Width by height."""
    return w * h


@cs.task
def known(value: Any) -> Any:
    return value


@pytest.mark.row("01-tasks-and-graph", "Task", "@task, @task(), @task(name=\"n\")")
@pytest.mark.parametrize("decorate", [cs.task, cs.task()], ids=["bare", "called"])
def test_the_name_is_that_of_the_function(decorate: Any) -> None:
    """Both forms without a name make a task of the function's name, docstring and all."""
    made = decorate(area)

    assert type(made) is Task
    assert (made.name, made.func, made.is_async, made.pure, made.mode) == ("area", area, False, False, None)
    assert (made.__doc__, made.__qualname__, made.__wrapped__) == (area.__doc__, "area", area)
    assert made._potential_tco_targets is None
    assert list(made._signature.parameters) == ["w", "h"]


@pytest.mark.row("01-tasks-and-graph", "Task", "repr")
@pytest.mark.row("01-tasks-and-graph", "Task", "@task, @task(), @task(name=\"n\")")
def test_the_name_can_be_given() -> None:
    """A given name is shown; a lambda has none of its own to show."""
    assert repr(cs.task(name="n")(area)) == "<Task n>"
    assert repr(cs.task(lambda: 1)) == "<Task <lambda>>"


@pytest.mark.row("01-tasks-and-graph", "Task", "Task(func, name=None) [L: pure=False, mode=None]")
def test_the_class_can_be_used_directly() -> None:
    """Function and name come first, ``pure`` and ``mode`` follow; the attributes are there before anything is built."""
    plain, named = Task(area), Task(area, "n", pure=True, mode="blocking")

    assert (plain.func, plain.name, plain.is_async, plain.pure, plain.mode) == (area, "area", False, False, None)
    assert (named.func, named.name, named.pure, named.mode) == (area, "n", True, "blocking")
    assert list(named._signature.parameters) == ["w", "h"]
    assert plain._potential_tco_targets is named._potential_tco_targets is None


def test_a_coroutine_function_makes_an_async_task() -> None:
    """Functions and objects that are called as coroutine functions are told from others."""

    async def fetch() -> None: ...

    class Caller:
        async def __call__(self) -> None: ...

    assert cs.task(fetch).is_async
    assert cs.task(Caller()).is_async
    assert cs.task(Caller()).name == "Caller"


@pytest.mark.row("01-tasks-and-graph", "Task", "calling a task")
def test_a_call_runs_nothing_and_checks_nothing() -> None:
    """A call with wrong arguments is a fresh lazy result that holds them as they were given."""
    calls: list[Any] = []
    noting = cs.task(calls.append)
    value: list[Any] = []
    call: Any = noting(value, 2, extra=value)  # type: ignore[call-arg]

    assert type(call) is LazyResult
    assert not calls
    assert call.task is noting
    assert call.args == (value, 2)
    assert call.args[0] is value
    assert call.kwargs == {"extra": value}


@pytest.mark.row("01-tasks-and-graph", "Task", "calling a task")
def test_any_name_may_be_a_keyword() -> None:
    """Parameters of the function may be called as ours are."""
    call: Any = known(self=1, task=2, args=3, kwargs=4, func=5)  # type: ignore[call-arg]

    assert call.kwargs == {"self": 1, "task": 2, "args": 3, "kwargs": 4, "func": 5}
    assert known.map(self=[1], factory=[2]).mapping_kwargs == {"self": [1], "factory": [2]}


def test_each_call_is_another() -> None:
    """Two calls with the same arguments are two lazy results."""
    one, other = known(1), known(1)

    assert one is not other
    assert one != other


@pytest.mark.row("01-tasks-and-graph", "Task", "task.map(kw)")
def test_map_takes_keywords_only() -> None:
    """map() keeps its sequences by name and refuses others."""
    mapped = known.map(value=[1, 2])
    anything: Any = known

    assert type(mapped) is MappedLazyResult
    assert mapped.factory is known
    assert mapped.mapping_kwargs == {"value": [1, 2]}
    with pytest.raises(TypeError):
        anything.map([1, 2])


def test_a_parameter_may_be_called_self() -> None:
    """Neither a call nor a map has parameters of its own that stand in the way of those of the function."""

    @cs.task
    def names(**given: Any) -> list[str]:
        return sorted(given)

    assert cs.run(names(self=1, args=2, kwargs=3)) == ["args", "kwargs", "self"]
    assert cs.run(names.map(self=[1, 2])) == [["self"], ["self"]]


@pytest.mark.row("01-tasks-and-graph", "Task", "hash / equality")
def test_tasks_are_equal_by_identity() -> None:
    """Two tasks of one function are two, and either is a key of a dict."""
    one, other = cs.task(area), cs.task(area)

    assert one != other
    assert {one: 1, other: 2}[one] == 1


def test_a_new_function_takes_effect() -> None:
    """Setting ``func`` changes what is called and whether it is asynchronous; the name stays."""

    async def later(w: int) -> int:
        return w

    changing = cs.task(area)
    changing.func = later

    assert (changing.func, changing.is_async, changing.name) == (later, True, "area")
    assert changing.__wrapped__ is later  # type: ignore[attr-defined]


def test_a_patched_function_is_put_back() -> None:
    """``unittest.mock.patch`` replaces ``func`` for the time of its block, nested too."""
    changing = cs.task(area)
    with patch.object(changing, "func", new_callable=AsyncMock) as outer:
        with patch.object(changing, "func", len):
            assert (changing.func, changing.is_async) == (len, False)
        assert (changing.func, changing.is_async) == (outer, True)

    assert (changing.func, changing.is_async) == (area, False)


@pytest.mark.row("01-tasks-and-graph", "Task", "mode")
@pytest.mark.parametrize("mode", [None, "blocking", "compute"])
def test_modes_are_kept(mode: Any) -> None:
    """The three modes are what the task says it has."""
    assert cs.task(mode=mode)(area).mode == mode


@pytest.mark.row("01-tasks-and-graph", "Task", "mode")
def test_an_unknown_mode_is_an_error() -> None:
    """An unknown mode is refused when the task is made and when it is set."""
    made: Any = cs.task(area)

    with pytest.raises(ValueError, match="'fast'"):
        cs.task(area, mode="fast")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="'fast'"):
        made.mode = "fast"
    assert made.mode is None


def test_what_cannot_be_called_is_no_task() -> None:
    """A task needs a function."""
    with pytest.raises(TypeError, match="not int"):
        Task(3)  # type: ignore[arg-type]


def test_a_task_of_a_module_is_pickled_by_name() -> None:
    """A task comes out of a pickle as the object that its module has."""
    assert pickle.loads(pickle.dumps(known)) is known


class Named(enum.StrEnum):
    """Names that print in their own way."""

    STEP = "step"

    def __format__(self, spec: str) -> str:
        return "loud"


def test_a_name_is_a_plain_text() -> None:
    """A subclass of str is taken as the text that it is; a run of it works."""
    made = cs.task(area, name=Named.STEP)

    assert (made.name, type(made.name)) == ("step", str)
    assert cs.run(made(2), log_level="ERROR") == 4
    made.name = Named.STEP
    assert type(made.name) is str


@pytest.mark.parametrize("name", [5, b"x", ["a"]])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    """When the task is made or renamed, not when it has run."""
    with pytest.raises(TypeError, match="the name of a task is a text, not"):
        cs.task(area, name=name)
    made = cs.task(area)
    with pytest.raises(TypeError, match="the name of a task is a text, not"):
        made.name = name


def test_nothing_is_injected_into_positional_only_parameters() -> None:
    """Said where the function is given, since nobody could give such a parameter by name."""

    def hidden(a: int, b: Any = cs.inject("db"), /, c: Any = cs.inject("other")) -> Any:
        return a, b, c

    with pytest.raises(TypeError, match=r"parameter 'b' of hidden\(\) is positional-only"):
        cs.task(hidden)
    made = cs.task(area)
    with pytest.raises(TypeError, match=r"parameter 'b' of hidden\(\) is positional-only"):
        made.func = hidden
    assert made.func is area

    cs.task(lambda a, b=1, /, c=cs.inject("other"): (a, b, c), name="fine")


#: Names of keywords that could be taken for something else.
ODD = ["0", "1", "7", "٣", "²", "", " ", "_x", "a.b", "a[0]", "self", "args", "kwargs", "task", "node", "\0", "\x000"]


@cs.task
def everything(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("how", ["hot", "cold", "cached", "machine", "mapped", "mapped cold"])
def test_keywords_of_any_name_stay_keywords(name: str, how: str) -> None:
    """Also names that are numbers, beside positional arguments and lazy ones, in every way of running."""
    engine = make_engine(hot="cold" not in how)
    if how.startswith("mapped"):
        assert run(everything.map(**{name: [1, 2]}), engine) == [((), {name: 1}), ((), {name: 2})]
        return
    target: Any = everything(known(8), 9, **{name: known(1), "z": 2})
    if how == "cached":
        target.with_cache(Forgetful())
    value = asyncio.run(engine.run(target, use_vm=how == "machine"))

    assert value == ((8, 9), {name: 1, "z": 2})


class Forgetful:
    """A cache policy that keeps nothing."""

    async def check(self, task_id: str, inputs: dict[str, Any]) -> None:
        return None

    async def save(self, task_id: str, inputs: dict[str, Any], output: Any) -> None:
        return None


@pytest.mark.parametrize(
    "policy, text",
    [
        (5, r"5 is no cache policy, it has no check\(\)"),
        (Forgetful, "give an instance of Forgetful, not the class"),
    ],
)
def test_what_is_no_cache_policy_is_told(policy: Any, text: str) -> None:
    """With the task, and in place of an error from within."""
    with pytest.raises(TypeError, match=rf"with_cache\(\) of task 'known': .*{text}"):
        run(known(1).with_cache(policy))
