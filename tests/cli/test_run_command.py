"""The command ``cascade``: what it finds, prints and returns, and what Ctrl-C does to it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cascade
from cascade import _kernel
from cascade.cli.main import main

WORKFLOW = """
import asyncio, time
import cascade as cs

@cs.task
def down(n):
    return down(n - 1) if n else "end"

@cs.task
def show(a, b=None):
    return (a, b)

@cs.task
def ready():
    return "ready"

@cs.task
def nothing():
    return None

@cs.task
def boom(n):
    raise ValueError(f"n is {n}")

@cs.task
def chained(n):
    try:
        int("x")
    except ValueError as error:
        raise LookupError("no number") from error

@cs.task
def misuser():
    try:
        cs.explain(3)
    except TypeError as error:
        raise LookupError("nothing to explain") from error

@cs.task(mode="blocking")
def in_thread():
    return helper()

def helper():
    raise OSError("disk")

def main():
    return down(1000)

lazy = show(1)
mapped = show.map(a=[1, 2])

def both():
    return [down(3), down(4)]

def fails():
    return show(down(3), boom(7))

def fails_chained():
    return chained(1)

def fails_in_thread():
    return in_thread()

def misfit():
    return show()

def inputs():
    return show(cs.Param("size", type=int), cs.Param("deep", default=False, type=bool))

def breaks():
    return helper()

def number():
    return 3

async def asynchronous():
    return down(1)

def uncalled():
    return down

def wants(x):
    return down(x)

