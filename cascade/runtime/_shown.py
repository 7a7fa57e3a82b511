"""Values and errors as text for events: what cannot be shown must not end, or change, a run that is listened to."""

from __future__ import annotations

from typing import Any

__all__ = ["described", "message", "preview"]

_LENGTH = 100  # characters


def preview(value: Any) -> str:
    """Return the start of the value's ``repr``."""
    try:
        return repr(value)[:_LENGTH]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"[:_LENGTH]


def message(error: BaseException) -> str:
    """Return the error's own text."""
    try:
        return str(error)
    except Exception as other:
        return f"<its text raised {type(other).__name__}>"


def described(error: BaseException) -> str:
    """Return an error as ``"<Type>: <text>"``."""
    return f"{type(error).__name__}: {message(error)}"
