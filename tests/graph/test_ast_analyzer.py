"""Static analysis: which tail calls the source of a task shows."""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from hashlib import md5
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.graph.ast_analyzer import (
    AnalysisResult,
    ReferenceResolver,
    TcoVisitor,
    analyze_task_source,
    assign_tco_cycle_ids,
)
from cascade.spec.task import Task, task


def keep(func: Any) -> Any:
    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        return func(*args)

    return wrapper


@task
def other(n: Any = 0) -> Any:
    return n


@task
def third(n: Any = 0) -> Any:
    return n


def plain(n: Any) -> Any:
    return n


class Tools:
    @staticmethod
    @task
    def op(n: Any) -> Any:
        return n

    @property
    def bomb(self) -> Any:
        raise AssertionError("evaluated")


ns = SimpleNamespace(op=other, inner=SimpleNamespace(op=third))
tools = Tools()


@task
def direct(n):
    return other(n)


@task
def several(n):
    if n:
        return other(n)
    try:
        with n:
            return third(n)
    except ValueError:
        return other(n)
    finally:
        pass


@task
def dotted(n):
    if n:
        return ns.inner.op(n)
    return Tools.op(n)


@task
def mapped(n):
    return other.map(n=[n])


@task
def nested(n):
    def inner():
        return other(n)

    class Local:
        def method(self):
            return third(n)

    return inner, Local


@task
async def asynchronous(n):
    return other(n)


@task
@keep
def decorated(n):
    return other(n)


@task(name="renamed")
def with_options(
    n: int = 1,
) -> Any:
    """Looks like ``return third(n)`` but is not.

    at the left margin
    """
    return other(n)


class Methods:
    text = """
at the left margin
"""

    @task
    def method(self, n):
        """Continues
        at the left margin."""
        return other(n)


@task
def conditional(n):
    return other(n) if n else third(n)


@task
def variable(n):
    x = other(n)
    return x


@task
def chained(n):
    return other(n).with_retry(2)


@task
def from_plain(n):
    return plain(n)


@task
def evaluated(n):
    if n:
        return tools.bomb(n)
    return tools.bomb.map(n=[1])


@task
def hidden(n, other):
    return other(n)


@task
def hidden_below(n):
    def inner(other):
        return other(n)

    def assigned():
        third = plain
        return third(n)

    return inner, assigned


@task
def outer_names(n):
    def inner():
        global third
        third = third
        return third(n)

    return inner


@pytest.mark.row(
    "02-execution",
    "Static analysis (cascade.graph.ast_analyzer)",
    "return a(...) if c else b(...), x = f(...); return x, return f(...).with_retry(...)",
)
@pytest.mark.row(
    "02-execution",
    "Static analysis (cascade.graph.ast_analyzer)",
    "return f(...) inside a nested function of the body",
)
@pytest.mark.row("02-execution", "Static analysis (cascade.graph.ast_analyzer)", "return other.map(...)")
@pytest.mark.row(
    "02-execution",
    "Static analysis (cascade.graph.ast_analyzer)",
    "return other(...), name from closure or globals, dotted names (ns.op(...))",
)
@pytest.mark.parametrize(
    "analysed, targets",
    [
        (direct, [other]),
        (several, [other, third]),
        (dotted, [third, Tools.op]),
        (mapped, [other]),
        (nested, [other, third]),
        (asynchronous, [other]),
        (decorated, [other]),
        (with_options, [other]),
        (Methods.method, [other]),
        (conditional, []),
        (variable, []),
        (chained, []),
        (from_plain, []),
        (evaluated, []),
        (hidden, []),
        (hidden_below, []),
        (outer_names, [third]),
        (other, []),
        (Task(lambda n: other(n)), []),
        (Task(len), []),
        (Task(functools.partial(plain, 1), "p"), []),
        (Task(SimpleNamespace, "class"), []),
    ],
    ids=lambda value: value.name if isinstance(value, Task) else "",
)
def test_targets(analysed: Any, targets: list[Any]) -> None:
    """Direct returns of calls by name, dotted name or map count; nothing is evaluated."""
    result = analyze_task_source(analysed)

    assert result == AnalysisResult(targets)
    assert analyze_task_source(analysed) is result is analysed._analysis_result


def test_closures_and_empty_cells() -> None:
    """A name from a closure leads to a target, also before it is assigned."""

    @task
    def early(n):
        return later(n)

    before = analyze_task_source(Task(early.func)).targets

    @task
    def later(n):
        return early(n)

    assert before == []
    assert analyze_task_source(early).targets == [later]
    assert analyze_task_source(later).targets == [early]


def test_source_that_is_gone_or_changed() -> None:
    """Without source, or with other source in its place, there are no targets and no error."""
    made: dict[str, Any] = {"other": other}
    exec("def f(n):\n    return other(n)\n", made)
    assert analyze_task_source(Task(made["f"])).targets == []

    for source in ("def g(n):\n    return other(n)\n", "return = (\n", "", "x = 1\n"):
        linecache.cache["<string>"] = (len(source), None, source.splitlines(True), "<string>")
        try:
            assert analyze_task_source(Task(made["f"])).targets == []
        finally:
            del linecache.cache["<string>"]


def test_deep_source() -> None:
    """An expression nested deeper than the stack does not matter."""
    source = "def f(n):\n    x = " + " + ".join(["n"] * 20_000) + "\n    return other(n)\n"
    made: dict[str, Any] = {"other": other}
    try:
        exec(compile(source, "deep.py", "exec"), made)
    except RecursionError:
        made["f"] = plain
    linecache.cache["deep.py"] = (len(source), None, source.splitlines(True), "deep.py")
    try:
        assert analyze_task_source(Task(made["f"])).targets in ([], [other])
    finally:
        del linecache.cache["deep.py"]


