"""The command ``cascade``.

    cascade run FILE[:NAME] [--param k=v ...]
    cascade --version

Exit codes: 0 the run succeeded, 1 it failed or could not start, 2 wrong usage, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from cascade import __version__, _kernel
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.solvers.native import NativeSolver
from cascade.cli._errors import CommandError, describe
from cascade.cli._interrupts import Interrupts
from cascade.cli._load import load
from cascade.cli._params import read_params
from cascade.cli._progress import Progress, summary
from cascade.runtime.bus import MessageBus
from cascade.runtime.engine import Engine

__all__ = ["main"]

_FAILED = 1
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process, and return its exit code.

    Raises:
        SystemExit: help or version was asked for, the usage is wrong, or a task has raised it.
    """
    arguments = _parser().parse_args(argv)
    with Interrupts() as interrupts:
        try:
            return _run(arguments.target, arguments.param, interrupts)
        except CommandError as error:
            _tell(f"cascade: {error}")
        except Exception as error:
            _tell(describe(error).rstrip("\n"))
        except KeyboardInterrupt:  # before the run, or more often than once
            _tell("cascade: interrupted" + ("; teardowns may be incomplete" if interrupts.count > 1 else ""))
            return _INTERRUPTED
    return _FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascade", description="Run workflows of tasks that call tasks.")
    version = f"cascade {__version__} ({_kernel.kernel_name} kernel)"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a workflow of a Python file and print its result")
    run.add_argument(
        "target",
        metavar="FILE[:NAME]",
        help="a lazy result, a task, or a function without arguments that returns one; NAME is main by default",
    )
    run.add_argument(
        "--param", metavar="K=V", action="append", default=[], type=_assignment, help="value of a declared parameter"
    )
    return parser


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, value


def _run(place: str, given: Sequence[tuple[str, str]], interrupts: Interrupts) -> int:
    target, resources = load(place)
    params = read_params(given, target)
    engine = Engine(NativeSolver(), LocalExecutor(), MessageBus())
    for resource in resources:
        engine.register(resource)
    progress = Progress(engine.bus, sys.stderr)
    try:
        with progress:
            value = asyncio.run(_evaluate(engine, target, params, interrupts))
    except (asyncio.CancelledError, KeyboardInterrupt) as error:
        if interrupts.count == 0:
            raise CommandError(f"the run was cancelled by a task ({type(error).__name__})") from error
        if interrupts.count > 1:
            raise KeyboardInterrupt from error
        _tell(f"cascade: interrupted after {progress.elapsed:.1f} s; everything is torn down")
        return _INTERRUPTED
    _tell(summary(engine.stats))
    if value is not None:
        print(value)
    return 0


async def _evaluate(engine: Engine, target: Any, params: dict[str, Any], interrupts: Interrupts) -> Any:
    interrupts.watch()
    try:
        return await engine.run(target, params)
    finally:
        engine.executor.close()  # type: ignore[attr-defined]


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
