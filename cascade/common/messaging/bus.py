"""The store of message texts and the bus that hands messages to a renderer."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

from cascade.common.messaging.protocols import Renderer

__all__ = ["MessageBus", "MessageStore", "bus"]

_LOCALES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locales")


class MessageStore:
    """Texts by message id, read from ``common/locales/<locale>/*.json`` when the first one is needed."""

    def __init__(self, locale: str = "en") -> None:
        self.locale = locale

    @cached_property
    def _messages(self) -> dict[str, str]:
        return _load_locale(os.path.join(_LOCALES, self.locale))

    def get(self, msg_id: str, default: str = "", **kwargs: Any) -> str:
        """Return the text with its data filled in, or ``default`` for an unknown id.

        A text that cannot be filled in is replaced by one that says why: a message must not end a run.
        """
        template = self._messages.get(msg_id)
        if template is None:
            return default or f"<{msg_id}>"
        try:
            return template.format(**kwargs)
        except KeyError as error:
            return f"<Formatting error for '{msg_id}': missing key {error}>"
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return f"<Formatting error for '{msg_id}': {error}>"


class MessageBus:
    """Hands messages to the renderer; silent without one."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._renderer: Renderer | None = None

    @property
    def store(self) -> MessageStore:
        """The texts."""
        return self._store

    def set_renderer(self, renderer: Renderer | None) -> None:
        """Show messages with ``renderer`` from now on, or not at all with None."""
        self._renderer = renderer

    def info(self, msg_id: str, **kwargs: Any) -> None:
        """Say what happened."""
        self._render("info", msg_id, kwargs)

    def warning(self, msg_id: str, **kwargs: Any) -> None:
        """Say what may need attention."""
        self._render("warning", msg_id, kwargs)

    def error(self, msg_id: str, **kwargs: Any) -> None:
        """Say what failed."""
        self._render("error", msg_id, kwargs)

    def _render(self, level: str, msg_id: str, data: dict[str, Any]) -> None:
        renderer = self._renderer
        if renderer is not None:
            renderer.render(msg_id, level, **data)


def _load_locale(folder: str) -> dict[str, str]:
    if not os.path.isdir(folder):
        return {}
    import json  # not needed by a process that shows nothing

    messages: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                messages.update(json.load(file))
    return messages


#: The message bus of this process.
bus = MessageBus(MessageStore())