# ---------------------------------------------------------------------------------------------- dynamic recursion


@task
def dynamic(n):
    return dynamic(other(n))


@task
def dynamic_keyword(n):
    return dynamic_keyword(n=other(n))


@task
def dynamic_map(n):
    return dynamic_map(other.map(n=[n]))


@task
def nested_self(n):
    return nested_self(nested_self(n))


@task(name="twin")
def twin_a(n):
    return twin_b(other(n))


@task(name="twin")
def twin_b(n):
    return n


@task
def in_list(n):
    return in_list([other(n)])


@task
def in_arithmetic(n):
    return in_arithmetic(other(n) + 1)


@task
def in_variable(n):
    x = other(n)
    return in_variable(x)


@task
def with_chain(n):
    return with_chain(other(n).with_retry(1))


@task
def with_plain(n):
    return with_plain(plain(n))


@task
def through_other(n):
    return other(third(n))


@task
def starred(n):
    return starred(*other(n), **other(n))


@task
def mapped_self(n):
    return mapped_self.map(n=other(n))


@pytest.mark.parametrize(
    "analysed, expected",
    [
        *((t, True) for t in (dynamic, dynamic_keyword, dynamic_map, nested_self, twin_a)),
        *((t, False) for t in (in_list, in_arithmetic, in_variable, with_chain, with_plain, through_other)),
        *((t, False) for t in (starred, mapped_self, direct)),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, Task) else "",
)
def test_dynamic_recursion(analysed: Any, expected: bool) -> None:
    """A self call (same task or same name) with an argument that is itself a call of a task, and nothing else."""
    assert analyze_task_source(analysed).has_dynamic_recursion is expected


# -------------------------------------------------------------------------------------------------------- cycles


@task
def ping(n):
    return pong(n)


@task
def pong(n):
    return ping(n)


@task
def into_ping(n):
    return ping(n)


@task
def alone(n):
    return alone(n)


@pytest.mark.row("01-tasks-and-graph", "Identifiers", "tail-call cycle id")
def test_cycle_ids() -> None:
    """The members of a cycle share the MD5 of their sorted names; a task outside has none."""
    assign_tco_cycle_ids(into_ping)
    assign_tco_cycle_ids(alone)

    assert ping._tco_cycle_id == pong._tco_cycle_id == "4d8ab492a4ad16fc930ad85c17655232"
    assert alone._tco_cycle_id == "c42bbd90740264d115048a82c9a10214"
    assert not hasattr(into_ping, "_tco_cycle_id")
    assert all(t._tco_analysis_done for t in (ping, pong, into_ping, alone))
    assert into_ping._potential_tco_targets == [ping]

    last, first = Task(plain, "z"), Task(plain, "a")
    for one, other in ((last, first), (first, last)):
        one._analysis_result = AnalysisResult([other])
    assign_tco_cycle_ids(last)

    assert last._tco_cycle_id == first._tco_cycle_id == md5(b"a|z").hexdigest()


def test_a_visited_task_is_not_analysed_again() -> None:
    """A second assignment changes nothing."""
    assign_tco_cycle_ids(ping)
    known = ping._tco_cycle_id
    ping._analysis_result = AnalysisResult([third])

    assign_tco_cycle_ids(ping)

    assert ping._tco_cycle_id == known
    del ping._analysis_result


def test_long_chains_of_targets() -> None:
    """A chain of targets longer than the recursion limit is followed to its cycle."""
    tasks = [Task(plain, f"t{i}") for i in range(sys.getrecursionlimit() * 3)]
    for one, after in zip(tasks, [*tasks[1:], tasks[0]], strict=True):
        one._analysis_result = AnalysisResult([after])  # type: ignore[attr-defined]

    assign_tco_cycle_ids(tasks[0])

    assert len({t._tco_cycle_id for t in tasks}) == 1  # type: ignore[attr-defined]


def test_resolver_and_visitor() -> None:
    """The parts can be used on their own."""
    resolver = ReferenceResolver(direct.func)
    visitor = TcoVisitor(resolver, direct)

    visitor.visit(ast.parse("def f():\n  return ns.op(1)"))

    assert resolver.resolve(ast.parse("ns.inner.op", mode="eval").body) is third
    assert resolver.resolve(ast.parse("nothing.at_all", mode="eval").body) is None
    assert resolver.resolve(ast.parse("f()", mode="eval").body) is None
    assert resolver.func is direct.func
    assert resolver.closure_vars == {}
    assert resolver.globals is globals()
    assert visitor.potential_targets == [other]
    assert visitor.current_task is direct
    assert not visitor.has_dynamic_recursion


def test_a_parser_of_another_thread_may_come_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython's error about that is no error of a run: the source is parsed again, and then says nothing."""

    @task
    def found(n: int) -> Any:
        return found(n)

    @task
    def lost(n: int) -> Any:
        return lost(n)

    parse, wrong = ast.parse, iter([True, False, True, True])

    def parse_between(*arguments: Any, **options: Any) -> ast.AST:
        if next(wrong, False):
            raise SystemError("AST constructor recursion depth mismatch (before=105, after=103)")
        return parse(*arguments, **options)

    monkeypatch.setattr(ast, "parse", parse_between)

    assert analyze_task_source(found).targets == [found]
    assert list(analyze_task_source(lost).targets) == []
