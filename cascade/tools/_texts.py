"""What is written on a command line, read as a value of a type."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["read_value"]

_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def read_value(kind: Any, text: str) -> Any:
    """Return what a text says as a value of a type, or what a function makes of it; containers are written as JSON.

    Raises:
        ValueError: the text is no value of that type.
        Exception: whatever the type or function raises.
    """
    if kind in (str, object, Any) or not callable(kind):
        return text
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise ValueError("write true or false")
        return _TRUTH[text.lower()]
    if kind in (list, dict):
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(f"this is JSON for a {type(value).__name__}")
        return value
    return kind(text)
