"""What a command tells about an error: one line of its own, or the user's traceback without the engine's part."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

__all__ = ["CommandError", "describe"]

#: Stands between the command and the user's code, where the engine has called it.
_MACHINERY = ("asyncio", "concurrent", "contextlib", "importlib", "threading")


class CommandError(Exception):
    """The command cannot do what it was asked; the text says why and what would do, on one line."""


def describe(error: BaseException) -> str:
    """Return what ``traceback`` prints of an error and of those that led to it, the engine's entries left out.

    An error that no user code has raised is told without a traceback.
    """
    for one in _family(error):
        one.__traceback__ = _users_part(one.__traceback__)
    if error.__traceback__ is None:
        return "".join(traceback.format_exception_only(error))
    return "".join(traceback.format_exception(error))


def _family(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, its causes and contexts, and the members of groups, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        yield one


def _users_part(entry: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while entry is not None:
        package = str(entry.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package != "cascade" and (kept or package.lstrip("_") not in (*_MACHINERY, "frozen_importlib")):
            kept.append(entry)
        entry = entry.tb_next
    following = None
    for entry in reversed(kept):
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return following
