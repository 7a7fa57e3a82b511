"""Messages of a command: shown by its renderer while it runs, until nobody reads them any more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from cascade.common.messaging.bus import MessageBus
from cascade.common.messaging.protocols import Renderer

__all__ = ["BROKEN_PIPE", "shown_by"]

#: The exit code of a process that the signal SIGPIPE has ended.
BROKEN_PIPE = 128 + 13


@contextlib.contextmanager
def shown_by(renderer: Renderer, bus: MessageBus) -> Iterator[None]:
    """Let a renderer show the messages of a bus for a while.

    Raises:
        SystemExit: nobody reads them any more. In a callback it ends the event loop too, and so what runs there is
            cancelled and may clean up.
    """
    previous = bus._renderer
    bus.set_renderer(_UntilBroken(renderer))
    try:
        yield
    finally:
        bus.set_renderer(previous)


class _UntilBroken(Renderer):
    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        try:
            self._renderer.render(msg_id, level, **kwargs)
        except BrokenPipeError:
            raise SystemExit(BROKEN_PIPE) from None
