"""An interpreter that ends in the middle of runs says nothing but what it must, and does not crash."""

from __future__ import annotations

import subprocess
import sys

import pytest

START = """
import asyncio, atexit, gc, os, sys, threading
import cascade as cs

@cs.task
def same(value): return value
@cs.task
def forever(n, keep=None): return forever(n + 1, [same(n)])
@cs.task
def countdown(n): return countdown(n - 1) if n else "end"
@cs.task
async def asleep(n): await asyncio.Event().wait()

def parts():
    from cascade.adapters.executors.local import LocalExecutor
    from cascade.adapters.solvers.native import NativeSolver
    from cascade.runtime import MessageBus
    return {"solver": NativeSolver(), "executor": LocalExecutor(), "bus": MessageBus()}
def engine(**options): return cs.Engine(**parts(), **options)
def run(target, **options): return asyncio.run(engine(**options).run(target))
"""
STARTED = """
started = threading.Event()
@cs.task
def begin(n, keep=None):
    if n > 500:
        started.set()
    return begin(n + 1, [same(n)])
def hot(): run(begin(0))
def cold(): run(begin(0), hot=False)
def daemon(work):
    threading.Thread(target=work, daemon=True).start()
    started.wait()
"""


def ended(code: str) -> tuple[int, str, str]:
    """Run a program; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", START + code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("leave", ["sys.exit(3)", "os._exit(3)"])
@pytest.mark.parametrize("depth", ["leave(9)", "same([same(1), leave(9)])"], ids=["tail call", "inside"])
def test_a_task_leaves_the_interpreter(leave: str, depth: str) -> None:
    """``sys.exit`` and ``os._exit`` in a task end the process with their status, in silence."""
    code = f"@cs.task\ndef leave(n, keep=None):\n    return leave(n - 1, [n]) if n else {leave}\nrun({depth})\n"

    assert ended(code) == (3, "", "")


def test_an_error_in_a_task_ends_the_program() -> None:
    """An exception that nobody catches is shown as Python shows it, once, with the task's own line last."""
    code = "@cs.task\ndef fails(n): return fails(n - 1) if n else {}['key']\nrun(fails(9))\n"
    status, printed, shown = ended(code)

    assert (status, printed) == (1, "")
    assert shown.startswith("Traceback")
    assert shown.count("Traceback") == 1
    assert shown.endswith("KeyError: 'key'\n")


@pytest.mark.parametrize("work", ["hot", "cold"])
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os._exit(0)", "gc.collect()"])
def test_daemon_threads_run_when_the_interpreter_ends(work: str, end: str) -> None:
    """A loop in a daemon thread, hot or not, is stopped by the end of the process and says nothing."""
    assert ended(f"{STARTED}daemon({work}); daemon({work})\n{end}\n") == (0, "", "")


def test_an_error_ends_the_program_beside_a_daemon_thread() -> None:
    """The main thread's error is all that is shown."""
    status, printed, shown = ended(STARTED + "daemon(hot)\nraise KeyError('main')\n")

    assert (status, printed) == (1, "")
    assert shown.count("Traceback") == 1
    assert shown.endswith("KeyError: 'main'\n")


def test_a_handler_runs_a_workflow_at_exit() -> None:
    """``atexit`` is not too late for a run, also beside a daemon thread."""
    code = "atexit.register(lambda: print(run(countdown(1000)), run(same([same(1)]))))\n"

    assert ended(code) == (0, "end [1]\n", "")
    assert ended(STARTED + code + "daemon(hot)\n") == (0, "end [1]\n", "")


def test_finalisers_run_workflows_while_the_interpreter_ends() -> None:
    """An object that is freed with its module may still make lazies; a run of them answers or raises."""
    code = (
        "class Last:\n"
        "    def __del__(self, run=run, same=same, countdown=countdown):\n"
        "        lazy = same([countdown(3), same(1)])\n"
        "        assert lazy.args and repr(lazy)\n"
        "        lazy.kwargs['more'] = same(lazy)\n"
        "kept = [Last(), same(Last()), cs.Router(same(Last()), {1: Last()})]\n"
        "kept.append(kept)\n"
        "same.kept = Last()\n"
        "print(run(same(1)))\n"
    )

    assert ended(code) == (0, "1\n", "")


def test_what_waits_is_let_go_of_at_the_end() -> None:
    """Runs that are suspended, frames, lazies and tasks that modules still hold do no harm when modules go."""
    code = (
        "from cascade import _kernel\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(engine().run(asleep(1)))\n"
        "    await asyncio.sleep(0)\n"
        "    await asyncio.sleep(0)\n"
        "    os.write(1, b'waits\\n')\n"
        "asyncio.run(main())\n"
        "frame = _kernel.Frame(_kernel.ProgramCache(), {})\n"
        "frame.begin(same([same(frame)]))\n"
        "lazies = [same(n) for n in range(1000)]\n"
        "lazies[0].args = (lazies,)\n"
        "same.lazies = lazies\n"
    )

    assert ended(code) == (0, "waits\n", "")


def test_modules_are_cleared_under_a_running_loop() -> None:
    """A loop whose module is emptied fails with an ordinary error."""
    code = (
        "@cs.task\n"
        "def strip(n):\n"
        "    if n == 5:\n"
        "        sys.modules['cascade'].__dict__.pop('task', None)\n"
        "        globals().pop('strip')\n"
        "        gc.collect()\n"
        "    return strip(n - 1) if n else 'end'\n"
        "try:\n"
        "    run(strip(9))\n"
        "except NameError as error:\n"
        "    print(error)\n"
    )

    assert ended(code) == (0, "name 'strip' is not defined\n", "")
