"""The beginning of a value's text, for events."""

from __future__ import annotations

from typing import Any

__all__ = ["preview"]

_LENGTH = 100  # characters


def preview(value: Any) -> str:
    """Return the start of the value's ``repr``; that one cannot be shown must not end a run which is listened to."""
    try:
        return repr(value)[:_LENGTH]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"[:_LENGTH]
