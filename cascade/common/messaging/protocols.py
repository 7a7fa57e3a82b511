"""What the message bus asks of a renderer."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Renderer"]


class Renderer(Protocol):
    """Shows messages somewhere."""

    def render(self, msg_id: str, level: str, **kwargs: Any) -> None:
        """Show the message ``msg_id`` with its data; ``level`` is one of debug, info, warning, error."""
        ...
