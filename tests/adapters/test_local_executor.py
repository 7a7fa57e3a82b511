"""The local executor: on the loop's thread, in threads, in processes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cascade.adapters.executors import LocalExecutor
from cascade.adapters.executors._processes import RemoteTraceback
from cascade.graph.model import Node

WORK = """
import os, sys, threading, time
from cascade.spec.task import task

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

class Fine(Exception):
    pass

class Nested:
    @staticmethod
    def f(x): return ("nested", x)

def where(): return os.getpid()
def add(a, b=1): return a + b
def fail(kind): raise {"fine": Fine("x"), "odd": Odd(1, 2), "stop": StopIteration(3), "exit": SystemExit(4)}[kind]
def unpicklable(): return lambda: 0
def die(): os._exit(3)
def read(name): return os.environ.get(name)

@task(mode="compute")
def power(x, y): return x ** y, os.getpid()

def slow(path):
    open(path, "w").close()
    time.sleep(60)

def other(x): return x
swapped = task(add)
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """A module that other processes can import."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "cascade_work.py").write_text(WORK)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("cascade_work")
    sys.path.remove(str(folder))
    del sys.modules["cascade_work"]


@pytest.fixture(scope="module")
def shared(work: ModuleType) -> Iterator[LocalExecutor]:
    """One executor, so that its processes are started once."""
    executor = LocalExecutor()
    yield executor
    executor.close()


def node(function: Any, mode: str | None = None, **fields: Any) -> Node:
    return Node("i", "the_task", callable_obj=function, execution_mode=mode, **fields)


def execute(executor: LocalExecutor, function: Any, *args: Any, mode: str | None = None, **kwargs: Any) -> Any:
    return asyncio.run(executor.execute(node(function, mode), list(args), kwargs))


@pytest.mark.row("01-tasks-and-graph", "Task", "mode")
def test_sync_functions_run_on_the_loop_thread() -> None:
    """Without a mode a function is called where the loop is, in the caller's context."""
    seen: list[Any] = []
    variable = contextvars.ContextVar("variable", default=0)

    def function(*args: Any, **kwargs: Any) -> str:
        variable.set(1)
        seen.append((threading.current_thread(), args, kwargs))
        return "value"

    async def main() -> Any:
        value = await LocalExecutor().execute(node(function), [1, 2], {"k": 3})
        return value, variable.get()

    assert asyncio.run(main()) == ("value", 1)
    assert seen == [(threading.main_thread(), (1, 2), {"k": 3})]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("mode", [None, "blocking"])
