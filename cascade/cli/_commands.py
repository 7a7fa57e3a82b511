"""What ``cs-controller`` and ``cs-observer`` have in common: they are Typer applications, where there is Typer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cascade.cli._messages import shown_by
from cascade.cli._usage import CLI_REMEDY
from cascade.common.messaging.bus import MessageBus
from cascade.common.messaging.protocols import Renderer

try:
    import typer
except ImportError:
    typer = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from typer import Typer

__all__ = ["application", "run"]


def application(about: str, **commands: Callable[..., None]) -> Typer | None:
    """Return an application with these commands, or None where there is no Typer. Help and errors are plain text."""
    if typer is None:
        return None
    app = typer.Typer(help=about, rich_markup_mode=None)
    for name, function in commands.items():
        app.command(name.replace("_", "-"))(function)
    return app


def run(program: str, app: Any, bus: MessageBus, make_renderer: Callable[[], Renderer]) -> int:
    """Run an application as the process's command; return the exit code if it could not begin.

    Raises:
        SystemExit: it has ended.
    """
    try:
        if app is None:
            raise ImportError(f"needs the 'typer' library: {CLI_REMEDY}")
        renderer = make_renderer()
    except ImportError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    with shown_by(renderer, bus):
        app()
    return 0
