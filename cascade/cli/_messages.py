"""Messages of a command: shown by its renderer while it runs, until nobody reads them any more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from cascade.common.messaging.bus import MessageBus
from cascade.common.messaging.protocols import Renderer

__all__ = ["BROKEN_PIPE", "shown_by"]

#: The exit code where nobody reads any more; rich and Typer end a process with the same.
BROKEN_PIPE = 1


@contextlib.contextmanager
def shown_by(renderer: Renderer, bus: MessageBus) -> Iterator[None]:
    """Let a renderer show the messages of a bus for a while.

    Raises:
        SystemExit: nobody reads what is shown any more. In a callback it ends the event loop too, so that what runs
            there is cancelled and may clean up.
    """
    previous = bus._renderer
    bus.set_renderer(_UntilBroken(renderer))
    try:
        yield
    except BrokenPipeError:
        _leave()
    finally:
        bus.set_renderer(previous)


class _UntilBroken(Renderer):
    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        try:
            self._renderer.render(msg_id, level, **kwargs)
        except BrokenPipeError:
            _leave()


def _leave() -> NoReturn:
    # What is still in the stream's buffer would fail again at the end of the process, and change the exit code.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
    raise SystemExit(BROKEN_PIPE)
