"""Standard input and output: replaced, piped and on a terminal."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.providers.stdio import _stdin_read_line_task, _stdout_write_task
from tests.engines import make_engine, run

ROOT = Path(cs.__file__).parents[1]
QUIET = "log_level='ERROR'"


def start(program: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a Python program that finds the package under test."""
    command = [sys.executable, "-u", "-c", f"import asyncio, sys\nimport cascade as cs\n{program}"]
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)


@pytest.mark.row("06-providers", "Built-in providers", "io.stdout.write")
def test_text_is_printed_with_a_newline(capsys: pytest.CaptureFixture[str]) -> None:
    """Each call prints a line; the result is None."""
    target = cs.io.stdout.write.map(text=["one", cs.format("{}", "two"), ""])

    assert _stdout_write_task.name == "stdout_write"
    assert run(target) == [None] * 3
    assert capsys.readouterr().out == "one\ntwo\n\n"


def test_output_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is out when the task has ended, whole and in one piece."""
    done: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            done.append(text)
            return len(text)

        def flush(self) -> None:
            done.append("flushed")

    monkeypatch.setattr(sys, "stdout", Stream())
    run(cs.io.stdout.write("text"))

    assert done == ["text\n", "flushed"]


def test_lines_come_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred writes at once, each begins when the one before it has ended."""
    all_begun = threading.Event()
    seen: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            seen.append(f"begin {text}")
            all_begun.wait()
            seen.append(f"end {text}")
            return len(text)

    @cs.task
    async def open_it() -> None:
        all_begun.set()

    monkeypatch.setattr(sys, "stdout", Stream())
    run([*(cs.io.stdout.write(f"{n}") for n in range(100)), open_it()])

    assert seen == [f"{what} {n}\n" for n in range(100) for what in ("begin", "end")]


def test_reader_that_is_slow_holds_no_other_task_up() -> None:
    """While a write waits for somebody to read the pipe, other tasks run."""
    program = f"""
@cs.task
async def tell():
    print("still here", file=sys.stderr)

cs.run([cs.io.stdout.write("x" * 1_000_000), tell()], {QUIET})
"""
    with start(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline() == "still here\n"
        assert process.stdout.read() == "x" * 1_000_000 + "\n"

    assert process.returncode == 0


# ------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.row("06-providers", "Built-in providers", "io.stdin.read_line")
def test_line_is_read_and_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line at a time; an empty text at the end; arguments serve to wait for them."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("  first \nsecond\n\nlast"))
    first = cs.io.stdin.read_line()

    @cs.task
    def pair(a: str, b: str) -> list[str]:
        return [a, b]

    assert _stdin_read_line_task.name == "stdin_read_line"
    assert run(pair(first, cs.io.stdin.read_line(first))) == ["first", "second"]
    assert [run(cs.io.stdin.read_line()) for _ in range(3)] == ["", "last", ""]


def test_replaced_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the ``sys.stdin`` of the moment that counts."""
    for text in ("one", "two"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert run(cs.io.stdin.read_line()) == text


def test_without_standard_input_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may have none."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RuntimeError, match="no standard input"):
        run(cs.io.stdin.read_line())


def test_chat_in_a_hot_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that reads a line at each step runs hot."""

    @cs.task
    def listen(heard: list[str], line: str) -> Any:
        return heard if line == "bye" else listen(append(heard, line), cs.io.stdin.read_line())

    @cs.task
    def append(heard: list[str], line: str) -> list[str]:
        return [*heard, line]

    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*"abcdef", "bye"])))
    engine = make_engine()

    assert run(listen([], cs.io.stdin.read_line()), engine) == list("abcdef")
    assert engine.stats.hot >= 4


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Puts a pipe in place of standard input and gives the end where to write."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writer
        os.close(writer)


def test_waiting_for_a_line_holds_nobody_up(pipe: int) -> None:
    """A task of the same stage may be what writes the line."""

    @cs.task
    async def type_it() -> None:
        os.write(pipe, b"typed\n")

    assert run([cs.io.stdin.read_line(), type_it()]) == ["typed", None]


def test_line_of_a_cancelled_task_goes_to_the_next(pipe: int) -> None:
    """Nothing that is typed is lost because somebody had stopped waiting."""

    async def scenario() -> list[str]:
        for _ in range(2):
            running = asyncio.create_task(_stdin_read_line_task.func())
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        os.write(pipe, b"one\ntwo\n")
        return [await _stdin_read_line_task.func(), await _stdin_read_line_task.func()]

    assert asyncio.run(scenario()) == ["one", "two"]


# ------------------------------------------------------------------------------------------------------ on a terminal


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Gives both ends of a pseudo-terminal: that of the person and that of the program."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def test_line_typed_at_a_terminal(terminal: tuple[int, int]) -> None:
    """A prompt is seen before the answer is typed, and backspace corrects it as on any terminal."""
    person, side = terminal
    program = f"""
asked = cs.io.stdout.write("your name?")
print("hello", cs.run(cs.io.stdin.read_line(asked), {QUIET}))
"""
    with start(program, stdin=side, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "your name?\n"
        os.write(person, b"Adx\x7fa \n")
        assert process.stdout.readline() == "hello Ada\n"

    assert process.returncode == 0


def test_end_of_input_at_a_terminal(terminal: tuple[int, int]) -> None:
    """Control-D gives an empty line."""
    person, side = terminal
    with start(f"print(repr(cs.run(cs.io.stdin.read_line(), {QUIET})))", stdin=side, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.write(person, b"\x04")
        assert process.stdout.readline() == "''\n"

    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_interrupted_program_ends_without_a_line(terminal: tuple[int, int], kind: str) -> None:
    """A program that is interrupted while it waits for a line ends at once; nobody has to press a key."""
    program = f"""
@cs.task
async def tell():
    print("waiting")

cs.run([tell(), cs.io.stdin.read_line()], {QUIET})
"""
    stdin = terminal[1] if kind == "terminal" else subprocess.PIPE
    with start(program, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)  # with nothing typed

    assert status in (1, 130, -signal.SIGINT)


def test_no_thread_is_left_for_lines_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that were replaced let go of their threads."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("warm"))
    run(cs.io.stdin.read_line())
    before = threading.active_count()
    for n in range(20):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{n}"))
        run(cs.io.stdin.read_line())

    assert threading.active_count() <= before + 1
