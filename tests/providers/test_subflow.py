"""Running the workflow of another file."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.context import get_current_context
from cascade.providers.subflow import _subflow_task
from cascade.runtime.events import Event
from tests.engines import make_engine, run, watch

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a workflow file."""

    def make(source: str, name: str = "flow.py") -> Path:
        path = tmp_path / name
        path.write_text("import cascade as cs\n" + textwrap.dedent(source), encoding="utf-8")
        return path

    return make


DOUBLE = """
@cs.task
def double(n):
    return 2 * n

result = double(cs.Param("n", default=21))
number = 5
"""


@pytest.mark.row("06-providers", "Built-in providers", "subflow")
def test_result_is_that_of_the_other_workflow(write: Write) -> None:
    """The lazy called ``target`` is run, with the params that are given; path, target and params may be lazy."""
    path = write(DOUBLE)

    assert _subflow_task.name == "subflow"
    assert run(cs.subflow(path, "result")) == 42
    assert run(cs.subflow(str(path), target="result", params={"n": 4})) == 8
    assert run(cs.subflow(cs.format("{}", path), cs.format("result"), cs.dict(n=cs.format("{}", "ab")))) == "abab"


@pytest.mark.row("06-providers", "Built-in providers", "subflow")
def test_missing_file(tmp_path: Path) -> None:
    """A path where there is no file, or a folder, is a FileNotFoundError that names it."""
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            run(cs.subflow(path, "result"))
        assert str(path) in str(caught.value)


@pytest.mark.row("06-providers", "Built-in providers", "subflow")
@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise LookupError('broken')", LookupError),
        ("import no_such_module_anywhere", ModuleNotFoundError),
        ("def", SyntaxError),
        ("raise SystemExit(3)", SystemExit),
    ],
)
def test_file_that_cannot_be_executed(write: Write, source: str, cause: type[BaseException]) -> None:
    """The error says so, and its cause is what the file raised."""
    with pytest.raises(RuntimeError, match="Error executing subflow") as caught:
        run(cs.subflow(write(source), "result"))

    assert isinstance(caught.value.__cause__, cause)


@pytest.mark.row("06-providers", "Built-in providers", "subflow")
def test_missing_target(write: Write) -> None:
    """A name that the file does not define is a ValueError with the pinned text; builtins do not count."""
    for target in ("nothing", "print"):
        with pytest.raises(ValueError, match=f"Target '{target}' not found"):
            run(cs.subflow(write(DOUBLE), target))


def test_target_that_cannot_run(write: Write) -> None:
    """What is no lazy result is the error that any engine makes of it."""
    with pytest.raises(TypeError):
        run(cs.subflow(write(DOUBLE), "number"))


def test_error_of_a_task_is_unchanged(write: Write) -> None:
    """What a task of the other workflow raises is raised here."""
    source = """
    @cs.task
    def fail():
        raise LookupError("inner")

    result = fail()
    """
    with pytest.raises(LookupError, match="inner"):
        run(cs.subflow(write(source), "result"))


def test_nothing_of_the_caller_is_shared(write: Write) -> None:
    """The other workflow sees neither the resources nor the params of this run, and its events stay its own."""

    @cs.resource
    def database() -> Any:
        yield "ours"

    source = """
    @cs.task
    def use(db=cs.inject("database")):
        return db

    @cs.task
    def inner(n):
        return n

    result = use()
    given = inner(cs.Param("n", default="default"))
    """
    path = write(source)
    engine = make_engine(observe="steps", resources=[database])
    seen = watch(engine, Event)
    with pytest.raises(NameError, match="database"):
        run(cs.subflow(path, "result"), engine)
    value = asyncio.run(engine.run(cs.subflow(path, "given"), {"n": "ours"}))

    assert value == "default"
    assert {getattr(event, "task_name", "subflow") for event in seen} == {"subflow"}


def test_inputs_of_the_file_stay_its_own(write: Write) -> None:
    """A parameter of the same name keeps the default that each workflow has given it."""
    path = write(DOUBLE)

    @cs.task
    def pair(a: int, b: int) -> list[int]:
        return [a, b]

    before = dict(get_current_context().input_specs)
    get_current_context().input_specs.pop("n", None)
    try:
        target = pair(cs.Param("n", default=1), cs.subflow(path, "result"))

        assert run(target) == [1, 42]
        assert get_current_context().input_specs["n"].default == 1
    finally:
        get_current_context().input_specs.clear()
        get_current_context().input_specs.update(before)