five = 5
"""


#: Processes of the test that runs.
STARTED: list[subprocess.Popen[str]] = []


def command(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Starts ``python -m cascade`` with the package under test."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cascade.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen([sys.executable, "-m", "cascade", *arguments], env=environment, **streams)  # type: ignore[call-overload]
    STARTED.append(process)
    return process


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with everything that a workflow file may hold."""
    path = tmp_path_factory.mktemp("cli") / "workflow.py"
    path.write_text(WORKFLOW, encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what a command run in this process leaves behind, and ends the processes that a test has started."""
    from cascade.context import get_current_context

    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(get_current_context(), "input_specs", {})
    for name in ("workflow", "_cascade_file_workflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    while STARTED:  # a test that failed may have left an endless loop
        with STARTED.pop() as one:
            one.kill()


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Runs the command in this process; returns exit code, standard output and standard error."""
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# ------------------------------------------------------------------------------------------------------ what it can run


@pytest.mark.parametrize(
    "name, printed",
    [
        ("", "end\n"),
        (":main", "end\n"),
        (":lazy", "(1, None)\n"),
        (":ready", "ready\n"),
        (":mapped", "[(1, None), (2, None)]\n"),
        (":both", "['end', 'end']\n"),
        (":nothing", ""),
    ],
)
def test_result_is_printed(workflow: str, name: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A lazy result, a task or a function is run and its result printed, None excepted; only that on stdout."""
    code, out, err = ended(capsys, "run", workflow + name)

    assert (code, out) == (0, printed)
    assert "step" in err


@pytest.mark.parametrize(
    "arguments, printed",
    [
        (["--param", "size=3"], "(3, False)\n"),
        (["--param", "size=3", "--param", "deep=yes"], "(3, True)\n"),
        (["--param", "size=3", "--param", "deep=0", "--param", "size=4"], "(4, False)\n"),
    ],
)
def test_params_are_read_as_declared(
    workflow: str, arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text becomes a value of the declared type; the last one of a name counts."""
    code, out, _ = ended(capsys, "run", f"{workflow}:inputs", *arguments)

    assert (code, out) == (0, printed)


@pytest.mark.parametrize(
    "place, arguments, text",
    [
        ("absent.py", [], "no file absent.py"),
        (".", [], ". is a directory; name a Python file"),
        ("{}:absent", [], "has no 'absent'; name one of these: workflow.py:ready, "),
        ("{}:five", [], "is of type int; name a lazy result, a task"),
        ("{}:number", [], "returned a value of type int, not a lazy result"),
        ("{}:asynchronous", [], "is async and no task"),
        ("{}:uncalled", [], "returned the task 'down' without calling it; write return down(...)"),
        ("{}:wants", [], "needs arguments (x)"),
        ("{}:show", [], "the task 'show' in"),
        ("{}:inputs", ["--param", "colour=red"], "has no parameter 'colour'; it declares size, deep"),
        ("{}:main", ["--param", "colour=red"], "has no parameter 'colour'; it declares none"),
        ("{}:inputs", ["--param", "size=big"], "--param size=big: not a value of type int"),
        ("{}:inputs", ["--param", "size=1", "--param", "deep=2"], "write true or false"),
        ("{}:inputs", [], "parameter 'size' has no default; give it with --param size=..."),
    ],
)
def test_what_cannot_run_is_told_on_one_line(
    workflow: str, place: str, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and one line that says what is wrong and what would do."""
    code, out, err = ended(capsys, "run", place.format(workflow), *arguments)
    [line] = err.splitlines()

    assert (code, out) == (1, "")
    assert line.startswith("cascade: ")
    assert text in line


@pytest.mark.parametrize("arguments", [[], ["run"], ["walk"], ["run", "x.py", "--param", "x"], ["run", "x.py", "y"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """argparse tells the usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: cascade" in capsys.readouterr().err


def test_version_names_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    """``cascade --version`` tells which of the two kernels is loaded."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"cascade {cascade.__version__} ({_kernel.kernel_name} kernel)\n"


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    """As with ``python FILE``, the folder of the file is on the path, and processes of compute tasks know the file."""
    (tmp_path / "beside.py").write_text("VALUE = 20\n")
    (tmp_path / "flow.py").write_text(
        "import beside\nimport cascade as cs\n"
        "@cs.task(mode='compute')\ndef more(n):\n    return n + 1\n"
        "def main():\n    return more(beside.VALUE)\n"
    )
    process = command("run", str(tmp_path / "flow.py"), cwd="/")
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, "21\n"), err


# --------------------------------------------------------------------------------------------------------------- errors


def frames(text: str) -> list[str]:
    """Returns the functions of a printed traceback."""
    return re.findall(r'^  File "[^"]*", line \d+, in (.+)$', text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "name, functions, last",
    [
        ("fails", ["boom"], "ValueError: n is 7"),
        ("fails_chained", ["chained", "chained"], "LookupError: no number"),
        ("misuser", ["misuser", "misuser"], "LookupError: nothing to explain"),
        ("fails_in_thread", ["in_thread", "helper"], "OSError: disk"),
        ("breaks", ["breaks", "helper"], "OSError: disk"),
    ],
)
def test_traceback_has_the_users_frames_only(
    workflow: str, name: str, functions: list[str], last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of the user's code is told with the user's frames, of its cause too, and none of the engine's."""
    code, out, err = ended(capsys, "run", f"{workflow}:{name}")

    assert (code, out) == (1, "")
    assert frames(err) == functions
    assert err.splitlines()[-1] == last


def test_errors_of_the_engine_are_told_without_a_traceback(workflow: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody's code has raised them; the text says what is wrong."""
    code, _, err = ended(capsys, "run", f"{workflow}:misfit")

    assert code == 1
    assert frames(err) == []
    assert "TaskArgumentError: show() missing 1 required positional argument: 'a'; task 'show' is defined as" in err


@pytest.mark.parametrize(
    "source, functions, last",
    [
        ("def f():\n    1 / 0\nf()\n", ["<module>", "f"], "ZeroDivisionError: division by zero"),
        ("import no_such_module\n", ["<module>"], "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f(:\n", [], "SyntaxError: invalid syntax"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(
    source: str, functions: list[str], last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors of the file itself are told like those of a task."""
    path = tmp_path / "workflow.py"
    path.write_text(source)
    code, _, err = ended(capsys, "run", str(path))

    assert code == 1
    assert frames(err) == functions
    assert err.splitlines()[-1] == last


# ------------------------------------------------------------------------------------------------------------- progress


def test_progress_is_plain_lines_when_not_on_a_terminal(workflow: str) -> None:
    """A short run gives one line in the end: steps by tier, nodes and time, no control characters."""
    process = command("run", workflow)
    _, err = process.communicate(timeout=60)
    [line] = err.splitlines()

    assert re.fullmatch(r"1,001 steps \(1,000 hot, 1 cold\), 1,001 nodes, \d+\.\d\d s(, [\d,]+ steps/s)?", line)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_progress_is_a_live_line_on_a_terminal(tmp_path: Path) -> None:
    """Steps, rate, nodes and time are written over themselves and erased before the summary."""
    path = tmp_path / "long.py"
    path.write_text(
        "import os, cascade as cs\n"
        "@cs.task\ndef wait(n):\n    return 'over' if os.path.exists('stop') else wait(n + 1)\n"
        "def main():\n    return wait(0)\n"
    )
    ours, theirs = os.openpty()
    process = command("run", str(path), cwd=str(tmp_path), stderr=theirs)
    os.close(theirs)
    live = re.compile(rb"\r\x1b\[2Kwait  [\d,]+ steps  [\d,]+ steps/s  [\d,]+ nodes  \d+\.\d s")
    shown = read_until(ours, lambda text: len(live.findall(text)) >= 3)
    (tmp_path / "stop").touch()
    out, _ = process.communicate(timeout=60)
    shown += read_until(ours, lambda text: b"hot" in text)
    os.close(ours)
    last = shown.split(b"\x1b[2K")[-1]

    assert process.returncode == 0
    assert out == "over\n"
    assert len(live.findall(shown)) >= 3
    assert re.match(rb"[\d,]+ steps \([\d,]+ hot, 1 cold\), ", last)


def read_until(descriptor: int, enough: object) -> bytes:
    """Reads from a terminal until ``enough(text)``, or its other end is closed."""
    shown, until = b"", time.monotonic() + 30
    while not enough(shown) and time.monotonic() < until:  # type: ignore[operator]
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                shown += os.read(descriptor, 65536)
            except OSError:  # closed
                break
    return shown


def test_a_line_tells_what_is_known() -> None:
    """Without a loop there are nodes and time only; a loop adds steps and rate; nodes are the larger count."""
    import io

    from cascade.cli._progress import Progress
    from cascade.runtime.bus import MessageBus
    from cascade.runtime.events import LoopProgress, TaskExecutionStarted

    bus = MessageBus()
    progress = Progress(bus, io.StringIO())
    for _ in range(3):
        bus.publish(TaskExecutionStarted(task_name="one"))
    before = progress.line()
    bus.publish(LoopProgress(task_name="loop", steps=12_000, nodes=24_000, steps_per_second=5_000.0))

    assert re.fullmatch(r"one  3 nodes  \d\.\d s", before)
    assert re.fullmatch(r"loop  12,000 steps  5,000 steps/s  24,000 nodes  \d\.\d s", progress.line())


def test_plain_lines_come_at_their_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on a terminal each line stands for itself."""
    import io
    import threading

    from cascade.cli._progress import Progress
    from cascade.runtime.bus import MessageBus

    class Stream(io.StringIO):
        lines = threading.Semaphore(0)

        def write(self, text: str) -> int:
            self.lines.release()
            return super().write(text)

    stream = Stream()
    with Progress(MessageBus(), stream, plain_interval=0.001):
        assert stream.lines.acquire(timeout=10)
        assert stream.lines.acquire(timeout=10)

    assert all(re.fullmatch(r"0 nodes  \d\.\d s", line) for line in stream.getvalue().splitlines())


# --------------------------------------------------------------------------------------------------------------- Ctrl-C

LOOPS = """
import asyncio, time
import cascade as cs

@cs.resource
def lamp():
    print("on", flush=True)
    try:
        yield "lamp"
    finally:
        print("off", flush=True)

@cs.task
def sync(n, lamp=cs.inject("lamp")):
    return sync(n + 1)

@cs.task
async def waiting(n, lamp=cs.inject("lamp")):
    await asyncio.sleep(0.0001)
    return waiting(n + 1)

@cs.task
async def asleep(n, lamp=cs.inject("lamp")):
    await asyncio.sleep(1000)

@cs.task
def outer(a, b=None):
    return a

@cs.task(mode="blocking")
def blocking(n, lamp=cs.inject("lamp")):
    time.sleep(1000)

@cs.task(mode="compute")
def busy(n):
    time.sleep(1000)

@cs.task
def after_lamp(n, lamp=cs.inject("lamp")):
    return busy(n)

@cs.task
def stuck(n, lamp=cs.inject("lamp")):
    time.sleep(1000)

def sync_loop(): return sync(0)
def async_loop(): return waiting(0)
def inner_loop(): return outer(sync(0))
def group(): return outer(waiting(0), asleep(1))
def thread(): return blocking(0)
def process(): return after_lamp(0)
def inline(): return stuck(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("name", ["sync_loop", "async_loop", "inner_loop", "group", "thread", "process", "inline"])
def test_interrupt_tears_down_and_says_so(name: str, tmp_path: Path) -> None:
    """One line on stderr, resources torn down, exit code 130, and soon: whatever the run was doing."""
    path = tmp_path / "loops.py"
    path.write_text(LOOPS)
    process = command("run", f"{path}:{name}")
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=30)
    [line] = err.splitlines()

    assert process.returncode == 130
    assert out == "off\n"
    assert re.fullmatch(r"cascade: interrupted after \d+\.\d s; everything is torn down", line)
    assert time.monotonic() - sent < 5


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_interrupt_while_loading_is_one_line_too(tmp_path: Path) -> None:
    """A file that takes long to load can be interrupted."""
    path = tmp_path / "slow.py"
    path.write_text("import time\nprint('loading', flush=True)\ntime.sleep(1000)\n")
    process = command("run", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err == "cascade: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_second_interrupt_does_not_wait_for_teardowns(tmp_path: Path) -> None:
    """Who insists gets out, and is told that something may be left."""
    path = tmp_path / "slow.py"
    path.write_text(
        "import time, cascade as cs\n"
        "@cs.resource\ndef lamp():\n    try:\n        yield 1\n"
        "    finally:\n        print('off', flush=True)\n        time.sleep(1000)\n"
        "@cs.task\ndef sync(n, lamp=cs.inject('lamp')):\n    n or print('on', flush=True)\n    return sync(n + 1)\n"
        "def main():\n    return sync(0)\n"
    )
    process = command("run", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "off\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err == "cascade: interrupted; teardowns may be incomplete\n"


def test_a_run_that_a_task_cancels_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody pressed Ctrl-C: exit code 1 and a line that says so."""
    path = tmp_path / "workflow.py"
    path.write_text("import asyncio, cascade as cs\n@cs.task\nasync def main():\n    raise asyncio.CancelledError\n")
    code, _, err = ended(capsys, "run", str(path))

    assert code == 1
    assert err == "cascade: the run was cancelled by a task (CancelledError)\n"


def test_a_task_may_set_the_exit_code(tmp_path: Path) -> None:
    """SystemExit goes through."""
    path = tmp_path / "workflow.py"
    path.write_text("import cascade as cs\n@cs.task\ndef main():\n    raise SystemExit(7)\n")

    with pytest.raises(SystemExit) as ended:
        main(["run", str(path)])

    assert ended.value.code == 7
