"""``cascade control``, ``watch`` and ``status``: the commands of cs-controller and cs-observer, without Typer."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["add_control", "add_status", "add_watch"]


def add_control(parser: argparse.ArgumentParser) -> None:
    """Declare ``control pause``, ``resume`` and ``set-limit``."""
    parser.description = "Tells running engines to pause, to go on, or to do less, through a broker or a database."
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    pause = commands.add_parser("pause", help="let no task of a scope start until it is resumed")
    _add_scope(pause)
    _add_ttl(pause)
    resume = commands.add_parser("resume", help="lift every constraint of a scope")
    _add_scope(resume)
    limit = commands.add_parser("set-limit", help="limit how many tasks of a scope run at a time, or how often")
    limit.add_argument("--scope", required=True, help="global, or task:PATTERN")
    limit.add_argument("--concurrency", metavar="N", type=int, help="tasks at a time")
    limit.add_argument("--rate", metavar="N/UNIT", help="starts per unit, as 5/s, 100/min or 10/hour")
    _add_ttl(limit)
    for name, action in (("pause", pause), ("resume", resume), ("set_limit", limit)):
        _add_place(action)
        action.set_defaults(do=_calling(action, _controller, name))


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare ``watch``."""
    parser.description = "Shows what running engines do while they do it, until Ctrl-C."
    parser.add_argument("--project", default="default", help="whose engines (mqtt); + for all")
    _add_place(parser)
    parser.set_defaults(do=_calling(parser, _observer, "watch"))


def add_status(parser: argparse.ArgumentParser) -> None:
    """Declare ``status``."""
    parser.description = "Lists the constraints that engines obey or will obey."
    _add_place(parser)
    parser.set_defaults(do=_calling(parser, _observer, "status"))


def _add_scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scope", metavar="SCOPE", nargs="?", default="global", help="global (default), or task:PATTERN")


def _add_ttl(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ttl", metavar="SECONDS", type=int, help="until it ends by itself")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=("mqtt", "local"), default="mqtt", help="mqtt by default")
    host = "of the broker, localhost by default: [USER:PASSWORD@]HOST"
    parser.add_argument("--host", "--hostname", dest="hostname", metavar="HOST", default="localhost", help=host)
    parser.add_argument("--port", type=int, default=1883, help="of the broker, 1883 by default")


def _controller() -> tuple[Any, Any]:
    from cascade.cli.controller import app
    from cascade.common.renderers import CliRenderer

    return app, CliRenderer


def _observer() -> tuple[Any, Any]:
    from cascade.cli.observer import app
    from cascade.cli.observer.rendering import RichCliRenderer

    return app, RichCliRenderer


def _calling(
    parser: argparse.ArgumentParser, load: Callable[[], tuple[Any, Any]], name: str
) -> Callable[[argparse.Namespace, object], int]:
    """Return what calls a command of a module with the arguments and returns its exit code."""

    def do(arguments: argparse.Namespace, interrupts: object) -> int:
        from cascade.cli._errors import CommandError
        from cascade.cli._messages import shown_by
        from cascade.cli._usage import UsageError

        module, make_renderer = load()
        function = getattr(module, name)
        given = {parameter: getattr(arguments, parameter) for parameter in inspect.signature(function).parameters}
        try:
            with shown_by(make_renderer(module.bus.store), module.bus):
                function(**given)
        except UsageError as error:
            parser.error(str(error))
        except ImportError as error:
            raise CommandError(str(error)) from error
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return do