def test_async_functions_are_awaited(is_async: bool, mode: str | None) -> None:
    """An async function is awaited; a node made by hand need not say that it is one."""

    async def function(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    async def main() -> Any:
        value = await LocalExecutor().execute(node(function, mode, is_async=is_async), [1], {})
        return await value if asyncio.iscoroutine(value) else value

    assert asyncio.run(main()) == 2


def test_a_coroutine_from_a_plain_function_is_returned() -> None:
    """Who awaits it is the engine's business."""

    async def inner() -> int:
        return 1

    async def main() -> Any:
        value = await LocalExecutor().execute(node(lambda: inner()), [], {})
        assert asyncio.iscoroutine(value)
        return await value

    assert asyncio.run(main()) == 1


def test_a_lazy_result_is_a_value() -> None:
    """A task may return a call of a task."""
    from cascade.spec.task import task

    @task
    def other() -> None: ...

    lazy = other()

    assert execute(LocalExecutor(), lambda: lazy) is lazy


def test_nodes_that_cannot_run() -> None:
    """A node without function, and a mode nobody knows, are named."""
    with pytest.raises(TypeError, match="'the_task' is not executable"):
        execute(LocalExecutor(), None)
    with pytest.raises(ValueError, match="'the_task' has mode 'gpu'"):
        execute(LocalExecutor(), len, [], mode="gpu")


def test_the_executor_says_that_it_is_inline() -> None:
    """The flag is declared in the class that declares execute."""
    assert LocalExecutor.__dict__["inline"] is True
    assert "execute" in LocalExecutor.__dict__


def test_importing_loads_no_pools() -> None:
    """Neither concurrent.futures nor multiprocessing are loaded before a mode asks for them."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "before = set(sys.modules)\n"
        "from cascade.adapters.executors import LocalExecutor; LocalExecutor()\n"
        "assert not {'multiprocessing', 'concurrent.futures', 'asyncio'} & (set(sys.modules) - before)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------------------------- blocking


@pytest.mark.parametrize(
    "error, expected", [(KeyError("x"), KeyError), (SystemExit(3), SystemExit), (StopIteration(1), RuntimeError)]
)
def test_errors_from_threads(error: BaseException, expected: type) -> None:
    """The error object itself arrives; StopIteration as the cause of a RuntimeError, as everywhere."""

    def function() -> None:
        raise error

    executor = LocalExecutor()

    async def main() -> BaseException:
        try:
            await executor.execute(node(function, "blocking"), [], {})
        except BaseException as caught:
            return caught
        raise AssertionError

    caught = asyncio.run(main())
    executor.close()

    assert type(caught) is expected
    assert error in (caught, caught.__cause__)


@pytest.mark.row("01-tasks-and-graph", "Task", "mode")
def test_threads_have_a_name_and_a_copy_of_the_context() -> None:
    """A blocking function sees the caller's context variables and cannot change them."""
    variable = contextvars.ContextVar("variable", default=0)

    def function() -> tuple[str, bool, int]:
        seen = variable.get()
        variable.set(99)
        return threading.current_thread().name, threading.current_thread().daemon, seen

    async def main() -> Any:
        variable.set(5)
        result = await LocalExecutor().execute(node(function, "blocking"), [], {})
        return result, variable.get()

    (name, daemon, seen), after = asyncio.run(main())

    assert name.startswith("cascade_blocking")
    assert (daemon, seen, after) == (True, 5, 5)


def test_blocking_calls_run_together_and_reuse_threads() -> None:
    """Two calls that wait for each other finish; later calls take an idle thread; any number of loops may come."""
    executor = LocalExecutor()
    barrier = threading.Barrier(3, timeout=20)

    async def together() -> None:
        await asyncio.gather(*(executor.execute(node(barrier.wait, "blocking"), [], {}) for _ in range(3)))

    async def one() -> str:
        return str(await executor.execute(node(lambda: threading.current_thread().name, "blocking"), [], {}))

    asyncio.run(together())
    asyncio.run(together())
    names = {asyncio.run(one()) for _ in range(5)}
    executor.close()

    assert names <= {f"cascade_blocking_{i}" for i in range(6)}


def test_cancelling_a_blocking_call_is_prompt() -> None:
    """The wait ends at once, the thread goes on, its result is dropped."""
    executor = LocalExecutor()
    started, release, done = threading.Event(), threading.Event(), threading.Event()

    def function() -> None:
        started.set()
        release.wait(20)
        done.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(executor.execute(node(function, "blocking"), [], {}))
        await asyncio.to_thread(started.wait, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not done.is_set()
        release.set()
        await asyncio.to_thread(done.wait, 20)

    asyncio.run(main())
    executor.close()

    assert done.is_set()


def test_a_coroutine_that_comes_after_cancelling_is_closed() -> None:
    """A blocking function may return a coroutine to await; if nobody will, Python need not warn of it."""
    executor = LocalExecutor()
    started, release = threading.Event(), threading.Event()
    made = []

    async def rest() -> None: ...

    def function() -> Any:
        started.set()
        release.wait(20)
        made.append(rest())
        return made[0]

    async def main() -> None:
        waiting = asyncio.ensure_future(executor.execute(node(function, "blocking"), [], {}))
        await asyncio.to_thread(started.wait, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()

    asyncio.run(main())
    for _ in range(1000):
        if made and inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED:
            break
        threading.Event().wait(0.01)  # the thread is on its way

    assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED
    executor.close()


def test_nothing_outlives_a_blocking_call() -> None:
    """An idle thread holds neither arguments nor result nor error of its last call."""

    class Thing:
        pass

    executor = LocalExecutor()
    thing = Thing()
    watch = weakref.ref(thing)

    def function(x: Any) -> Any:
        return x

    execute(executor, function, thing, mode="blocking")
    del thing
    for _ in range(100):
        gc.collect()
        if watch() is None:
            break
        threading.Event().wait(0.01)  # the thread is on its way back to the queue

    assert watch() is None
    executor.close()


def alive(prefix: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]


@pytest.mark.parametrize("end", [LocalExecutor.close, lambda executor: None])
def test_threads_end_with_the_executor(end: Callable[[LocalExecutor], None]) -> None:
    """Closing an executor, or dropping it, ends its threads; a closed one may be used again."""
    before = set(alive("cascade_blocking"))
    executor = LocalExecutor()
    execute(executor, len, [], mode="blocking")
    started = set(alive("cascade_blocking")) - before
    end(executor)
    assert execute(executor, len, [1], mode="blocking") == 1
    executor.close()
    executor.close()
    del executor
    gc.collect()

    for thread in started:
        thread.join(20)
    assert started
    assert not any(thread.is_alive() for thread in started)


# -------------------------------------------------------------------------------------------------------- compute


@pytest.mark.row("01-tasks-and-graph", "Task", "mode")
def test_functions_are_sent_by_name(shared: LocalExecutor, work: Any) -> None:
    """A function under its own name, behind a task, or in a class runs in another process."""
    value, pid = execute(shared, work.power.func, 2, y=5, mode="compute")

    assert value == 32
    assert pid != os.getpid()
    assert execute(shared, work.add, 2, b=3, mode="compute") == 5
    assert execute(shared, work.Nested.f, 1, mode="compute") == ("nested", 1)
    assert execute(shared, work.swapped.func, 1, mode="compute") == 2


def test_processes_are_reused(shared: LocalExecutor, work: Any) -> None:
    """Calls one after the other run in one process, in successive loops too."""
    assert len({execute(shared, work.where, mode="compute") for _ in range(5)}) == 1


@pytest.mark.parametrize(
    "function, text",
    [
        (lambda: 0, "its function '<lambda>' cannot be found by its name"),
        (test_processes_are_reused.__get__(1), "cannot be found by its name"),
        (len.__call__, "cannot be found by its name"),
    ],
)
def test_functions_that_cannot_be_sent(shared: LocalExecutor, function: Any, text: str) -> None:
    """The first call says what is wrong and how to mend it, before any process is asked."""
    with pytest.raises(TypeError, match="compute task 'the_task' cannot be sent") as caught:
        execute(shared, function, mode="compute")

    assert text in str(caught.value)
    assert "top of a module" in str(caught.value)


def test_a_local_function_cannot_be_sent(shared: LocalExecutor) -> None:
    """A closure exists here only."""

    def local() -> None: ...

    with pytest.raises(TypeError, match=r"<locals>\.local' cannot be found"):
        execute(shared, local, mode="compute")


def test_a_replaced_function_cannot_be_sent(shared: LocalExecutor, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name must lead to the very function of the node."""
    original = work.add
    monkeypatch.setattr(work, "add", work.other)

    with pytest.raises(TypeError, match="'add' cannot be found"):
        execute(shared, original, 1, mode="compute")


def test_arguments_and_results_that_cannot_be_sent(shared: LocalExecutor, work: Any) -> None:
    """The error says whether arguments or result are at fault, and the process goes on."""
    with pytest.raises(TypeError, match=r"'the_task' cannot be sent .* arguments cannot be pickled"):
        execute(shared, work.add, lambda: 0, mode="compute")
    with pytest.raises(TypeError, match="the result, a function, cannot be sent back"):
        execute(shared, work.unpicklable, mode="compute")
    assert execute(shared, work.add, 1, mode="compute") == 2


@pytest.mark.parametrize(
    "kind, expected, text",
    [
        ("fine", "Fine", "x"),
        ("odd", "RuntimeError", "Odd: 1 and 2"),
        ("stop", "RuntimeError", "coroutine raised StopIteration"),
        ("exit", "SystemExit", "4"),
    ],
)
def test_errors_from_processes(shared: LocalExecutor, work: Any, kind: str, expected: str, text: str) -> None:
    """An error keeps type and text, with its traceback as the cause; one that cannot be rebuilt keeps its text."""

    async def main() -> BaseException:
        try:
            await shared.execute(node(work.fail, "compute"), [kind], {})
        except BaseException as caught:
            return caught
        raise AssertionError

    caught = asyncio.run(main())

    assert type(caught).__name__ == expected
    assert str(caught) == text
    assert isinstance(caught.__cause__, RemoteTraceback)
    assert "cascade_work.py" in str(caught.__cause__)


def test_a_process_that_dies(shared: LocalExecutor, work: Any) -> None:
    """Its call fails with a sentence, and the next call gets a new process."""
    with pytest.raises(RuntimeError, match="the process of compute task 'the_task' ended before"):
        execute(shared, work.die, mode="compute")
    assert execute(shared, work.add, 1, mode="compute") == 2


def test_a_slow_blocking_task_does_not_delay_a_compute_task(shared: LocalExecutor, work: Any) -> None:
    """Threads and processes do not wait for each other."""
    release = threading.Event()

    async def main() -> Any:
        blocked = [asyncio.ensure_future(shared.execute(node(release.wait, "blocking"), [20], {})) for _ in range(40)]
        value = await shared.execute(node(work.add, "compute"), [1], {})
        assert not any(one.done() for one in blocked)
        release.set()
        await asyncio.gather(*blocked)
        return value

    assert asyncio.run(main()) == 2


def test_cancelling_a_compute_call_ends_it(work: Any, tmp_path: Path) -> None:
    """The wait ends at once, the process too, and the place is free for the next call."""
    executor = LocalExecutor()
    mark = tmp_path / "started"

    async def main() -> Any:
        executor._processes = importlib.import_module("cascade.adapters.executors._processes").ProcessPool("one", 1)
        waiting = asyncio.ensure_future(executor.execute(node(work.slow, "compute"), [str(mark)], {}))
        while not mark.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await executor.execute(node(work.add, "compute"), [1], {})

    value = asyncio.run(asyncio.wait_for(main(), 30))
    executor.close()

    assert value == 2


SCRIPT = """
import asyncio, os, sys, threading, weakref
# Finalizers run at exit in the order set by the first one: before or after multiprocessing waits for its children.
weakref.finalize(threading.current_thread(), int)
sys.path[:0] = {path!r}
from cascade.adapters.executors import LocalExecutor
from cascade.graph.model import Node
import cascade_work

executor = LocalExecutor()

def here(x): return x + 1

async def main():
    mark = sys.argv[1]
    value = await executor.execute(Node("i", "n", callable_obj=here, execution_mode="compute"), [1], {{}})
    assert value == 2
    stuck = [
        asyncio.ensure_future(executor.execute(Node("i", "n", callable_obj=f, execution_mode=mode), args, {{}}))
        for f, mode, args in [(threading.Event().wait, "blocking", [60]), (cascade_work.slow, "compute", [mark])]
    ]
    while not os.path.exists(mark):
        await asyncio.sleep(0.01)
    if "cancel" in sys.argv:
        for one in stuck: one.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
    else:
        return stuck

if __name__ == "__main__":
    kept = asyncio.new_event_loop().run_until_complete(main())
    print("end")
"""


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_the_interpreter_does_not_wait(work: Any, tmp_path: Path, how: str) -> None:
    """A program ends although a thread and a process are busy; functions of the script itself are sent too."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=[str(Path(work.__file__).parent), *sys.path]))

    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "mark"), how], capture_output=True, text=True, timeout=40
    )

    assert (done.returncode, done.stdout) == (0, "end\n")
    assert "Traceback" not in done.stderr


def test_interactive_functions_cannot_be_sent() -> None:
    """What is typed into a session exists in that session only."""
    program = textwrap.dedent(
        f"""
        import asyncio, sys
        sys.path[:0] = {sys.path!r}
        from cascade.adapters.executors import LocalExecutor
        from cascade.graph.model import Node
        def f(): pass
        try:
            asyncio.run(LocalExecutor().execute(Node("i", "n", callable_obj=f, execution_mode="compute"), [], {{}}))
        except TypeError as error:
            assert "interactive session" in str(error), error
            print("ok")
        """
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=40)

    assert done.stdout == "ok\n", done.stderr


def test_a_process_that_is_ended_while_it_is_asked_frees_its_pipe_once(
    work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the pool and noticing that the process died may coincide: the pipe is closed by one of them."""
    freed: list[int] = []
    free = Connection._close

    def slow_free(self: Any) -> None:
        freed.append(id(self))
        time.sleep(0.2)
        free(self)

    async def leave() -> None:
        executor = LocalExecutor()
        asked = asyncio.ensure_future(executor.execute(node(work.slow, "compute"), [str(tmp_path / "mark")], {}))
        while not (tmp_path / "mark").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        monkeypatch.setattr(Connection, "_close", slow_free)
        await asyncio.to_thread(executor.close)
        with pytest.raises(RuntimeError, match="ended before the task was done"):
            await asked

    asyncio.run(leave())

    assert len(freed) == len(set(freed)) > 0