def test_inputs_of_an_imported_module_are_found_each_time(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module declares its inputs only when it is imported first; later runs find their defaults all the same."""
    write(DOUBLE, "subflow_library.py")
    path = write("from subflow_library import result")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "subflow_library", raising=False)

    assert [run(cs.subflow(path, "result")) for _ in range(3)] == [42] * 3
    monkeypatch.delitem(sys.modules, "subflow_library")


def test_file_is_executed_as_it_is_now(write: Write) -> None:
    """A change counts, however soon it comes after a run, and however alike the text is."""
    values = [run(cs.subflow(write(f"result = cs.dict(n={n})"), "result")) for n in (1, 2)]

    assert values == [{"n": 1}, {"n": 2}]


def test_file_may_define_dataclasses_and_recursion(write: Write) -> None:
    """The file is a module like any other: classes find it by name, and its tasks call each other."""
    source = """
    from __future__ import annotations
    from dataclasses import dataclass, field

    @dataclass
    class State:
        n: int
        log: list[int] = field(default_factory=list)

    @cs.task
    def count(state):
        return count(State(state.n - 1, [*state.log, state.n])) if state.n else state.log

    result = count(State(50))
    """
    path = write("")
    path.write_text(textwrap.dedent(source).replace("from dataclasses", "import cascade as cs\nfrom dataclasses"))

    assert run(cs.subflow(path, "result")) == list(range(50, 0, -1))


def test_features_of_our_own_source_do_not_leak(write: Write) -> None:
    """What ``from __future__`` says here does not hold there: without it, annotations are values."""
    source = """
    def function(n: int): ...

    result = cs.dict(**function.__annotations__)
    """

    assert run(cs.subflow(write(source), "result")) == {"n": int}


def test_subflows_side_by_side_in_maps_and_loops(write: Write) -> None:
    """Many runs of one file at once do not disturb each other; a loop over subflows runs hot."""
    path = write(DOUBLE)

    @cs.task
    def again(left: int, n: int) -> Any:
        return again(left - 1, cs.subflow(path, "result", {"n": n})) if left else n

    engine = make_engine()

    assert run(cs.subflow.map(path=[path] * 20, target=["result"] * 20, params=[{"n": n} for n in range(20)])) == [
        2 * n for n in range(20)
    ]
    assert run(again(5, 1), engine) == 32
    assert engine.stats.hot >= 3


def test_retry_executes_the_file_again(write: Write, tmp_path: Path) -> None:
    """A file that fails twice succeeds at the third attempt."""
    source = f"""
from pathlib import Path
for n in range(3):
    flag = Path({str(tmp_path)!r}, f"flag{{n}}")
    if not flag.exists():
        flag.touch()
        assert n == 2
"""
    path = write("")
    path.write_text(source + "import cascade as cs" + DOUBLE, encoding="utf-8")

    assert run(cs.subflow(path, "result").with_retry(3)) == 42


def test_subflow_of_a_subflow(write: Write) -> None:
    """A file may run another one, and gather lists."""
    inner = write(DOUBLE, "inner.py")
    call = f"cs.subflow({str(inner)!r}, 'result', {{'n': cs.Param('m')}})"
    outer = write(f"result = [{call}, cs.format('x')]", "outer.py")

    assert run(cs.subflow(outer, "result", {"m": 3})) == [6, "x"]


def test_cancelled_subflow_cancels_its_tasks(write: Write) -> None:
    """The tasks of the other workflow end with the one that waits for them."""
    source = """
    import asyncio
    told = []

    @cs.task
    async def wait(events):
        events["begun"].set()
        try:
            await asyncio.Event().wait()
        finally:
            events["ended"].set()

    result = wait(cs.Param("events"))
    """

    async def scenario() -> None:
        events = {"begun": asyncio.Event(), "ended": asyncio.Event()}
        running = asyncio.create_task(make_engine().run(cs.subflow(write(source), "result", {"events": events})))
        await events["begun"].wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert events["ended"].is_set()

    asyncio.run(scenario())


def test_loading_holds_nobody_up(write: Write) -> None:
    """The file is executed in a thread: what it waits for may come from a task of the same stage."""
    source = """
    import builtins
    assert builtins.subflow_gate.wait(60)
    result = cs.format("opened")
    """
    import builtins
    import threading

    builtins.subflow_gate = gate = threading.Event()  # type: ignore[attr-defined]

    @cs.task
    async def open_it() -> None:
        gate.set()

    try:
        assert run([cs.subflow(write(source), "result"), open_it()]) == ["opened", None]
    finally:
        del builtins.subflow_gate  # type: ignore[attr-defined]


def test_tasks_of_the_file_may_run_in_another_process(write: Write) -> None:
    """Another process finds the file by the name of its module, for its functions and for the classes of its values."""
    source = """
    import os
    from dataclasses import dataclass

    @dataclass
    class Place:
        process: int

    @cs.task(mode="compute")
    def ask(place):
        return place, Place(os.getpid())

    result = ask(Place(os.getpid()))
    """
    here, there = run(cs.subflow(write(source, "any name.workflow"), "result"))

    assert here.process == os.getpid() != there.process
    assert type(here) is type(there)


def test_modules_do_not_pile_up(write: Write) -> None:
    """Running a file again replaces its module."""
    path = write(DOUBLE)
    run(cs.subflow(path, "result"))
    before = len(sys.modules)
    for _ in range(3):
        run(cs.subflow(path, "result"))

    assert len(sys.modules) == before
