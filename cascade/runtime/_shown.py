"""Values and errors as text for events: what cannot be shown must not end, or change, a run that is listened to.

What is likely to be secret is left out.
"""

from __future__ import annotations

import re
from typing import Any

from cascade.runtime._start import start_of_repr

__all__ = ["described", "message", "preview"]

_LENGTH = 100  # characters
_LOOKED_AT = 4096  # characters, where something has to be left out: it may begin among those shown, and be longer

#: A call in a ``repr``, and all that follows: its arguments may be headers and parameters.
_CALL = re.compile(r"(<(?:Mapped)?LazyResult [^(]*)\(.*", re.DOTALL)

#: The rest of a URL whose end may not be there.
_CUT_URL = re.compile(r"://\S*$")


def preview(value: Any, task_name: str) -> str:
    """Return the start of the ``repr`` of what a task returned.

    Not shown are values of environment variables, arguments of calls, credentials in URLs and values of their queries.
    """
    if task_name == "_get_env_var":
        return "'***'"
    try:
        text = start_of_repr(value, _LENGTH)
        if "://" in text or "LazyResult " in text:
            text = start_of_repr(value, _LOOKED_AT)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    if "LazyResult " in text:
        text = _CALL.sub(r"\1(...)>", text)
    if "://" in text:
        from cascade.common.redaction import redact

        if len(text) >= _LOOKED_AT:
            text = _CUT_URL.sub("://", text)
        text = redact(text)
    return text[:_LENGTH]


def message(error: BaseException) -> str:
    """Return the error's own text."""
    try:
        return str(error)
    except Exception as other:
        return f"<its text raised {type(other).__name__}>"


def described(error: BaseException) -> str:
    """Return an error as ``"<Type>: <text>"``."""
    return f"{type(error).__name__}: {message(error)}"
