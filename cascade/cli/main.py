"""The command ``cascade``.

    cascade run FILE[:NAME] [--param k=v ...]
    cascade gate FILE [NAME ...] [--update --reason TEXT] [...]
    cascade control pause|resume|set-limit [...]
    cascade watch|status [...]
    cascade --version

Exit codes of run: 0 the run succeeded, 1 it failed or could not start, 2 wrong usage, 130 interrupted by Ctrl-C.
Those of gate: 0 nothing has become slower, 1 something has, 2 nothing could be judged or wrong usage, 130 interrupted.
Those of control, watch and status: 0 done, 1 impossible, 2 wrong usage, 130 interrupted. Ctrl-C is how watch ends: 0.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable, Sequence

from cascade import __version__, _kernel
from cascade.cli import _remote
from cascade.cli._errors import CommandError, describe
from cascade.cli._interrupts import Interrupts
from cascade.cli._load import load
from cascade.cli._params import read_params
from cascade.cli._progress import Progress, summary
from cascade.cli._running import cancelled_by_a_task, engine_with, evaluate
from cascade.tools.gate import command

__all__ = ["main"]

_FAILED = 1
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process, and return its exit code.

    Raises:
        SystemExit: help or version was asked for, the usage is wrong, or a task has raised it.
    """
    arguments = _parser().parse_args(argv)
    arguments.check(arguments)
    with arguments.guard() as interrupts:
        try:
            return int(arguments.do(arguments, interrupts))
        except CommandError as error:
            _tell(f"cascade: {error}")
        except Exception as error:
            _tell(describe(error).rstrip("\n"))
        except KeyboardInterrupt:  # before the run, or more often than once
            _tell("cascade: interrupted" + ("; teardowns may be incomplete" if interrupts.count > 1 else ""))
            return _INTERRUPTED
    return int(arguments.failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascade", description="Run workflows of tasks that call tasks.")
    version = f"cascade {__version__} ({_kernel.kernel_name} kernel)"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="run a workflow of a Python file and print its result"))
    _add_gate(commands.add_parser("gate", help="compare the speed of workflows with a recorded baseline"))
    _add_remote(commands.add_parser("control", help="pause, resume or limit running engines"), _remote.add_control)
    _add_remote(commands.add_parser("watch", help="show what running engines do"), _remote.add_watch)
    _add_remote(commands.add_parser("status", help="list what limits running engines"), _remote.add_status)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        metavar="FILE[:NAME]",
        help="a lazy result, a task, or a function without arguments that returns one; NAME is main by default",
    )
    _add_param(parser)
    parser.set_defaults(do=_run, guard=Interrupts, check=_accept, failed=_FAILED)


def _add_gate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs workflows again and again, in turn with a plain Python loop, and stops with exit code 1 if one has "
        "become slower against that loop than its baseline allows, with 2 if nothing can be judged. The baseline is "
        "kept in a file beside FILE, with the suffix .gate.json; --update records it."
    )
    parser.add_argument("file", metavar="FILE", help="a Python file, as for cascade run")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="of a workflow; by default all that the baseline has, or main"
    )
    _add_param(parser)
    command.add_options(parser)
    check = functools.partial(command.check_options, parser)
    parser.set_defaults(do=_gate, guard=Interrupts, check=check, failed=command.IMPOSSIBLE)


def _add_remote(parser: argparse.ArgumentParser, add: Callable[[argparse.ArgumentParser], None]) -> None:
    add(parser)
    # No task runs in this process: asyncio's own way with Ctrl-C will do.
    parser.set_defaults(guard=lambda: contextlib.nullcontext(Interrupts()), check=_accept, failed=_FAILED)


def _accept(arguments: argparse.Namespace) -> None:
    """See nothing wrong."""


def _add_param(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--param", metavar="K=V", action="append", default=[], type=_assignment, help="value of a declared parameter"
    )


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, value


def _gate(arguments: argparse.Namespace, interrupts: Interrupts) -> int:
    from cascade.cli._gate import run_gate  # what only this command needs

    return run_gate(arguments, interrupts)


def _run(arguments: argparse.Namespace, interrupts: Interrupts) -> int:
    target, resources = load(arguments.target)
    params = read_params(arguments.param, target)
    engine = engine_with(resources)
    progress = Progress(engine.bus, sys.stderr)
    try:
        with progress:
            value = asyncio.run(evaluate(engine, target, params, interrupts))
    except (asyncio.CancelledError, KeyboardInterrupt) as error:
        if interrupts.count == 0:
            raise CommandError(cancelled_by_a_task(error)) from error
        if interrupts.count > 1:
            raise KeyboardInterrupt from error
        _tell(f"cascade: interrupted after {progress.elapsed:.1f} s; everything is torn down")
        return _INTERRUPTED
    _tell(summary(engine.stats))
    if value is not None:
        print(value)
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
