"""Running other programs: real ones, and what is left of them when they are cancelled."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

import cascade as cs
from cascade.providers.shell import ShellError, _shell_task
from cascade.runtime.events import Event
from tests.engines import make_engine, run, watch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX shell")


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def children() -> set[int]:
    """The child processes of this one, zombies included."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(child) for one in lists for child in one.read_text(encoding="ascii").split()}


#: Child processes that were there when a test began: servers that other tests use.
OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(children())


def has_children() -> bool:
    """Whether there is a child process that was not there before, zombies included."""
    return not children() <= OTHERS


class Tell:
    """A named pipe on which processes tell that they have begun, and, by its end, that the last one has gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reader: TextIO

    def _open(self) -> str:
        self._reader = self.path.open(encoding="ascii")  # waits for somebody who writes
        return self._reader.readline()

    async def line(self) -> str:
        return await asyncio.to_thread(self._open)

    async def gone(self) -> bool:
        """Return when every process that held the pipe has ended."""
        rest = await asyncio.to_thread(self._reader.read)
        self._reader.close()
        return rest == ""

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    made = Tell(tmp_path / "tell")
    yield made
    made.close()


async def cancel_once(begun: Awaitable[str], running: asyncio.Task[Any]) -> str:
    """Cancels a run when a process says that it has begun; returns what it said."""
    said = await begun
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    return said


# ------------------------------------------------------------------------------------------------------ what it runs


@pytest.mark.row("06-providers", "Built-in providers", "shell")
def test_text_goes_through_the_shell_of_the_platform() -> None:
    """Pipes, variables and quotes work; the result is the standard output, stripped, as text."""
    assert _shell_task.name == "shell"
    assert run(cs.shell("X='a  b'; echo \"$X\" | tr a-z A-Z; echo; echo to nobody >&2")) == "A  B"


def test_list_of_arguments_meets_no_shell() -> None:
    """Each argument reaches the program as it is; arguments may be lazy."""
    hostile = "$HOME; echo 'x' && ls * `id`"

    assert run(cs.shell(["printf", "%s|", hostile, "a  b"])) == f"{hostile}|a  b|"
    assert run(cs.shell(["echo", cs.format("{}!", "lazy"), Path("/tmp")])) == "lazy! /tmp"
    assert run(cs.shell(("echo", "tuple"))) == "tuple"


@pytest.mark.parametrize("command", [[], ["echo", 1], {"echo": 1}, None, b"echo"])
def test_other_commands_are_refused(command: Any) -> None:
    """What is neither text nor a list of texts is an error that says so."""
    with pytest.raises(TypeError, match="shell"):
        run(cs.shell(command))


@pytest.mark.row("06-providers", "Built-in providers", "shell")
@pytest.mark.parametrize("command", ["echo out; echo err >&2; exit 7", ["sh", "-c", "echo out; echo err >&2; exit 7"]])
def test_failure_is_a_runtime_error_with_both_outputs(command: Any) -> None:
    """The text has the exit code and both outputs; the error keeps them as attributes."""
    with pytest.raises(RuntimeError, match="failed with exit code 7") as caught:
        run(cs.shell(command))

    assert "out" in str(caught.value)
    assert "err" in str(caught.value)
    assert isinstance(caught.value, ShellError)
    assert (caught.value.exit_code, caught.value.stdout, caught.value.stderr) == (7, "out", "err")


def test_error_survives_pickling() -> None:
    """The copy has the same facts and the same text."""
    error = ShellError(3, "out", "err")
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), copy.exit_code) == (ShellError, str(error), 3)


def test_killed_program_gives_a_negative_exit_code() -> None:
    """A program that a signal ended has failed."""
    with pytest.raises(RuntimeError, match=f"failed with exit code -{signal.SIGKILL.value}"):
        run(cs.shell("kill -KILL $$"))


@pytest.mark.row("06-providers", "Built-in providers", "shell")
def test_unchecked_failure_gives_the_output() -> None:
    """With ``check=False`` the exit code does not matter, and standard error is not in the result."""
    assert run(cs.shell("echo out; echo err >&2; exit 7", check=False)) == "out"


def test_missing_program_is_an_os_error() -> None:
    """A shell reports it by its exit code; without a shell there is nothing to run."""
    with pytest.raises(RuntimeError, match="exit code 127"):
        run(cs.shell("no-such-program-anywhere"))
    with pytest.raises(FileNotFoundError):
        run(cs.shell(["no-such-program-anywhere"], check=False))


def test_undecodable_output_does_not_fail() -> None:
    """Bytes that are no UTF-8 are replaced, in the result and in the error."""
    assert run(cs.shell(r"printf 'a\377b\303\251'")) == "a\ufffdb\u00e9"
    with pytest.raises(RuntimeError, match="a\ufffdb"):
        run(cs.shell(r"printf 'a\377b' >&2; exit 1"))


def test_long_outputs_do_not_stop_the_program() -> None:
    """More than a pipe holds arrives whole, from both streams at once."""
    script = "import sys; [(sys.stdout.write('o' * 1000), sys.stderr.write('e' * 1000)) for _ in range(1000)]; exit(1)"
    with pytest.raises(ShellError) as caught:
        run(cs.shell([sys.executable, "-c", script]))

    assert (caught.value.stdout, caught.value.stderr) == ("o" * 1_000_000, "e" * 1_000_000)


def test_program_reads_our_standard_input() -> None:
    """Standard input is the one of the workflow."""
    program = "import cascade as cs; print(cs.run(cs.shell('tr a-z A-Z'), log_level='ERROR'))"
    root = Path(cs.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, input="typed", capture_output=True, text=True)

    assert done.stdout.strip() == "TYPED"


def test_command_shows_neither_in_the_error_nor_in_events() -> None:
    """A command may hold a password, so no text of ours repeats it."""
    engine = make_engine(observe="steps")
    events = watch(engine, Event)
    with pytest.raises(RuntimeError) as caught:
        run(cs.shell("PASSWORD=hunter2 false"), engine)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(events)


def test_other_work_goes_on_meanwhile(tell: Tell) -> None:
    """A program that waits for something the workflow does later gets it."""

    @cs.task
    async def answer() -> None:
        await tell.line()
        Path(f"{tell.path}.2").write_text("answered", encoding="ascii")

    program = cs.shell(f"mkfifo '{tell.path}.2'; echo ready > '{tell.path}'; cat '{tell.path}.2'")

    assert run([program, answer()]) == ["answered", None]


# ----------------------------------------------------------------------------------------------------- what it leaves


def test_cancelled_task_ends_the_whole_group(tell: Tell) -> None:
    """The process and what it has started in the background are gone, and the process has been waited for."""

    async def scenario() -> bool:
        before = open_files()
        command = f"exec 3> '{tell.path}'; (trap '' TERM INT; sleep 1000 & wait) & echo begun >&3; wait"
        running = asyncio.create_task(make_engine().run(cs.shell(command)))
        await cancel_once(tell.line(), running)
        assert open_files() == before + 1  # that is where they tell
        return await tell.gone()

    assert asyncio.run(scenario())
    assert not has_children()


def test_cancelled_list_of_arguments_ends_too(tell: Tell) -> None:
    """Without a shell it is the same."""

    async def scenario() -> bool:
        command = ["sh", "-c", f"exec 3> '{tell.path}'; sleep 1000 & echo begun >&3; wait"]
        running = asyncio.create_task(make_engine().run(cs.shell(command)))
        await cancel_once(tell.line(), running)
        return await tell.gone()

    assert asyncio.run(scenario())
    assert not has_children()


def test_background_process_whose_leader_has_gone_ends_too(tell: Tell) -> None:
    """The task waits for whoever holds the output; once cancelled, that one is killed although the shell has ended."""

    async def scenario() -> bool:
        before = open_files()
        command = f"exec 3> '{tell.path}'; (sleep 1000; echo late) & echo begun >&3"
        running = asyncio.create_task(make_engine().run(cs.shell(command)))
        await cancel_once(tell.line(), running)
        assert open_files() == before + 1  # that is where they tell
        return await tell.gone()

    assert asyncio.run(scenario())


def test_process_that_left_the_group_holds_nobody_up(tell: Tell) -> None:
    """A daemon that still holds the output is left alone, and our ends of its pipes are closed."""

    async def scenario() -> int:
        before = open_files()
        command = f"setsid sh -c 'echo $$ > \"{tell.path}\"; exec sleep 1000' & wait"
        running = asyncio.create_task(make_engine().run(cs.shell(command)))
        daemon = int(await cancel_once(tell.line(), running))
        os.kill(daemon, signal.SIGKILL)  # raises if it is not there
        tell.close()
        return open_files() - before

    assert asyncio.run(scenario()) == 0
    assert not has_children()


def test_sibling_that_fails_ends_the_process(tell: Tell) -> None:
    """The engine cancels the siblings of a failed node, and a process among them goes with its task."""

    @cs.task
    async def fail() -> None:
        assert await tell.line() == "begun\n"
        raise LookupError("the other one")

    async def scenario() -> bool:
        program = cs.shell(f"exec 3> '{tell.path}'; echo begun >&3; sleep 1000")
        with pytest.raises(LookupError):
            await make_engine().run([program, fail()])
        return await tell.gone()

    assert asyncio.run(scenario())
    assert not has_children()


@pytest.mark.parametrize("turns", range(12))
def test_cancelled_while_it_starts_it_leaves_nothing(turns: int) -> None:
    """At whatever turn of the loop the task is cancelled, neither process nor pipe is left."""

    async def scenario() -> None:
        before = open_files()
        running = asyncio.create_task(_shell_task.func("sleep 1000 & wait"))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert open_files() == before

    asyncio.run(scenario())
    assert not has_children()


def test_a_hundred_runs_leave_nothing() -> None:
    """Neither file descriptors nor children grow, whether commands succeed or fail."""

    async def scenario() -> None:
        engine = make_engine()
        await engine.run(cs.shell("true"))
        before = open_files()
        for _ in range(10):
            await engine.run(cs.shell.map(command=["true", "false"] * 5, check=[False] * 10))
        assert open_files() == before

    asyncio.run(scenario())
    assert not has_children()


# ------------------------------------------------------------------------------------------------------ in workflows


def test_retry_runs_the_command_again(tmp_path: Path) -> None:
    """Each attempt starts the command anew."""
    command = f"cd '{tmp_path}'; echo x >> tries; test $(wc -l < tries) = 3 && echo done"

    assert run(cs.shell(command).with_retry(3)) == "done"


def test_map_and_lazy_commands() -> None:
    """``map`` runs one command for each, and commands may be lazy."""
    greeting = cs.format("echo hello {}", cs.shell("echo you"))

    assert run(cs.shell.map(command=["echo 1", greeting, ["echo", "3"]])) == ["1", "hello you", "3"]


def test_loop_that_calls_a_program_runs_hot() -> None:
    """A recursive task whose argument is a command is a hot loop."""

    @cs.task
    def count(left: int, line: str) -> Any:
        return count(left - 1, cs.shell(["echo", f"{line}{left}"])) if left else line

    engine = make_engine()

    assert run(count(5, ""), engine) == "54321"
    assert engine.stats.hot >= 3


